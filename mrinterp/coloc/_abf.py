"""Approximate Bayes factor colocalization of every feature with every outcome in every locus."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mrinterp.coloc._locus_sums import TraitPriors, locus_sums
from mrinterp.coloc._misfit import check_loci
from mrinterp.coloc._priors import SHARE_GRID, HypothesisPriors, Priors, p12_over_grid
from mrinterp.core.checks import checked_choice, checked_fraction
from mrinterp.core.errors import InputError
from mrinterp.core.mrdata import MRData
from mrinterp.results._coloc import Coloc
from mrinterp.stats.bayes_factors.wakefield import (
    estimated_prior_variance,
    hypothesis_posterior,
    log_bayes_factor,
    posterior_over_priors,
    single_cause_posterior,
)

__all__ = [
    "LOG_ODDS_PRIOR_SD",
    "QUANTITATIVE_PRIOR_SD",
    "TYPES",
    "colocalize",
    "finemap_abf",
    "prior_variance",
    "trait_types",
]

Array = NDArray[np.float64]

QUANTITATIVE_PRIOR_SD = 0.15
"""Prior standard deviation of an effect on a quantitative trait, in standard deviations of the trait."""

LOG_ODDS_PRIOR_SD = 0.2
"""Prior standard deviation of a log odds ratio."""

TYPES = ("quant", "cc")
"""Types of a trait: quantitative, or cases and controls (effects are log odds ratios)."""

REFERENCE = "Giambartolomei et al. 2014, PLoS Genetics, doi:10.1371/journal.pgen.1004383"
_ASSUMES = ("at most one cause per trait in each locus", "effects drawn from a normal prior around zero")
_ENOUGH_INSTRUMENTS = 20  # fewer do not tell the size of effects


def prior_variance(kind: str, sd: ArrayLike | None, count: int, where: str) -> Array:
    """Variance of the prior of each trait's effects, shape (count,).

    Parameters
    ----------
    kind : str
        ``"quant"`` (0.15 standard deviations of the trait) or ``"cc"`` (0.2 on the log odds).
    sd : array_like, optional
        Standard deviations of quantitative traits.

    Raises
    ------
    InputError
        Unknown kind, or a quantitative trait without a standard deviation.
    """
    if checked_choice(kind, f"type of {where}", TYPES) == "cc":
        return np.full(count, LOG_ODDS_PRIOR_SD**2)
    if sd is None:
        raise InputError(
            f"standard deviation of {where}",
            "not given for a quantitative trait",
            "Give it (sd_x, sd_y; --sd-1, --sd-2 on the command line), or estimate the size of effects"
            " (prior='estimated'; --estimate-prior)",
        )
    values = np.broadcast_to(np.asarray(sd, dtype=float), (count,))
    if not np.all(np.isfinite(values) & (values > 0)):
        raise InputError(
            f"standard deviation of {where}", f"{values.min():g}", "Standard deviations must be above 0"
        )
    return np.asarray((QUANTITATIVE_PRIOR_SD * values) ** 2)


def trait_types(types: str | Sequence[str], count: int) -> list[str]:
    """The type of each trait, where one serves for all or each has its own.

    Raises
    ------
    InputError
        An unknown type, or another number of them.
    """
    kinds = [types] * count if isinstance(types, str) else list(types)
    if len(kinds) != count:
        raise InputError("types", f"{len(kinds)} for {count} traits", "Give one type per trait")
    return [checked_choice(kind, "types", TYPES) for kind in kinds]


def _loci_of(data: MRData, locus: Sequence[str] | str | None) -> tuple[tuple[str, ...], NDArray[np.int_]]:
    """Names of the loci in order of appearance, and the locus of each instrument.

    ``locus`` is one name per instrument, a column of ``data.info``, or None: the column ``locus`` of
    ``data.info`` where there is one, else everything is one locus.
    """
    J = len(data.instruments)
    if locus is None:
        if "locus" not in data.info.columns or len(data.info) != J:
            return ("",), np.zeros(J, dtype=int)
        locus = "locus"
    if isinstance(locus, str):
        if locus not in data.info.columns:
            raise InputError(
                "locus", f"no column {locus!r} about the instruments", f"Known: {list(data.info.columns)}"
            )
        labels = [str(v) for v in data.info[locus]]
    else:
        labels = [str(v) for v in locus]
    if len(labels) != J:
        raise InputError("locus", f"{len(labels)} names for {J} instruments", "Give one locus per instrument")
    names = tuple(dict.fromkeys(labels))
    where = {name: k for k, name in enumerate(names)}
    return names, np.array([where[label] for label in labels], dtype=int)


def colocalize(
    data: MRData,
    *,
    locus: Sequence[str] | str | None = None,
    type_x: str = "quant",
    type_y: str = "quant",
    sd_x: ArrayLike | None = None,
    sd_y: ArrayLike | None = None,
    prior: str = "assumed",
    priors: Priors | HypothesisPriors | None = None,
    shares: Sequence[float] = SHARE_GRID,
    correlated_errors: bool = False,
    check_misfit: bool = True,
    misfit_alpha: float = 1e-3,
    ld_y: ArrayLike | None = None,
) -> Coloc:
    """Posterior of no cause, one trait's cause, two causes, one shared cause: all pairs, all loci.

    Parameters
    ----------
    data : MRData
        Effects of J instruments on F exposures and O outcomes, with errors, and where they are known the LD
        and the sample sizes ``n_x, n_y``, for the check of misfit.
    locus : sequence of str or str, optional
        Locus of each instrument, declared beforehand: one name per instrument, or a column of
        ``data.info``. By default the column ``locus`` where there is one, else all is one locus.
    type_x, type_y : str
        ``"quant"`` (quantitative) or ``"cc"`` (cases and controls: effects are log odds ratios).
    sd_x, sd_y : array_like, optional
        Standard deviations of quantitative traits, in the units of the effects.
    prior : str
        Size of effects: ``"assumed"`` (0.15 standard deviations, or 0.2 log odds) or ``"estimated"``:
        each trait's prior variance by maximum likelihood over its loci (needs 20 instruments).
    priors : Priors or HypothesisPriors, optional
        Prior of the hypotheses; default `Priors()`, as on the command line. For loci of few instruments,
        such as a design has, `HypothesisPriors()`: shared out over the instruments of each locus.
    shares : sequence of float
        Prior grid over pi4 / (pi3 + pi4), always computed.
    correlated_errors : bool
        Use the bivariate Bayes factors with ``data.error_corr`` (or ``data.sigma``): for traits
        measured on the same runs.
    check_misfit : bool
        Test whether LD and z-scores belong together, and whether one sparse cause describes each locus.
        Cells where it does not carry the reason in ``status`` and are answered by `NotApplicable`. Without LD
        nothing can be tested, which ``meta["unchecked"]`` and the printed pair say. Effects that explain much
        of a trait need its sample size.
    misfit_alpha : float
        Significance level of that test.
    ld_y : array_like (J, J) or DataFrame, optional
        LD in the outcomes' data, where it differs, for the same check.

    Returns
    -------
    Coloc

    Raises
    ------
    InputError
        Missing effects, priors that sum beyond one, unknown types.

    Notes
    -----
    Not valid where several instruments of a locus act (see ``status``), nor with loci chosen after
    looking at the effects; not defined for a locus of one instrument. A verdict needs a posterior of .8.
    With correlated errors and LD, H3 is summed over all pairs of instruments: J**2 terms per pair.

    References
    ----------
    Giambartolomei et al. 2014, PLoS Genetics, doi:10.1371/journal.pgen.1004383.

    Examples
    --------
    >>> from mrinterp import coloc, tables
    >>> data = tables.summary_from_arrays([0.9, 0.0, 0.1], [0.1] * 3, [0.8, 0.1, 0.0], [0.1] * 3)
    >>> coloc.colocalize(data, sd_x=1, sd_y=1)["exposure", "outcome"].verdict
    'the two share a cause'
    """
    checked_fraction(misfit_alpha, "misfit_alpha", zero=False, one=False)
    names, label = _loci_of(data, locus)
    x = _trait_priors(
        data.beta_x, data.se_x, type_x, sd_x, prior, label, "the exposures", data.exposures, data.instruments
    )
    y = _trait_priors(
        data.beta_y, data.se_y, type_y, sd_y, prior, label, "the outcomes", data.outcomes, data.instruments
    )
    sums = locus_sums(data, x, y, label, len(names), correlated_errors)
    grid = np.asarray(shares, float)
    per_locus, p12s = _prior_arrays(priors or Priors(), label, len(names), grid)
    p1, p2, p12 = per_locus.T
    posterior = hypothesis_posterior(sums.log_sums, p1, p2, p12)
    sensitivity = posterior_over_priors(sums.log_sums, p1, p2, p12s)
    checks = check_loci(data, label, names, misfit_alpha, check_misfit, ld_y)
    meta = {
        "type_x": type_x,
        "type_y": type_y,
        "prior": prior,
        "correlated_errors": correlated_errors,
        "prior_variance_x": x.prior.tolist(),
        "prior_variance_y": y.prior.tolist(),
        "p12_grid": p12s.tolist(),
        "misfit": checks.misfit,
        "unchecked": checks.unchecked,
    }
    return Coloc(
        method="bivariate ABF" if correlated_errors else "ABF",
        exposures=data.exposures,
        outcomes=data.outcomes,
        loci=names,
        instruments=data.instruments,
        posterior=posterior,
        log_sums=sums.log_sums,
        priors=per_locus,
        shares=grid,
        sensitivity=sensitivity,
        sign=sums.sign,
        top=sums.top,
        status=checks.status,
        locus=label,
        log_bf_x=sums.log_bf_x,
        log_bf_y=sums.log_bf_y,
        assumes=_ASSUMES,
        reference=REFERENCE,
        meta=meta,
    )


def finemap_abf(
    beta: ArrayLike,
    se: ArrayLike,
    *,
    types: str | Sequence[str] = "quant",
    sd: ArrayLike | None = None,
    p1: float = 1e-4,
    traits: Sequence[str] | None = None,
    instruments: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Posterior of every instrument being the one cause of a trait; needs no LD.

    Parameters
    ----------
    beta, se : array_like (T, J) or (J,)
        Marginal effects and standard errors.
    types : str or sequence (T,) of str
        ``"quant"`` (quantitative) or ``"cc"`` (cases and controls: effects are log odds ratios).
    sd : array_like (T,), optional
        Standard deviations of quantitative traits, in the units of the effects.
    p1 : float
        Prior of one instrument being the cause.
    traits, instruments : sequence of str, optional
        Names; default ``trait 1``, ... and ``instrument 1``, ...

    Returns
    -------
    DataFrame
        One row per (trait, instrument): ``trait, instrument, log_bf, posterior`` and ``none``, the
        posterior of the trait having no cause here.

    Raises
    ------
    InputError
        Shapes that differ, effects that are not known, or priors that sum beyond one.

    Notes
    -----
    Not valid where several instruments of the locus act: see `finemap_summary`.

    References
    ----------
    Wakefield 2009, Genetic Epidemiology, doi:10.1002/gepi.20359.

    Examples
    --------
    >>> from mrinterp import coloc
    >>> found = coloc.finemap_abf([0.9, 0.0, 0.1], [0.1, 0.1, 0.1], sd=1)
    >>> found.loc[found["posterior"] > 0.9, "instrument"].tolist()
    ['instrument 1']
    """
    b, s = (np.atleast_2d(np.asarray(a, dtype=float)) for a in (beta, se))
    T, J = b.shape
    names = list(traits) if traits is not None else [f"trait {t + 1}" for t in range(T)]
    columns = list(instruments) if instruments is not None else [f"instrument {j + 1}" for j in range(J)]
    if s.shape != b.shape or len(names) != T or len(columns) != J:
        found = f"effects {b.shape}, errors {s.shape}, {len(names)} traits, {len(columns)} instruments"
        raise InputError("effects", found, "Give one error per effect and one name per trait and instrument")
    if not (np.isfinite(b).all() and np.all(s > 0) and np.isfinite(s).all()):
        raise InputError("effects", "values that are not finite, or an error of 0", "Drop the instrument")
    Priors(p1, 0.0, 0.0).per_instrument(J)
    spread = [None] * T if sd is None else np.broadcast_to(np.asarray(sd, dtype=float), (T,))
    prior = [
        prior_variance(kind, each, 1, f"the trait {name!r}")
        for kind, each, name in zip(trait_types(types, T), spread, names, strict=True)
    ]
    log_bf = log_bayes_factor(b, s * s, np.array(prior))
    posterior, none = single_cause_posterior(log_bf, p1)
    return pd.DataFrame(
        {
            "trait": np.repeat(np.array(names, dtype=object), J),
            "instrument": np.tile(np.array(columns, dtype=object), T),
            "log_bf": log_bf.ravel(),
            "posterior": posterior.ravel(),
            "none": np.repeat(none, J),
        }
    )


def _trait_priors(
    beta: Array,
    se: Array,
    kind: str,
    sd: ArrayLike | None,
    prior: str,
    label: NDArray[np.int_],
    where: str,
    traits: Sequence[str],
    instruments: Sequence[str],
) -> TraitPriors:
    bad = np.argwhere(~(np.isfinite(beta) & np.isfinite(se)))
    if len(bad):
        t, j = bad[0]
        raise InputError(
            f"{where}, {traits[t]!r}, instrument {instruments[j]!r}",
            f"effect {beta[t, j]:g} with standard error {se[t, j]:g}",
            "Colocalization needs every instrument of a locus for both traits; drop the instrument",
        )
    variance = se * se
    single = np.bincount(label).max() == 1
    if single and (sd is None or prior == "estimated"):
        # Nothing can be concluded from one instrument, so that the size of effects need not be known.
        return TraitPriors(beta, variance, np.full(len(beta), QUANTITATIVE_PRIOR_SD**2))
    if checked_choice(prior, f"prior of {where}", ("assumed", "estimated")) == "estimated":
        if beta.shape[1] < _ENOUGH_INSTRUMENTS:
            raise InputError(
                f"prior of {where}",
                f"'estimated' from {beta.shape[1]} instruments",
                f"Needs {_ENOUGH_INSTRUMENTS} or more; use prior='assumed'",
            )
        return TraitPriors(
            beta, variance, np.maximum(estimated_prior_variance(beta, variance, label), 1e-300)
        )
    return TraitPriors(beta, variance, prior_variance(kind, sd, len(beta), where))


def _prior_arrays(
    priors: Priors | HypothesisPriors, label: NDArray[np.int_], K: int, shares: Array
) -> tuple[Array, Array]:
    rows, grid = np.empty((K, 3)), np.empty((K, len(shares)))
    for k, n in enumerate(np.bincount(label, minlength=K)):
        p = priors.per_instrument(int(n))
        rows[k] = p.p1, p.p2, p.p12
        grid[k] = p12_over_grid(int(n), p.p1, p.p2, shares)
    return rows, grid
