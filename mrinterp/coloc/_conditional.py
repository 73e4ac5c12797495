"""Further signals of a locus: stepwise selection, effects given others, colocalization of each signal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mrinterp.coloc._abf import prior_variance
from mrinterp.coloc._priors import SHARE_GRID, HypothesisPriors, Priors
from mrinterp.coloc._signals import Signals, compare_signals, require_same_instruments, signal_name
from mrinterp.core.checks import checked_choice, checked_count, checked_fraction, checked_numbers_of
from mrinterp.core.errors import InputError
from mrinterp.core.ld import check_ld, validate_ld
from mrinterp.core.mrdata import MRData
from mrinterp.results._coloc import Coloc
from mrinterp.stats.bayes_factors.wakefield import log_bayes_factor
from mrinterp.stats.sparse.conditional import conditional_effects, dose_sum_of_squares
from mrinterp.stats.sparse.sparsity import forward_selection, greedy_clumps
from mrinterp.stats.tests.tails import neglog10p_normal

__all__ = ["TraitEffects", "clump", "colocalize_conditional", "condition_on", "stepwise"]

Array = NDArray[np.float64]

NEEDS_N = "the z-scores fit this LD only if an effect is large, for which the sample size is needed: give n"

REFERENCE = (
    "Yang et al. 2012, Nature Genetics, doi:10.1038/ng.2213; Wallace 2020, PLoS Genetics,"
    " doi:10.1371/journal.pgen.1008720"
)


@dataclass(frozen=True, eq=False)
class TraitEffects:
    """Marginal effects of one trait in one locus, and what conditioning on instruments needs.

    Parameters
    ----------
    name : str
        The trait.
    beta, se : ndarray (J,)
        Marginal effects and standard errors.
    ld : ndarray (J, J)
        Correlation of the instruments in this trait's data.
    n : float
        Sample size.
    sd : float
        Standard deviation of the trait, in the units of the effects.
    instruments : tuple of str, optional
        Names; default ``instrument 1``, ...
    dose_variance : ndarray (J,), optional
        Variance of each instrument's dose (2 f (1 - f) for alleles of frequency f); derived from
        effect and error where not given.

    Raises
    ------
    InputError
        Where shapes disagree, or the matrix is no correlation matrix of these instruments.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp import coloc
    >>> trait = coloc.TraitEffects("bmi", np.array([0.5, 0.3]), np.full(2, 0.1), np.eye(2), 500, 1.0)
    >>> trait.instruments
    ('instrument 1', 'instrument 2')
    """

    name: str
    beta: Array
    se: Array
    ld: Array
    n: float
    sd: float
    instruments: tuple[str, ...] = ()
    dose_variance: Array | None = None

    def __post_init__(self) -> None:
        J = len(self.beta)
        names = tuple(self.instruments) or tuple(f"instrument {j + 1}" for j in range(J))
        object.__setattr__(self, "instruments", names)
        if not len(self.se) == len(names) == J:
            raise InputError(
                f"trait {self.name!r}",
                f"{J} effects, {len(self.se)} errors and {len(names)} names",
                "Give one of each per instrument",
            )
        object.__setattr__(self, "ld", validate_ld(self.ld, names))

    @classmethod
    def from_data(cls, data: MRData, trait: str, *, sd: float, n: float | None = None) -> TraitEffects:
        """One trait of summary statistics; ``n`` is the data's own where it is not given.

        Raises
        ------
        InputError
            Where the trait, its sample size, or the LD is not known.
        """
        checked_choice(trait, "trait", [*data.exposures, *data.outcomes])
        first = trait in data.exposures
        t = (data.exposures if first else data.outcomes).index(trait)
        sizes = data.n_x if first else data.n_y
        size = n if n is not None or sizes is None else float(sizes[t])
        if size is None:
            raise InputError(f"sample size of {trait!r}", "not known", "Give n")
        if data.ld is None:
            raise InputError("ld", "not known", "Give the data the correlation of the instruments")
        beta, se = (data.beta_x, data.se_x) if first else (data.beta_y, data.se_y)
        return cls(trait, beta[t], se[t], data.ld, size, sd, data.instruments)

    def contradiction(self) -> str:
        """Why effects and LD do not belong together, or ""."""
        z = (self.beta / self.se)[None]
        return check_ld(z, self.ld, self.instruments, np.array([float(self.n)])).reasons[0]

    def given(self, chosen: Sequence[int]) -> tuple[Array, Array]:
        """Effects and error variances (J,) given the chosen instruments (marginal ones for none)."""
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


def condition_on(trait: TraitEffects, given: str | Sequence[str]) -> pd.DataFrame:
    """Effects of all instruments given some of them.

    Parameters
    ----------
    trait : TraitEffects
        Marginal effects with their LD.
    given : str or sequence of str
        Instruments that are conditioned on.

    Returns
    -------
    DataFrame
        ``instrument, beta, se, z, neglog10p``; nan for the given ones and those collinear with them. ``status`` is
        "ok", or why the marginal effects contradict the LD: then effects given others are not to be used.

    Raises
    ------
    InputError
        An instrument that is not in the locus.

    Notes
    -----
    Not valid with a correlation matrix from other data.

    References
    ----------
    Yang et al. 2012, Nature Genetics, doi:10.1038/ng.2213.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp import coloc
    >>> ld = np.array([[1.0, 0.6], [0.6, 1.0]])
    >>> trait = coloc.TraitEffects("bmi", np.array([0.5, 0.3]), np.full(2, 0.04), ld, 500, 1.0)
    >>> bool(abs(coloc.condition_on(trait, "instrument 1")["beta"][1]) < 0.05)  # nothing is left
    True
    """
    chosen = checked_numbers_of(given, "given", trait.instruments, numbers=False)
    beta, variance = trait.given([int(j) for j in chosen])
    z = beta / np.sqrt(variance)
    return pd.DataFrame(
        {
            "instrument": list(trait.instruments),
            "beta": beta,
            "se": np.sqrt(variance),
            "z": z,
            "neglog10p": neglog10p_normal(z),
            "status": trait.contradiction() or "ok",
        }
    )


def stepwise(
    z: ArrayLike,
    ld: ArrayLike,
    *,
    alpha: float = 1e-6,
    max_signals: int = 10,
    max_r2: float = 0.9,
    n: ArrayLike | None = None,
    traits: Sequence[str] | None = None,
    instruments: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Forward selection of the independent signals of every trait.

    Parameters
    ----------
    z : array_like (T, J) or (J,)
        Marginal z-scores.
    ld : array_like (J, J)
        Correlation of the instruments.
    alpha : float
        Two-sided p-value that a signal must reach, given those before it.
    max_signals : int
        Largest number of signals of one trait.
    max_r2 : float
        Instruments better explained than this by earlier ones are not candidates.
    n : float or array_like (T,), optional
        Sample size, for the test of the z-scores against the LD: without it, large effects cannot be tested.
    traits, instruments : sequence of str, optional
        Names; default ``trait 1``, ... and ``instrument 1``, ...

    Returns
    -------
    DataFrame
        One row per signal: ``trait, signal, instrument, marginal_z, conditional_z, neglog10p``. ``status`` is "ok",
        or why the trait's z-scores contradict the LD (signals after the first are then not to be used), or what the
        test needs.

    Raises
    ------
    InputError
        A matrix that is no correlation matrix of these instruments, or a level out of range.

    Notes
    -----
    The residual variance is that of the marginal fits: conservative where causes explain much.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp import coloc
    >>> coloc.stepwise([9.0, 1.0, 7.0], np.eye(3))["instrument"].tolist()
    ['instrument 1', 'instrument 3']
    """
    scores: Array = np.atleast_2d(np.asarray(z, float))
    T, J = scores.shape
    names = list(traits or (f"trait {t + 1}" for t in range(T)))
    columns = list(instruments or (f"instrument {j + 1}" for j in range(J)))
    matrix = validate_ld(np.asarray(ld, float), columns)
    steps = min(checked_count(max_signals, "max_signals"), J)
    checked_fraction(max_r2, "max_r2")
    picked = forward_selection(scores, matrix, steps, _critical_z(alpha), max_r2)
    sizes = None if n is None else np.broadcast_to(np.asarray(n, float), T)
    if sizes is not None and not np.all(sizes > 2):
        raise InputError(
            "sample size n", f"{sizes.min():g}", "Give the number of families or runs, more than 2"
        )
    tested = check_ld(scores, matrix, columns, sizes)
    status = [
        why or (NEEDS_N if large else "ok") for why, large in zip(tested.reasons, tested.unsized, strict=True)
    ]
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
            "status": [status[i] for i in t],
        }
    )


def clump(
    neglog10p: ArrayLike,
    ld: ArrayLike,
    *,
    instruments: Sequence[str] | None = None,
    min_neglog10p: float = 5.0,
    max_r2: float = 0.1,
) -> pd.DataFrame:
    """Group instruments around independent leaders, strongest first.

    Parameters
    ----------
    neglog10p : array_like (J,)
        Strength of each instrument, as -log10 of its p-value.
    ld : array_like (J, J)
        Correlation of the instruments.
    instruments : sequence of str, optional
        Names; default ``instrument 1``, ...
    min_neglog10p : float
        Weaker instruments do not lead.
    max_r2 : float
        Squared correlation beyond which an instrument joins a leader.

    Returns
    -------
    DataFrame
        ``instrument, neglog10p, leader``; the leader is empty for instruments in no clump.

    Raises
    ------
    InputError
        A matrix that is no correlation matrix of these instruments.

    Examples
    --------
    >>> from mrinterp import coloc
    >>> coloc.clump([9.0, 6.0], [[1, 0.8], [0.8, 1]], instruments=["a", "b"])["leader"].tolist()
    ['a', 'a']
    """
    strength = np.asarray(neglog10p, float)
    names = (
        list(instruments)
        if instruments is not None
        else [f"instrument {j + 1}" for j in range(len(strength))]
    )
    matrix = validate_ld(np.asarray(ld, float), names)
    checked_fraction(max_r2, "max_r2")
    leaders, group = greedy_clumps(strength, matrix, min_neglog10p, max_r2)
    leader = [names[leaders[g]] if g >= 0 else "" for g in group]
    return pd.DataFrame({"instrument": names, "neglog10p": strength, "leader": leader})


def colocalize_conditional(
    x: TraitEffects,
    y: TraitEffects,
    *,
    alpha: float = 1e-6,
    max_signals: int = 3,
    priors: Priors | HypothesisPriors | None = None,
    shares: Sequence[float] = SHARE_GRID,
    type_x: str = "quant",
    type_y: str = "quant",
) -> Coloc:
    """Colocalize the signals that stepwise conditioning finds in two traits.

    Signal k of a trait is what is left given the leading instruments of the signals before it. The
    first signal is there even where nothing reaches ``alpha``.

    Parameters
    ----------
    x, y : TraitEffects
        Two traits on the same instruments.
    alpha : float
        Two-sided p-value that a further signal must reach.
    max_signals : int
        Largest number of signals of one trait.
    priors : Priors or HypothesisPriors, optional
        Prior of the hypotheses; default `Priors()`.
    shares : sequence of float
        Prior grid over pi4 / (pi3 + pi4), always computed.
    type_x, type_y : str
        ``"quant"`` or ``"cc"`` (effects are log odds ratios).

    Returns
    -------
    Coloc
        Rows and columns are signals; ``status`` says where effects contradict the LD. At the conditioned
        instruments a later signal has effect 0.

    Raises
    ------
    InputError
        Different instruments, or an option out of range.

    Notes
    -----
    Not valid where the first signals were picked wrongly: stepwise selection may choose an instrument
    between two causes.

    References
    ----------
    Yang et al. 2012, Nature Genetics, doi:10.1038/ng.2213; Wallace 2020, PLoS Genetics,
    doi:10.1371/journal.pgen.1008720.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp import coloc
    >>> effects = np.array([0.5, 0.0, 0.02]), np.full(3, 0.04), np.eye(3), 500, 1.0
    >>> x, y = (coloc.TraitEffects(name, *effects) for name in ("x", "y"))
    >>> coloc.colocalize_conditional(x, y).exposures
    ('x signal 1',)
    """
    require_same_instruments(x.instruments, y.instruments)
    checked_count(max_signals, "max_signals")
    sides = []
    for trait, kind in ((x, type_x), (y, type_y)):
        w = float(prior_variance(kind, trait.sd, 1, trait.name)[0])
        chosen: list[int] = []
        rows: list[Array] = []
        signs: list[Array] = []
        while len(rows) < max_signals:
            beta, variance = trait.given(chosen)
            z = np.nan_to_num(np.abs(beta) / np.sqrt(variance))
            if chosen and not z.max() > _critical_z(alpha):
                break
            # what is left has no effect along the conditioned instruments
            gone = np.isnan(beta)
            rows.append(log_bayes_factor(np.where(gone, 0.0, beta), np.where(gone, trait.se**2, variance), w))
            signs.append(np.nan_to_num(np.sign(beta)))
            chosen.append(int(z.argmax()))
        names = tuple(signal_name(trait.name, k + 1) for k in range(len(rows)))
        sides.append(Signals(names, np.array(rows), np.array(signs)))
    assumes = ("each signal has one cause", "stepwise selection found the signals")
    found = compare_signals(
        sides[0],
        sides[1],
        x.instruments,
        priors=priors,
        shares=shares,
        method="conditional signals",
        assumes=assumes,
        reference=REFERENCE,
    )
    why = next((f"{t.name}: {word}" for t in (x, y) if (word := t.contradiction())), "")
    return replace(found, status=np.full(found.status.shape, why, dtype=object)) if why else found


def _critical_z(alpha: float) -> float:
    """Absolute z whose two-sided p-value is ``alpha``."""
    from scipy.stats import norm

    return float(norm.isf(checked_fraction(alpha, "alpha", zero=False, one=False) / 2.0))
