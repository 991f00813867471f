"""The golden store: the only module that knows the layout of ``golden/<model>/<framework>/``.

A golden is three files. ``weights.safetensors`` holds the trained parameters (or the manifest
points to the golden that has them), ``cases.safetensors`` the oracle's float64 outputs and the
small inputs, ``manifest.json`` everything else: the specification, the cases with their formulas, a
SHA-256 of every tensor and of itself, and where it all came from. Each may lie there packed, as
``weights.packed``, ``cases.packed`` or ``manifest.packed`` (``tensor_files``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.bands import Bands
from harness.core.errors import GoldenError, UsageError
from harness.core.files import replacing
from harness.core.projection import Projection
from harness.core.reading import TENSOR_BYTES, check_inside, read_bytes
from harness.core.schema import Array, Arrays, Case, GoldenCase, ModelSpec
from harness.core.tolerance import rounded_scale
from harness.goldens import manifest as manifests
from harness.goldens.form import WEIGHTS, GoldenManifest, shared_weights
from harness.goldens.formulas import Formula, evaluate
from harness.goldens.manifest import case_of, key, sha256
from harness.goldens.noise_floor import Usual
from harness.goldens.tensor_files import (
    PACKED,
    present,
    read_tensors,
    write_tensors,
    write_text,
)
from harness.goldens.verify import check_names, check_noise, check_tensors, same

MANIFEST, CASES = "manifest.json", "cases.safetensors"
INLINE_BYTES = 128
"""The largest input that is stored beside its formula."""


@dataclass(frozen=True)
class RecordedCase:
    """What ``write`` takes of one case: its formulas, inputs, outputs and float32 errors.

    ``bands`` are the errors by magnitude, of the outputs that have them; ``projections`` the sums
    of every step where only some are stored.
    """

    case: Case
    formulas: Mapping[str, Formula]
    inputs: Arrays
    outputs: Arrays
    steps: Array | None
    noise: Mapping[str, float]
    bands: Mapping[str, Bands] = field(default_factory=dict)
    projections: Mapping[str, Projection] = field(default_factory=dict)


@dataclass(frozen=True)
class Golden:
    """A golden as read: its manifest and stored tensors are verified, inputs as they are loaded."""

    folder: Path
    manifest: Mapping[str, Any]
    spec: ModelSpec
    tensors: Mapping[str, Array]

    @property
    def framework(self) -> str:
        return str(self.manifest["framework"])

    @property
    def cases(self) -> list[Case]:
        return [case for case, _ in self._recorded.values()]

    @property
    def weights_sha256(self) -> str:
        """One hash for all parameters, to tell whether an exported model is up to date."""
        return manifests.json_sha256(self.manifest["weights"]["tensors"])

    @property
    def has_weights(self) -> bool:
        """Whether the trained parameters are here; a bundle's golden has none."""
        path = self._weights()
        return path is not None and present(path).is_file()

    def parameters(self) -> Arrays:
        """Return the trained parameters; GoldenError where one is missing or altered."""
        entry, path = self.manifest["weights"], self._weights()
        if path is None:
            raise GoldenError(f"{self.folder} has no weights; expected {entry['file']}")
        tensors = read_tensors(path, path.parent)
        check_names(self.folder, set(entry["tensors"]), set(tensors), "parameters")
        for name, expected in entry["tensors"].items():
            same(self.folder, name, tensors[name], expected)
        return tensors

    def _weights(self) -> Path | None:
        """Return the file of the weights; None where only the golden of another model has them.

        That golden is looked for where this one lies as ``<model>/<framework>``, nowhere else.
        """
        if self.manifest["weights"]["file"] == WEIGHTS:
            return self.folder / WEIGHTS
        here = self.folder.absolute()
        if here.parts[-2:] != (self.spec.name, self.framework):
            return None
        return here.parents[1] / self.spec.weights / self.framework / WEIGHTS

    def load(self, case: Case) -> GoldenCase:
        """Return one case with its inputs and outputs; GoldenError where a tensor was altered."""
        entry = self._recorded[case.id][1]
        inputs = {}
        for tensor in self.spec.inputs:
            about = entry["inputs"][tensor.name]
            place = key(case, "input", tensor.name)
            if place in self.tensors:
                inputs[tensor.name] = self.tensors[place]
            else:
                shape = tensor.shape(case.batch, case.lengths)
                value = self._evaluated(place, about["formula"], shape, tensor.dtype)
                inputs[tensor.name] = same(self.folder, place, value, about["sha256"])
        steps = None if entry["steps"] is None else np.asarray(entry["steps"], np.int64)
        names = [tensor.name for tensor in self.spec.outputs]
        outputs = {name: self.tensors[key(case, "output", name)] for name in names}
        floors = {name: self.usual.noise_floor(name, case.lengths) for name in names}
        scales = {name: self.usual.scale(name, case.lengths) for name in names}
        by_band = self.usual.band_floors(case.lengths)
        sums = {
            name: Projection(self.tensors[key(case, "projection", name)], about["squash"], floor)
            for name, about, floor in self._projections(case)
        }
        return GoldenCase(
            case, inputs, outputs, steps, floors, scales, band_floors=by_band, projections=sums
        )

    def _projections(self, case: Case) -> Iterator[tuple[str, Mapping[str, Any], float]]:
        """Yield each projected output of a case: its name, its entry and its noise floor."""
        every = [entry.get("projections", {}) for _, entry in self._recorded.values()]
        for name, about in self._recorded[case.id][1].get("projections", {}).items():
            noises = [entry[name]["noise"] if name in entry else 0.0 for entry in every]
            yield name, about, self.usual.at_like_lengths(noises, case.lengths)

    @property
    def has_every_step(self) -> bool:
        """Whether each case holds every step of its outputs, or a projection of every step."""
        names = {tensor.name for tensor in self.spec.outputs if tensor.step_axis is not None}
        return all(
            entry["steps"] is None or names <= set(entry.get("projections", ()))
            for _, entry in self._recorded.values()
        )

    def _evaluated(self, place: str, formula: Formula, shape: tuple[int, ...], dtype: str) -> Array:
        try:
            return evaluate(formula, shape, dtype)
        except (ValueError, TypeError, OverflowError, ZeroDivisionError) as error:
            raise GoldenError(f"{self.folder}: the formula of {place!r}: {error}") from None

    def entries(self) -> Iterator[tuple[Case, Mapping[str, Any]]]:
        """Yield every case with its entry in the manifest."""
        yield from self._recorded.values()

    @cached_property
    def usual(self) -> Usual:
        """How far float32 errs, and how large values are, at any lengths."""
        cases, entries = zip(*self._recorded.values(), strict=True)
        names = [tensor.name for tensor in self.spec.outputs]

        def largest(case: Case, output: str) -> float:
            return rounded_scale(self.tensors[key(case, "output", output)])

        return Usual(
            [case.lengths for case in cases],
            {name: [float(e["outputs"][name]["noise"]) for e in entries] for name in names},
            {name: [largest(case, name) for case in cases] for name in names},
            {
                name: [_bands(entry["outputs"][name]) for entry in entries]
                for name in names
                if all("bands" in entry["outputs"][name] for entry in entries)
            },
        )

    @cached_property
    def _recorded(self) -> dict[str, tuple[Case, Mapping[str, Any]]]:
        """Every case and its entry in the manifest, by the case's id."""
        cases = [(case_of(entry), entry) for entry in self.manifest["cases"]]
        return {case.id: (case, entry) for case, entry in cases}


def read(folder: Path) -> Golden:
    """Return the golden in ``folder``, every stored tensor verified.

    GoldenError names what is missing, altered, or not what a golden may say.
    """
    try:
        for name in (MANIFEST, CASES):
            check_inside(folder / name, folder)
    except UsageError as error:
        raise GoldenError(str(error)) from None
    manifest, form = manifests.read(folder / MANIFEST)
    return _verified(folder, manifest, form, read_tensors(folder / CASES, folder))


def assembled(
    folder: Path,
    manifest: Mapping[str, Any],
    form: GoldenManifest,
    load: Callable[[ModelSpec, int], Mapping[str, Arrays]],
) -> Golden:
    """Return the golden of a manifest; ``load`` gives each kind of tensors of a case's number.

    GoldenError where one is not what the manifest says.
    """
    spec, hashes = form.spec.spec, manifests.hashes(form)
    tensors: Arrays = {}
    for number, entry in enumerate(form.cases):
        for kind, arrays in load(spec, number).items():
            for name, value in arrays.items():
                place = key(entry.case, kind, name)
                same(folder, place, value, hashes.get(place, ""))
                if place in manifest["stored"]:
                    tensors[place] = value
    return _verified(folder, manifest, form, tensors)


def copy(source: Golden, folder: Path) -> None:
    """Replace ``folder`` by a copy of a golden and, as they are stored, its folder's weights."""
    weights = present(source.folder / WEIGHTS)
    data = None
    if weights.is_file():
        check_inside(weights, source.folder)
        data = read_bytes(weights, TENSOR_BYTES)
    with replacing(folder) as new:
        if data is not None:
            (new / weights.name).write_bytes(data)
        write_tensors(new / CASES, dict(source.tensors))
        (new / MANIFEST).write_text(manifests.text(source.manifest), "utf-8")


def _verified(
    folder: Path, manifest: Mapping[str, Any], form: GoldenManifest, tensors: Arrays
) -> Golden:
    check_tensors(folder, form, tensors)
    golden = Golden(folder, manifest, form.spec.spec, tensors)
    check_noise(folder, form, tensors, golden.usual)
    return golden


def write(
    folder: Path,
    spec: ModelSpec,
    parameters: Arrays | Path,
    cases: list[RecordedCase],
    about: Mapping[str, Any],
    keep_weights: bool = True,
    pack: bool = False,
) -> None:
    """Replace the golden in ``folder`` at once; with ``pack``, all of it is packed.

    ``parameters`` are the weights, or the folder of the golden that holds them; without
    ``keep_weights`` their hashes alone are kept.
    """
    if isinstance(parameters, Path):
        owner = read(parameters)
        weights = {
            "file": shared_weights(spec, str(about["framework"])),
            "tensors": owner.manifest["weights"]["tensors"],
        }
    else:
        hashes = {name: sha256(value) for name, value in sorted(parameters.items())}
        weights = {"file": WEIGHTS, "tensors": hashes}
    tensors: Arrays = {}
    entries = [_entry(recorded, tensors) for recorded in cases]
    manifest = {
        "schema": manifests.SCHEMA,
        **about,
        "spec": asdict(spec),
        "weights": weights,
        "stored": sorted(tensors),
        "cases": entries,
    }
    with replacing(folder) as new:
        if keep_weights and not isinstance(parameters, Path):
            write_tensors(new / WEIGHTS, parameters, pack)
        write_tensors(new / CASES, tensors, pack)
        write_text(new / MANIFEST, manifests.text(manifests.signed(manifest)), pack)


def bands(entry: Mapping[str, Any]) -> dict[str, Bands]:
    """Return the float32 errors by magnitude of each output of a case's entry that has them."""
    return {n: _bands(about) for n, about in entry["outputs"].items() if "bands" in about}


def goldens(root: Path) -> Iterator[Path]:
    """Return every golden's folder under ``root``, without what a killed process left there."""
    names = (MANIFEST, Path(MANIFEST).with_suffix(PACKED).name)
    folders = {path.parent for name in names for path in root.glob(f"*/*/{name}")}
    return (folder for folder in sorted(folders) if not folder.name.startswith("."))


def _bands(output: Mapping[str, Any]) -> Bands:
    return {band: (count, noise) for band, count, noise in output["bands"]}


def _entry(recorded: RecordedCase, tensors: Arrays) -> dict[str, Any]:
    """Return a case's entry in the manifest and add what is stored of it to ``tensors``."""
    case = recorded.case
    inputs: dict[str, Any] = {}
    for name, value in recorded.inputs.items():
        inputs[name] = {"sha256": sha256(value), "formula": dict(recorded.formulas[name])}
        if value.nbytes <= INLINE_BYTES:
            tensors[key(case, "input", name)] = np.asarray(value, order="C")
    outputs: dict[str, Any] = {}
    for name, value in recorded.outputs.items():
        outputs[name] = {"sha256": sha256(value), "noise": recorded.noise[name]}
        if name in recorded.bands:
            found = recorded.bands[name].items()
            outputs[name]["bands"] = [[band, *figures] for band, figures in found]
        tensors[key(case, "output", name)] = np.asarray(value, order="C")
    projections: dict[str, Any] = {}
    for name, about in recorded.projections.items():
        tensors[key(case, "projection", name)] = about.sums
        figures = {"squash": about.squash, "noise": about.noise}
        projections[name] = {"sha256": sha256(about.sums), **figures}
    return {
        **manifests.entry_of(case),
        "steps": None if recorded.steps is None else recorded.steps.tolist(),
        "inputs": inputs,
        "outputs": outputs,
        **({"projections": projections} if projections else {}),
    }
