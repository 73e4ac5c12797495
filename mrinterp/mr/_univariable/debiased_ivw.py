"""Debiased and penalized IVW: the error of the exposure effects taken out of the denominator."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mrinterp.mr._engine.effects import Effects
from mrinterp.mr._engine.registry import Fit, estimator

__all__ = ["divw", "pivw"]

Array = NDArray[np.float64]

_ASSUMES = (
    "pleiotropy is balanced and independent of instrument strength",
    "the effective strength (kappa sqrt(J)) is above 20",
)


def _moments(effects: Effects) -> dict[str, Array]:
    """The sums both estimators are made of, (F, O) or (O,)."""
    w, b2, s2 = (
        1.0 / (effects.se_y * effects.se_y),
        effects.beta_x * effects.beta_x,
        effects.se_x * effects.se_x,
    )
    w2 = w * w
    return {
        "w": w.sum(axis=1),
        "bg": effects.beta_x @ (w * effects.beta_y).T,
        "gg": (w * effects.beta_y * effects.beta_y).sum(axis=1),
        "bb": b2 @ w.T,
        "ss": s2 @ w.T,
        "w2bb": b2 @ w2.T,
        "w2_s2_b2s2": (s2 * (b2 + s2)) @ w2.T,
        "v2": (4.0 * b2 * s2 - 2.0 * s2 * s2) @ w2.T,
        "v12": 2.0 * ((effects.beta_x * s2) @ (w2 * effects.beta_y).T),
        "J": np.float64(effects.count),
    }


def _overdispersion(m: dict[str, Array], theta: Array) -> Array:
    """tau^2 = Sum w((g - theta b)^2 - syy - theta^2 s^2) / Sum w, at least 0."""
    squares = m["gg"] - 2.0 * theta * m["bg"] + theta * theta * m["bb"]
    return np.maximum(0.0, (squares - m["J"] - theta * theta * m["ss"]) / m["w"])


def _variance(m: dict[str, Array], theta: Array, tau2: Array) -> Array:
    """Sum[(1 + tau^2 w) w b^2 + theta^2 w^2 s^2 (b^2 + s^2)]."""
    return np.asarray(m["bb"] + tau2 * m["w2bb"] + theta * theta * m["w2_s2_b2s2"])


def _fit(m: dict[str, Array], theta: Array, tau2: Array, denominator: Array, condition: Array) -> Fit:
    weak = condition < 20
    status = np.where(
        weak, "instruments are too weak for this method (kappa sqrt(J) below 20): distrust it", "ok"
    )
    details = {"overdispersion": tau2, "strength_condition": condition}
    se = np.sqrt(_variance(m, theta, tau2)) / np.abs(denominator)
    return Fit(theta, se, status=status.astype(object), details=details)


def _condition(effects: Effects) -> Array:
    """kappa sqrt(J), kappa = mean F - 1 of each exposure, (F, O)."""
    return np.asarray((effects.mean_f() - 1.0) * np.sqrt(effects.count))


@estimator(
    "divw",
    "Debiased IVW",
    assumes=_ASSUMES,
    reference="Ye, Shao & Kang 2021 Ann Stat, doi:10.1214/20-AOS2027",
    blocked=False,
    subtracts="own",
)
def divw(effects: Effects, *, overdispersion: bool = True) -> Fit:
    """Sum w b g / Sum w (b^2 - s^2), weights 1/syy.

    Parameters
    ----------
    effects : Effects
        Of J instruments on F exposures and O outcomes.
    overdispersion : bool
        Whether balanced pleiotropy of variance tau^2 enters the error.

    Notes
    -----
    kappa sqrt(J) = (mean F - 1) sqrt(J) should be above 20. Not valid with selected instruments
    (winner's curse) or correlated errors of exposure and outcome.
    """
    m = _moments(effects)
    denominator = m["bb"] - m["ss"]
    theta = m["bg"] / denominator
    tau2 = _overdispersion(m, theta) if overdispersion else np.zeros_like(theta)
    return _fit(m, theta, tau2, denominator, _condition(effects))


@estimator(
    "pivw",
    "Penalized IVW",
    assumes=_ASSUMES,
    reference="Xu, Wang, Fung & Liu 2022 Biometrics, doi:10.1111/biom.13732",
    blocked=False,
    subtracts="own",
)
def pivw(
    effects: Effects,
    *,
    penalty: float = 1.0,
    overdispersion: bool = True,
) -> Fit:
    """Debiased IVW with a penalty that keeps the denominator away from zero.

    Parameters
    ----------
    penalty : float
        Lambda of the penalty lambda log|mu2| on the profile likelihood of the two sums.
    overdispersion : bool
        As in `divw`, with the same shapes and limits.

    Notes
    -----
    mu2p = mu2/2 + sign(mu2) sqrt(mu2^2/4 + lambda v2), mu1p = mu1 + (v12/v2)(mu2p - mu2),
    theta = mu1p/mu2p, where v2 and v12 estimate the variance of mu2 and its covariance with mu1.
    """
    m = _moments(effects)
    mu2 = m["bb"] - m["ss"]
    mu2p = mu2 / 2.0 + np.where(mu2 < 0, -1.0, 1.0) * np.sqrt(mu2 * mu2 / 4.0 + penalty * m["v2"])
    theta = (m["bg"] + m["v12"] / m["v2"] * (mu2p - mu2)) / mu2p
    tau2 = _overdispersion(m, theta) if overdispersion else np.zeros_like(theta)
    return _fit(m, theta, tau2, mu2p, _condition(effects))
