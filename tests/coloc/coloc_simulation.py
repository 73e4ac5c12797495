"""Loci with correlated instruments and known causes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Locus:
    """Standardized doses (N, J) and their correlation (J, J)."""

    x: np.ndarray
    ld: np.ndarray

    @property
    def shape(self) -> tuple[int, int]:
        return self.x.shape

    def z_scores(self, y: np.ndarray) -> np.ndarray:
        """Marginal z of every trait (T, N) at every instrument."""
        n = len(self.x)
        y = y - y.mean(-1, keepdims=True)
        r = y @ self.x / (np.linalg.norm(y, axis=-1, keepdims=True) * np.sqrt(n - 1.0))
        return r * np.sqrt((n - 2.0) / (1.0 - r * r))


def simulate_locus(
    rng: np.random.Generator, runs: int, instruments: int, rho: float = 0.8, block: int = 25
) -> Locus:
    """Blocks of instruments correlated as an autoregression."""
    x = rng.standard_normal((runs, instruments))
    for j in range(1, instruments):
        if j % block:
            x[:, j] = rho * x[:, j - 1] + np.sqrt(1 - rho**2) * x[:, j]
    x -= x.mean(0)
    x /= x.std(0, ddof=1)
    return Locus(x, x.T @ x / (runs - 1))


def simulate_traits(
    rng: np.random.Generator, locus: Locus, causes: list[np.ndarray], effect: float
) -> np.ndarray:
    """One trait per list of causes, effects of random sign, unit noise."""
    n = len(locus.x)
    y = rng.standard_normal((len(causes), n))
    for t, members in enumerate(causes):
        if len(members):
            y[t] += locus.x[:, members] @ (effect * rng.choice([-1.0, 1.0], len(members)))
    return y
