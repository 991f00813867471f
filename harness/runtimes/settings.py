"""Settings of a runtime that the command line may ask for: ONNX Runtime's."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.core.errors import UsageError


@dataclass(frozen=True)
class Settings:
    """The requested settings; a runtime's own defaults hold for what is None or empty."""

    optimization: str | None = None
    intra_op_threads: int | None = None
    provider: Mapping[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self._requested)

    @property
    def flags(self) -> str:
        """The flags, each after a space, that ask for these settings."""
        flags = f" --optimization {self.optimization}" if self.optimization else ""
        if self.intra_op_threads:
            flags += f" --intra-op-threads {self.intra_op_threads}"
        pairs = (shlex.quote(f"{key}={value}") for key, value in self.provider.items())
        return flags + "".join(f" --provider-option {pair}" for pair in pairs)

    def on(self, name: str, runtime: Any) -> Any:
        """Return the runtime called ``name`` with these settings; UsageError if it has none.

        A runtime that can offers ``configured(**settings)``.
        """
        if not self:
            return runtime
        configured = getattr(runtime, "configured", None)
        flags = f"{self.flags.strip()}: runtime {name}"
        if configured is None:
            raise UsageError(f"{flags} has no such settings, only ONNX Runtime has")
        try:
            return configured(**self._requested)
        except UsageError as error:
            raise UsageError(f"{flags}: {error}") from None

    @property
    def _requested(self) -> dict[str, Any]:
        settings = {
            "optimization": self.optimization,
            "intra_op_threads": self.intra_op_threads,
            "provider": self.provider,
        }
        return {name: value for name, value in settings.items() if value}


NONE = Settings()
