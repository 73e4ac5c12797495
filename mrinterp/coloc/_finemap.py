"""Fine-mapping with SuSiE: from runs, from sufficient statistics, from z-scores with LD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mrinterp.coloc._susie_fit import StandardizedProducts, SusieOptions, fit_effects
from mrinterp.core.checks import checked_choice
from mrinterp.core.errors import InputError
from mrinterp.core.ld import validate_ld
from mrinterp.core.mrdata import MRData
from mrinterp.results._fine_mapping import FineMapping

__all__ = ["SusieOptions", "finemap_individual", "finemap_sufficient", "finemap_summary", "finemap_traits"]

Array = NDArray[np.float64]

_PRIOR_VARIANCE_OF_Z = 50.0  # where the sample size is not known, the prior variance is that of z-scores


def finemap_summary(
    z: ArrayLike,
    ld: ArrayLike | None,
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
    ld : array_like (J, J), DataFrame or None
        Correlation of the instruments, shared by all traits; a data frame is aligned by its names. None
        means independent instruments.
    n : array_like, optional
        Sample size, one or one per trait; without it effects are assumed small.
    se, variance_y : array_like, optional
        Standard errors (T, J) and trait variances (T,): give both for effects in the table's units
        and the fit of the individual data.
    traits, instruments : sequence of str, optional
        Names; default ``trait``, or ``trait 1``, ..., and those of the index of ``z`` or of the matrix, or
        ``instrument 1``, ...
    ld_names : sequence of str, optional
        Names that came with the matrix, which is aligned by them: see `mrinterp.tables.read_ld`.
    prior_weights : array_like (J,), optional
        Prior weight of each instrument; default equal.
    options : SusieOptions, optional
        How the sum of single effects is fitted.

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

    References
    ----------
    Wang et al. 2020, J. R. Stat. Soc. B, doi:10.1111/rssb.12388; Zou et al. 2022, PLoS Genetics,
    doi:10.1371/journal.pgen.1010299.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp import coloc
    >>> fit = coloc.finemap_summary([8.0, 1.0, 0.0], np.eye(3), 500, traits=["bmi"])
    >>> fit["bmi"][0].members
    ('instrument 1',)
    """
    options = options or SusieOptions()
    scores: Array = np.atleast_2d(np.asarray(z, dtype=float))
    names, columns = _names(scores.shape, traits, _instrument_names(z, ld, instruments))
    _check_z(scores, names, columns)
    matrix = np.eye(len(columns)) if ld is None else validate_ld(ld, columns, ld_names, share=True)
    T = len(scores)
    scale = np.ones_like(scores)
    if n is None:
        xty, yty, size = scores, np.ones(T), np.full(T, 2.0)
        options = replace(options, scaled_prior_variance=_PRIOR_VARIANCE_OF_Z)
    else:
        size = np.broadcast_to(np.asarray(n, dtype=float), (T,)).copy()
        if not np.all(size > 2):
            raise InputError(
                "sample size n", f"{size.min():g}", "Give the number of families or runs, more than 2"
            )
        shrunk = scores * np.sqrt((size - 1.0)[:, None] / (scores * scores + (size - 2.0)[:, None]))
        sd = (
            np.ones(T)
            if variance_y is None
            else np.sqrt(np.broadcast_to(np.asarray(variance_y, float), (T,)))
        )
        xty, yty = np.sqrt(size - 1.0)[:, None] * sd[:, None] * shrunk, (size - 1.0) * sd * sd
        if se is not None and variance_y is not None:
            errors = np.atleast_2d(np.asarray(se, dtype=float))
            shrink = (size - 1.0)[:, None] / (scores * scores + (size - 2.0)[:, None])
            scale = sd[:, None] * np.sqrt(shrink / (size - 1.0)[:, None]) / errors
    problem = StandardizedProducts(xty, yty, size, matrix, scores, scale, names, columns, True)
    return fit_effects(problem, options, prior_weights)


def finemap_traits(
    data: MRData, side: str = "exposures", *, options: SusieOptions | None = None
) -> FineMapping:
    """Fine-map all exposures, or all outcomes, of harmonized summary statistics.

    Parameters
    ----------
    data : MRData
        The instruments of one locus; ``ld`` None means independent instruments. Sample sizes are
        ``n_x`` or ``n_y``.
    side : str
        ``"exposures"`` or ``"outcomes"``.
    options : SusieOptions, optional
        How the sum of single effects is fitted.

    Returns
    -------
    FineMapping

    Raises
    ------
    InputError
        Unknown side, or effects that are missing for a trait.

    Notes
    -----
    Not valid with a correlation matrix from other data; see ``inconsistency`` and ``status``.

    Examples
    --------
    >>> from mrinterp import coloc, tables
    >>> data = tables.summary_from_arrays([0.8, 0.0, 0.1], [0.1] * 3, [0.1, 0.1, 0.9], [0.1] * 3)
    >>> coloc.finemap_traits(data, "outcomes")["outcome"][0].members
    ('instrument 3',)
    """
    first = checked_choice(side, "side", ("exposures", "outcomes")) == "exposures"
    beta, se = (data.beta_x, data.se_x) if first else (data.beta_y, data.se_y)
    return finemap_summary(
        beta / se,
        data.ld,
        data.n_x if first else data.n_y,
        traits=data.exposures if first else data.outcomes,
        instruments=data.instruments,
        options=options,
    )


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
        Sample size, one or one per trait.
    traits, instruments : sequence of str, optional
        Names; default ``trait``, or ``trait 1``, ..., and ``instrument 1``, ...
    prior_weights : array_like (J,), optional
        Prior weight of each instrument; default equal.
    options : SusieOptions, optional
        How the sum of single effects is fitted.

    Returns
    -------
    FineMapping

    Raises
    ------
    InputError
        An instrument that does not vary, or cross-products that are no Gram matrix.

    Notes
    -----
    Not valid where runs are not independent.

    References
    ----------
    Wang et al. 2020, J. R. Stat. Soc. B, doi:10.1111/rssb.12388.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp import coloc
    >>> x = np.random.default_rng(0).normal(size=(200, 3))
    >>> x -= x.mean(0)
    >>> y = x[:, 1] + np.random.default_rng(1).normal(size=200)
    >>> coloc.finemap_sufficient(x.T @ x, y @ x, y @ y, 200)["trait"][0].members
    ('instrument 2',)
    """
    gram: Array = np.asarray(xtx, dtype=float)
    cross: Array = np.atleast_2d(np.asarray(xty, dtype=float))
    names = _names(cross.shape, traits, instruments)
    return _from_products(gram, cross, yty, n, names, prior_weights, options or SusieOptions(), check=True)


def _from_products(
    gram: Array,
    cross: Array,
    yty: ArrayLike,
    n: ArrayLike,
    labels: tuple[tuple[str, ...], tuple[str, ...]],
    prior_weights: ArrayLike | None,
    options: SusieOptions,
    check: bool,
) -> FineMapping:
    """Standardize cross-products and fit; ``check`` where the Gram matrix comes from the user."""
    names, columns = labels
    diagonal = np.diag(gram).copy()
    flat = np.flatnonzero(~(diagonal > 0.0))
    if len(flat):
        raise InputError(
            f"instrument {columns[flat[0]]!r}",
            f"monomorphic: sum of squares {diagonal[flat[0]]:g} ({len(flat)} such instruments)",
            "Drop instruments that do not vary",
        )
    T = len(cross)
    size = np.broadcast_to(np.asarray(n, float), (T,)).copy()
    root = np.sqrt(diagonal)
    ld = gram / np.outer(root, root)
    if check:
        ld = validate_ld(ld, columns, where="xtx", overwrite=True)
    total = np.broadcast_to(np.asarray(yty, float), (T,)).copy()
    scale = np.sqrt(diagonal / (size - 1.0)[:, None])
    r2 = np.clip(cross**2 / (diagonal * total[:, None]), 0.0, 1.0 - 1e-15)
    z = np.sign(cross) * np.sqrt(r2 * (size - 2.0)[:, None] / (1.0 - r2))
    problem = StandardizedProducts(cross / scale, total, size, ld, z, scale, names, columns, False)
    return fit_effects(problem, options, prior_weights)


def finemap_individual(
    doses: ArrayLike,
    values: ArrayLike,
    *,
    traits: Sequence[str] | None = None,
    instruments: Sequence[str] | None = None,
    prior_weights: ArrayLike | None = None,
    options: SusieOptions | None = None,
) -> FineMapping:
    """Fine-map traits from individual data; both are centred here.

    Parameters
    ----------
    doses : array_like (N, J)
        Doses of the instruments in N runs.
    values : array_like (N,) or (N, T)
        Values of the traits in the same runs.
    traits, instruments : sequence of str, optional
        Names; default ``trait``, or ``trait 1``, ..., and ``instrument 1``, ...
    prior_weights : array_like (J,), optional
        Prior weight of each instrument; default equal.
    options : SusieOptions, optional
        How the sum of single effects is fitted.

    Returns
    -------
    FineMapping

    Raises
    ------
    InputError
        Different numbers of runs, values that are not finite, an instrument that does not vary.

    Notes
    -----
    Not valid where runs are not independent: with prompts in families, fine-map the summary statistics
    of `mrinterp.scan.marginal_scan`.

    References
    ----------
    Wang et al. 2020, J. R. Stat. Soc. B, doi:10.1111/rssb.12388.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp import coloc
    >>> doses = np.random.default_rng(0).normal(size=(200, 3))
    >>> values = doses[:, 1] + np.random.default_rng(1).normal(size=200)
    >>> coloc.finemap_individual(doses, values)["trait"][0].members
    ('instrument 2',)
    """
    x: Array = np.asarray(doses, dtype=float)
    y: Array = np.asarray(values, dtype=float)
    y = y[:, None] if y.ndim == 1 else y
    if len(x) != len(y):
        found = f"{len(x)} rows of doses, {len(y)} of traits"
        raise InputError("individual data", found, "Give one row per run in both")
    bad = np.flatnonzero(~(np.isfinite(x).all(1) & np.isfinite(y).all(1)))
    if len(bad):
        where = f"individual data, row {bad[0] + 1}"
        raise InputError(where, "a value that is not finite", "Drop the run or fill it in")
    x, y = x - x.mean(0), y - y.mean(0)
    return _from_products(
        x.T @ x,
        y.T @ x,
        (y * y).sum(0),
        len(x),
        _names((y.shape[1], x.shape[1]), traits, instruments),
        prior_weights,
        options or SusieOptions(),
        check=False,
    )


def _instrument_names(z: Any, ld: Any, given: Sequence[str] | None) -> Sequence[str] | None:
    """Names as given, or those that a pandas object of z-scores or of correlations carries."""
    if given is not None:
        return given
    carried = z.index if isinstance(z, pd.Series) else z.columns if isinstance(z, pd.DataFrame) else None
    if carried is None and isinstance(ld, pd.DataFrame):
        carried = ld.columns
    return None if carried is None or isinstance(carried, pd.RangeIndex) else [str(c) for c in carried]


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
            raise InputError(what, f"{len(given)} names for {need}", f"Give {need} names")
    return names, columns


def _check_z(z: Array, traits: Sequence[str], instruments: Sequence[str]) -> None:
    bad = np.argwhere(~np.isfinite(z))
    if len(bad):
        t, j = bad[0]
        raise InputError(
            f"z of {traits[t]!r}, instrument {instruments[j]!r}",
            f"{z[t, j]}",
            "z must be finite (an error or a p-value of 0 makes it infinite): use effects and errors",
        )
