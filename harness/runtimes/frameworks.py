"""The source frameworks as runtimes: the trained twin itself, in a child process.

They take the folder of a golden, which has the weights, where others take a model file.
"""

from __future__ import annotations

from harness.core import install
from harness.core.environment import version_of
from harness.core.tolerance import Row
from harness.runtimes.cuda import no_cuda_device
from harness.runtimes.served import ServedSession, in_child

DISTRIBUTIONS = {
    "keras": (("keras",), ("tensorflow", "tensorflow-cpu")),
    "torch": (("torch",),),
}
"""What each framework needs: one distribution of every group."""
CUDA_INSTALL = {"keras": "pip install 'tensorflow[and-cuda]'", "torch": "pip install torch"}


class FrameworkRuntime:
    """A framework on the CPU or, where ``cuda`` is set, on the first CUDA device."""

    row = Row(4.0, "the noise floor is its own: at worst 1 where it was recorded")

    def __init__(self, framework: str, cuda: bool = False) -> None:
        self.framework = framework
        self.cuda = cuda
        groups = DISTRIBUTIONS[framework]
        self.distributions = tuple(name for group in groups for name in group)
        device = "CUDA" if cuda else "CPU"
        target = f"harness.runtimes.twins:{framework.upper()}_{device}"
        hidden = {} if cuda else {"CUDA_VISIBLE_DEVICES": "-1"}
        self._served = in_child(target, hidden)

    def check(self) -> str | None:
        """Return None where the framework and, for CUDA, its build and a device are here."""
        groups = DISTRIBUTIONS[self.framework]
        missing = [group[0] for group in groups if not any(map(version_of, group))]
        if missing:
            verb = "are" if len(missing) > 1 else "is"
            return f"{' and '.join(missing)} {verb} not installed: {install.line(self.framework)}"
        if not self.cuda:
            return None
        return no_cuda_device() or self._built_without_cuda()

    def version(self) -> str:
        return version_of(self.framework)

    def prepare(self, path: str) -> ServedSession:
        """Build the twin with the weights of the golden in a folder; LoadError if it cannot be."""
        return self._served.prepare(path)

    def _built_without_cuda(self) -> str | None:
        """Return a reason where the installed distribution has no CUDA, by its name."""
        plain = {"keras": "tensorflow-cpu", "torch": "torch"}[self.framework]
        number = version_of(plain)
        if not number or (plain == "torch" and "+cpu" not in number):
            return None
        change = f"pip uninstall {plain}, then {CUDA_INSTALL[self.framework]}"
        return f"{plain} {number} is built without CUDA: {change}"


KERAS = FrameworkRuntime("keras")
KERAS_CUDA = FrameworkRuntime("keras", cuda=True)
TORCH = FrameworkRuntime("torch")
TORCH_CUDA = FrameworkRuntime("torch", cuda=True)
