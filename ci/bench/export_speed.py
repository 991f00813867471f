"""How fast each exporter's graph runs, beside one written by hand with the same semantics.

For every reference model and framework: ONNX Runtime on the CPU, one thread, all graphs of one
model in turn in one run. ``native`` may take 1.1 times as long as the graph by hand, no more. For
masked Keras layers: how many times faster ``native`` is than stock tf2onnx, and how many times the
bare recurrent node would be. Exits 1 where a target is missed.

Usage: python ci/bench/export_speed.py [MODEL …] [--seconds S] [--output FILE] [--json FILE]
[--write] [--no-synthetic]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402

from ci.bench import handwritten, paired  # noqa: E402
from ci.readme import EVIDENCE, EXPORTERS, write  # noqa: E402
from harness.core.results import Cell  # noqa: E402
from harness.core.schema import BATCH, Arrays, ModelSpec  # noqa: E402
from harness.exporters import DEFAULT_OPSET  # noqa: E402
from harness.exporting import bundle, cache  # noqa: E402
from harness.goldens import store  # noqa: E402
from reference_models import catalog  # noqa: E402

SHAPES = ((1, 128), (1, 1024), (16, 128))
SYNTHETIC_SHAPE = (1, 1024)
AT_MOST = 1.1
AT_LEAST = {8: 10.0, 32: 10.0, 128: 3.5}
ERROR = 1e-4
HAND = "by hand"
MARKER = "speed"


@dataclass
class Row:
    """One model, framework and shape: seconds of each graph that is right, and ratios of pairs."""

    model: str
    framework: str
    batch: int
    steps: int
    seconds: dict[str, float]
    to_hand: float
    to_native: dict[str, float]
    """Each stock exporter's time as a multiple of native's."""
    unusable: dict[str, str] = field(default_factory=dict)

    @property
    def missed(self) -> bool:
        return self.to_hand > AT_MOST


@dataclass
class SpeedUp:
    """How many times faster than stock tf2onnx, natively and with the bare recurrent node."""

    layer: str
    units: int
    native: float
    bare: float
    seconds: dict[str, float]

    @property
    def missed(self) -> bool:
        return self.native < AT_LEAST[self.units]


def inputs_of(spec: ModelSpec, batch: int, steps: int) -> Arrays:
    """Return random valid inputs; up to a quarter of each row of the padded one is padding."""
    rng = np.random.default_rng(steps + batch)
    sizes = dict.fromkeys(spec.axes, steps)
    inputs: Arrays = {}
    for tensor in spec.inputs:
        shape = tensor.shape(batch, sizes)
        if tensor.name in spec.lengths:
            inputs[tensor.name] = np.full(shape, steps, tensor.dtype)
        elif np.issubdtype(np.dtype(tensor.dtype), np.integer):
            inputs[tensor.name] = rng.integers(
                int(tensor.low), int(tensor.high), shape, tensor.dtype
            )
        else:
            inputs[tensor.name] = rng.uniform(tensor.low, tensor.high, shape).astype(tensor.dtype)
        if tensor.name == spec.padded:
            lengths = rng.integers(steps * 3 // 4, steps, (batch, 1))
            inputs[tensor.name][np.arange(steps) >= lengths] = spec.padding
    return inputs


def graphs(spec: ModelSpec, framework: str, source: store.Golden) -> dict[str, bytes | str]:
    """Return every exporter's graph of a twin, or why there is none, and the one by hand."""
    cells = {e: Cell(spec.name, framework, e, "fp32", "ort-cpu") for e in EXPORTERS[framework]}
    jobs = [
        cache.ExportJob(
            *(spec.name, framework, name, cell.variant, DEFAULT_OPSET),
            golden=str(source.folder),
            folder=str(bundle.folder(ROOT / "build/artifacts", cell)),
        )
        for name, cell in cells.items()
    ]
    models: dict[str, bytes | str] = {}
    for job, stored in zip(jobs, cache.ensure(jobs, lambda _: None).values(), strict=True):
        if isinstance(stored, str):
            models[job.exporter] = stored
        elif stored.failure is not None:
            models[job.exporter] = str(stored.failure)
        else:
            models[job.exporter] = stored.model.read_bytes()
    padded = spec.padded_steps.get(framework, "repeat")
    model = handwritten.build(spec, source.parameters(), padded)
    return {**models, HAND: model.SerializeToString()}


def wrong(session: onnxruntime.InferenceSession, inputs: Arrays, expected: Arrays) -> str:
    """Return why a graph's outputs are not the oracle's; empty where they are."""
    try:
        names = [output.name for output in session.get_outputs()]
        outputs = dict(zip(names, session.run(None, inputs), strict=True))
    except Exception:  # ONNX Runtime's own classes
        return "does not run"
    for name, value in expected.items():
        if name not in outputs or outputs[name].shape != value.shape:
            return "wrong shape"
        if not np.abs(outputs[name] - value).max() <= ERROR * max(1.0, np.abs(value).max()):
            return "wrong values"
    return ""


def rows_of(spec: ModelSpec, framework: str, seconds: float) -> Iterable[Row]:
    """Yield one row for each shape; all right graphs are measured together."""
    source = store.read(ROOT / "golden" / spec.name / framework)
    models = graphs(spec, framework, source)
    absent = {name: "no export" for name, model in models.items() if isinstance(model, str)}
    sessions = {n: paired.load(model) for n, model in models.items() if isinstance(model, bytes)}
    padded = spec.padded_steps.get(framework, "repeat")
    oracle: Callable[..., Arrays] = catalog.part(spec, "oracle").run
    for batch, steps in SHAPES:
        inputs = inputs_of(spec, batch, steps)
        expected = oracle(spec.name, source.parameters(), inputs, padded)
        judged = {name: wrong(session, inputs, expected) for name, session in sessions.items()}
        for needed in ("native", HAND):
            if reason := absent.get(needed) or judged[needed]:
                raise SystemExit(
                    f"{spec.name}/{framework}: {needed}: {reason}: {models[needed]!s:.200}"
                )
        right = {name: sessions[name] for name, reason in judged.items() if not reason}
        timings = paired.measure(right, inputs, seconds)
        stock = [name for name in right if name not in ("native", HAND)]
        yield Row(
            *(spec.name, framework, batch, steps),
            seconds={name: timings.seconds(name) for name in right},
            to_hand=timings.ratio("native", HAND),
            to_native={name: timings.ratio(name, "native") for name in stock},
            unusable={**absent, **{name: reason for name, reason in judged.items() if reason}},
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep what TensorFlow's libraries write to the standard error stream off it."""
    before = os.dup(2)
    try:
        with open(os.devnull, "w") as nothing:
            os.dup2(nothing.fileno(), 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def speed_ups(seconds: float) -> Iterable[SpeedUp]:
    """Measure the masked Keras layers at ``SYNTHETIC_SHAPE``."""
    with quiet():
        from ci.bench import synthetic

        models = list(synthetic.models())
    batch, steps = SYNTHETIC_SHAPE
    for layer, units, built in models:
        sessions = {name: paired.load(model) for name, model in built.items()}
        tokens = np.random.default_rng(units).integers(1, synthetic.WORDS, (batch, steps), "int32")
        tokens[:, steps * 7 // 8 :] = 0
        native, stock = (
            sessions[n].run(None, {"tokens": tokens})[0] for n in ("native", "tf2onnx")
        )
        if not np.abs(native - stock).max() <= ERROR:
            raise SystemExit(f"{layer}, {units} units: native and tf2onnx disagree")
        timings = paired.measure(sessions, {"tokens": tokens}, seconds)
        yield SpeedUp(
            layer,
            units,
            native=timings.ratio("tf2onnx", "native"),
            bare=timings.ratio("tf2onnx", "bare"),
            seconds={name: timings.seconds(name) for name in sessions},
        )


def tables(rows: list[Row], layers: list[SpeedUp]) -> str:
    """Return both tables in Markdown: milliseconds, ratios in parentheses."""
    threads = f"{paired.THREADS} thread{'s' * (paired.THREADS > 1)}"
    lines = [f"ONNX Runtime {onnxruntime.__version__} on the CPU, {threads}; milliseconds.", ""]
    for framework, exporters in EXPORTERS.items():
        stock = exporters[1:]
        chosen = [row for row in rows if row.framework == framework]
        if not chosen:
            continue
        lines += [
            f"| {framework} | {BATCH} x T | by hand | native (÷ by hand) | "
            + " | ".join(f"{name} (÷ native)" for name in stock)
            + " |",
            "| --- | --- " + "| ---: " * (2 + len(stock)) + "|",
        ]
        for row in chosen:
            bold = "**" if row.missed else ""
            squares = [
                f"`{row.model}`",
                f"{row.batch} x {row.steps}",
                _ms(row.seconds[HAND]),
                f"{_ms(row.seconds['native'])} ({bold}{row.to_hand:.2f}{bold})",
                *(_stock(row, name) for name in stock),
            ]
            lines.append(f"| {' | '.join(squares)} |")
        lines.append("")
    if layers:
        lines += [
            f"| masked Keras layer, {SYNTHETIC_SHAPE[0]} x {SYNTHETIC_SHAPE[1]} | units | tf2onnx "
            "| native | times faster | at least | with the bare node | of that |",
            "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        ]
    for layer in layers:
        bold = "**" if layer.missed else ""
        lines.append(
            f"| {layer.layer} | {layer.units} | {_ms(layer.seconds['tf2onnx'])} "
            f"| {_ms(layer.seconds['native'])} | {bold}{layer.native:.1f}{bold} "
            f"| {AT_LEAST[layer.units]:g} | {layer.bare:.1f} | {layer.native / layer.bare:.0%} |"
        )
    return "\n".join(lines).rstrip()


def _stock(row: Row, name: str) -> str:
    if name in row.unusable:
        return row.unusable[name]
    return f"{_ms(row.seconds[name])} ({row.to_native[name]:.1f})"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.2f}"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("models", nargs="*", metavar="MODEL", help="default: all")
    parser.add_argument("--seconds", type=float, default=2.0, help="per model and shape, about")
    parser.add_argument("--output", type=Path, help="write the tables here as well")
    parser.add_argument("--json", type=Path, help="write every figure here")
    parser.add_argument("--write", action="store_true", help="write the tables into the docs")
    parser.add_argument("--no-synthetic", action="store_true", help="leave the Keras layers out")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    rows, layers = [], []
    for name in arguments.models or handwritten.MODELS:
        spec = catalog.load(name)
        for framework in spec.frameworks:
            for row in rows_of(spec, framework, arguments.seconds):
                rows.append(row)
                print(f"{name}/{framework} {row.batch} x {row.steps}: {row.to_hand:.2f} of by hand")
    if not arguments.no_synthetic:
        layers = list(speed_ups(arguments.seconds))
    text = tables(rows, layers)
    print(f"\n{text}")
    if arguments.output:
        arguments.output.write_text(text + "\n")
    if arguments.json:
        figures = {"rows": [asdict(r) for r in rows], "speed_ups": [asdict(s) for s in layers]}
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")
    if arguments.write:
        write(EVIDENCE, MARKER, text)
    everything: list[Row | SpeedUp] = [*rows, *layers]
    missed = [entry for entry in everything if entry.missed]
    for entry in missed:
        print(f"missed: {entry}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
