"""One file of a report: it is there whole, or as it was."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def written(path: Path, data: bytes) -> Path:
    """``path``, which holds ``data`` now; its folder is made.

    OSError, which names ``path``, where it cannot be written; nothing is left beside it.
    """
    part = path.with_suffix(f".{os.getpid()}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        with suppress(OSError):
            part.unlink()
    return path
