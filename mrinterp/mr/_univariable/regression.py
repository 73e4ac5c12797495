"""What the regression estimators share: sums over instruments, errors, strength, heterogeneity."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mrinterp.core.errors import InputError, near_misses
from mrinterp.stats.loops.row_threads import by_rows
from mrinterp.stats.tests.t_tail import two_sided_t
from mrinterp.stats.tests.tails import critical_value, neglog10p_normal, neglog10p_t

__all__ = [
    "cells",
    "choice",
    "delta_variance",
    "fused",
    "heterogeneity",
    "mean_f",
    "p_value",
    "residual_df",
    "row_blocks",
    "wider_inference",
]

Array = NDArray[np.float64]
_IN_CACHE = 1 << 16
_MANY = 1 << 20


def choice(name: str, value: object, known: tuple[str, ...]) -> None:
    """Refuse an option's value that is not among the known ones.

    Raises
    ------
    InputError
        With the closest known values.
    """
    if value not in known:
        raise InputError(
            f"option {name!r}",
            f"{value!r}",
            _elsewhere(str(value), known)
            or near_misses(str(value), known)
            or f"Use one of {', '.join(known)}",
        )


def _elsewhere(value: str, known: tuple[str, ...]) -> str:
    """The word here for one that another package uses for the same choice."""
    words = {"simple": ("first", "nome"), "delta": ("second",), "t-dist": ("t",), "default": ("random",)}
    here = [w for w in words.get(value, ()) if w in known]
    return f"It is called {here[0]!r} here (one of {', '.join(known)})" if here else ""


def cells(beta_x: Array, se_x: Array, beta_y: Array, se_y: Array) -> tuple[Array, Array, Array, Array]:
    """Every pair of (exposure, outcome) as a row: four arrays (F * O, J), outcomes fastest."""
    F, J = beta_x.shape
    O = beta_y.shape[0]
    shape = (F, O, J)
    b, s = (np.broadcast_to(a[:, None, :], shape).reshape(F * O, J) for a in (beta_x, se_x))
    g, t = (np.broadcast_to(a[None, :, :], shape).reshape(F * O, J) for a in (beta_y, se_y))
    return b, s, g, t


def row_blocks(rows: int, J: int) -> list[slice]:
    """Slices of rows whose (rows, J) temporaries stay in the processor's cache."""
    size = max(1, _IN_CACHE // max(J, 1))
    return [slice(i, min(i + size, rows)) for i in range(0, rows, size)]


def fused(beta_x: Array, beta_y: Array) -> bool:
    """Whether compiled loops that read each array once beat matrix products: many exposures, few outcomes."""
    return beta_x.size >= _MANY and len(beta_y) <= 4


def mean_f(beta_x: Array, se_x: Array) -> Array:
    """Mean over instruments of (b / s)^2, per exposure, (F, 1)."""
    out = np.empty((len(beta_x), 1))
    for rows in row_blocks(*beta_x.shape):
        z = beta_x[rows] / se_x[rows]
        out[rows, 0] = np.einsum("fj,fj->f", z, z)
    return out / beta_x.shape[1]


def delta_variance(b: Array, s: Array, g: Array, t: Array, rho: Array | float = 0.0) -> Array:
    """Variance of the ratio g/b times b^2 to second order: t^2 + g^2 s^2/b^2 - 2 rho g s t/b."""
    ratio = g / b
    return np.asarray(t * t + ratio * ratio * s * s - 2.0 * rho * ratio * s * t)


def residual_df(distribution: str, df: float) -> float:
    """Degrees of freedom for inference: infinite for ``"normal"``, ``df`` for ``"t"``."""
    return np.inf if distribution == "normal" else df


def _tail(tail: np.ufunc, df: float, x: Array) -> Array:
    """``tail(df, x)``, spread over threads where there is much of it."""
    flat = np.ascontiguousarray(x).reshape(-1)
    out = np.empty(len(flat))

    def part(first: int, last: int) -> None:
        tail(df, flat[first:last], out=out[first:last])

    by_rows(part, len(flat), 1 << 14)
    return out.reshape(x.shape)


def heterogeneity(q: Array, df: float) -> dict[str, Array]:
    """Cochran's Q with its p and I^2 = max(0, 1 - df/Q); nan without degrees of freedom."""
    q = np.asarray(q, dtype=float)
    if df < 1:
        nothing = np.full(q.shape, np.nan)
        return {"q": nothing, "q_df": np.full(q.shape, float(max(df, 0))), "q_p": nothing, "i2": nothing}
    return {
        "q": q,
        "q_df": np.full(q.shape, float(df)),
        "q_p": _tail(special.chdtrc, float(df), q),
        "i2": np.where(q > df, 1.0 - df / np.where(q > 0, q, 1.0), 0.0),
    }


def p_value(z: Array, df: Array | float = np.inf) -> Array:
    """Two-sided p of a statistic on ``df`` degrees of freedom (infinite: normal)."""
    z, df = np.abs(z), np.asarray(df, dtype=float)
    if df.ndim == 0:
        return (
            two_sided_t(z.ravel(), float(df)).reshape(z.shape) if np.isfinite(df) else 2.0 * special.ndtr(-z)
        )
    finite = np.isfinite(df)
    return np.asarray(np.where(finite, special.stdtr(np.where(finite, df, 1.0), -z), special.ndtr(-z)) * 2.0)


def wider_inference(
    beta: Array, se: Array, raw_se: Array, df: float, level: float
) -> tuple[Array, Array, Array]:
    """Limits and -log10 p, the more cautious of (normal, floored error) and (t, unfloored error)."""
    half = np.maximum(critical_value(level) * se, critical_value(level, df) * raw_se)
    neglog10p = np.minimum(neglog10p_normal(beta / se), neglog10p_t(beta / raw_se, df))
    return beta - half, beta + half, neglog10p
