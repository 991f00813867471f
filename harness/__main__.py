"""``python -m harness``: the commands."""

COMMANDS = {
    "validate": "compare exported models with their goldens",
    "export": "write a deployable bundle of a model that conforms",
    "record": "train reference models and record their goldens",
    "lint": "find what is wrong in a graph without running it",
    "placement": "where each node would run with CUDA, on a machine without a GPU",
    "merge": "reports of shards and of several machines as one",
    "diagnose": "where, when and by what a cell fails, and what reproduces it",
    "convert": "goldens and bundles to ONNX's test folders, and back",
    "operators": "what each runtime makes of the standard's operator cases",
    "list": "models, exporters, variants and runtimes, and whether each is available here",
}

if __name__ == "__main__":
    print("usage: python -m harness.COMMAND [--help]")
    for name, about in COMMANDS.items():
        print(f"  {name:<10}{about}")
