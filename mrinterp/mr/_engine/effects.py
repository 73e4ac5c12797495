"""What every estimator of summary statistics gets: effects of the instruments and their errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Effects", "delta_variance", "row_blocks"]

Array = NDArray[np.float64]

_IN_CACHE = 1 << 16
"""Numbers (half a megabyte) that stay in a core's cache beside what they are combined with."""
_MANY = 1 << 20
"""Exposure effects from which one compiled pass beats matrix products, which read them several times from memory."""


@dataclass(frozen=True, eq=False)
class Effects:
    """Effects of J instruments on F exposures and O outcomes, all finite, with their standard errors.

    Parameters
    ----------
    beta_x, se_x : ndarray (F, J)
        Effects on the exposures per dose unit, and their standard errors. In formulas b and s, or sxx = s^2.
    beta_y, se_y : ndarray (O, J)
        The same for the outcomes. In formulas g and t, or syy = t^2.
    asked : int
        Pairs of exposure and outcome in the whole request, of which these may be a block; 0 where that is not known.
    """

    beta_x: Array
    se_x: Array
    beta_y: Array
    se_y: Array
    asked: int = 0

    @property
    def shape(self) -> tuple[int, int]:
        """(exposures F, outcomes O): the shape of everything that is estimated."""
        return len(self.beta_x), len(self.beta_y)

    @property
    def count(self) -> int:
        """Number J of instruments."""
        return int(self.beta_x.shape[1])

    def cells(self) -> tuple[Array, Array, Array, Array]:
        """Every pair of (exposure, outcome) as a row: b, s, g, t, each (F * O, J), outcomes fastest."""
        (F, O), J = self.shape, self.count
        shape = (F, O, J)
        b, s = (np.broadcast_to(a[:, None, :], shape).reshape(F * O, J) for a in (self.beta_x, self.se_x))
        g, t = (np.broadcast_to(a[None, :, :], shape).reshape(F * O, J) for a in (self.beta_y, self.se_y))
        return b, s, g, t

    def fused(self) -> bool:
        """Whether compiled loops that read each array once beat matrix products: many exposures, few outcomes."""
        return self.beta_x.size >= _MANY and len(self.beta_y) <= 4

    def mean_f(self) -> Array:
        """Mean over instruments of (b / s)^2, the strength of each exposure, (F, O)."""
        out = np.empty((len(self.beta_x), 1))
        for rows in row_blocks(*self.beta_x.shape):
            z = self.beta_x[rows] / self.se_x[rows]
            out[rows, 0] = np.einsum("fj,fj->f", z, z)
        return np.broadcast_to(out / self.count, self.shape)


def row_blocks(rows: int, J: int) -> list[slice]:
    """Slices of rows whose (rows, J) temporaries stay in the processor's cache."""
    size = max(1, _IN_CACHE // max(J, 1))
    return [slice(i, min(i + size, rows)) for i in range(0, rows, size)]


def delta_variance(b: Array, s: Array, g: Array, t: Array, rho: Array | float = 0.0) -> Array:
    """Variance of the ratio g/b times b^2 to second order: t^2 + g^2 s^2/b^2 - 2 rho g s t/b."""
    ratio = g / b
    return np.asarray(t * t + ratio * ratio * s * s - 2.0 * rho * ratio * s * t)
