"""Further signals of a locus: stepwise selection, effects given others, colocalization of each signal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mrinterp.coloc._abf import prior_variance
from mrinterp.coloc._priors import SHARE_GRID, HypothesisPriors, Priors
from mrinterp.coloc._signals import Signals, compare_signals, signal_name
from mrinterp.core.errors import InputError
from mrinterp.core.ld import validate_ld
from mrinterp.results._coloc import Coloc
from mrinterp.stats.bayes_factors.wakefield import log_bayes_factor
from mrinterp.stats.sparse.conditional import conditional_effects, dose_sum_of_squares
from mrinterp.stats.sparse.sparsity import forward_selection, greedy_clumps
from mrinterp.stats.tests.tails import neglog10p_normal

__all__ = ["TraitEffects", "clump", "colocalize_conditional", "condition_on", "stepwise"]

Array = NDArray[np.float64]

REFERENCE = (
    "Yang et al. 2012, Nature Genetics, doi:10.1038/ng.2213; Wallace 2020, PLoS Genetics,"
    " doi:10.1371/journal.pgen.1008720"
)


@dataclass(frozen=True, eq=False)
class TraitEffects:
    """Marginal effects of one trait in one locus.

    Parameters
    ----------
    name : str
    beta, se : ndarray (J,)
    ld : ndarray (J, J)
        Correlation of the instruments in this trait's data.
    n : float
        Sample size.
    sd : float
        Standard deviation of the trait.
    dose_variance : ndarray (J,), optional
        Variance of each instrument's dose (2 f (1 - f) for alleles of frequency f); derived from
        effect and error where not given.
    """

    name: str
    beta: Array
    se: Array
    ld: Array
    n: float
    sd: float
    dose_variance: Array | None = None

    def given(self, chosen: Sequence[int]) -> tuple[Array, Array]:
        """Effects and error variances given the chosen instruments (marginal ones for none)."""
        if not len(chosen):
            return self.beta, self.se**2
        n, total = np.array([float(self.n)]), np.array([self.sd**2 * self.n])
        beta = self.beta[None]
        if self.dose_variance is None:
            d = dose_sum_of_squares(beta, self.se[None] ** 2, total, n)
        else:
            d = (self.dose_variance * self.n)[None]
        effect, variance = conditional_effects(beta, d, total, n, self.ld, np.asarray(chosen, dtype=int))
        return effect[0], variance[0]


def condition_on(trait: TraitEffects, given: Sequence[str], instruments: Sequence[str]) -> pd.DataFrame:
    """Effects of all instruments given some of them.

    Returns
    -------
    DataFrame
        ``instrument, beta, se, z, neglog10p``; nan for the given ones and those collinear with them.

    Raises
    ------
    InputError
        An instrument that is not there.
    """
    names = list(instruments)
    for name in given:
        if name not in names:
            raise InputError(f"instrument {name!r}", "not in the locus", f"Known: {names[:8]}")
    beta, variance = trait.given([names.index(name) for name in given])
    z = beta / np.sqrt(variance)
    return pd.DataFrame(
        {"instrument": names, "beta": beta, "se": np.sqrt(variance), "z": z, "neglog10p": neglog10p_normal(z)}
    )


def stepwise(
    z: ArrayLike,
    ld: ArrayLike,
    *,
    level: float = 1e-6,
    max_signals: int = 10,
    max_r2: float = 0.9,
    traits: Sequence[str] | None = None,
    instruments: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Forward selection of the independent signals of every trait.

    Parameters
    ----------
    z : array_like (T, J) or (J,)
        Marginal z-scores.
    ld : array_like (J, J)
    level : float
        Two-sided p-value a signal must reach, given those before it.
    max_signals, max_r2
        Largest number of signals; instruments closer than this to earlier ones are no candidates.

    Returns
    -------
    DataFrame
        One row per signal: ``trait, signal, instrument, marginal_z, conditional_z, neglog10p``.

    Notes
    -----
    The residual variance is that of the marginal fits: conservative where causes explain much.
    """
    scores: Array = np.atleast_2d(np.asarray(z, float))
    T, J = scores.shape
    names = list(traits or (f"trait {t + 1}" for t in range(T)))
    columns = list(instruments or (f"instrument {j + 1}" for j in range(J)))
    matrix = validate_ld(np.asarray(ld, float), columns)
    picked = forward_selection(scores, matrix, min(max_signals, J), _critical_z(level), max_r2)
    t, s = np.nonzero(picked.chosen >= 0)
    j = picked.chosen[t, s]
    conditional = picked.chosen_z[t, s]
    return pd.DataFrame(
        {
            "trait": [names[i] for i in t],
            "signal": s + 1,
            "instrument": [columns[i] for i in j],
            "marginal_z": scores[t, j],
            "conditional_z": conditional,
            "neglog10p": neglog10p_normal(conditional),
        }
    )


def clump(
    neglog10p: ArrayLike,
    ld: ArrayLike,
    instruments: Sequence[str],
    *,
    min_neglog10p: float = 5.0,
    max_r2: float = 0.1,
) -> pd.DataFrame:
    """Group instruments around independent leaders, strongest first.

    Parameters
    ----------
    neglog10p : array_like (J,)
    ld : array_like (J, J)
    min_neglog10p : float
        Weaker instruments do not lead.
    max_r2 : float
        Squared correlation beyond which an instrument joins a leader.

    Returns
    -------
    DataFrame
        ``instrument, neglog10p, leader``, the leader empty for instruments in no clump.
    """
    strength = np.asarray(neglog10p, float)
    matrix = validate_ld(np.asarray(ld, float), list(instruments))
    leaders, group = greedy_clumps(strength, matrix, min_neglog10p, max_r2)
    leader = [instruments[leaders[g]] if g >= 0 else "" for g in group]
    return pd.DataFrame({"instrument": list(instruments), "neglog10p": strength, "leader": leader})


def colocalize_conditional(
    x: TraitEffects,
    y: TraitEffects,
    instruments: Sequence[str],
    *,
    level: float = 1e-6,
    max_signals: int = 3,
    priors: Priors | HypothesisPriors | None = None,
    shares: Sequence[float] = SHARE_GRID,
    type_x: str = "quant",
    type_y: str = "quant",
) -> Coloc:
    """Colocalize the signals that stepwise conditioning finds in two traits.

    Signal k of a trait is what is left given the leading instruments of the signals before it. The
    first signal is there even where nothing reaches ``level``.

    Returns
    -------
    Coloc
        Rows and columns are signals. At the conditioned instruments a later signal has effect 0.
    """
    sides = []
    for trait, kind in ((x, type_x), (y, type_y)):
        w = float(prior_variance(kind, trait.sd, 1, trait.name)[0])
        chosen: list[int] = []
        rows: list[Array] = []
        signs: list[Array] = []
        while len(rows) < max_signals:
            beta, variance = trait.given(chosen)
            z = np.abs(beta) / np.sqrt(variance)
            if chosen and not np.nanmax(z) > _critical_z(level):
                break
            # what is left has no effect along the conditioned instruments
            gone = np.isnan(beta)
            rows.append(log_bayes_factor(np.where(gone, 0.0, beta), np.where(gone, trait.se**2, variance), w))
            signs.append(np.nan_to_num(np.sign(beta)))
            chosen.append(int(np.nanargmax(z)))
        names = tuple(signal_name(trait.name, k + 1) for k in range(len(rows)))
        sides.append(Signals(names, np.array(rows), np.array(signs)))
    assumes = ("each signal has one cause", "stepwise selection found the signals")
    return compare_signals(
        sides[0], sides[1], tuple(instruments), priors, shares, "conditional signals", assumes, REFERENCE
    )


def _critical_z(level: float) -> float:
    from scipy.stats import norm

    return float(norm.isf(level / 2.0))
