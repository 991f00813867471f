"""Stands for the process that studies a cell: its first mutant ends it."""

import os
import time

from harness.mutation.study import Honest
from harness.mutation.trial import Trial, Verdict

DEADLY = Trial("deadly", "here", None, Verdict.MISSED)
HARMLESS = Trial("harmless", "there", None, Verdict.CAUGHT, peers={"polygraphy": False})
HONEST = Honest(0.25, 7.5, ())


def study(emit, cell, selection, kinds, tried):
    if not tried:
        emit((False, DEADLY))
        print("first line\nlast line", flush=True)
        os.abort()
    emit((False, HARMLESS))
    emit((True, HARMLESS))
    return HONEST


def at_once(emit, cell, selection, kinds, tried):
    """Ends before any mutant is tried."""
    os._exit(9)


def hanging(emit, cell, selection, kinds, tried):
    """Its first mutant never ends."""
    if not tried:
        emit((False, DEADLY))
        time.sleep(600)
    return HONEST
