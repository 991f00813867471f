"""Progress on standard error: a bar on a terminal, elsewhere a line now and then."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich import progress as bars
from rich.console import Console

from harness.core.escaping import line

EVERY = 10.0
"""Seconds between two lines"""
_COUNT = re.compile(r"(\d+)/(\d+)$")


class Estimate:
    """How much of the work is done, and how long the rest takes at the pace so far.

    ``phases`` maps a phase, by the word after the subject of what is told of it, such as ``net:
    float32, run 3/8``, to the share of the time that it usually takes, in their order. Without
    phases the work begins with the first count.
    """

    def __init__(self, phases: Mapping[str, float], now: Callable[[], float]) -> None:
        self._phases, self._now = phases, now
        self._begun = now()
        self._counted = bool(phases)
        self.part = 0.0

    def tell(self, text: str) -> None:
        """Take notice of what is done now; a count at the end is how much of the phase is done."""
        found = _COUNT.search(text)
        within = min(1.0, int(found[1]) / max(int(found[2]), 1)) if found else 0.0
        if not self._counted and found:
            self._counted, self._begun = True, self._now()
        done = 0.0
        for word, share in self._phases.items():
            if f": {word}" in text:
                within = done + share * within
                break
            done += share
        else:
            within = 0.0 if self._phases else within
        self.part = max(self.part, within)

    @property
    def left(self) -> str:
        """The time that is left, in words; empty as long as nothing can be said."""
        spent = self._now() - self._begun
        if not 0.02 <= self.part < 1 or spent < 1:
            return ""
        seconds = spent * (1 - self.part) / self.part
        if seconds < 90:
            return f"about {seconds:.0f} s left"
        return f"about {seconds / 60:.0f} min left"


@contextmanager
def shown(
    console: Console,
    enabled: bool,
    phases: Mapping[str, float] | None = None,
    now: Callable[[], float] = time.monotonic,
) -> Iterator[Callable[[str], None]]:
    """Yield what shows a text of what is done now, as ``Estimate.tell`` takes it.

    Where it is not ``enabled``, nothing is shown.
    """
    estimate = Estimate(phases or {}, now)
    if not enabled:
        yield lambda text: None
    elif console.is_terminal:
        with _bar(console) as bar:
            task = bar.add_task("loading", total=1, left="")

            def move(text: str) -> None:
                estimate.tell(text)
                bar.update(task, description=line(text), completed=estimate.part)
                bar.update(task, left=estimate.left)

            yield move
    else:
        begun = last = now()

        def print_now_and_then(text: str) -> None:
            nonlocal last
            estimate.tell(text)
            if (moment := now()) - last >= EVERY:
                last = moment
                left = f", {estimate.left}" if estimate.left else ""
                words = f"[{moment - begun:.0f} s] {line(text)}{left}"
                console.print(words, markup=False, highlight=False, soft_wrap=True)

        yield print_now_and_then


def _bar(console: Console) -> bars.Progress:
    return bars.Progress(
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        bars.TimeElapsedColumn(),
        bars.TextColumn("{task.fields[left]}", markup=False),
        console=console,
        transient=True,
    )
