"""Fitting a sum of single effects to standardized cross-products, and what is said about the fit."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrinterp.coloc._misfit import one_cause_misfit
from mrinterp.core.checks import checked_choice, checked_count, checked_fraction, checked_number
from mrinterp.core.ld import LDCheck, check_ld
from mrinterp.results._fine_mapping import CredibleSet, FineMapping
from mrinterp.stats.sparse.credible_sets import IndexSet, credible_sets
from mrinterp.stats.sparse.ld_mismatch import spectrum
from mrinterp.stats.sparse.susie import NEGLIGIBLE, PRIOR_VARIANCES, SusieFit, pip, sum_of_single_effects

__all__ = ["StandardizedProducts", "SusieOptions", "fit_effects"]

Array = NDArray[np.float64]

REFERENCE = (
    "Wang et al. 2020, J. R. Stat. Soc. B, doi:10.1111/rssb.12388; Zou et al. 2022, PLoS Genetics,"
    " doi:10.1371/journal.pgen.1010299"
)
_ASSUMES = (
    "few causes act in the locus, each on its own",
    "the correlation matrix is that of the data behind the statistics",
)
_BLOCK_ELEMENTS = 20_000_000  # doubles of one (traits, effects, instruments) array
_MOST_ROUNDS = 20  # refinements of a trait, each from a better fit than the one before
_LEAST = 1e-300  # what must be above 0
_RISE = 1e-6  # a rise of the evidence bound that is more than rounding


@dataclass(frozen=True)
class SusieOptions:
    """How a sum of single effects is fitted.

    Parameters
    ----------
    max_effects : int
        Largest number of causes.
    coverage, min_abs_corr : float
        Probability that a credible set must reach, and the smallest absolute correlation between its
        members (its purity) below which it is dropped.
    scaled_prior_variance : float
        Fixed value of the prior variance, or where EM starts, in units of the trait's variance.
    prior_variance : str
        ``"optimized"``: each effect's by maximum likelihood, 0 where the null is as good; ``"em"``: by
        expectation-maximization, whose small steps need a small ``tol`` and many iterations;
        ``"fixed"``.
    estimate_residual_variance : bool or None
        None: estimated from individual data and sufficient statistics, fixed for z-scores.
    null_weight : float
        Prior probability that an effect is nowhere.
    tol, max_iter : float, int
        A trait is done when its evidence bound rises by less than ``tol``.
    refine : bool
        Try to leave a local optimum by refitting without each credible set in turn.

    Raises
    ------
    InputError
        An option out of its range.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp import coloc
    >>> options = coloc.SusieOptions(max_effects=2, coverage=0.9)
    >>> fit = coloc.finemap_summary([8.0, 1.0, 0.0], np.eye(3), 500, options=options)
    >>> fit["trait"][0].members
    ('instrument 1',)
    """

    max_effects: int = 10
    coverage: float = 0.95
    min_abs_corr: float = 0.5
    scaled_prior_variance: float = 0.2
    prior_variance: str = "optimized"
    estimate_residual_variance: bool | None = None
    null_weight: float = 0.0
    tol: float = 1e-4
    max_iter: int = 100
    refine: bool = False

    def __post_init__(self) -> None:
        checked_count(self.max_effects, "max_effects", unit="causes")
        checked_fraction(self.coverage, "coverage", zero=False, one=False)
        checked_fraction(self.min_abs_corr, "min_abs_corr")
        checked_number(self.scaled_prior_variance, "scaled_prior_variance", least=_LEAST)
        checked_choice(self.prior_variance, "prior_variance", PRIOR_VARIANCES)
        checked_fraction(self.null_weight, "null_weight", one=False)
        checked_number(self.tol, "tol", least=_LEAST)
        checked_count(self.max_iter, "max_iter", unit="iterations")


@dataclass(frozen=True, eq=False)
class StandardizedProducts:
    """Standardized cross-products of T traits: what every form of input comes down to."""

    xty: Array
    yty: Array
    n: Array
    ld: Array
    z: Array
    scale: Array  # (T, J): effect in the table's units = standardized effect / scale
    traits: tuple[str, ...]
    instruments: tuple[str, ...]
    summary: bool


def fit_effects(
    problem: StandardizedProducts, options: SusieOptions, prior_weights: ArrayLike | None
) -> FineMapping:
    """Fit in blocks of traits, then credible sets and flags."""
    T, J = problem.xty.shape
    weights = None if prior_weights is None else np.asarray(prior_weights, float)
    L = min(options.max_effects, J)
    step = max(1, _BLOCK_ELEMENTS // (L * J))
    fits, sets = [], []
    for start in range(0, T, step):
        rows = np.arange(start, min(T, start + step))
        fit = _solve(problem, options, rows, weights)
        if options.refine:
            fit = _refine(fit, problem, options, rows, weights)
        fits.append(fit)
        present = (fit.prior_variance > NEGLIGIBLE) & fit.converged[:, None]
        sets += credible_sets(fit.alpha, present, problem.ld, options.coverage, options.min_abs_corr)
    return _label(problem, fits, sets, options)


def _refine(
    fit: SusieFit,
    problem: StandardizedProducts,
    options: SusieOptions,
    rows: NDArray[np.int_],
    weights: Array | None,
) -> SusieFit:
    """Leave local optima: refit each trait without each of its credible sets, then with it again.

    Traits are replaced for which a refit from another start reaches a higher evidence bound.
    """
    J = fit.alpha.shape[-1]
    base = np.full(J, 1.0 / J) if weights is None else weights
    for t in range(len(fit.alpha)):
        row = rows[t : t + 1]
        best = fit.take(np.array([t]))
        for _ in range(_MOST_ROUNDS):
            better = best
            present = best.prior_variance > NEGLIGIBLE
            found = credible_sets(best.alpha, present, problem.ld, options.coverage, options.min_abs_corr)[0]
            for one in found:
                without = base.copy()
                without[one.members] = 0.0
                if not without.any():
                    continue
                moved = _solve(problem, options, row, without)
                again = _solve(problem, options, row, weights, moved)
                if again.elbo[0] > better.elbo[0] + _RISE:
                    better = again
            if better is best:
                break
            best = better
        fit = fit.put(np.array([t]), best)
    return fit


def _solve(
    problem: StandardizedProducts,
    options: SusieOptions,
    rows: NDArray[np.int_],
    weights: Array | None,
    start: SusieFit | None = None,
) -> SusieFit:
    residual = options.estimate_residual_variance
    return sum_of_single_effects(
        problem.xty[rows],
        problem.yty[rows],
        problem.n[rows],
        problem.ld,
        max_effects=options.max_effects,
        prior_weights=weights,
        null_weight=options.null_weight,
        scaled_prior_variance=options.scaled_prior_variance,
        prior_variance=options.prior_variance,
        estimate_residual_variance=(not problem.summary) if residual is None else residual,
        tol=options.tol,
        max_iter=options.max_iter,
        start=start,
    )


def _label(
    problem: StandardizedProducts, fits: list[SusieFit], sets: list[list[IndexSet]], options: SusieOptions
) -> FineMapping:
    def joined(name: str) -> Any:
        parts = [getattr(f, name) for f in fits]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    alpha, variance, log_bf = joined("alpha"), joined("prior_variance"), joined("log_bf")
    converged = joined("converged")
    ld = _checked(problem) if problem.summary else None
    sets = sets if ld is None else [found if _holds(ld, t) else [] for t, found in enumerate(sets)]
    swapped = (
        {} if ld is None else {name: list(x) for name, x in zip(problem.traits, ld.swapped, strict=True) if x}
    )
    return FineMapping(
        traits=problem.traits,
        instruments=problem.instruments,
        pip=pip(alpha, variance),
        alpha=alpha,
        coef=np.einsum("tlj,tlj->tj", alpha, joined("mu")) / problem.scale,
        log_bf_variable=joined("log_bf_variable"),
        prior_variance=variance,
        log_bf=log_bf,
        sigma2=joined("sigma2"),
        elbo=joined("elbo"),
        n_iterations=joined("n_iterations"),
        converged=converged,
        inconsistency=np.full(len(problem.z), np.nan) if ld is None else ld.share,
        z=problem.z,
        sets=_named_sets(problem, sets, log_bf),
        status=_statuses(problem, converged, ld, options.max_iter),
        assumes=_ASSUMES,
        reference=REFERENCE,
        meta={
            "options": asdict(options),
            "ld_outliers": swapped,
            "scale": "standardized" if np.all(problem.scale == 1.0) else "original",
        },
    )


def _checked(problem: StandardizedProducts) -> LDCheck:
    """Whether z-scores and LD belong together; without sample sizes, one large cause is unsized too."""
    decomposed = spectrum(problem.ld)
    found = check_ld(problem.z, problem.ld, problem.instruments, problem.n, decomposed=decomposed)
    if np.all(problem.n > 2):
        return found
    one = one_cause_misfit(problem.z, problem.ld, decomposed=decomposed)
    return replace(found, unsized=found.unsized | one.unsized)


def _holds(ld: LDCheck, t: int) -> bool:
    """Whether z-scores and LD agree, as they were fitted."""
    return not ld.reasons[t] and not ld.unsized[t]


def _statuses(
    problem: StandardizedProducts, converged: NDArray[np.bool_], ld: LDCheck | None, max_iter: int
) -> tuple[str, ...]:
    out = []
    for t in range(len(problem.traits)):
        notes = []
        if ld is not None and ld.reasons[t]:
            notes.append(f"no credible sets: {ld.reasons[t]}")
        if ld is not None and ld.unsized[t]:
            largest = np.abs(problem.z[t]).max()
            notes.append(
                f"no credible sets: z up to {largest:.3g} fits the LD only as a large effect, for which the sample"
                " size is needed; give n (--n on the command line)"
            )
        if not converged[t]:
            notes.append(f"not converged in {max_iter} iterations: no credible sets; raise max_iter or tol")
        out.append("; ".join(notes) or "ok")
    return tuple(out)


def _named_sets(
    problem: StandardizedProducts, sets: list[list[IndexSet]], log_bf: Array
) -> tuple[tuple[CredibleSet, ...], ...]:
    def named(t: int, s: IndexSet) -> CredibleSet:
        names = tuple(problem.instruments[j] for j in s.members)
        rows = tuple(int(j) for j in s.members)
        return CredibleSet(
            trait=problem.traits[t],
            members=names,
            positions=rows,
            effect=s.effect,
            coverage=s.coverage,
            min_abs_corr=s.min_abs_corr,
            mean_abs_corr=s.mean_abs_corr,
            log_bf=float(log_bf[t, s.effect]),
        )

    return tuple(tuple(named(t, s) for s in of_trait) for t, of_trait in enumerate(sets))
