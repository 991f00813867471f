"""Every step of a golden's cases, derived anew by the oracle of a reference model."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.core.schema import Arrays, GoldenCase, ModelSpec, PaddedSteps
from harness.goldens.store import Golden
from reference_models import catalog


@dataclass(frozen=True)
class EveryStep:
    """Completes a golden case of a model from its weights, in float64 NumPy."""

    spec: ModelSpec
    parameters: Arrays
    padded: PaddedSteps

    def __call__(self, case: GoldenCase) -> GoldenCase:
        oracle = catalog.part(self.spec, "oracle")
        outputs = oracle.run(self.spec.name, self.parameters, case.inputs, self.padded)
        return replace(case, outputs=outputs, steps=None)


def of(golden: Golden) -> EveryStep | None:
    """What completes the cases of ``golden``; None where the catalog does not have its model.

    GoldenError where its weights are missing or altered.
    """
    spec = golden.spec
    if spec.name not in catalog.MODELS:
        return None
    padded = spec.padded_steps.get(golden.framework, "repeat")
    return EveryStep(spec, golden.parameters(), padded)
