"""Colocalization straight from runs: doses, features and outcomes as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrinterp.coloc.abf import colocalize
from mrinterp.core.coloc import Coloc
from mrinterp.core.errors import InputError
from mrinterp.core.mrdata import MRData

__all__ = ["colocalize_runs", "marginal_effects"]

Array = NDArray[np.float64]

_CACHED_ELEMENTS = 60_000  # doubles that stay in the cache between two passes


def marginal_effects(doses: ArrayLike, traits: ArrayLike) -> tuple[Array, Array, Array]:
    """Least-squares effect of every instrument on every trait, one instrument at a time.

    Parameters
    ----------
    doses : array_like (N, J)
    traits : array_like (N, T)

    Returns
    -------
    beta, se : ndarray (T, J)
        With an intercept; errors on N - 2 degrees of freedom.
    sd : ndarray (T,)
        Standard deviation of each trait.

    Raises
    ------
    InputError
        Different numbers of runs, or an instrument that does not vary.

    Notes
    -----
    The errors assume independent runs: with prompts in families use clustered summary statistics.
    """
    x: Array = np.asarray(doses, dtype=float)
    y: Array = np.asarray(traits, dtype=float)
    if len(x) != len(y):
        raise InputError(
            "runs", f"{len(x)} rows of doses, {len(y)} of traits", "Give one row per run in both"
        )
    n = len(x)
    y = y - y.mean(0)  # enough for the cross-products
    d, total = _sums_of_squares(x), np.einsum("nt,nt->t", y, y)
    flat = np.flatnonzero(d <= 1e-12 * max(float(d.max()), 1e-300))
    if len(flat):
        raise InputError(f"instrument {flat[0] + 1}", "does not vary (monomorphic)", "Drop it")
    beta = y.T @ x
    beta /= d
    # in place: fresh pages for temporaries would take as long as the arithmetic
    se = beta * beta
    se *= -d
    se += total[:, None]
    np.maximum(se, 0.0, out=se)
    se /= (n - 2.0) * d
    return beta, np.sqrt(se, out=se), np.sqrt(total / (n - 1.0))


def _sums_of_squares(x: Array) -> Array:
    """Sum of squares of each column around its mean, in blocks of rows that stay in the cache."""
    mean, out = x.mean(0), np.zeros(x.shape[1])
    step = max(1, _CACHED_ELEMENTS // max(1, x.shape[1]))
    for start in range(0, len(x), step):
        part = x[start : start + step] - mean
        out += np.einsum("nj,nj->j", part, part)
    return out


def colocalize_runs(
    doses: ArrayLike,
    features: ArrayLike,
    outcomes: ArrayLike,
    *,
    exposures: Sequence[str] | None = None,
    outcome_names: Sequence[str] | None = None,
    instruments: Sequence[str] | None = None,
    **options: Any,
) -> Coloc:
    """Colocalize every feature with every outcome of the same runs.

    Parameters
    ----------
    doses : array_like (N, J)
    features, outcomes : array_like (N, F) and (N, O)
    options
        Passed to `colocalize`; ``correlated_errors=True`` uses the correlation of the traits.

    Returns
    -------
    Coloc
    """
    x: Array = np.asarray(doses, dtype=float)
    y: Array = np.column_stack([features, outcomes]).astype(float)
    count = np.asarray(features).reshape(len(x), -1).shape[1]
    beta, se, sd = marginal_effects(x, y)
    names = tuple(exposures or (f"feature {f + 1}" for f in range(count)))
    others = tuple(outcome_names or (f"outcome {o + 1}" for o in range(y.shape[1] - count)))
    columns = tuple(instruments or (f"instrument {j + 1}" for j in range(x.shape[1])))
    data = MRData(
        beta[:count],
        se[:count],
        beta[count:],
        se[count:],
        names,
        others,
        columns,
        error_corr=np.atleast_2d(np.corrcoef(y.T)) if options.get("correlated_errors") else None,
        ld=np.atleast_2d(np.corrcoef(x.T)) if options.get("check_misfit", True) else None,
    )
    return colocalize(data, sd_x=sd[:count], sd_y=sd[count:], **options)
