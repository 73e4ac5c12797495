"""Does one sparse cause describe a locus? Where many alleles act, colocalization does not apply."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from mrinterp.core.ld import EXPLAINED, SMALLEST, check_ld, validate_ld
from mrinterp.core.mrdata import MRData
from mrinterp.results._coloc import ONE_INSTRUMENT
from mrinterp.stats.sparse.ld_mismatch import Spectrum, adjusted_z, causes_needed, chi2_left, spectrum
from mrinterp.stats.tests.tails import neglog10p_chi2

__all__ = ["check_loci", "one_cause_misfit"]

Array = NDArray[np.float64]

_MOST_CAUSES = 5  # beyond so many, "sparse" is the wrong picture and the locus is called dense
_FEW_TRAITS = 20  # up to so many traits, the fit of each is listed
_NO_LD = (
    "whether one sparse cause describes the locus can only be tested with LD (the identity matrix where"
    " instruments are independent)"
)

_QUIET = (
    "its z-scores vary less around one cause than their own errors say: the errors are too large (standard errors"
    " taken for variances?)"
)
_TOO_QUIET = np.log(1e-6)  # probability of so little variation
GIVE_N = "; give n_{} (--n-{} on the command line)"


@dataclass(frozen=True, eq=False)
class LocusChecks:
    """``status`` (F, O, K): "ok" or why colocalization does not apply; per locus, the ``misfit`` of each trait
    and what of the check is left open (``unchecked``)."""

    status: NDArray[np.object_]
    misfit: dict[str, dict[str, Any]] = field(default_factory=dict)
    unchecked: dict[str, str] = field(default_factory=dict)


def check_loci(
    data: MRData,
    label: NDArray[np.int_],
    names: Sequence[str],
    alpha: float,
    asked: bool = True,
    ld_y: ArrayLike | None = None,
) -> LocusChecks:
    """Which cells colocalization does not apply to, and what could not be tested.

    ``label`` (J,) is the locus of each instrument, 0 to K - 1 in the order of ``names``; ``alpha`` the
    significance level of the test, which is left out where it is not ``asked`` for. Where there are many traits,
    only those that fail are listed.
    """
    ld_x = None if data.ld is None or not asked else validate_ld(data.ld, data.instruments)
    other = None if ld_y is None else validate_ld(ld_y, data.instruments, where="ld_y")
    F, O = len(data.exposures), len(data.outcomes)
    out = LocusChecks(np.full((F, O, len(names)), "ok", dtype=object))
    for k, place in enumerate(names):
        members = np.flatnonzero(label == k)
        if len(members) < 2:
            out.status[:, :, k] = ONE_INSTRUMENT
        elif asked and ld_x is None:
            out.unchecked[place] = _NO_LD
        elif ld_x is not None:
            _check_locus(data, (ld_x, ld_x if other is None else other), members, k, place, alpha, out)
    return out


def _check_locus(
    data: MRData,
    matrices: tuple[Array, Array],
    members: NDArray[np.int_],
    k: int,
    place: str,
    alpha: float,
    out: LocusChecks,
) -> None:
    instruments = [data.instruments[j] for j in members]
    out.misfit[place] = {}
    many = len(data.exposures) + len(data.outcomes) > _FEW_TRAITS
    open_: list[str] = []
    for side, traits, beta, se, n in (
        (0, data.exposures, data.beta_x, data.se_x, data.n_x),
        (1, data.outcomes, data.beta_y, data.se_y, data.n_y),
    ):
        z = (beta / se)[:, members]
        if side == 0 or matrices[1] is not matrices[0]:
            ld = matrices[side][np.ix_(members, members)]
            decomposed = spectrum(ld)
        found = check_ld(z, ld, instruments, n, decomposed=decomposed)
        fit = one_cause_misfit(z, ld, alpha, n, decomposed)
        for t, trait in enumerate(traits):
            number = {
                "chi2": float(fit.chi2[t]),
                "df": fit.df,
                "neglog10p": float(fit.neglog10p[t]),
                "causes": int(fit.causes[t]),
            }
            why = ""
            if found.reasons[t]:
                why = f"{trait}: {found.reasons[t]}"
            elif fit.quiet[t]:
                why = f"{trait}: {_QUIET}"
            elif fit.causes[t] > 1:
                why = _reason(trait, fit, t) + ("" if n is not None else GIVE_N.format("xy"[side], side + 1))
            elif fit.unsized[t] or found.unsized[t]:
                open_.append(
                    f"z of {trait} up to {np.abs(z[t]).max():.3g} is one cause only if its effect is large, for"
                    f" which the sample size is needed{GIVE_N.format('xy'[side], side + 1)}"
                )
            if why or not many:
                out.misfit[place][trait] = number
            cells = out.status[t, :, k] if side == 0 else out.status[:, t, k]
            cells[cells == "ok"] = why or "ok"
    if open_:
        out.unchecked[place] = "; ".join(open_)


@dataclass(frozen=True, eq=False)
class OneCauseFit:
    """Heterogeneity ``chi2`` (T,) on ``df`` that the best single cause leaves, -log10 p (T,; nan where there is
    one direction only), ``causes`` needed (T,; 6 for more than 5), ``unsized`` (T,): one, if large, and ``quiet``
    (T,): less is left than errors alone leave."""

    chi2: Array
    df: int
    neglog10p: Array
    causes: NDArray[np.int_]
    unsized: NDArray[np.bool_]
    quiet: NDArray[np.bool_]


def _reason(trait: str, fit: OneCauseFit, t: int) -> str:
    left = f"(one cause leaves chi2 {fit.chi2[t]:.4g} on {fit.df}, p = 1e-{fit.neglog10p[t]:.0f})"
    if fit.causes[t] <= _MOST_CAUSES:
        return (
            f"{trait} needs {fit.causes[t]} causes in this locus {left}: colocalize its signals one by one"
            " (fine-map both traits, then compare credible sets), or split the locus"
        )
    return (
        f"very many instruments of this locus act on {trait} {left}: one sparse cause does not describe it;"
        " use Mendelian randomization over the whole locus, or check that the LD is that of the same data"
    )


def one_cause_misfit(
    z: Array, ld: Array, alpha: float = 1e-3, n: Array | None = None, decomposed: Spectrum | None = None
) -> OneCauseFit:
    """Test the z-scores of each trait in one locus against a single cause.

    What the best single cause leaves of the z-scores is compared with noise of covariance
    (1 - s) R + s I, on (rank - 1) degrees of freedom. s is estimated from the same rest: it takes up the
    inconsistency of a correlation matrix from other data (excess where R has little variance), not
    that of very many effects (excess where R has much). The best cause is chosen from the same data, which makes
    the test conservative. Where it fails, causes are added one at a time until the rest is noise.

    Parameters
    ----------
    z : ndarray (T, J)
        z-scores of the instruments of the locus.
    ld : ndarray (J, J)
        Their correlation.
    alpha : float
        Significance level of the test.
    n : ndarray (T,), optional
        Sample sizes: z-scores of large effects are adjusted, and errors shrink by what the causes explain.
        Where they are not known, more than one cause is needed only if it is so whatever they are.
    decomposed : Spectrum, optional
        Of ``ld``, where it is at hand.

    Returns
    -------
    OneCauseFit
    """
    decomposed = decomposed or spectrum(ld)
    scores = z if n is None else adjusted_z(z, np.asarray(n, float))
    size = None if n is None else np.asarray(n, float)
    chi2, df = chi2_left(scores, ld, decomposed, 1, size, mixed=True)
    T = len(z)
    unsized = np.zeros(T, dtype=bool)
    if df < 1:
        return OneCauseFit(np.zeros(T), 0, np.full(T, np.nan), np.ones(T, dtype=int), unsized, unsized)
    explained = np.zeros(T) if size is None else np.minimum((scores**2).max(-1) / size, 0.99)
    least = chi2 * (1.0 + explained) / (1.0 - explained)  # errors as a matrix of the same data has them
    p = neglog10p_chi2(chi2, np.full(T, float(df)))
    causes = causes_needed(scores, ld, decomposed, min(_MOST_CAUSES, df), size, alpha=alpha, mixed=True)
    causes[causes > min(_MOST_CAUSES, df)] = _MOST_CAUSES + 1
    for explained in EXPLAINED if n is None else ():
        bad = np.flatnonzero(causes > 1)
        assumed = (z[bad] ** 2).max(-1) * (1.0 - explained) / explained
        bad, assumed = bad[assumed > SMALLEST], assumed[assumed > SMALLEST]
        one = causes_needed(adjusted_z(z[bad], assumed), ld, decomposed, 1, assumed, alpha=alpha, mixed=True)
        unsized[bad[one == 1]] = True
        causes[bad[one == 1]] = 1
    return OneCauseFit(chi2, df, p, causes, unsized, stats.chi2.logcdf(least, df) < _TOO_QUIET)
