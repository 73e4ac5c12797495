"""What estimators of summary statistics share: checked words, heterogeneity, p-values and intervals."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import special

from mrinterp.core.checks import checked_choice
from mrinterp.core.errors import InputError
from mrinterp.stats.loops.row_threads import by_rows
from mrinterp.stats.tests.t_tail import two_sided_t
from mrinterp.stats.tests.tails import critical_value, neglog10p_normal, neglog10p_t

__all__ = [
    "choice",
    "heterogeneity",
    "p_value",
    "residual_df",
    "wider_inference",
]

Array = NDArray[np.float64]


def choice(name: str, value: object, known: tuple[str, ...]) -> None:
    """Refuse an option's value that is not among the known ones.

    Raises
    ------
    InputError
        With the closest known values.
    """
    elsewhere = _elsewhere(str(value), known)
    if value not in known and elsewhere:
        raise InputError(f"option {name!r}", f"{value!r}", elsewhere)
    checked_choice(value, f"option {name!r}", known)


def _elsewhere(value: str, known: tuple[str, ...]) -> str:
    """The word here for one that another package uses for the same choice."""
    words = {"simple": ("first", "nome"), "delta": ("second",), "t-dist": ("t",), "default": ("random",)}
    here = [w for w in words.get(value, ()) if w in known]
    return f"It is called {here[0]!r} here (one of {', '.join(known)})" if here else ""


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
