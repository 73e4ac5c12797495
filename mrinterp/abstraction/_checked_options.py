"""Options of an evaluation, refused before anything is run."""

from __future__ import annotations

from numbers import Integral

from mrinterp.core.errors import InputError
from mrinterp.knockouts._outcome_rope import check_draws, check_level

__all__ = ["check_options"]


def check_options(level: float, draws: int, block: int, **counts: int) -> None:
    """Refuse a confidence level, a bootstrap, a block or a count that cannot be used.

    Parameters
    ----------
    level : float
    draws, block : int
    **counts : int
        By name: whole numbers of at least 0.

    Raises
    ------
    InputError
        Names the option and what was found.
    """
    check_level(level)
    check_draws(draws)
    if not isinstance(block, Integral) or block < 1:
        raise InputError("block", f"{block!r}", "Give at least one run per forward pass")
    for name, value in counts.items():
        if not isinstance(value, Integral) or value < 0:
            raise InputError(name, f"{value!r}", "Give a whole number of at least 0")
