"""What is known of the length of a sequence axis: a multiple, a range, or a sum of others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class AxisRule:
    """A length is a multiple from ``least`` to ``most``, or the sum of ``terms`` and ``plus``.

    ``terms`` maps other axes to the factors of their lengths; an axis without any is free. The sum
    is divided by ``divisor`` and rounded down.
    """

    multiple: int = 1
    least: int = 1
    most: int | None = None
    terms: Mapping[str, int] = field(default_factory=dict)
    plus: int = 0
    divisor: int = 1

    @property
    def bounds(self) -> tuple[int, int | None]:
        """The smallest and the largest multiple."""
        step = self.multiple
        return -(
            -self.least // step
        ) * step, None if self.most is None else self.most // step * step

    @property
    def words(self) -> str:
        """The multiple and the range as they are described."""
        multiple = [f"multiple of {self.multiple}"] if self.multiple > 1 else []
        bounded = self.least > 1 or self.most is not None
        return ", ".join([*multiple, *[f"{self.least}..{self.most or ''}"] * bounded])

    def fitted(self, length: int) -> int:
        """Return a length that follows the rule: this one where it does, else one for it.

        Lengths below the range are its first ones, in their order; those beyond begin again.
        """
        least, most = self.bounds
        if length < least:
            length = least + length - 1
        length = -(-length // self.multiple) * self.multiple
        if most is not None and length > most:
            length = least + (length - least) % (most - least + self.multiple)
        return length

    def holds(self, length: int) -> bool:
        """Return whether a length follows the rule of an axis that follows from no others."""
        least, most = self.bounds
        return least <= length <= (most or length) and length % self.multiple == 0

    def near(self, length: int) -> list[int]:
        """Return the nearest lengths that follow the rule, from below and from above."""
        least, most = self.bounds
        below = length // self.multiple * self.multiple
        both = {max(least, min(n, most or n)) for n in (below, below + self.multiple)}
        return [length] if self.holds(length) else sorted(both)

    def lengths(self, wanted: Sequence[int]) -> list[int]:
        """Return distinct lengths that follow the rule, for those that are wanted and its ends."""
        ends = [end for end in self.bounds if end is not None]
        return list(dict.fromkeys([*map(self.fitted, wanted), *ends]))


def fitted(rules: Mapping[str, AxisRule], lengths: Mapping[str, int]) -> dict[str, int]:
    """Return lengths that follow the rules, with those of axes that follow from others."""
    sizes = {a: rules[a].fitted(n) if a in rules else n for a, n in lengths.items()}
    for axis, rule in rules.items():
        if rule.terms and all(term in sizes for term in rule.terms):
            total = sum(n * sizes[term] for term, n in rule.terms.items()) + rule.plus
            sizes[axis] = total // rule.divisor
    return sizes
