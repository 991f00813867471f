"""A runtime that agrees with the oracle but for the operators by which it goes wrong."""

import ctypes
import os
import time

import numpy as np
import onnx

from harness.core.errors import LoadError, RunError
from harness.oracle.runtime import DECLARED


class Planted:
    def __init__(self, available=True):
        self._available = available

    def check(self):
        return None if self._available else "planted: not here"

    def version(self):
        return "1.2"

    def prepare(self, path):
        print("said" * 100, flush=True)
        op = onnx.load(path).graph.node[0].op_type
        if op == "Abs":
            raise LoadError("no Abs here")
        if op == "Acos":
            raise ValueError("two\nlines")
        return Session(op, DECLARED.prepare(path))


class Session:
    def __init__(self, op, session):
        self._op, self._session = op, session

    def evidence(self):
        return {}

    def run(self, inputs):
        if self._op == "Acosh":
            raise RunError("no Acosh here")
        if self._op == "Asin":
            ctypes.string_at(0)
        if self._op == "Cosh" and ctypes.CDLL(None).fork():
            os.abort()
        if self._op in ("Asinh", "Cosh"):
            time.sleep(600)
        outputs = self._session.run(inputs)
        changes = {
            "Atan": lambda v: v + np.float32(1e-4),
            "Atanh": lambda v: v.astype(np.float64),
            "Ceil": lambda v: v[..., None],
            "Cos": lambda v: np.where(v == v.max(), np.float32(np.nan), v),
        }
        change = changes.get(self._op, lambda v: v)
        return [(name, change(value)) for name, value in outputs]


PLANTED, ABSENT = Planted(), Planted(available=False)
