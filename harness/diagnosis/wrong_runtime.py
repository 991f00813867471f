"""The first node that a runtime computes wrongly, apart from those that inherit its error.

Every tensor of the graph becomes an output. Then each node is evaluated in float64 on exactly the
inputs that it had in the runtime: the difference is the node's own error, whatever came before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.core.errors import StageError
from harness.core.schema import Arrays, Runtime
from harness.diagnosis.blame import Blame
from harness.diagnosis.values import ROUNDING, Exact, Failure, apart, first_step, observe, scale
from harness.graphs import extract
from harness.graphs.view import Net


@dataclass(frozen=True)
class Search:
    """A right graph and the runtime that departs from it; ``departs`` judges a run's outputs."""

    net: Net
    runtime: Runtime
    inputs: Arrays
    departs: Callable[[Arrays], bool]
    folder: Path

    def first(self, outputs: Sequence[str]) -> tuple[Blame | None, list[str]]:
        """Return the first node that errs by itself beyond rounding, and notes for the report.

        Where none does, it is the one that errs most, marked as uncertain.
        """
        needed = [i for i in self.net.ancestors(outputs) if i in set(self.net.computing)]
        names = [name for i in needed for name in self.net.makes(i)]
        exact = Exact(self.net)
        exact_tensors, failed = exact.all(self.inputs)
        if failed:
            return None, [f"float64 evaluation fails at {self.net.label(failed.node)}"]
        notes: list[str] = []
        observed = self._observed(names, notes)
        values = {**exact_tensors, **observed}
        blames = [b for i in needed if (b := self._local(i, exact, values, observed)) is not None]
        wrong = [b for b in blames if b.error > ROUNDING * b.scale]
        if wrong:
            return wrong[0], notes
        most = max(blames, key=lambda b: b.error / b.scale, default=None)
        if most is None:
            return None, notes
        words = (
            f"no node errs by itself by more than {ROUNDING:.2g} of its scale; this one errs most,"
            f" by {most.error / most.scale:.2g}: the departure builds up"
        )
        return replace(most, words=words, certain=False), notes

    def before(self, failed: Failure) -> Blame | None:
        """Return a node that errs by itself and that the failing one depends on; None if none does.

        Then the failure follows from it, as where a shape is wrong.
        """
        reads = [name for name in self.net.reads(failed.node) if name in self.net.maker]
        nodes = self.net.ancestors(reads)
        try:
            part = Net(extract.part(self.net, nodes, reads, {}))
            inputs = {name: self.inputs[name] for name in part.inputs}
            search = Search(part, self.runtime, inputs, lambda outputs: True, self.folder)
            blame, _ = search.first(part.outputs)
        except (StageError, ValueError, KeyError):
            return None
        if blame is None or not blame.certain:
            return None
        words = f"{blame.words}; what fails for it is {self.net.label(failed.node)}: "
        return replace(
            blame,
            node=nodes[blame.node],
            nodes=tuple(nodes[number] for number in blame.nodes),
            words=words + failed.reason,
        )

    def _local(self, number: int, exact: Exact, values: Arrays, observed: Arrays) -> Blame | None:
        """Return a node's own error, on the inputs that it had in the runtime."""
        try:
            expected = exact.node(number, values)
        except Exception:
            return None
        errors = {n: apart(observed[n], v) for n, v in expected.items() if n in observed}
        used = {n: e for n, e in errors.items() if n in self.net.outputs or self.net.readers(n)}
        if not used:
            return None
        worst = max(used, key=lambda name: used[name] / scale(expected[name]))
        reads = [n for n in self.net.reads(number) if n not in self.net.constants]
        hidden = [n for n in reads if n not in observed and n not in self.net.inputs]
        words = "on the very inputs that the runtime gave it, it errs by itself"
        if hidden:
            words = (
                f"what it makes is wrong, or what it reads ({', '.join(hidden)}), which cannot be"
                " made an output without hiding the departure"
            )
        return Blame.of(
            self.net,
            number,
            words,
            tensor=worst,
            error=errors[worst],
            scale=scale(expected[worst]),
            inputs={name: values[name] for name in reads},
            expected={worst: expected[worst]},
            actual={worst: observed[worst]},
            step=first_step(self.net, number, observed, expected),
            certain=not hidden,
        )

    def _observed(self, names: Sequence[str], notes: list[str]) -> Arrays:
        """Return the runtime's tensors: all of one run, or one a run where that hides the fault."""
        try:
            tensors = observe(self.net, names, self.runtime, self.inputs, self.folder)
            if self.departs(tensors):
                notes.append("with every tensor an output it departs, too")
                return tensors
            notes.append("with every tensor an output it does not depart: an optimisation is lost")
        except StageError as error:
            notes.append(f"not all tensors can be outputs at once: {error}")
        tensors, vanishing = {}, []
        for name in names:
            try:
                run = observe(self.net, [name], self.runtime, self.inputs, self.folder)
            except StageError:
                continue
            if self.departs(run):
                tensors[name] = run[name]
            else:
                vanishing.append(name)
        if vanishing:
            notes.append(f"it vanishes where one of these is an output: {', '.join(vanishing[:5])}")
        return tensors


def refused(net: Net, failed: Failure) -> Blame:
    """Blame the node that a runtime does not load, or does not run."""
    return Blame.of(net, failed.node, f"the runtime refuses it: {failed.reason}")
