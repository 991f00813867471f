"""Adapters that build, train and run a twin: one file for each framework.

A twin is a module with ``build(name)``. Each adapter offers ``build``, ``load``,
``parameters``, ``run`` and ``fit`` with the same signatures; parameters travel in the layout of
``reference_models.numerics``.
"""

FRAMEWORKS: dict[str, str] = {
    "keras": "harness.frameworks.keras_twin",
    "torch": "harness.frameworks.torch_twin",
}
