"""The description of a user model: what is known of it before it is probed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from harness.core.axis_rules import AxisRule
from harness.core.errors import UsageError
from harness.core.names import check_path_part, check_printable
from harness.core.schema import Axis


@dataclass(frozen=True)
class InputDescription:
    """What is known of one input; None where nothing is.

    An axis that is None is dynamic and has no name yet. ``high`` belongs to the range until
    ``complete`` replaces it by the excluded bound. A float input that is ``whole`` holds integers.
    With ``right``, padding is only at the end of a row, with ``never_empty`` no row is padded
    throughout; with ``valid_only`` outputs mean nothing at padded steps; where ``nan``, values may
    be NaN. A mask has its ``marks`` at valid and at padded steps, 1 and 0 where that is None. With
    ``no_padding``, what the model says of padding does not hold. UsageError where
    a name is not printable. ``causal`` are the marks of keys that a query sees, and of later ones;
    ``rules`` are those of axes that the line writes as sums.
    """

    name: str
    dtype: str | None = None
    axes: tuple[Axis | None, ...] | None = None
    low: float | None = None
    high: float | None = None
    normal: bool = False
    whole: bool = False
    padding: float | None = None
    mask_of: str | None = None
    marks: tuple[float, float] | None = None
    lengths_of: str | None = None
    right: bool = False
    nan: bool = False
    never_empty: bool = False
    valid_only: bool = False
    no_padding: bool = False
    causal: tuple[float, float] | None = None
    rules: Mapping[str, AxisRule] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_printable(self.name, "an input's name")
        for axis in self.axes or ():
            if isinstance(axis, str):
                check_printable(axis, f"an axis of input {self.name!r}")

    def over(self, inferred: InputDescription) -> InputDescription:
        """Return this description, completed by what the model itself says.

        UsageError where the two contradict each other.
        """
        if None not in (self.dtype, inferred.dtype) and self.dtype != inferred.dtype:
            raise UsageError(
                f"input {self.name!r} is {inferred.dtype} in the model; its description says"
                f" {self.dtype}"
            )
        if self.no_padding:
            inferred = replace(inferred, padding=None, mask_of=None, marks=None, lengths_of=None)
        known = {k: v for k, v in vars(self).items() if v is not None and v is not False}
        merged = replace(inferred, **known)
        if self.axes is None or inferred.axes is None:
            return merged
        if len(self.axes) != len(inferred.axes):
            raise UsageError(
                f"input {self.name!r} has {len(inferred.axes)} axes in the model; its description"
                f" has {len(self.axes)}"
            )
        for place, (mine, its) in enumerate(zip(self.axes, inferred.axes, strict=True)):
            if isinstance(its, int) and mine not in (its, None):
                raise UsageError(
                    f"input {self.name!r}: axis {place} has the fixed size {its} in the model; its"
                    f" description says {mine}"
                )
        pairs = zip(self.axes, inferred.axes, strict=True)
        return replace(merged, axes=tuple(its if mine is None else mine for mine, its in pairs))


@dataclass(frozen=True)
class ModelDescription:
    """What a user says of a model; empty where nothing is.

    UsageError where a name is not printable, or the model's is no part of a path.
    """

    inputs: tuple[InputDescription, ...] = ()
    outputs: tuple[str, ...] = ()
    lengths: tuple[str, ...] = ()
    batch: tuple[str, ...] = ()
    states: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    rules: Mapping[str, AxisRule] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for output in self.outputs:
            check_printable(output, "an output's name")
        for state in (*self.states, *self.states.values()):
            check_printable(state, "a state's name")
        if self.name:
            check_path_part(self.name, "the model's name")
