"""The region of practical equivalence of whole-knockout effects, and the words that go with a cell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.errors import InputError
from mrinterp.knockouts.bench import Bench
from mrinterp.stats.clustered import clustered_mean
from mrinterp.stats.tails import critical_value

__all__ = [
    "ONE_FAMILY",
    "check_draws",
    "check_level",
    "outcome_rope",
    "outcome_sd",
    "resolution",
    "span_status",
]

ONE_FAMILY = "all prompts are of one family: no error can be had; give prompts of at least two"


def outcome_sd(bench: Bench) -> NDArray[np.float64]:
    """Standard deviation (O,) of the clean outcomes over prompts; 0 where they never vary."""
    if bench.prompts < 2:
        return np.zeros(bench.clean.shape[1])
    return np.asarray(bench.clean.std(axis=0, ddof=1))


def outcome_rope(bench: Bench, rope: float) -> NDArray[np.float64]:
    """Half width (O,) of the region of practical equivalence, ``rope`` standard deviations of the outcome.

    0 for an outcome that never varies between prompts: its effects are then held against zero.

    Raises
    ------
    InputError
        For a negative width.
    """
    if not rope >= 0:
        raise InputError("rope", f"{rope}", "Give a width of at least 0, in sd of the outcome")
    return rope * outcome_sd(bench)


def check_level(level: float) -> None:
    """Refuse a confidence level outside (0, 1)."""
    if not 0 < level < 1:
        raise InputError("level", f"{level}", "Give a confidence level between 0 and 1, such as 0.95")


def check_draws(draws: int) -> None:
    """Refuse a bootstrap without draws, before anything is run."""
    if draws < 2:
        raise InputError("draws", f"{draws}", "Give at least two draws of the bootstrap, better 1000")


def resolution(bench: Bench) -> float:
    """Smallest difference between two runs that is more than noise, in units of the outcome.

    The noise floor of identical runs, or 16 roundings of the largest outcome where that is more: an
    edit that does nothing still changes the order of a sum.
    """
    single = np.array_equal(bench.computed, bench.computed.astype(np.float32))
    eps = np.finfo(np.float32 if single else np.float64).eps
    return max(bench.noise_floor(), float(16 * eps * np.abs(bench.computed).max()))


def span_status(
    bench: Bench, span: NDArray[np.float64], level: float, what: str
) -> tuple[NDArray[np.object_], float]:
    """Whether effects (P, O) that everything else is divided by can be told from zero, outcome by outcome.

    Returns
    -------
    status : ndarray (O,) of str
        ``ok``, or why a share of it is undefined; ``what`` are the words for what was done.
    df : float
        Families minus one.
    """
    mean, se, df = clustered_mean(span, bench.family)
    out = np.full(mean.shape, "ok", dtype=object)
    if not df:
        out[:] = ONE_FAMILY
        return out, df
    half, floor = critical_value(level, df) * se, resolution(bench)
    for o, name in enumerate(bench.outcome.names):
        if abs(mean[o]) <= floor:
            out[o] = f"{what} moves {name} by {mean[o]:.2g}, within the noise floor of {floor:.2g}"
        elif abs(mean[o]) <= half[o]:
            out[o] = (
                f"{what} moves {name} by {mean[o]:.2g} +- {half[o]:.2g}: it cannot be told from zero at {level:.0%}"
            )
    return out, df
