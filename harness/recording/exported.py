"""A user model as ONNX: exported at an example whose sizes are none of the model's own numbers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from harness.core.errors import ExportError, HarnessError, StageError, UsageError, one_line
from harness.core.registry import resolve
from harness.core.schema import Arrays, ModelSpec, Progress, Raggedness
from harness.exporters import BRANCHED, EXPORTERS, ways
from harness.exporters.variants import VARIANTS
from harness.graphs import interface, walk
from harness.graphs.attributes import integers
from harness.graphs.example import example_inputs, sizes_of, weight_sizes
from harness.graphs.rounded import constants_beyond
from harness.linting.baked import coincidences
from harness.recording import instead
from harness.recording.measured import Measured
from harness.recording.output_axes import named
from harness.recording.probing import RefusedError, UserModel, run
from harness.recording.settings import ExportSettings

FILE = "file"
LEAST = (0, 11, 29, 67, 137, 281)
"""The sizes from which an example is sought, in turn, where the model refuses the one before."""


def model(
    own: UserModel,
    spec: ModelSpec,
    existing: Any,
    settings: ExportSettings,
    results: Sequence[Measured],
    about: dict[str, Any],
    progress: Progress,
) -> Any | None:
    """Return the model as ONNX, or the ``existing`` file's; None where that fails.

    ``about`` gets how it was made, or why it was not.
    """
    parameters = own.parameters()
    full = [r for r in results if r.case.raggedness is Raggedness.NONE] or results
    fallback = max(full, key=lambda result: (result.case.batch, result.case.longest)).inputs
    about |= {"example": {}, "exporter": settings.exporter if existing is None else FILE}
    try:
        progress(f"{spec.name}: exporting")
        if existing is None:
            weights = weight_sizes(parameters)

            def made(exporter: str) -> tuple[Any, Arrays]:
                return _export(own, spec, weights, fallback, replace(settings, exporter=exporter))

            exported, example = _by_a_way(own, spec, made, settings, results, about)
            about["example"] = sizes_of(spec, example)
        else:
            exported = interface.complete(interface.name_inputs(existing, spec), spec)
        varied = resolve(VARIANTS[settings.variant])(exported)
        about["opset"] = walk.opset(varied)
        about["rounded"] = [] if own.framework == "onnx" else constants_beyond(varied, parameters)
        return varied
    except StageError as error:
        about["failure"] = {"stage": error.stage.value, "reason": str(error)}
    except HarnessError:
        raise
    except Exception as error:
        about["failure"] = {"stage": "export", "reason": one_line(error)}
    return None


def _by_a_way(
    own: UserModel,
    spec: ModelSpec,
    made: Callable[[str], tuple[Any, Arrays]],
    settings: ExportSettings,
    results: Sequence[Measured],
    about: dict[str, Any],
) -> tuple[Any, Arrays]:
    """Return what the exporter asked for makes or, where the native one ends, a stock one.

    ``about`` then has the exporter and the way that were taken, why, and the ways that are left.
    """
    try:
        result = made(settings.exporter)
        told = {prop.key: prop.value for prop in result[0].metadata_props}.get(BRANCHED)
        if settings.strict or told is None:
            return result
        if not instead.departure(result[0], spec, results, len(results)):
            return result
        raise ExportError(told)
    except StageError as error:
        if settings.strict or settings.exporter != "native":
            raise
        why = error
    left = ways.of(own.framework, own.model) if settings.ways is None else [*settings.ways]
    way, result = instead.exported(why, left, made, spec, results)
    about |= {"exporter": ways.exporter(way), "way": way, "instead": str(why)}
    about["untried"] = left[left.index(way) + 1 :]
    return result


def _export(
    own: UserModel, spec: ModelSpec, weights: set[int], fallback: Arrays, settings: ExportSettings
) -> tuple[Any, Arrays]:
    """Return the exported model, and the example that it was exported with.

    Where a constant of the graph is one of the example's sizes, it is exported again at sizes that
    are none of the graph's numbers: one that is then such a size, too, was baked in, and one that
    is not is the model's own.
    """
    example = _example(own, spec, weights, fallback)
    exported = interface.complete(_exported(own, spec, example, settings), spec)
    sizes = sizes_of(spec, example)
    if not coincidences(exported, sizes):
        return exported, example
    numbers = integers(exported)
    other = _example(own, spec, weights | numbers | {*sizes.values()}, fallback, numbers)
    if set(sizes_of(spec, other).values()) & {*sizes.values()}:
        return exported, example
    try:
        return interface.complete(_exported(own, spec, other, settings), spec), other
    except StageError:
        return exported, example


def _exported(own: UserModel, spec: ModelSpec, example: Arrays, settings: ExportSettings) -> Any:
    code = ways.code(settings.exporter, own.framework)
    if code is None:
        taking = (name.rpartition("/") for name in EXPORTERS)
        known = ", ".join(name for name, _, framework in taking if framework == own.framework)
        raise UsageError(
            f"exporter {settings.exporter!r} takes no {own.framework} model; choose from: {known}"
        )
    exporter = resolve(code)
    try:
        return exporter(own.model, spec, example, settings.opset)
    except StageError:
        raise
    except Exception as error:
        raise ExportError(one_line(error)) from error


def _example(
    own: UserModel,
    spec: ModelSpec,
    avoid: set[int],
    fallback: Arrays,
    products: Collection[int] = (),
) -> Arrays:
    """Return inputs to export with: the smallest for which no dynamic axis of an output has size 1.

    No size is to ``avoid``, and none times another is one of ``products``. Where the model takes
    none of the sizes in ``LEAST``, they are the ``fallback``.
    """
    for least in LEAST:
        example = example_inputs(spec, avoid | set(range(least)))
        sizes = sizes_of(spec, example).values()
        if any(one * other in products for one, other in combinations(sizes, 2)):
            continue
        try:
            outputs = named(spec, run(own, example, wide=False))
        except RefusedError:
            continue
        dynamic = [
            size
            for tensor in spec.outputs
            for axis, size in zip(tensor.axes, outputs[tensor.name].shape, strict=True)
            if isinstance(axis, str)
        ]
        if min(dynamic, default=2) > 1:
            return example
    return fallback
