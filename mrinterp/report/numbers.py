"""Numbers as a report prints them: one precision for one outcome, a true minus sign, a dash for none."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

__all__ = ["Cell", "Precision", "plain", "significant", "significant_cell"]

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


def significant(value: float) -> str:
    """Three significant digits with a sign, for effects without a region of practical equivalence.

    Examples
    --------
    >>> significant(0.51234), significant(1234.0), significant(0.0)
    ('+0.512', '+1230', '+0')
    """
    if not math.isfinite(value):
        return NONE
    size = abs(value)
    rounded = float(f"{size:.2e}")
    if size and not 1e-5 <= rounded < 1e7:
        digits, _, power = f"{size:.2e}".partition("e")
        text = f"{digits}e{int(power):+d}"
    else:
        text = np.format_float_positional(rounded, trim="-")
    return (_MINUS if value < 0 and rounded else "+") + text.replace("-", _MINUS)


def significant_cell(value: float, lower: float = math.nan, upper: float = math.nan) -> Cell:
    """The same with its interval, where there is one."""
    if not (math.isfinite(value) and math.isfinite(lower) and math.isfinite(upper)):
        return Cell(significant(value))
    ends = (significant(v).removeprefix("+") for v in (lower, upper))
    return Cell(significant(value), " to ".join(ends))
