"""Rungs of the ladder that cannot all be true: within an estimand a contradiction, between the two a finding."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from mrinterp.core.shown import listed
from mrinterp.results._check import Check, NotApplicable
from mrinterp.results._contrast_levels import NATURAL_SD
from mrinterp.results._knockout_effects import KnockoutEffects

__all__ = ["ladder", "ladder_checks"]

Array = NDArray[np.float64]

LOCAL = {
    "within": "the within regression",
    "within_calibrated": "calibrated MR",
    "tsls": "two-stage least squares",
    "gradient": "the gradient",
    "shift": "the matched shift",
}
CONTRASTS = {
    "rectified": "the contrast",
    "knockout": "the contrast on other families",
    "replication": "the contrast on yet other families",
    "site_experiment": "the experiment at the site",
}
ESTIMANDS = {"local slopes": LOCAL, "contrasts": CONTRASTS}
RUNGS = {"local slopes": ("within", "tsls"), "contrasts": ("rectified",)}
AGREE = "rungs that agree"
LEVEL = 0.05


def ladder(results: pd.DataFrame, shift: KnockoutEffects, rope: Mapping[str, float]) -> pd.DataFrame:
    """Which rungs contradict which, claim by claim, and how many times its linear extrapolation the contrast is.

    Parameters
    ----------
    results : DataFrame
        `Study.results`: every rung on one scale, per natural sd.
    shift : KnockoutEffects
        The matched shifts.
    rope : mapping of str to float
        Half width of the region of practical equivalence, by outcome.

    Returns
    -------
    DataFrame
        One row per claim, in the order of ``results``: ``feature, outcome``; ``local slopes`` and ``contrasts``, the two rungs of
        that estimand that are furthest apart of those that cannot both be true, in words, "" where all can; ``ratio,
        ratio_lower, ratio_upper``, contrast over linear extrapolation with its interval (nan where the extrapolation may be 0);
        ``finding``, the ratio in words where its interval lies outside 1/2 to 2.

    Notes
    -----
    Two rungs cannot both be true where they differ by more than the region, and by more than both intervals together at level
    .05 over all pairs of rungs and features of an outcome. The extrapolation is the matched shift, or the gradient or
    within regression where there is none. Slopes and contrasts are never held against each other: that they differ says how bent
    the effect is. Rungs that share runs have errors in common, with which the test is careful rather than bold.

    Source: Fieller 1954, 10.1111/j.2517-6161.1954.tb00159.x (the ratio).
    """
    table = _with_shift(results, shift)
    half = np.asarray(table["outcome"].map(dict(rope)), dtype=np.float64)
    tests = np.asarray(table.groupby("outcome")["feature"].transform("size"), dtype=np.float64)
    out = table[["feature", "outcome"]].copy()
    contrasts = (table["rests_on"] == "rectified").to_numpy()
    for name, rungs in ESTIMANDS.items():
        here = np.ones(len(table), dtype=bool)
        if name == "contrasts":  # judge and replication are local slopes where claims rest on MR
            here = contrasts
        out[name] = _furthest_apart(table, rungs, half, tests, here)
    return pd.concat([out, _extrapolated(table)], axis=1)


def _with_shift(results: pd.DataFrame, shift: KnockoutEffects) -> pd.DataFrame:
    """The answer with the matched shift as a rung, on the scale of contrasts; a shift that made a claim is left out."""
    row, column = pd.Index(shift.features), pd.Index(shift.outcomes)
    f, o = row.get_indexer(pd.Index(results["feature"])), column.get_indexer(pd.Index(results["outcome"]))
    known = (f >= 0) & (o >= 0)
    scale = np.where(known, results["move"].to_numpy(dtype=float) / NATURAL_SD, np.nan)
    lower, upper = shift.interval()
    ends = np.sort(np.stack([lower[f, o] * scale, upper[f, o] * scale]), axis=0)
    return results.reset_index(drop=True).assign(
        shift=shift.effect[f, o] * scale, shift_lower=ends[0], shift_upper=ends[1]
    )


def _rung(table: pd.DataFrame, name: str) -> tuple[Array, Array]:
    """Estimate and half width of a rung, nan where it has none."""
    value = table[name].to_numpy(dtype=float)
    half = (table[f"{name}_upper"] - table[f"{name}_lower"]).to_numpy(dtype=float) / 2
    return value, np.where(np.isfinite(value) & np.isfinite(half), half, np.nan)


def _furthest_apart(
    table: pd.DataFrame, rungs: Mapping[str, str], rope: Array, tests: Array, here: NDArray[np.bool_]
) -> list[str]:
    """The pair of rungs that is furthest beyond its errors, in words, "" where all can be true."""
    held = [n for n in rungs if n in table and f"{n}_lower" in table and table[n].notna().any()]
    if "within_calibrated" in held and "shift" in held:  # it is made of the shifts
        held.remove("within_calibrated")
    pairs = list(combinations(held, 2))
    if not pairs:
        return [""] * len(table)
    wider = stats.norm.isf(LEVEL / 2 / (len(pairs) * tests)) / stats.norm.isf(LEVEL / 2)
    excess = np.full((len(pairs), len(table)), -np.inf)
    for k, (one, other) in enumerate(pairs):
        (a, wa), (b, wb) = _rung(table, one), _rung(table, other)
        allowed = np.hypot(wa, wb) * wider
        beyond = (np.abs(a - b) > allowed) & (np.abs(a - b) > rope) & here
        excess[k, beyond] = (np.abs(a - b) / np.where(allowed > 0, allowed, 1e-300))[beyond]
    worst = excess.argmax(axis=0)
    said = np.full(len(table), "", dtype=object)
    for k, pair in enumerate(pairs):
        at = np.flatnonzero((worst == k) & np.isfinite(excess[k]))
        words = ([f"{rungs[n]} {cell}" for cell in _cells(table, n, at)] for n in pair)
        said[at] = [f"{a} and {b} cannot both be true" for a, b in zip(*words, strict=True)]
    return said.tolist()


def _cells(table: pd.DataFrame, name: str, at: NDArray[np.intp]) -> list[str]:
    """Estimate and interval of a rung in words, for some rows."""
    numbers = table[[name, f"{name}_lower", f"{name}_upper"]].to_numpy(dtype=float)[at]
    return [f"{value:+.2g} [{low:+.2g}, {high:+.2g}]" for value, low, high in numbers]


def _extrapolated(table: pd.DataFrame) -> pd.DataFrame:
    """Contrast over linear extrapolation, with Fieller's interval at 95%."""
    held = [n for n in ("shift", "gradient", "within") if n in table and table[n].notna().any()]
    nothing = np.full(len(table), np.nan)
    out = pd.DataFrame(dict.fromkeys(("ratio", "ratio_lower", "ratio_upper"), nothing)).assign(finding="")
    if not held or "rectified" not in table:
        return out
    (a, wa), (b, wb) = _rung(table, "rectified"), _rung(table, held[0])
    with np.errstate(divide="ignore", invalid="ignore"):
        known = b**2 - wb**2
        spread = np.sqrt(np.maximum((a * b) ** 2 - known * (a**2 - wa**2), 0.0))
        ends = np.sort(np.stack([(a * b - spread) / known, (a * b + spread) / known]), axis=0)
    bounded = known > 0
    ratio = np.where(bounded, a / np.where(bounded, b, 1.0), np.nan)
    low, high = np.where(bounded, ends[0], np.nan), np.where(bounded, ends[1], np.nan)
    finding = [
        f"the contrast is {r:.2g} times its linear extrapolation ({lo:.2g} to {hi:.2g})"
        if lo > 2.0 or hi < 0.5
        else ""
        for r, lo, hi in zip(ratio, low, high, strict=True)
    ]
    return out.assign(ratio=ratio, ratio_lower=low, ratio_upper=high, finding=finding)


def ladder_checks(found: pd.DataFrame) -> list[Check | NotApplicable]:
    """Whether the rungs of each estimand can all be true, by outcome.

    Parameters
    ----------
    found : DataFrame
        `ladder`'s.
    """
    checks: list[Check | NotApplicable] = []
    for outcome, rows in found.groupby("outcome", sort=False):
        for name in ESTIMANDS:
            against = rows[rows[name] != ""]
            said = [f"{f}: {w}" for f, w in zip(against["feature"], against[name], strict=True)]
            checks.append(
                Check(
                    name=f"{AGREE}, {name}: {outcome}",
                    null_in_words=f"all {name} of a feature can be true together",
                    statistic=float(len(against)),
                    df=float(len(rows)),
                    neglog10p=float("nan"),
                    verdict="failed" if said else "passed",
                    note=f"{len(against)} of {len(rows)} features have {name} that contradict each other"
                    + (f" ({listed(said)})." if said else "."),
                    outcome=str(outcome),
                    features=tuple(against["feature"]),
                    rungs=RUNGS[name],
                    next_step="One of the two rungs is wrong there: believe the one with fewer assumptions",
                )
            )
    return checks
