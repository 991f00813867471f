"""Remove each check of the harness in turn and see that the test planted for it fails.

Run from the repository's root. Each row takes one check out of a copy of the source; a row whose
test still passes is a test that cannot fail.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
FAULTS, RUNTIMES = "tests/meta/test_planted_faults.py", "tests/meta/test_planted_runtimes.py"
SAVED = "tests/unit/validation/test_outputs.py"


class Check(NamedTuple):
    """A check, the source that makes it, what stands there without it, and its test."""

    name: str
    file: str
    source: str
    without: str
    test: str


CHECKS = [
    Check(
        "tolerance",
        "harness/core/compare.py",
        "if not reason and not ratio <= (0.0 if exact else 1.0):",
        "if False:",
        f"{FAULTS}::test_an_error_just_over_the_tolerance_fails_and_just_under_passes",
    ),
    Check(
        "NaN and infinity",
        "harness/core/compare.py",
        'stray = "" if np.isfinite(seen).all() or not finite_golden else _not_finite(seen)',
        'stray = ""',
        f"{FAULTS}::test_nan_fails",
    ),
    Check(
        "the sign (a relative error over a negative value)",
        "harness/core/compare.py",
        "np.abs(actual[finite] - expected[finite])",
        "np.abs(np.abs(actual[finite]) - np.abs(expected[finite]))",
        f"{FAULTS}::test_a_negated_output_fails",
    ),
    Check(
        "declared outputs: missing",
        "harness/graphs/interface.py",
        "    if sorted(names) != sorted(expected):",
        "    if set(names) - set(expected):",
        f"{FAULTS}::test_a_missing_output_fails",
    ),
    Check(
        "declared outputs: extra",
        "harness/graphs/interface.py",
        "    if sorted(names) != sorted(expected):",
        "    if set(expected) - set(names):",
        f"{FAULTS}::test_an_extra_output_fails",
    ),
    Check(
        "declared outputs: renamed",
        "harness/graphs/interface.py",
        "    if sorted(names) != sorted(expected):",
        "    if len(names) != len(expected):",
        f"{FAULTS}::test_a_renamed_output_fails",
    ),
    Check(
        "declared dtype",
        "harness/graphs/interface.py",
        "    if dtype != tensor.dtype:",
        "    if False:",
        f"{FAULTS}::test_a_retyped_output_fails",
    ),
    Check(
        "declared axes",
        "harness/graphs/interface.py",
        "        if shown == axis:",
        "        if True:",
        f"{FAULTS}::test_a_declared_example_length_fails",
    ),
    Check(
        "every case is run",
        "harness/validation/cases.py",
        "for case in [*job.cases, *job.again]:",
        "for case in [c for c in job.cases if c.lengths['sequence'] == 9]:",
        f"{FAULTS}::test_a_length_baked_into_a_constant_fails",
    ),
    Check(
        "shape",
        "harness/core/compare.py",
        "        if value.shape != shape:",
        "        if False:",
        f"{FAULTS}::test_right_values_in_a_wrong_shape_fail",
    ),
    Check(
        "names of what a run returns: missing",
        "harness/core/compare.py",
        '("missing", expected, returned), ',
        "",
        f"{RUNTIMES}::test_a_planted_runtime_fails_at_its_stage",
    ),
    Check(
        "names of what a run returns: extra",
        "harness/core/compare.py",
        ', ("extra", returned, expected)',
        "",
        f"{RUNTIMES}::test_a_planted_runtime_fails_at_its_stage",
    ),
    Check(
        "dtype of what a run returns",
        "harness/core/compare.py",
        "        if value.dtype != dtype and",
        "        if False and",
        f"{RUNTIMES}::test_a_planted_runtime_fails_at_its_stage",
    ),
    Check(
        "placement of nodes",
        "harness/runtimes/ort.py",
        "if reason := misplaced(self.placements(), self._sizes, self._provider):",
        "if reason := '':",
        f"{RUNTIMES}::test_a_planted_runtime_fails_at_its_stage",
    ),
    Check(
        "unavailable is not a pass",
        "harness/core/summary.py",
        "    if not report.comparisons:",
        "    if False:",
        f"{RUNTIMES}::test_an_unavailable_runtime_is_not_a_pass",
    ),
    Check(
        "required runtimes",
        "harness/validation/pipeline.py",
        "    for name in required:",
        "    for name in ():",
        f"{RUNTIMES}::test_a_required_runtime_that_is_unavailable_ends_with_three",
    ),
    Check(
        "the first case again",
        "harness/validation/cases.py",
        "for case in [*job.cases, *job.again]:",
        "for case in job.cases:",
        f"{RUNTIMES}::test_the_first_case_is_run_again_at_the_end",
    ),
    Check(
        "an empty selection of cells",
        "harness/core/selectors.py",
        "    if not kept:",
        "    if False:",
        f"{FAULTS}::test_a_keyword_that_matches_no_cell_is_an_error",
    ),
    Check(
        "an empty selection of cases",
        "harness/core/selectors.py",
        "            if not any(low <= number <= high for number in available):",
        "            if False:",
        f"{FAULTS}::test_an_empty_selection_is_an_error",
    ),
    Check(
        "hash of a golden's tensors",
        "harness/goldens/verify.py",
        "    if sha256(value) != expected:",
        "    if False:",
        f"{FAULTS}::test_any_flipped_bit_in_a_golden_is_refused[cases.safetensors]",
    ),
    Check(
        "hash of a golden's manifest",
        "harness/goldens/manifest.py",
        '    if manifest.get("sha256") != signed(manifest)["sha256"]:',
        "    if False:",
        f"{FAULTS}::test_any_flipped_bit_in_a_golden_is_refused[manifest.json]",
    ),
    Check(
        "the inputs of loaded outputs",
        "harness/validation/outputs/saved.py",
        "if changed := [n for n in sorted({*hashes, *kept}) if hashes.get(n) != kept.get(n)]:",
        "if changed := []:",
        f"{SAVED}::test_other_inputs_fail_at_the_run_and_are_named",
    ),
    Check(
        "the model of loaded outputs",
        "harness/validation/outputs/saved.py",
        "if ran and Path(path).is_file()",
        "if False and Path(path).is_file()",
        f"{SAVED}::test_a_model_need_not_be_here_but_if_it_is_it_is_the_one_that_ran",
    ),
    Check(
        "the golden of loaded outputs",
        "harness/validation/outputs/saved.py",
        "if self.golden != self.manifest.golden:",
        "if False:",
        f"{SAVED}::test_another_golden_is_refused",
    ),
]


def fails_without(check: Check, copy: Path) -> bool:
    """Return whether the check's test fails without the check; the copy is put back."""
    path = copy / check.file
    kept = path.read_text()
    if (times := kept.count(check.source)) != 1:
        sys.exit(f"{check.file}: expected {check.source!r} once, it is there {times} times")
    path.write_text(kept.replace(check.source, check.without))
    command = [sys.executable, "-m", "pytest", "-x", "-p", "no:cacheprovider", check.test]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    result = subprocess.run(command, cwd=copy, env=environment, capture_output=True, check=False)
    path.write_text(kept)
    return result.returncode == 1


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for name in ("harness", "reference_models", "tests", "golden", "ci"):
            shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        results = {check.name: fails_without(check, copy) for check in CHECKS}
    for name, noticed in results.items():
        print(f"{'test fails' if noticed else 'NOT NOTICED':<12}without: {name}")
    print(f"{sum(results.values())} of {len(results)} checks are held by their test")
    return 0 if all(results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
