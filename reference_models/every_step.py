"""Every step of a golden's cases, computed again by the oracle of a reference model."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.core.schema import Arrays, GoldenCase, ModelSpec
from harness.goldens.store import Golden
from reference_models import catalog


@dataclass(frozen=True)
class EveryStep:
    """Completes a golden case of a model from its weights, in float64 NumPy."""

    spec: ModelSpec
    framework: str
    parameters: Arrays

    def __call__(self, case: GoldenCase) -> GoldenCase:
        outputs = catalog.run_oracle(self.spec, self.framework, self.parameters, case.inputs)
        return replace(case, outputs=outputs, steps=None, projections={})


def of(golden: Golden) -> EveryStep | None:
    """Return what completes the cases of ``golden``; None where the catalog lacks its model.

    GoldenError where its weights are missing or altered.
    """
    if not catalog.has(golden.spec):
        return None
    return EveryStep(golden.spec, golden.framework, golden.parameters())
