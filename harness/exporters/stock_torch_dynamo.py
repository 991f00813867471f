"""``torch.onnx.export(dynamo=True)``, PyTorch's default since 2.9."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from harness.errors import ExportError
from harness.schema import Arrays, ModelSpec


def export(model: Any, spec: ModelSpec, example: Arrays, opset: int) -> onnx.ModelProto:
    """The module in evaluation mode, traced on ``example``; every named axis dynamic by name."""
    arguments = tuple(torch.from_numpy(np.array(example[t.name])) for t in spec.inputs)
    axes = tuple({i: a for i, a in enumerate(t.axes) if isinstance(a, str)} for t in spec.inputs)
    _forget_kernels()
    try:
        with tempfile.TemporaryDirectory() as folder, _silence():
            program = torch.onnx.export(
                model.eval(),
                arguments,
                dynamo=True,
                dynamic_shapes=axes,
                input_names=[t.name for t in spec.inputs],
                output_names=[t.name for t in spec.outputs],
                opset_version=opset,
                verbose=False,
            )
            path = Path(folder) / "model.onnx"
            program.save(path)
            return onnx.load(path)
    except Exception as error:
        raise ExportError(f"torch.onnx.export: {_point(error)}") from error


def _forget_kernels() -> None:
    """Have each export start as the first one in a process does.

    torch.onnx swaps the kernels of LSTM and GRU while it traces, but the dispatcher remembers the
    ones that an earlier trace left, and with those a dynamic length cannot be exported.
    """
    for operator in (torch.ops.aten.lstm.input, torch.ops.aten.gru.input):
        getattr(operator, "_dispatch_cache", {}).clear()


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """No warnings, log lines, prints or lines from C++ on standard error."""
    logged = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    sys.stderr.flush()
    stderr = os.dup(2)
    try:
        with (
            open(os.devnull, "w") as sink,
            warnings.catch_warnings(),
            contextlib.redirect_stdout(sink),
            contextlib.redirect_stderr(sink),
        ):
            warnings.simplefilter("ignore")
            os.dup2(sink.fileno(), 2)
            yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)
        logging.disable(logged)


def _point(error: BaseException, limit: int = 300) -> str:
    """The message of the error that the others were raised from, as one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", str(error)).split())
    text = f"{type(error).__name__}: {text}"
    return text if len(text) <= limit else text[: limit - 1] + "…"
