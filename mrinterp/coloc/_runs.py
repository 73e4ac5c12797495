"""Colocalization straight from runs: doses, features and outcomes as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrinterp.coloc._abf import QUANTITATIVE_PRIOR_SD, colocalize
from mrinterp.coloc._priors import Priors
from mrinterp.core.errors import InputError
from mrinterp.core.mrdata import MRData
from mrinterp.results._coloc import Coloc
from mrinterp.stats.bayes_factors.wakefield import hypothesis_log_sums, hypothesis_posterior, log_bayes_factor

__all__ = ["colocalize_runs", "marginal_effects", "screen_runs"]

Array = NDArray[np.float64]

_CACHED_ELEMENTS = 60_000  # doubles that stay in the cache between two passes
_ROUNDING = (
    1e-12  # a sum of squares that is smaller, relative to the largest, is rounding: the dose is constant
)
_FEWEST_RUNS = 3  # intercept, slope, and one degree of freedom for the error


def marginal_effects(doses: ArrayLike, traits: ArrayLike) -> tuple[Array, Array, Array]:
    """Least-squares effect of every instrument on every trait, one instrument at a time.

    Parameters
    ----------
    doses : array_like (N, J)
        Doses of the instruments in N runs.
    traits : array_like (N, T)
        Features or outcomes of the same runs.

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
    Not valid where runs are not independent: with prompts in families use
    `mrinterp.scan.marginal_scan`, whose errors are clustered.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp import coloc
    >>> doses = np.array([[0.0], [1.0], [0.0], [1.0]])
    >>> beta, se, sd = coloc.marginal_effects(doses, [[0.1], [2.0], [0.0], [2.1]])
    >>> beta
    array([[2.]])
    """
    y: Array = np.asarray(traits, dtype=float)
    x, d = _varying_doses(doses, len(y))
    beta, variance, spread = _least_squares(x, d, y)
    return beta, np.sqrt(variance, out=variance), np.sqrt(spread)


def _varying_doses(doses: ArrayLike, runs: int) -> tuple[Array, Array]:
    """The doses, and the sum of squares of each instrument around its mean; all must vary."""
    x: Array = np.asarray(doses, dtype=float)
    if len(x) != runs:
        raise InputError("runs", f"{len(x)} rows of doses, {runs} of traits", "Give one row per run in both")
    if runs < _FEWEST_RUNS:
        raise InputError("runs", f"{runs}", f"Effects with errors need {_FEWEST_RUNS} runs or more")
    d = _sums_of_squares(x)
    flat = np.flatnonzero(d <= _ROUNDING * max(float(d.max()), 1e-300))
    if len(flat):
        raise InputError(f"instrument {flat[0] + 1}", "does not vary (monomorphic)", "Drop it")
    return x, d


def _sums_of_squares(x: Array) -> Array:
    """Sum of squares of each column around its mean, in blocks of rows that stay in the cache."""
    mean, out = x.mean(0), np.zeros(x.shape[1])
    step = max(1, _CACHED_ELEMENTS // max(1, x.shape[1]))
    for start in range(0, len(x), step):
        part = x[start : start + step] - mean
        out += np.einsum("nj,nj->j", part, part)
    return out


def _least_squares(x: Array, d: Array, traits: Array) -> tuple[Array, Array, Array]:
    """Effects and their error variances (T, J), and the variance of each trait (T,)."""
    n = len(x)
    y = traits - traits.mean(0)  # enough for the cross-products
    total = np.einsum("nt,nt->t", y, y)
    beta = y.T @ x
    beta /= d
    # in place: allocating temporaries would take as long as the arithmetic
    variance = beta * beta
    variance *= -d
    variance += total[:, None]
    np.maximum(variance, 0.0, out=variance)
    variance /= (n - 2.0) * d
    return beta, variance, total / (n - 1.0)


def screen_runs(
    doses: ArrayLike, features: ArrayLike, outcomes: ArrayLike, *, priors: Priors | None = None
) -> Array:
    """Posterior of the five hypotheses for every pair of quantitative traits of the same runs, and nothing else.

    For screens over very many pairs: one locus, in blocks of features, so that the memory is that of
    the result and of the outcomes' Bayes factors. `colocalize_runs` adds signs, instruments,
    sensitivity over the priors and the check that one sparse cause describes the locus.

    Parameters
    ----------
    doses : array_like (N, J)
        Doses of the instruments of one locus in N runs.
    features : array_like (N, F)
        Values of the features.
    outcomes : array_like (N, O)
        Values of the outcomes.
    priors : Priors, optional
        Per instrument; default `Priors()`.

    Returns
    -------
    ndarray (F, O, 5)
        Posterior of H0 to H4.

    Raises
    ------
    InputError
        Different numbers of runs, or an instrument that does not vary.

    Notes
    -----
    Not valid as a verdict where several instruments of the locus act (nothing is checked here), nor where
    runs are not independent.

    References
    ----------
    Giambartolomei et al. 2014, PLoS Genetics, doi:10.1371/journal.pgen.1004383.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp import coloc
    >>> doses = np.random.default_rng(0).normal(size=(200, 5))
    >>> noise = np.random.default_rng(1).normal(size=(200, 2))
    >>> x, y = doses[:, :1] + noise[:, :1], doses[:, :1] + noise[:, 1:]
    >>> int(coloc.screen_runs(doses, x, y)[0, 0].argmax())  # H4: one shared cause
    4
    """
    first, second = np.asarray(features, dtype=float), np.asarray(outcomes, dtype=float)
    x, d = _varying_doses(doses, len(first))
    if len(second) != len(x):
        found = f"{len(x)} rows of doses, {len(second)} of outcomes"
        raise InputError("runs", found, "Give one row per run in both")
    p = (priors or Priors()).per_instrument(x.shape[1])

    def log_bf(traits: Array) -> Array:
        beta, variance, spread = _least_squares(x, d, traits)
        return log_bayes_factor(beta, variance, QUANTITATIVE_PRIOR_SD**2 * spread[:, None])

    log_bf_y = log_bf(second)
    out = np.empty((first.shape[1], second.shape[1], 5))
    step = max(1, _CACHED_ELEMENTS // x.shape[1])
    for start in range(0, first.shape[1], step):
        block = slice(start, start + step)
        log_sums, _ = hypothesis_log_sums(log_bf(first[:, block]), log_bf_y)
        out[block] = hypothesis_posterior(log_sums, p.p1, p.p2, p.p12)
    return out


def colocalize_runs(
    doses: ArrayLike,
    features: ArrayLike,
    outcomes: ArrayLike,
    *,
    feature_names: Sequence[str] | None = None,
    outcome_names: Sequence[str] | None = None,
    instruments: Sequence[str] | None = None,
    **options: Any,
) -> Coloc:
    """Colocalize every feature with every outcome of the same runs.

    Parameters
    ----------
    doses : array_like (N, J)
        Doses of the instruments in N runs.
    features : array_like (N, F)
        Values of the features.
    outcomes : array_like (N, O) or (N,)
        Values of the outcomes.
    feature_names, outcome_names, instruments : sequence of str, optional
        Names; default ``feature 1``, ``outcome 1``, ``instrument 1``, ...
    **options
        Passed to `colocalize`; ``correlated_errors=True`` uses the correlation of the traits.

    Returns
    -------
    Coloc

    Raises
    ------
    InputError
        Different numbers of runs, or an instrument that does not vary.

    Notes
    -----
    Not valid where runs are not independent: with prompts in families, colocalize the summary
    statistics of `mrinterp.scan.marginal_scan`.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp import coloc
    >>> doses = np.random.default_rng(0).normal(size=(200, 5))
    >>> noise = np.random.default_rng(1).normal(size=(200, 2))
    >>> found = coloc.colocalize_runs(doses, doses[:, :1] + noise[:, :1], doses[:, 0] + noise[:, 1])
    >>> found["feature 1", "outcome 1"].verdict
    'the two share a cause'
    """
    x: Array = np.asarray(doses, dtype=float)
    y: Array = np.column_stack([features, outcomes]).astype(float)
    count = np.asarray(features).reshape(len(x), -1).shape[1]
    beta, se, sd = marginal_effects(x, y)
    names = tuple(feature_names or (f"feature {f + 1}" for f in range(count)))
    others = tuple(outcome_names or (f"outcome {o + 1}" for o in range(y.shape[1] - count)))
    columns = tuple(instruments or (f"instrument {j + 1}" for j in range(x.shape[1])))
    data = MRData(
        beta_x=beta[:count],
        se_x=se[:count],
        beta_y=beta[count:],
        se_y=se[count:],
        exposures=names,
        outcomes=others,
        instruments=columns,
        error_corr=np.atleast_2d(np.corrcoef(y.T)) if options.get("correlated_errors") else None,
        ld=np.atleast_2d(np.corrcoef(x.T)) if options.get("check_misfit", True) else None,
    )
    return colocalize(data, sd_x=sd[:count], sd_y=sd[count:], **options)
