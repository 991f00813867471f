"""Builds a twin with the parameters that it has from its own construction."""

from harness.frameworks import torch_twin


def build(twin, spec, parameters):
    return torch_twin.build(twin, spec, None)
