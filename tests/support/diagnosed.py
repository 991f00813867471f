"""Planted defects for diagnosis, and the truth about each by other means than the harness's.

The truth comes from comparing two protobufs, from the models' NumPy oracles and from ONNX Runtime.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from harness.core.results import Cell
from harness.diagnosis import examine
from harness.goldens import store
from harness.mutation import study
from harness.mutation.defects.defect import Specimen
from harness.runtimes import load
from harness.validation import from_catalog
from harness.validation.selection import Selection
from reference_models import catalog
from tests.support.jobs import ready

GRU, BI, LM, SE = (
    ("gru_tagger", "torch"),
    ("bidirectional_tagger", "torch"),
    ("language_model", "torch"),
    ("sequence_encoder", "keras"),
)
LONGEST = 11
ONE_THREAD = load("ort-cpu").configured(intra_op_threads=1)


@cache
def stored(model, framework):
    return store.read(Path("golden") / model / framework)


@cache
def right(model, framework):
    """The native export, made now where it is not up to date."""
    selection = Selection([model], [framework])
    runtimes = {"ort-cpu": ONE_THREAD}
    (native,) = from_catalog.exported([model], selection, runtimes, lambda text: None)
    assert isinstance(native.model, Path), native.model
    return native.model


@cache
def parameters(model, framework):
    return stored(model, framework).parameters()


def mutant(model, framework, kind, place):
    """The planted model of one kind at one place."""
    subject = Specimen(onnx.load(right(model, framework)), stored(model, framework).spec)
    (defect,) = study.defects([kind]).values()
    return next(m for m in defect(subject) if m.place == place)


def job(model, framework, path, runtime=ONE_THREAD, label="ort-cpu", longest=LONGEST):
    source = stored(model, framework)
    cases = [case for case in source.cases if max(case.lengths.values()) <= longest]
    cell = Cell(model, framework, "planted", "fp32", label)
    return ready(source, path, runtime, cell, cases)


def planted(folder, model, framework, kind, place):
    """The file, in ``folder``, of the planted model of one kind at one place."""
    path = folder / "planted.onnx"
    onnx.save_model(mutant(model, framework, kind, place).model, path)
    return path


def examined(path, model, framework, good=True, runtime=ONE_THREAD, label="ort-cpu"):
    """The diagnosis of a file, beside the native export where ``good`` says so."""
    beside = right(model, framework) if good else None
    return examine.cell(job(model, framework, path, runtime, label), beside)


def reproduced(folder):
    """The exit code of a folder's ``reproduce.py``."""
    done = subprocess.run(
        [sys.executable, "-I", folder / "reproduce.py"], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip().endswith(("departs", "conforms")), done.stderr
    return done.returncode


def changed(model, original):
    """The numbers of the nodes of ``model`` that ``original`` does not have just so.

    Nodes are the same by name if their operator, attributes, inputs and constant values are.
    """

    def constants(graph):
        return {t.name: numpy_helper.to_array(t) for t in graph.initializer}

    ours, before = constants(model.graph), constants(original.graph)
    by_name = {node.name: node for node in original.graph.node if node.name}

    def same(node, counterpart):
        attributes = [
            sorted(a.SerializeToString(deterministic=True) for a in each.attribute)
            for each in (node, counterpart)
        ]
        if node.op_type != counterpart.op_type or attributes[0] != attributes[1]:
            return False
        if len(node.input) != len(counterpart.input):
            return False
        return all(
            np.array_equal(ours[a], before[b]) if a in ours and b in before else a == b
            for a, b in zip(node.input, counterpart.input, strict=True)
        )

    return {
        number
        for number, node in enumerate(model.graph.node)
        if node.name not in by_name or not same(node, by_name[node.name])
    }


class Aborting:
    """A runtime that ends its process when it runs, and is not to be asked in a test's own."""

    def check(self):
        return None

    def version(self):
        return "1"

    def prepare(self, path):
        session = ONE_THREAD.prepare(path)
        session.run = self.abort
        return session

    def abort(self, inputs):
        assert "pytest" not in sys.modules, "the runtime was asked outside of its child"
        os.abort()


ABORTING = Aborting()


@dataclass(frozen=True)
class Truth:
    """A planted model run without the harness."""

    model: str
    framework: str
    session: onnxruntime.InferenceSession

    @classmethod
    def of(cls, model, framework, path):
        options = onnxruntime.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 4, 1
        return cls(model, framework, onnxruntime.InferenceSession(path, options))

    @property
    def spec(self):
        return stored(self.model, self.framework).spec

    def errors(self, inputs, lengths):
        """For every output (error, tolerance, time axis); None where it does not run or fit."""
        expected = self.expected(inputs)
        try:
            names = [value.name for value in self.session.get_outputs()]
            actual = dict(zip(names, self.session.run(None, inputs), strict=True))
        except Exception:
            return None
        by_output = {}
        for tensor in self.spec.outputs:
            if tensor.name not in actual:
                return None
            value, due = actual[tensor.name], expected[tensor.name]
            if value.shape != due.shape or value.dtype != np.float32:
                return None
            with np.errstate(invalid="ignore"):
                error = np.abs(value.astype(np.float64) - due)
            usual = stored(self.model, self.framework).usual
            scale = max(usual.scale(tensor.name, lengths), float(np.abs(due).max()))
            ulp = float(np.spacing(np.float32(scale)))
            allowed = 6 * max(usual.noise_floor(tensor.name, lengths), ulp)
            by_output[tensor.name] = error, allowed, tensor.step_axis
        return by_output

    def expected(self, inputs):
        padded = self.spec.padded_steps.get(self.framework, "repeat")
        weights = parameters(self.model, self.framework)
        return catalog.part(self.spec, "oracle").run(self.spec.name, weights, inputs, padded)

    def fails(self, inputs, lengths):
        errors = self.errors(inputs, lengths)
        return errors is None or any(not (e <= allowed).all() for e, allowed, _ in errors.values())

    def first_step(self, inputs, lengths):
        """The first step at which any output departs; None where none has steps that do."""
        steps = []
        for error, allowed, axis in (self.errors(inputs, lengths) or {}).values():
            if axis is not None:
                wrong = ~(np.moveaxis(error, axis, 0) <= allowed)
                at = np.flatnonzero(wrong.reshape(len(wrong), -1).any(axis=1))
                steps += [int(at[0])] if len(at) else []
        return min(steps, default=None)

    def shortest(self, longest=LONGEST):
        """The least length at which some inputs, drawn here, fail: every one is tried."""
        rng = np.random.default_rng(7)
        axes = self.spec.axes
        for length in range(1, longest + 1):
            sizes = [{a: length if a == axis else 1 for a in axes} for axis in axes]
            sizes += [dict.fromkeys(axes, length)]
            for lengths, batch in product(sizes, (1, 2, 3, length)):
                if any(self.fails(each, lengths) for each in self._draws(rng, lengths, batch)):
                    return length
        return None

    def _draws(self, rng, lengths, batch):
        """Inputs without padding, and with padding behind, before, amid, and nothing else."""
        spec = self.spec
        inputs = {}
        for tensor in spec.inputs:
            shape = tensor.shape(batch, lengths)
            if tensor.name in spec.lengths:
                value = np.full(shape, lengths[spec.lengths[tensor.name]])
            elif np.dtype(tensor.dtype).kind == "i":
                value = rng.integers(max(1, int(tensor.low)), int(tensor.high), shape)
            else:
                value = rng.uniform(tensor.low, tensor.high, shape)
            inputs[tensor.name] = value.astype(tensor.dtype)
        yield inputs
        if spec.padded is None:
            return
        padded = inputs[spec.padded]
        steps = padded.shape[1]
        for pad in (slice(steps - steps // 2, steps), slice(0, steps // 2), slice(0, steps)):
            cut = padded.copy()
            cut[0, pad] = 0
            yield {**inputs, spec.padded: cut}
        if steps > 2:
            cut = padded.copy()
            cut[0, 1] = 0
            yield {**inputs, spec.padded: cut}
