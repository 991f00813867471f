"""Stands for the process that studies a cell: its first mutant ends it."""

import os
import time

from harness.mutation.study import Honest
from harness.mutation.trial import Trial, Verdict

DEADLY = Trial("deadly", "here", None, Verdict.MISSED)
HARMLESS = Trial("harmless", "there", None, Verdict.CAUGHT, peers={"polygraphy": False})
HONEST = Honest(0.25, 7.5, ())


def child(cell, selection, kinds, known, pipe, log):
    if not known:
        pipe.send((False, DEADLY))
        log.write_text("first line\nlast line\n")
        os.abort()
    pipe.send((False, HARMLESS))
    pipe.send((True, HARMLESS))
    pipe.send(HONEST)


def at_once(cell, selection, kinds, known, pipe, log):
    """Ends before any mutant is tried."""
    os._exit(9)


def hanging(cell, selection, kinds, known, pipe, log):
    """A mutant that never ends."""
    pipe.send((False, DEADLY))
    time.sleep(600)
