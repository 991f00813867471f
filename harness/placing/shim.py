"""Stand-ins for the CUDA libraries of one ONNX Runtime."""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import shutil
from pathlib import Path

from harness.core.errors import UnavailableError, UsageError
from harness.core.files import replacing
from harness.processes.limits import UNLIMITED
from harness.processes.process import Process

SOURCE = Path(__file__).with_name("shim.c")
LIBRARY = "libplacement.so"
SECONDS = 300
"""More than a compiler takes for one file on any machine."""
INSTALL_COMPILER = "apt-get install gcc, or set CC"
_FAMILIES = rb"cuda|cublas|cublasLt|cudnn|curand|cufft|nvrtc|cu"
_FUNCTION = re.compile(rb"\0((?:__cuda|" + _FAMILIES + rb")[A-Z]\w*)(?=\0)")
_NEEDED = re.compile(rb"\0(lib(?:cu|nv)\w+\.so\.\d+)(?=\0)")
_OPENED = ("libcudnn.so", "libcudnn.so.9")
"""Libraries that ONNX Runtime loads when it runs, by names in its code."""


def compiler() -> list[str]:
    """Return the system's C compiler, or the command in CC; UnavailableError without one."""
    try:
        words = shlex.split(os.environ.get("CC", ""))
    except ValueError as error:
        raise UsageError(f"CC={os.environ['CC']!r} is no command: {error}") from None
    names = words[:1] or ["cc", "gcc", "clang"]
    for name in names:
        if program := shutil.which(name):
            return [program, *words[1:]]
    raise UnavailableError(
        f"no C compiler ({', '.join(names)}), which the placement needs once: {INSTALL_COMPILER}"
    )


def functions(provider: bytes) -> list[str]:
    """Return the functions of the CUDA libraries that a provider library names.

    The linker stores a name that ends another one, as ``cudaLaunchKernel`` ends
    ``__cudaLaunchKernel``, inside it, so that both are listed. Some may be names of other things,
    which does no harm.
    """
    names = {name.decode() for name in _FUNCTION.findall(provider)}
    return sorted(names | {name.removeprefix("__") for name in names})


def libraries(provider: bytes) -> list[str]:
    """Return the file names of the CUDA libraries that a provider library loads."""
    return sorted({name.decode() for name in _NEEDED.findall(provider)} | {*_OPENED})


def built(provider: Path, cache: Path) -> Path:
    """Return the folder in ``cache`` with the libraries for ``provider``; build it if missing.

    UnavailableError where there is no compiler or it fails.
    """
    status = provider.stat()
    about = f"{provider.resolve()} {status.st_size} {status.st_mtime_ns}"
    key = hashlib.sha256(about.encode() + SOURCE.read_bytes() + Path(__file__).read_bytes())
    folder = cache.resolve() / key.hexdigest()[:16]
    if not folder.exists():
        _build(provider.read_bytes(), folder)
    return folder


def _build(provider: bytes, folder: Path) -> None:
    program = compiler()
    with replacing(folder) as new:
        stubs = new / "rest.c"
        stubs.write_text(
            "".join(
                f"__attribute__((weak)) int {name}(void) {{ return 0; }}\n"
                for name in functions(provider)
            )
        )
        command = [*program, "-shared", "-fPIC", "-O1", "-w"]
        command += ["-o", str(new / LIBRARY), str(SOURCE), str(stubs)]
        process = Process(command, UNLIMITED.output, {"TMPDIR": str(new)})
        try:
            status = process.wait(SECONDS)
        finally:
            process.kill()
        named = shlex.join(program)
        if status is None:
            raise UnavailableError(f"{named} did not end within {SECONDS} s")
        if status:
            message = (process.lines() or [f"exit code {status}"])[0]
            raise UnavailableError(f"{named} cannot build the placement's library: {message}")
        for name in libraries(provider):
            (new / name).symlink_to(LIBRARY)
