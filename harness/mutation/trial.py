"""One planted defect on trial: whether it is caught, where, how soon, and by which peers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import chain
from pathlib import Path
from typing import Any

import onnx

from harness.core.errors import StageError
from harness.core.results import CaseResult, Status
from harness.core.schema import Array, Arrays, Case, GoldenCase, Runtime, Session, Stage
from harness.core.temporary import temporary_folder
from harness.core.tolerance import one_ulp
from harness.graphs import interface
from harness.graphs.example import sizes_of
from harness.mutation import peers
from harness.mutation.defects.defect import Defect, Mutant, Specimen
from harness.mutation.referee import LENGTH, Referee, Wrap, fresh
from harness.typed_json import Magnitude, Size
from harness.validation import cases as judging
from harness.validation import engine
from harness.validation.job import Ready
from harness.validation.known_errors import KnownErrors


class Verdict(StrEnum):
    """``EQUIVALENT``: exact arithmetic gives the same outputs, so there is nothing to catch."""

    CAUGHT = "caught"
    MISSED = "missed"
    EQUIVALENT = "equivalent"


@dataclass(frozen=True)
class Trial:
    """The outcome of one mutant.

    ``stage``, ``lengths`` and ``reason`` say where it was caught first, the cases in order of
    length; ``ratio`` is error ÷ tolerance there, None where something else than the error showed
    it. ``effect`` is how far a missed one moves an output in exact arithmetic, in noise floors; it
    is not computed for the smaller sizes of a graded one. ``peers`` says which of them catch it.
    """

    defect: str
    place: str
    size: Magnitude | None
    verdict: Verdict
    stage: Stage | None = None
    lengths: Mapping[str, Size] = field(default_factory=dict)
    batch: Size | None = None
    reason: str = ""
    ratio: Magnitude | None = None
    effect: Magnitude | None = None
    peers: Mapping[str, bool] = field(default_factory=dict)


class Court:
    """A job that conforms, its golden cases in order of length, and what judges its mutants.

    ``oracle`` is the runtime that evaluates a graph in float64. ``alarming`` are the peers whose
    rule refuses the unchanged model.
    """

    def __init__(self, job: Ready, oracle: Runtime) -> None:
        assert job.model is not None
        self.path, self.job, self.runtime = job.model, job, job.runtime
        self.cases = sorted(job.cases, key=lambda c: (c.longest, c.batch))
        self._store: dict[str, GoldenCase] = {}
        self._subject = Specimen(interface.read(str(self.path)), job.golden.spec, self.unit)
        self._referee = Referee(self.path, job.runtime, oracle, self.unit)
        self.alarming = tuple(
            peer.name for peer in peers.PEERS if self._caught_by(peer, self.path, _unchanged)
        )

    def honest(self) -> list[CaseResult]:
        """Judge the unchanged model at every case."""
        session = engine.prepare(self.path, self.job)
        known = KnownErrors(self.job)
        return [judging.judge_case(self.job, c, session, self._store, known) for c in self.cases]

    def try_all(
        self,
        kinds: Mapping[str, Defect],
        tried: Sequence[Trial],
        notify: Callable[[bool, Trial], None],
    ) -> None:
        """Try every mutant of every kind; of a graded one, no size below the first one missed.

        The first mutants were ``tried`` and are not tried again. ``notify`` gets each of the others
        when it begins (False) and when it is done (True).
        """
        waiting = list(reversed(tried))
        with temporary_folder() as folder:
            for kind, defect in kinds.items():
                last: Trial | None = None
                for mutant in defect(self._subject):
                    place = None if last is None or last.size is None else last.place
                    graded = place == mutant.place
                    if graded and last is not None and last.verdict is not Verdict.CAUGHT:
                        continue
                    if waiting:
                        last = waiting.pop()
                        continue
                    path = self.path
                    if mutant.model is not None:
                        path = folder / "mutant.onnx"
                        onnx.save_model(mutant.model, path)
                    last = self._try(kind, mutant, path, not graded, notify)
                    notify(True, last)

    def unit(self, output: str, inputs: Arrays) -> float:
        """Return the larger of noise floor and one float32 ulp of the scale, at these lengths."""
        spec = self.job.golden.spec
        sizes = spec.fitted(sizes_of(spec, inputs))
        lengths = {axis: sizes[axis] for axis in spec.axes}
        usual = self.job.golden.usual
        return max(usual.noise_floor(output, lengths), one_ulp(usual.scale(output, lengths)))

    def _try(
        self,
        kind: str,
        mutant: Mutant,
        path: Path,
        referee: bool,
        notify: Callable[[bool, Trial], None],
    ) -> Trial:
        wrap = mutant.wrap or _unchanged
        trial = Trial(kind, mutant.place, mutant.size, Verdict.MISSED)
        notify(False, trial)
        noticed = {
            peer.name: peer.name not in self.alarming and self._caught_by(peer, path, wrap)
            for peer in peers.PEERS
        }
        trial = replace(trial, peers=noticed)
        notify(False, trial)
        try:
            session = wrap(engine.prepare(path, self.job))
        except StageError as error:
            return replace(trial, verdict=Verdict.CAUGHT, stage=error.stage, reason=str(error))
        known = KnownErrors(replace(self.job, model=path))
        for case in [*self.cases, replace(self.cases[0], repeat=True)]:
            result = judging.judge_case(self.job, case, session, self._store, known)
            if result.status is not Status.PASS:
                return _caught(trial, result)
        if mutant.certain:
            return replace(trial, reason="no case shows it")
        if not referee:
            return trial
        notify(False, replace(trial, reason="every case passes"))
        effect, reason = self._referee.effect(path, mutant.wrap, self._refereed())
        verdict = Verdict.EQUIVALENT if effect == 0 else Verdict.MISSED
        return replace(trial, verdict=verdict, effect=effect, reason=reason)

    def _refereed(self) -> Iterable[tuple[str, Arrays]]:
        """Return golden cases short enough for exact arithmetic, the longest, and fresh inputs."""
        short = [c for c in self.cases if c.longest <= LENGTH]
        chosen = {case.id: self._golden(case).inputs for case in [*short, self.cases[-1]]}
        return chain(chosen.items(), fresh(self.job.golden.spec))

    def _caught_by(self, peer: peers.Peer, path: Path, wrap: Wrap) -> bool:
        """Return whether a peer's rule, at its few lengths, catches the mutant."""
        try:
            session = wrap(self.runtime.prepare(str(path)))
            cases = {case.id: case for case in (self._nearest(n) for n in peer.lengths)}
            return any(
                peers.caught(peer, self._expected(case), self._outputs(case, session))
                for case in cases.values()
            )
        except StageError:
            return True

    def _outputs(self, case: Case, session: Session) -> list[tuple[str, Array]]:
        """Return the outputs of a case, at the steps that its golden stores."""
        golden = self._golden(case)
        tensors = {tensor.name: tensor for tensor in self.job.golden.spec.outputs}
        outputs = []
        for name, value in session.run(golden.inputs):
            tensor = tensors.get(name)
            if tensor and value.shape == tensor.shape(case.batch, case.lengths):
                value = tensor.at_steps(value, golden.steps)
            outputs.append((name, value))
        return outputs

    def _expected(self, case: Case) -> list[tuple[str, Any]]:
        golden = self._golden(case)
        outputs = self.job.golden.spec.outputs
        return [(t.name, golden.outputs[t.name].astype(t.dtype)) for t in outputs]

    def _nearest(self, length: int) -> Case:
        """Return the case with lengths nearest to ``length``, padded on the right if possible."""

        def distance(case: Case) -> tuple[int, bool]:
            apart = sum(abs(n - length) for n in case.lengths.values())
            return apart, case.raggedness.value != "right"

        return min(self.cases, key=distance)

    def _golden(self, case: Case) -> GoldenCase:
        return judging.golden_case(self.job, case, self._store)


def _unchanged(session: Session) -> Session:
    return session


def _caught(trial: Trial, result: CaseResult) -> Trial:
    ratios = [output.ratio for output in result.outputs if output.ratio > 1]
    return replace(
        trial,
        verdict=Verdict.CAUGHT,
        stage=result.stage,
        lengths=result.case.lengths,
        batch=result.case.batch,
        reason=result.reason,
        ratio=max(ratios, default=None),
    )
