"""Numbers as a report prints them: one precision for one outcome, a true minus sign, a dash for none."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Cell", "Precision", "plain"]

NONE = "\N{EM DASH}"
_MINUS = "\N{MINUS SIGN}"


@dataclass(frozen=True)
class Cell:
    """A number and the interval below it, as text."""

    value: str = NONE
    interval: str = ""


@dataclass(frozen=True)
class Precision:
    """Decimals that show differences as small as a tenth of what counts as nothing."""

    decimals: int

    @classmethod
    def of(cls, rope: float) -> Precision:
        """Precision that suits a region of practical equivalence."""
        if not (math.isfinite(rope) and rope > 0):
            return cls(4)
        return cls(min(max(1 - math.floor(math.log10(rope)), 0), 9))

    def signed(self, value: float) -> str:
        """A number with its sign."""
        if not math.isfinite(value):
            return NONE
        text = f"{value:+z.{self.decimals}f}"
        return (f"{value:+.3g}" if len(text) > 14 else text).replace("-", _MINUS)

    def cell(self, value: float, lower: float = math.nan, upper: float = math.nan) -> Cell:
        """A number with its interval, where there is one."""
        if not (math.isfinite(value) and math.isfinite(lower) and math.isfinite(upper)):
            return Cell(self.signed(value))
        ends = (self.signed(v).removeprefix("+") for v in (lower, upper))
        return Cell(self.signed(value), " to ".join(ends))


def plain(value: float, spec: str = ".2f") -> str:
    """A number in a format, or a dash."""
    if not math.isfinite(value):
        return NONE
    if spec.endswith("e"):
        return "0" if value == 0 else format(value, spec).replace("-", _MINUS)
    return format(value, "z" + spec).replace("-", _MINUS)
