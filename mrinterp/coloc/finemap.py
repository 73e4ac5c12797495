"""Fine-mapping with SuSiE: from runs, from sufficient statistics, from z-scores with LD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrinterp.coloc.susie_fit import StandardizedProducts, SusieOptions, fit_effects
from mrinterp.core.credible_set import FineMapping
from mrinterp.core.errors import InputError
from mrinterp.core.ld import validate_ld

__all__ = ["SusieOptions", "finemap_individual", "finemap_sufficient", "finemap_summary"]

Array = NDArray[np.float64]


def finemap_summary(
    z: ArrayLike,
    ld: ArrayLike,
    n: ArrayLike | None = None,
    *,
    se: ArrayLike | None = None,
    variance_y: ArrayLike | None = None,
    traits: Sequence[str] | None = None,
    instruments: Sequence[str] | None = None,
    ld_names: Sequence[str] | None = None,
    prior_weights: ArrayLike | None = None,
    options: SusieOptions | None = None,
) -> FineMapping:
    """Fine-map traits from their z-scores and the correlation of the instruments.

    Parameters
    ----------
    z : array_like (T, J) or (J,)
        Marginal z-scores.
    ld : array_like (J, J)
        Correlation of the instruments, shared by all traits.
    n : array_like, optional
        Sample size, one or one per trait; without it effects are assumed small.
    se, variance_y : array_like, optional
        Standard errors (T, J) and trait variances (T,): give both for effects in the table's units
        and the fit of the individual data.
    prior_weights : array_like (J,), optional
        Prior weight of each instrument.

    Returns
    -------
    FineMapping

    Raises
    ------
    InputError
        Infinite z, wrong shapes, a matrix that is no correlation matrix of these instruments.

    Notes
    -----
    Not valid with a correlation matrix from other data; see ``inconsistency`` and ``status``.
    """
    options = options or SusieOptions()
    z = np.atleast_2d(np.asarray(z, dtype=float))
    names, columns = _names(z.shape, traits, instruments)
    _check_z(z, names, columns)
    ld = validate_ld(np.asarray(ld, float), columns, ld_names)
    T = len(z)
    scale = np.ones_like(z)
    if n is None:
        xty, yty, size = z, np.ones(T), np.full(T, 2.0)
        options = replace(options, scaled_prior_variance=50.0)
    else:
        size = np.broadcast_to(np.asarray(n, dtype=float), (T,)).copy()
        if not np.all(size > 2):
            raise InputError(
                "sample size n", f"{size.min():g}", "Give the number of families or runs, more than 2"
            )
        shrunk = z * np.sqrt((size - 1.0)[:, None] / (z * z + (size - 2.0)[:, None]))
        sd = (
            np.ones(T)
            if variance_y is None
            else np.sqrt(np.broadcast_to(np.asarray(variance_y, float), (T,)))
        )
        xty, yty = np.sqrt(size - 1.0)[:, None] * sd[:, None] * shrunk, (size - 1.0) * sd * sd
        if se is not None and variance_y is not None:
            errors = np.atleast_2d(np.asarray(se, dtype=float))
            shrink = (size - 1.0)[:, None] / (z * z + (size - 2.0)[:, None])
            scale = sd[:, None] * np.sqrt(shrink / (size - 1.0)[:, None]) / errors
    problem = StandardizedProducts(xty, yty, size, ld, z, scale, names, columns, True)
    return fit_effects(problem, options, prior_weights)


def finemap_sufficient(
    xtx: ArrayLike,
    xty: ArrayLike,
    yty: ArrayLike,
    n: ArrayLike,
    *,
    traits: Sequence[str] | None = None,
    instruments: Sequence[str] | None = None,
    prior_weights: ArrayLike | None = None,
    options: SusieOptions | None = None,
) -> FineMapping:
    """Fine-map traits from cross-products of centred data.

    Parameters
    ----------
    xtx : array_like (J, J)
        Cross-products of the centred instruments.
    xty : array_like (T, J) or (J,)
        Cross-products of traits and instruments.
    yty : array_like (T,)
        Sums of squares of the centred traits.
    n : array_like
        Sample size.
    """
    options = options or SusieOptions()
    xtx, xty = np.asarray(xtx, float), np.atleast_2d(np.asarray(xty, float))
    names, columns = _names(xty.shape, traits, instruments)
    diagonal = np.diag(xtx).copy()
    flat = np.flatnonzero(~(diagonal > 0.0))
    if len(flat):
        raise InputError(
            f"xtx, instrument {columns[flat[0]]!r}",
            f"monomorphic: sum of squares {diagonal[flat[0]]:g} ({len(flat)} such instruments)",
            "Drop instruments that do not vary",
        )
    T = len(xty)
    size = np.broadcast_to(np.asarray(n, float), (T,)).copy()
    root = np.sqrt(diagonal)
    ld = validate_ld(xtx / np.outer(root, root), columns, where="xtx")
    yty = np.broadcast_to(np.asarray(yty, float), (T,)).copy()
    scale = np.sqrt(diagonal / (size - 1.0)[:, None])
    standard = xty / scale
    r2 = np.clip(xty**2 / (diagonal * yty[:, None]), 0.0, 1.0 - 1e-15)
    z = np.sign(xty) * np.sqrt(r2 * (size - 2.0)[:, None] / (1.0 - r2))
    problem = StandardizedProducts(standard, yty, size, ld, z, scale, names, columns, False)
    return fit_effects(problem, options, prior_weights)


def finemap_individual(
    x: ArrayLike,
    y: ArrayLike,
    *,
    traits: Sequence[str] | None = None,
    instruments: Sequence[str] | None = None,
    prior_weights: ArrayLike | None = None,
    options: SusieOptions | None = None,
) -> FineMapping:
    """Fine-map traits from individual data; both are centred here.

    Parameters
    ----------
    x : array_like (N, J)
        Doses of the instruments.
    y : array_like (N,) or (N, T)
        Traits.
    """
    x, y = np.asarray(x, float), np.asarray(y, float)
    y = y[:, None] if y.ndim == 1 else y
    if len(x) != len(y):
        raise InputError(
            "individual data", f"{len(x)} rows of doses, {len(y)} of traits", "Give one row per run in both"
        )
    bad = np.argwhere(~np.isfinite(np.column_stack([x, y])))
    if len(bad):
        raise InputError(
            f"individual data, row {bad[0][0] + 1}",
            "a value that is not finite",
            "Drop the run or fill it in",
        )
    x, y = x - x.mean(0), y - y.mean(0)
    return finemap_sufficient(
        x.T @ x,
        y.T @ x,
        (y * y).sum(0),
        len(x),
        traits=traits,
        instruments=instruments,
        prior_weights=prior_weights,
        options=options,
    )


def _names(
    shape: tuple[int, ...], traits: Sequence[str] | None, instruments: Sequence[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    T, J = shape
    names = (
        tuple(traits)
        if traits is not None
        else tuple(f"trait {t + 1}" for t in range(T))
        if T > 1
        else ("trait",)
    )
    columns = (
        tuple(instruments) if instruments is not None else tuple(f"instrument {j + 1}" for j in range(J))
    )
    for what, given, need in (("traits", names, T), ("instruments", columns, J)):
        if len(given) != need:
            raise InputError(what, f"{len(given)} names for {need}", "Give one name each")
    return names, columns


def _check_z(z: Array, traits: Sequence[str], instruments: Sequence[str]) -> None:
    bad = np.argwhere(~np.isfinite(z))
    if len(bad):
        t, j = bad[0]
        raise InputError(
            f"z of {traits[t]!r}, instrument {instruments[j]!r}",
            f"{z[t, j]}",
            "z-scores must be finite: a standard error of 0 or a p-value of 0 makes them infinite; use the effect and its error",
        )


