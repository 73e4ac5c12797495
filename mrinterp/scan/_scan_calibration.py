"""Whether a scan's p-values hold where nothing acts: doses permuted within prompts, inflation, quantiles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from threadpoolctl import threadpool_limits

from mrinterp.scan._scan_inputs import ScanInputs
from mrinterp.stats.scan.block_scan import BlockScanner, Scanner
from mrinterp.stats.scan.dose_side import DoseSide, Within, dose_side
from mrinterp.stats.tests.tails import neglog10p_t

__all__ = ["calibration", "one_draw"]

Array = NDArray[np.float64]

SAMPLED = 512
"""Features that are drawn: with 200 instruments 100,000 pairs, whose median is known to half a percent."""

QUANTILES = 200
MEDIAN = float(stats.chi2.median(1))


def calibration(
    inputs: ScanInputs,
    side: DoseSide,
    how: Within,
    settings: dict[str, Any],
    drawn: Callable[[NDArray[Any], Array, list[NDArray[np.int32]]], list[tuple[Array, float]]],
    draws: int,
    seed: int,
) -> dict[str, Any]:
    """Fields of `FeatureScan` that say how far p-values can be trusted.

    Doses are permuted among the runs of a prompt (and kind), all instruments alike, so that their correlation stays;
    features are those drawn at random. Nothing acts then, whatever features do among themselves. ``drawn`` gives
    `one_draw` of every permutation, for these features (N, S) and at these levels (Q,).
    """
    rng = np.random.default_rng(seed)
    F = inputs.features.shape[1]
    which = np.sort(rng.choice(F, min(F, SAMPLED), replace=False))
    x = inputs.features.columns(which)
    real = np.flatnonzero(side.total > 0)
    with threadpool_limits(1, user_api="blas"):
        t = _scores(side, x, settings)
        p = neglog10p_t(t, side.dof[:, None])
    level = 1.0 - np.logspace(0.0, -np.log10(max(np.isfinite(p[real]).sum(), 10)), QUANTILES)
    inflation = np.full(side.instruments, np.nan)
    inflation[real] = [_inflation(p[k]) for k in real]
    exchangeable = len(how.starts) > 1 and int(np.diff(how.starts).max()) > 1
    group = np.repeat(np.arange(len(how.starts) - 1), np.diff(how.starts))
    orders = [
        np.lexsort((rng.random(len(how.rows)), group)).astype(np.int32)
        for _ in range(draws if exchangeable else 0)
    ]
    made = drawn(x, level, orders)
    lines, null = [line for line, _ in made], [one for _, one in made]
    nothing = np.full(QUANTILES, np.nan)
    low, mid, high = np.quantile(lines, [0.025, 0.5, 0.975], axis=0) if lines else (nothing,) * 3
    return {
        "expected": -np.log10(1.0 - level),
        "observed": _quantiles(p[real], level),
        "permuted": mid,
        "permuted_lower": low,
        "permuted_upper": high,
        "inflation": inflation,
        "inflation_permuted": float(np.mean(null)) if null else float("nan"),
        "inflation_permuted_se": float(np.std(null, ddof=1) / np.sqrt(len(null)))
        if len(null) > 1
        else float("nan"),
        "sampled": len(which),
    }


def one_draw(
    inputs: ScanInputs,
    how: Within,
    family: NDArray[np.int64],
    settings: dict[str, Any],
    real: NDArray[np.int_],
    x: NDArray[Any],
    level: Array,
    order: NDArray[np.int32],
) -> tuple[Array, float]:
    """Quantiles of -log10 p at ``level`` and the mean inflation of instruments that are real, doses in another order (n,)."""
    doses = inputs.doses.copy()
    doses[how.rows] = inputs.doses[how.rows[order]]
    with threadpool_limits(1, user_api="blas"):
        side = dose_side(doses, how, family, settings["errors"], settings["joint"])
        own = neglog10p_t(_scores(side, x, settings), side.dof[:, None])
    return _quantiles(own[real], level), float(np.nanmean([_inflation(own[k]) for k in real]))


def _scores(side: DoseSide, x: NDArray[Any], settings: dict[str, Any]) -> Array:
    """Effects over errors (J, S); nan where a feature does not change."""
    scanner = Scanner(side, None, settings["precision"])
    chosen: BlockScanner = scanner
    if settings["device"] != "cpu":
        from mrinterp.scan._torch_scanner import TorchScanner

        chosen = TorchScanner(scanner, settings["device"])
    found = chosen.block(x, 0, x.shape[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.asarray(found.beta, float) / np.asarray(found.se, float)
    return np.where(found.se > 0, t, np.nan)


def _inflation(neglog10p: Array) -> float:
    """Median chi-square that the p-values stand for, over that of theory."""
    known = neglog10p[np.isfinite(neglog10p)]
    return float(stats.chi2.isf(10.0 ** -np.median(known), 1) / MEDIAN) if len(known) else float("nan")


def _quantiles(neglog10p: Array, level: Array) -> Array:
    known = neglog10p[np.isfinite(neglog10p)]
    return np.quantile(known, level) if len(known) else np.full(len(level), np.nan)
