"""The trained weights of one framework's twin in the other's, as goldens of their own.

Under ``<root>/<framework>_weights/<model>/<twin>/`` lies what ``golden/`` holds: the weights in the
twin's layout, the inputs of the golden that they come from, the oracle's outputs with these weights
and the twin's outputs at padded steps, and the noise floors of the golden that they come from.
``python -m harness.validate --golden <root>/keras_weights --framework torch`` judges them.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from harness.core.schema import Arrays, Case
from harness.goldens import store
from harness.goldens.store import Golden, RecordedCase
from reference_models import catalog

SECOND = ".recurrent_bias"


def folder(root: Path, weights: str) -> Path:
    """Return the folder of goldens whose weights are those of the framework ``weights``."""
    return root / f"{weights}_weights"


def write(source: Golden, host: Golden, root: Path) -> Path:
    """Write ``source``'s weights in ``host``'s twin; the folder that holds them."""
    parameters = laid_out(source.parameters(), host.parameters())
    padded = source.spec.padded_steps.get(host.framework, "repeat")
    oracle = catalog.part(source.spec, "oracle")

    def recorded(case: Case) -> RecordedCase:
        loaded = source.load(case)
        outputs = oracle.run(source.spec.name, parameters, loaded.inputs, padded)
        kept = {t.name: t.at_steps(outputs[t.name], loaded.steps) for t in source.spec.outputs}
        entry = next(e for e in source.manifest["cases"] if _same(e, case))
        formulas = {name: about["formula"] for name, about in entry["inputs"].items()}
        noise = {name: about["noise"] for name, about in entry["outputs"].items()}
        return RecordedCase(case, formulas, loaded.inputs, kept, loaded.steps, noise)

    target = folder(root, source.framework) / source.spec.name / host.framework
    about = {"model": source.spec.name, "framework": host.framework, "weights_of": source.framework}
    store.write(target, source.spec, parameters, [recorded(c) for c in source.cases], about)
    return target


def laid_out(parameters: Arrays, names: Collection[str]) -> Arrays:
    """Return parameters under ``names``: a second bias is added to the first, or zero.

    Only an LSTM's two biases are a sum; where both frameworks have two, both are kept. ValueError
    where other parameters than second biases differ.
    """
    result = {name: value for name, value in parameters.items() if name in names}
    for name in sorted(set(parameters) - set(names)):
        first = name.removesuffix(SECOND) + ".bias"
        if not name.endswith(SECOND) or first not in result:
            raise ValueError(f"parameter {name} has no place among {', '.join(sorted(names))}")
        result[first] = result[first] + parameters[name]
    for name in sorted(set(names) - set(parameters)):
        first = name.removesuffix(SECOND) + ".bias"
        if not name.endswith(SECOND) or first not in result:
            raise ValueError(f"parameter {name} is not among {', '.join(sorted(parameters))}")
        result[name] = np.zeros_like(result[first])
    return result


def _same(entry: dict[str, object], case: Case) -> bool:
    return (entry["lengths"], entry["batch"], entry["raggedness"]) == (
        dict(case.lengths),
        case.batch,
        case.raggedness.value,
    )
