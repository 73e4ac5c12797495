"""Losses for standardized residuals: least squares, Huber's and Tukey's, with the constants inference needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

__all__ = ["LOSSES", "Loss", "find_loss"]

Array = NDArray[np.float64]

HUBER_K = 1.345
TUKEY_K = 4.685


@dataclass(frozen=True)
class Loss:
    """A loss rho of a standardized residual t with its first two derivatives.

    The constants are moments under a standard normal Z: ``delta = E Z psi(Z)``, ``c1 = E psi(Z)^2``,
    ``c2 = Var(Z psi(Z))``, ``c3 = E Z^2 psi'(Z) + delta`` (Zhao et al. 2020, 10.1214/19-AOS1866).
    """

    name: str
    rho: Callable[[Array], Array]
    psi: Callable[[Array], Array]
    dpsi: Callable[[Array], Array]
    delta: float
    c1: float
    c2: float
    c3: float


def _normal_mean(f: Callable[[Array], Array], kink: float) -> float:
    """Mean of f(Z) for an even f that is smooth but at +-kink (inf: smooth everywhere)."""
    from scipy import integrate  # a tenth of the time that a small table takes

    def integrand(t: float) -> float:
        return float(f(np.array([t]))[0]) * float(np.exp(-(t**2) / 2.0) / np.sqrt(2.0 * np.pi))

    edges = [0.0, kink, 40.0] if np.isfinite(kink) else [0.0, 8.0, 40.0]
    return 2.0 * sum(
        float(integrate.quad(integrand, a, b, epsabs=1e-14, epsrel=1e-13)[0]) for a, b in pairwise(edges)
    )


def _least_squares() -> tuple[Callable[[Array], Array], ...]:
    return (lambda t: 0.5 * t * t, lambda t: t, lambda t: np.ones_like(t))


def _huber(k: float) -> tuple[Callable[[Array], Array], ...]:
    return (
        lambda t: np.where(np.abs(t) <= k, 0.5 * t * t, k * np.abs(t) - 0.5 * k * k),
        lambda t: np.clip(t, -k, k),
        lambda t: (np.abs(t) <= k).astype(float),
    )


def _tukey(k: float) -> tuple[Callable[[Array], Array], ...]:
    def inside(t: Array) -> Array:
        return np.maximum(1.0 - (t / k) ** 2, 0.0)

    return (
        lambda t: (k * k / 6.0) * (1.0 - inside(t) ** 3),
        lambda t: t * inside(t) ** 2,
        lambda t: inside(t) ** 2 - 4.0 * (t / k) ** 2 * inside(t),
    )


LOSSES = ("l2", "huber", "tukey")


@cache
def find_loss(name: str) -> Loss:
    """The loss of that name, ``"l2"``, ``"huber"`` (k 1.345) or ``"tukey"`` (k 4.685).

    Raises
    ------
    ValueError
        For any other name.
    """
    if name == "l2":
        (rho, psi, dpsi), kink = _least_squares(), np.inf
    elif name == "huber":
        (rho, psi, dpsi), kink = _huber(HUBER_K), HUBER_K
    elif name == "tukey":
        (rho, psi, dpsi), kink = _tukey(TUKEY_K), TUKEY_K
    else:
        raise ValueError(f"loss {name!r} is unknown; choose among {', '.join(LOSSES)}")
    delta = _normal_mean(lambda t: t * psi(t), kink)
    return Loss(
        name,
        rho,
        psi,
        dpsi,
        delta,
        _normal_mean(lambda t: psi(t) ** 2, kink),
        _normal_mean(lambda t: (t * psi(t)) ** 2, kink) - delta**2,
        _normal_mean(lambda t: t * t * dpsi(t), kink) + delta,
    )
