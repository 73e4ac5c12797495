"""Modes of the instruments' ratios: valid while the largest group that agrees is the valid one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.mr._engine.effects import Effects, delta_variance
from mrinterp.mr._engine.inference import choice, residual_df
from mrinterp.mr._engine.registry import Fit, estimator
from mrinterp.stats.loops.row_threads import by_rows
from mrinterp.stats.robust.density import density_modes, silverman_bandwidth
from mrinterp.stats.tests.tails import neglog10p_chi2, two_sided_p

__all__ = ["simple_mode", "weighted_mode"]

Array = NDArray[np.float64]

_ASSUMES = (
    "the largest group of instruments with the same ratio is the one that acts through the exposure only",
)
_REFERENCE = "Hartwig, Davey Smith & Bowden 2017 Int J Epidemiol, doi:10.1093/ije/dyx102"


def _modes(ratio: Array, weights: Array, phi: float, points: int | None) -> Array:
    """Mode per row; where all ratios agree, that ratio."""
    bandwidth = silverman_bandwidth(ratio) * phi
    equal = ~(bandwidth > 0)
    out = density_modes(ratio, weights, np.where(equal, 1.0, bandwidth), points)
    return np.asarray(np.where(equal, ratio[:, 0], out))


def _penalized_modes(
    ratio: Array, weights: Array, phi: float, penalty: float | None, points: int | None
) -> Array:
    """Modes again after the weights of ratios away from the first ones are cut."""
    modes = _modes(ratio, weights, phi, points)
    if penalty is None:
        return modes
    p = two_sided_p(neglog10p_chi2(weights * (ratio - modes[:, None]) ** 2, 1.0))
    return _modes(ratio, np.maximum(weights * np.minimum(1.0, penalty * p), 1e-300), phi, points)


def _fit(
    effects: Effects,
    weighted: bool,
    error: str,
    phi: float,
    penalty: float | None,
    points: int | None,
    draws: int,
    seed: int,
    distribution: str,
    rho: Array | None,
) -> Fit:
    choice("error", error, ("delta", "nome"))
    choice("distribution", distribution, ("t", "normal"))
    shape, J = effects.shape, effects.count
    b, s, g, t = effects.cells()
    r = 0.0 if rho is None else rho.reshape(-1, 1)
    ratio = g / b
    variance = (delta_variance(b, s, g, t, r) if error == "delta" else t * t) / (b * b)
    w = 1.0 / variance if weighted else np.ones_like(ratio)
    beta = _penalized_modes(ratio, w, phi, penalty, points)
    se = np.full(len(b), np.nan)
    if draws > 1:
        from mrinterp.stats.robust.mode_bootstrap import bootstrap_mode_mad

        ratio, w = np.ascontiguousarray(ratio), np.ascontiguousarray(w)
        cut = -1.0 if penalty is None else float(penalty)
        sd, bits = np.sqrt(variance), ratio.view(np.uint64)

        def bootstrap(i: int, k: int) -> None:
            se[i:k] = bootstrap_mode_mad(
                ratio[i:k], sd[i:k], w[i:k], bits[i:k], float(phi), cut, int(draws), np.uint64(seed)
            )

        by_rows(bootstrap, len(b))
    return Fit(
        beta.reshape(shape),
        se.reshape(shape),
        residual_df(distribution, J - 1),
        meta={"uses_error_correlation": error == "delta"},
    )


@estimator(
    "simple_mode", "Simple mode", assumes=_ASSUMES, reference=_REFERENCE, min_instruments=3, divides=True
)
def simple_mode(
    effects: Effects,
    *,
    phi: float = 1.0,
    error: str = "delta",
    points: int | None = None,
    draws: int = 1000,
    seed: int = 0,
    distribution: str = "t",
    rho: Array | None = None,
) -> Fit:
    """Highest point of the smoothed density of the ratios g/b.

    Parameters
    ----------
    effects : Effects
        Of J instruments on F exposures and O outcomes.
    phi : float
        Multiplier of the bandwidth 0.9 min(sd, 1.4826 mad) / J^(1/5).
    error : {"delta", "nome"}
        Error of each ratio in the draws: second order (with ``rho``), or as if b had none.
    points : int, optional
        Look for the highest of this many points, equally spaced from 3 bandwidths below the ratios to 3
        above (512 in the R packages), instead of the highest of all.
    draws, seed : int
        Parametric bootstrap of the error, 1.4826 mad of the modes; with fewer than 2 draws none.
    distribution : {"t", "normal"}
        Reference of the interval; t has J - 1 degrees of freedom.

    Notes
    -----
    The mode of Sum w_j exp(-(x - r_j)^2 / (2 h^2)), h the bandwidth, w_j = 1. The bootstrap reads its modes off
    512 points. The mad of a bootstrap of modes is no consistent standard error: the interval is
    indicative, and heavy-tailed where instruments are weak.
    """
    return _fit(effects, False, error, phi, None, points, draws, seed, distribution, rho)


@estimator(
    "weighted_mode", "Weighted mode", assumes=_ASSUMES, reference=_REFERENCE, min_instruments=3, divides=True
)
def weighted_mode(
    effects: Effects,
    *,
    phi: float = 1.0,
    error: str = "delta",
    penalty: float | None = None,
    points: int | None = None,
    draws: int = 1000,
    seed: int = 0,
    distribution: str = "t",
    rho: Array | None = None,
) -> Fit:
    """Highest point of the density of the ratios, weighted by their inverse variance.

    Parameters
    ----------
    penalty : float, optional
        Weights of instruments away from the mode are multiplied by min(1, penalty x p).

    Notes
    -----
    Other parameters and limits as in `simple_mode`; ``error`` also chooses the weights.
    """
    return _fit(effects, True, error, phi, penalty, points, draws, seed, distribution, rho)
