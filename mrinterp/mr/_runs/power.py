"""How many families, runs and instruments a given effect needs, and the smallest effect that a design can detect."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import special

from mrinterp.core.checks import (
    checked_count,
    checked_fraction,
    checked_level,
    checked_number,
)
from mrinterp.core.errors import InputError

__all__ = ["Power", "power"]

MOST = 10**7
"""Families or instruments beyond which a design counts as impossible."""

WEAK = 10.0
"""Mean F below which estimates lean toward the observational slope."""


@dataclass(frozen=True, kw_only=True)
class Power:
    """What a design of runs can detect.

    Parameters
    ----------
    effect : float
        Effect asked for, in sd of the outcome per sd of the feature (both within prompts).
    smallest_effect : float
        Effect that is detected with probability ``wanted``.
    achieved : float
        Probability to detect ``effect`` with the design as given.
    wanted : float
    families, runs, instruments : int
        The design: families, perturbed runs of each, instruments.
    families_needed, runs_needed, instruments_needed : int or None
        What ``effect`` needs with the others as given; None where no number is enough.
    strength : float
        Share of the feature's variance within prompts that all instruments explain.
    f_statistic : float
        Mean F of the instruments to expect.
    se : float
        Standard error of the effect to expect.
    level : float

    Examples
    --------
    >>> import mrinterp
    >>> mrinterp.mr.power(0.2, families=80, runs=8, instruments=6, per_instrument=0.03).families_needed
    158
    """

    effect: float
    smallest_effect: float
    achieved: float
    wanted: float
    families: int
    runs: int
    instruments: int
    families_needed: int | None
    runs_needed: int | None
    instruments_needed: int | None
    strength: float
    f_statistic: float
    se: float
    level: float

    def __str__(self) -> str:
        needs = [
            f"{value:,} {what}"
            for value, what in (
                (self.families_needed, "families"),
                (self.runs_needed, "runs per family"),
                (self.instruments_needed, "instruments"),
            )
            if value is not None
        ]
        said = (
            f"{self.families:,} families of {self.runs:,} runs, {self.instruments:,} instruments that explain"
            f" {self.strength:.1%} of the feature: an effect of {self.effect:.3g} sd per sd is detected with probability"
            f" {self.achieved:.2f}, the smallest effect detected with probability {self.wanted:.2f} is"
            f" {self.smallest_effect:.3g}. That effect needs {', or '.join(needs) or 'more than any number'} (the rest as"
            f" given). Mean F {self.f_statistic:.1f}."
        )
        if self.f_statistic < WEAK:
            said += f" Below {WEAK:.0f} instruments are weak: estimates lean toward the observational slope."
        return said


def power(
    effect: float,
    *,
    families: int,
    runs: int,
    instruments: int,
    per_instrument: float,
    prompts: int = 1,
    residual_sd: float = 1.0,
    correlation: float = 0.0,
    wanted: float = 0.8,
    level: float = 0.95,
) -> Power:
    """Power of two-stage least squares within prompts, before anything is run.

    Parameters
    ----------
    effect : float
        In sd of the outcome per sd of the feature, both within prompts.
    families : int
        Families of prompts: the clusters of all errors.
    runs : int
        Perturbed runs of each family, over all of its prompts.
    instruments : int
        Instruments with doses drawn independently.
    per_instrument : float
        Share of the feature's variance within prompts that one instrument explains.
    prompts : int
        Prompts of each family: their means are fitted.
    residual_sd : float
        Sd of what of the outcome does not go through the feature, in sd of the outcome: 1 is cautious.
    correlation : float
        Correlation, between runs of one family, of dose times residual; 0 where doses are drawn anew for each run.
    wanted : float
        Probability of detection that is asked for.
    level : float
        Confidence level: an effect is detected where its interval leaves out 0.

    Returns
    -------
    Power

    Raises
    ------
    InputError
        For shares that are none, instruments that explain more than everything, families without two runs per prompt.

    Notes
    -----
    Error: se^2 = residual^2 (1 + (runs - 1) correlation) / (families (runs - prompts) R^2) with R^2 what all instruments
    explain, and a noncentral t on families - 1 degrees of freedom. Checked by simulation in ``tests/mr/test_power.py``.
    Not valid where instruments are weak (mean F below 10), where effects differ between families, or for estimates that
    adjust for a bypass: these lose what it explains of the instruments.

    Source: Brion, Shakhbazov & Visscher 2013, 10.1093/ije/dyt179, with clusters and fitted prompt means.

    Examples
    --------
    >>> import mrinterp
    >>> found = mrinterp.mr.power(0.2, families=80, runs=8, instruments=6, per_instrument=0.03)
    >>> round(found.achieved, 2), round(found.smallest_effect, 2)
    (0.51, 0.28)
    """
    checked_number(effect, "effect")
    checked_count(families, "families", least=2)
    checked_count(prompts, "prompts")
    checked_count(runs, "runs", least=2)
    checked_count(instruments, "instruments")
    checked_fraction(per_instrument, "per_instrument", zero=False, one=False)
    checked_number(residual_sd, "residual_sd", least=1e-9)
    checked_fraction(correlation, "correlation", one=False)
    checked_fraction(wanted, "wanted", zero=False, one=False)
    checked_level(level)
    if runs <= prompts:
        raise InputError(
            "runs", f"{runs} for {prompts} prompts", "Give every prompt at least two perturbed runs"
        )
    if instruments * per_instrument >= 1.0:
        found = f"{instruments} of {per_instrument:g} each"
        raise InputError("per_instrument", found, "All instruments together explain less than 1")

    def se(C: int, m: int, J: int) -> float:
        share = min(J * per_instrument, 1.0)
        spread = residual_sd * np.sqrt(1.0 + (m - 1) * correlation)
        return float(spread / np.sqrt(C * (m - prompts) * share))

    def detected(size: float, C: int, error: float) -> float:
        return _detected(abs(size) / error, C - 1, level)

    own = se(families, runs, instruments)
    strength = instruments * per_instrument
    rows = families * (runs - prompts)
    f = 1.0 + rows * strength / (1.0 - strength) / instruments
    most_instruments = int(np.ceil(1.0 / per_instrument)) - 1
    return Power(
        effect=float(effect),
        smallest_effect=_smallest(families - 1, wanted, level) * own,
        achieved=detected(effect, families, own),
        wanted=wanted,
        families=families,
        runs=runs,
        instruments=instruments,
        families_needed=_fewest(lambda C: detected(effect, C, se(C, runs, instruments)), wanted, 2, MOST),
        runs_needed=_fewest(
            lambda m: detected(effect, families, se(families, m, instruments)), wanted, prompts + 1, MOST
        ),
        instruments_needed=_fewest(
            lambda J: detected(effect, families, se(families, runs, J)), wanted, 1, most_instruments
        ),
        strength=strength,
        f_statistic=f,
        se=own,
        level=level,
    )


def _detected(center: float, df: int, level: float) -> float:
    """Probability that a noncentral t is beyond the two-sided critical value."""
    critical = float(special.stdtrit(df, 0.5 + level / 2.0))
    if center > 30.0 + 2.0 * critical:
        return 1.0
    upper, lower = 1.0 - special.nctdtr(df, center, critical), special.nctdtr(df, center, -critical)
    return float(np.clip(upper + lower, 0.0, 1.0))


def _smallest(df: int, wanted: float, level: float) -> float:
    """Effect over its error that is detected with the wanted probability."""
    low, high = 0.0, 1.0
    while _detected(high, df, level) < wanted:
        high *= 2.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _detected(middle, df, level) < wanted else (low, middle)
    return high


def _fewest(reached: object, wanted: float, least: int, most: int) -> int | None:
    """Smallest whole number from ``least`` to ``most`` with which the wanted probability is reached."""
    assert callable(reached)
    if most < least or reached(most) < wanted:
        return None
    low, high = least - 1, least
    while reached(high) < wanted:
        low, high = high, min(2 * high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if reached(middle) < wanted else (low, middle)
    return high
