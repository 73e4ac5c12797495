"""Which of very many features go with an outcome at all: candidates for what is too dear, or too unsure, for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse, stats

from mrinterp.core.checks import checked_count, checked_fraction, checked_seed
from mrinterp.core.errors import InputError
from mrinterp.core.shown import progress
from mrinterp.scan._scan_inputs import Features, checked_inputs

__all__ = ["Candidates", "screen_features"]

Array = NDArray[np.float64]
Ints = NDArray[np.int_]

BLOCK = 1024
"""Features of a dense array that are read at once."""
POWER = 0.8
FEWEST = 10
"""Families that the screen, and what comes after it, need each."""


@dataclass(frozen=True, eq=False)
class Candidates:
    """What a screen left, and the runs that it did not look at.

    Attributes
    ----------
    columns : ndarray (K,) of int
        Numbers of the candidates, in the order of the features.
    later : ndarray (N,) of bool
        Runs of the other families: effects are to be estimated on these.
    z : ndarray (F, O)
        Association of every feature with every outcome within prompts, in standard errors; nan where a feature does not vary.
    threshold : float
        Least size of ``z`` of a candidate.
    detectable : float
        Correlation within prompts that the screen finds with probability .8: a weaker one is more often missed than found.
    missed_at_most : float
        Bound of what was left out: with probability 1 - level no feature that is no candidate has a larger correlation with an
        outcome within prompts. 0 where all that vary are candidates.
    features : int
        How many were screened.

    Notes
    -----
    ``missed_at_most`` takes errors to be alike in all runs, as the scores do, and bounds associations: *not valid* as a bound of
    effects, since a cause whose association other features cancel has none.

    Examples
    --------
    >>> import mrinterp
    >>> world = mrinterp.worlds.world_families()["sparse codes"].make(0)
    >>> runs = world.sparse
    >>> found = mrinterp.scan.screen_features(runs.activations, runs.outcomes, prompt=runs.prompt, family=runs.family)
    >>> found
    Candidates(53 of 1,024 features; correlation .17 within prompts found with probability .8; none above .28 left out)
    """

    columns: Ints
    later: NDArray[np.bool_]
    z: Array
    threshold: float
    detectable: float
    missed_at_most: float
    features: int

    def __repr__(self) -> str:
        size, bound = (f"{v:.2f}".lstrip("0") for v in (self.detectable, self.missed_at_most))
        return (
            f"Candidates({len(self.columns):,} of {self.features:,} features; correlation {size} within prompts found with"
            f" probability .8; none above {bound} left out)"
        )


def screen_features(
    features: Any,
    outcomes: ArrayLike,
    *,
    prompt: ArrayLike,
    family: ArrayLike,
    share: float = 0.5,
    level: float = 0.05,
    most: int = 2000,
    seed: int = 0,
) -> Candidates:
    """Features that go with an outcome within prompts, on some of the families; the other families are left for estimates.

    Parameters
    ----------
    features : array_like, memory map, sparse matrix or path
        (N, F) values, as `scan_features` takes them. Sparse ones cost work by their entries.
    outcomes : array_like (N, O) or (N,)
    prompt, family : array_like (N,)
        Which prompt a run was made from, and its family.
    share : float
        Of the families, drawn at random, for the screen.
    level : float
        Probability that any of the F x O pairs passes without an association (Bonferroni).
    most : int
        Candidates at most: the strongest.
    seed : int
        Of the draw of families.

    Returns
    -------
    Candidates

    Raises
    ------
    InputError
        For arrays that do not fit, values that are not finite, fewer than 10 families on either side, or prompts with one run only.

    Notes
    -----
    A screen, no estimate: whatever goes along with a cause passes as well as the cause. The joint fit on the other families
    (`mrinterp.from_arrays` of ``columns`` and ``later``, then `mrinterp.mr.within`) tells them apart, and
    `mrinterp.effects.claim_verdicts` with ``screened=True`` says which are causal at a false discovery rate. Errors are alike in
    all runs here, and of rare features on a rare outcome more pass by luck than ``level`` says. A cause whose association other features cancel is missed, and so is one that is weaker than ``detectable``.

    Source: sure independence screening, Fan & Lv 2008, 10.1111/j.1467-9868.2008.00674.x; on a part of the data of its own: Wasserman &
    Roeder 2009, 10.1214/08-AOS646.

    Examples
    --------
    >>> import numpy as np
    >>> import mrinterp
    >>> rng = np.random.default_rng(0)
    >>> x = rng.standard_normal((400, 30))
    >>> found = mrinterp.scan.screen_features(x, x[:, 4], prompt=np.arange(400) // 4, family=np.arange(400) // 8)
    >>> found.columns.tolist()
    [4]
    """
    checked_count(most, "most", unit="features")
    # The screen reads no doses: the runs' numbers stand for them where inputs are checked together.
    held = checked_inputs(np.arange(len(np.asarray(prompt)))[:, None], features, outcomes, prompt, family)
    names = np.unique(held.family)
    drawn = np.random.default_rng(checked_seed(seed)).permutation(names)
    count = round(checked_fraction(share, "share") * len(names))
    if min(count, len(names) - count) < FEWEST:
        found = f"{count} families for the screen, {len(names) - count} left"
        raise InputError("family", found, f"Give {2 * FEWEST} families or more, or another share")
    early = np.isin(held.family, drawn[:count])
    z, dof = _associations(held.features, held.outcomes, held.prompt, np.flatnonzero(early))
    F, O = z.shape
    threshold = float(stats.norm.isf(checked_fraction(level, "level") / (2 * F * O)))
    size = np.nan_to_num(np.abs(z)).max(axis=1)
    passed = np.flatnonzero(size > threshold)
    strongest = passed[np.argsort(-size[passed], kind="stable")[:most]]
    detectable = (threshold + stats.norm.ppf(POWER)) / np.sqrt(dof)
    size[strongest] = 0.0
    bound = _missed_at_most(float(size.max(initial=0.0)), threshold, dof)
    return Candidates(np.sort(strongest), ~early, z, threshold, float(min(detectable, 1.0)), bound, F)


def _missed_at_most(largest: float, quantile: float, dof: int) -> float:
    """Upper limit of the largest correlation that has a score up to ``largest``, on Fisher's scale; the quantile is for all pairs."""
    if largest == 0.0:
        return 0.0
    if dof < 3:
        return 1.0
    return float(np.tanh(np.arctanh(min(largest / np.sqrt(dof), 1 - 1e-12)) + quantile / np.sqrt(dof - 2)))


def _associations(features: Features, outcomes: Array, prompt: NDArray[Any], rows: Ints) -> tuple[Array, int]:
    """Correlation (F, O) of deviations from the prompt's mean, times the root of the degrees of freedom, and these."""
    member = np.unique(prompt[rows], return_inverse=True)[1]
    N, P = len(rows), int(member.max()) + 1
    if N - P < 2:
        raise InputError("prompt", f"{N} runs of {P} prompts", "Give several runs of every prompt")
    sums = sparse.csr_array((np.ones(N), (member, np.arange(N))), shape=(P, N))
    mean = sparse.diags_array(1 / np.bincount(member)) @ sums
    y = outcomes[rows] - (mean @ outcomes[rows])[member]
    y = y / np.maximum(np.sqrt((y**2).sum(axis=0)), 1e-300)
    F = features.shape[1]
    found = np.full((F, y.shape[1]), np.nan)
    width = F if features.sparse else BLOCK
    own = features.values.tocsr()[rows].tocsc() if features.sparse else None
    with progress(F, "screen", "feature") as bar:
        for a in range(0, F, width):
            x = own if own is not None else features.dense(a, min(a + width, F))[rows].astype(np.float64)
            total, mass = sums @ x, np.asarray((x**2).sum(axis=0)).ravel()
            between = np.asarray((sparse.diags_array(1 / np.bincount(member)) @ total**2).sum(axis=0)).ravel()
            inside = mass - between
            varies = inside > 1e-12 * np.maximum(mass, 1e-300)
            scale = np.where(varies, np.sqrt(np.maximum(inside, 0.0)), np.nan)
            found[a : a + width] = np.asarray(x.T @ y) / scale[:, None]
            bar.update(len(scale))
    return found * np.sqrt(N - P), N - P
