"""What a text on the command line names."""

from __future__ import annotations

import os
from pathlib import Path

from reference_models import catalog


def is_path(subject: str) -> bool:
    """Whether a subject is a bundle folder or a file rather than a reference model's name."""
    found = bool(subject) and Path(subject).is_dir()
    return found or subject.endswith(".onnx") or os.sep in subject


def is_reference(subject: str) -> bool:
    """Whether a subject can only be the name, or a glob, of reference models."""
    path = Path(subject)
    return subject in catalog.MODELS or not (
        ":" in subject or path.suffix or os.sep in subject or path.exists()
    )
