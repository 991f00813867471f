"""Every architecture: those of this folder, ``ci/own_nets`` and, where installed, packages."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from ci.own_nets.table import KERAS, NETS, TORCH
from ci.packages import models as packages
from harness.subjects import describe
from harness.subjects.description import ModelDescription

MODULES = ("torch_loops", "torch_attention", "torch_convolutions", "torch_recurrent", "keras_nets")
NEEDED = {"keras": "keras_hub", "crf": "torchcrf", "conformer": "torchaudio"}
"""The package that a model needs, by how its name begins; transformers by the others."""


@dataclass(frozen=True)
class Architecture:
    """``place`` is the file and the factory that ``harness.export`` takes."""

    framework: str
    place: str
    kind: str
    description: ModelDescription = field(repr=False)
    make: Callable[[], Any] = field(repr=False)

    @property
    def name(self) -> str:
        return self.place.rpartition(":")[2]

    @property
    def exporters(self) -> tuple[str, ...]:
        return TORCH if self.framework == "torch" else KERAS


def architectures() -> Iterator[Architecture]:
    """Yield every architecture whose packages are installed."""
    for name, inputs in packages.MODELS.items():
        needed = next((p for n, p in NEEDED.items() if name.startswith(n)), "transformers")
        if find_spec(needed):
            framework = "keras" if name.startswith("keras") else "torch"
            place, make = f"ci/packages/models.py:{name}", getattr(packages, name)
            kind = f"{needed}: {_said(make) or name.replace('_', ' ')}"
            yield Architecture(framework, place, kind, described(inputs), make)
    for module in MODULES:
        yield from _folder(module)
    for net in NETS:
        place = f"ci/own_nets/{net.framework}_nets.py:{net.name}"
        yield Architecture(net.framework, place, net.kind, net.description, net.make)


def described(inputs: tuple[str, ...]) -> ModelDescription:
    return describe.description(list(inputs))


def _folder(name: str) -> Iterator[Architecture]:
    framework = name.partition("_")[0]
    if not find_spec(framework):
        return
    module = importlib.import_module(f"ci.architectures.{name}")
    for made in vars(module).values():
        own = getattr(made, "__module__", None) == module.__name__ and _said(made)
        if not own or made.__name__.startswith("_"):
            continue
        inputs = made.inputs if framework == "torch" else module.INPUTS.get(made.__name__, ())
        place = f"ci/architectures/{name}.py:{made.__name__}"
        make = _seeded(made) if framework == "torch" else _keras(made)
        yield Architecture(framework, place, _said(made), described(inputs), make)


def _said(made: Any) -> str:
    return (made.__doc__ or "").partition("\n")[0].rstrip(".")


def _seeded(net: Any) -> Callable[[], Any]:
    def make() -> Any:
        import torch

        torch.manual_seed(0)
        return net().eval()

    return make


def _keras(net: Any) -> Callable[[], Any]:
    def make() -> Any:
        import keras

        keras.utils.set_random_seed(0)
        return net()

    return make
