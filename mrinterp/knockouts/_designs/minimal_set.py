"""Greedy search for a small set of features that carries an outcome, checked on other families."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.checks import (
    checked_choice,
    checked_count,
    checked_draws,
    checked_fraction,
    checked_level,
    checked_seed,
)
from mrinterp.core.errors import InputError
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._designs.knock_out_sets import knock_out_sets, slots_of
from mrinterp.knockouts._feature_numbers import Features, feature_numbers
from mrinterp.knockouts._kinds.replacement import Replacement, outside_support, replacement_values
from mrinterp.knockouts._outcome_rope import span_status
from mrinterp.results._designs.minimal_set import MinimalSet
from mrinterp.stats.clustered.ratio import bootstrap_interval, clustered_ratio

__all__ = ["minimal_set"]

Array = NDArray[np.float64]
Members = NDArray[np.bool_]

MODES = ("sufficiency", "necessity")


def minimal_set(
    bench: Bench,
    values: Replacement,
    features: Features | None = None,
    *,
    outcome: str | None = None,
    mode: str = "sufficiency",
    share: float = 0.9,
    most: int | None = None,
    random_sets: int = 20,
    level: float = 0.95,
    draws: int = 1000,
    seed: int = 0,
    allow_off_support: bool = False,
) -> MinimalSet:
    """Add the best feature until the set carries ``share``, take out what it can spare, check it elsewhere.

    Parameters
    ----------
    bench : Bench
        With prompts of at least 4 families: a random half is searched, the other half only checks.
    values : Replacement
        What is written in place of a feature's own values: a kind with one value per prompt (``"mean"``,
        ``Clamp(quantile=0.1)``), a number, an array (K,), (K, P) or (K, P, T), or a function.
    features : names or numbers, optional
        The candidates, "everything"; default all of the view. Features beside them are never touched.
    outcome : str, optional
        Which one, where the bench has several.
    mode : {"sufficiency", "necessity"}
        Knock out all but the set and ask what is kept, or the set and ask what is lost.
    share : float
        Of the effect of knocking all candidates out; above 0, at most 1.
    most : int, optional
        Largest set tried; default all candidates.
    random_sets : int
        Random sets of the same size run on the held-out families, as a baseline.
    level : float
        Confidence level of the held-out intervals.
    draws, seed : int
        Draws of their family bootstrap; seed of halves, random sets and bootstrap.
    allow_off_support : bool
        Write values far outside what a feature shows all the same; they are then flagged.

    Returns
    -------
    MinimalSet
        The set found, the steps of the search, and its share on held-out families.

    Raises
    ------
    InputError
        For unknown features or outcome, fewer than 4 families, or a share outside (0, 1].

    Notes
    -----
    Each step is one batch: all candidate additions (or removals) on all prompts of the search half. The
    set is minimal in that no single member can be taken out, on the search half, without losing the
    share; a smaller set may exist that a greedy search does not find (features that act only together).
    The search-half share is optimistic; the held-out one is not.

    Examples
    --------
    >>> import mrinterp
    >>> bench = mrinterp.worlds.gated_world(families=10).bench()
    >>> mrinterp.knockouts.minimal_set(bench, "zero", share=0.5).chosen
    ('linear', 'saturated')
    """
    checked_level(level), checked_draws(draws), checked_seed(seed)
    checked_fraction(share, "share", zero=False)
    checked_choice(mode, "mode", MODES)
    checked_count(random_sets, "random_sets", least=0)
    if most is not None:
        checked_count(most, "most")
    o = _outcome(bench, outcome)
    numbers = feature_numbers(bench, features)
    new = replacement_values(bench, numbers, values, allow_off_support)
    names = tuple(bench.view.names[f] for f in numbers)
    searched = _search_half(bench, seed)
    look, check = (
        _Half(bench.subset(np.flatnonzero(rows)), numbers, new[:, rows], mode, o)
        for rows in (searched, ~searched)
    )
    steps = _Steps()
    reason = look.reason(level, "knocking all candidates out")
    df = float(len(np.unique(check.bench.family)) - 1)
    if reason == "ok":
        reason = check.reason(level, "on held-out families, knocking all candidates out")
    if reason == "ok":
        chosen = _search(look, share, len(numbers) if most is None else most, names, steps)
        if steps.reached < share:
            reason = f"the greedy search came to {steps.reached:.3g} with {int(chosen.sum())} features"
    found = chosen if reason == "ok" else np.zeros(len(numbers), dtype=bool)
    held_out = _held_out(check, found, level, draws, seed)
    return MinimalSet(
        outcome=bench.outcome.names[o],
        mode=mode,
        chosen=tuple(name for name, inside in zip(names, found, strict=True) if inside),
        candidates=len(numbers),
        wanted=share,
        path=steps.frame(),
        search_share=steps.reached if found.any() else float("nan"),
        **asdict(held_out),
        random_share=_random_shares(check, int(found.sum()), random_sets, seed),
        search_families=len(np.unique(look.bench.family)),
        held_out_families=len(np.unique(check.bench.family)),
        df=df,
        level=level,
        noise_floor=bench.noise_floor(),
        status=reason,
        meta={"draws": draws, "seed": seed, "outside_support": outside_support(bench, numbers, new)},
    )


@dataclass
class _Steps:
    """What the search did: ``(action, feature, size, share)``."""

    rows: list[tuple[str, str, int, float]] = field(default_factory=list)

    @property
    def reached(self) -> float:
        """Share after the last step."""
        return self.rows[-1][-1]

    def frame(self) -> pd.DataFrame:
        frame = pd.DataFrame(self.rows, columns=["action", "feature", "size", "share"])
        frame.insert(0, "step", np.arange(1, len(frame) + 1))
        return frame


class _Half:
    """One half of the families: shares of sets on its prompts."""

    def __init__(self, bench: Bench, numbers: NDArray[np.int_], values: Array, mode: str, o: int) -> None:
        self.bench, self.numbers, self.values, self.mode, self.o = bench, numbers, values, mode, o
        everything = np.ones((1, len(numbers)), dtype=bool)
        self.span = self._change(everything, "all candidates")[0]

    def reason(self, level: float, what: str) -> str:
        """``ok``, or why shares of what all candidates do cannot be estimated here."""
        return str(span_status(self.bench, self.span, level, what)[0][self.o])

    def _change(self, knocked: Members, what: str) -> Array:
        """Outcome changes (A, P, O) of knocking sets out."""
        edited = knock_out_sets(self.bench, self.numbers, self.values, slots_of(knocked), what)
        return edited.outcome - self.bench.clean

    def carried(self, sets: Members, what: str) -> Array:
        """What each set carries of the outcome, prompt by prompt (P, A)."""
        kept = self.mode == "sufficiency"
        change = self._change(~sets if kept else sets, what)[:, :, self.o]
        return (self.span[:, self.o] - change if kept else change).T

    def shares(self, sets: Members, what: str) -> Array:
        """Shares (A,) of the effect of knocking all candidates out."""
        return np.asarray(self.carried(sets, what).mean(axis=0) / self.span[:, self.o].mean())


def _outcome(bench: Bench, outcome: str | None) -> int:
    names = list(bench.outcome.names)
    if outcome is None and len(names) == 1:
        return 0
    if outcome is None:
        raise InputError("outcome", "none named", f"Name one of {', '.join(names)}")
    return names.index(checked_choice(outcome, "outcome", names))


def _search_half(bench: Bench, seed: int) -> NDArray[np.bool_]:
    """Prompts (P,) of a random half of the families."""
    families = np.unique(bench.family)
    if len(families) < 4:
        raise InputError(
            "minimal_set",
            f"{len(families)} families",
            "Give prompts of at least 4: half of the families search, the others check",
        )
    drawn = np.random.default_rng([seed, 23]).permutation(families)[: len(families) // 2]
    return np.isin(bench.family, drawn)


def _search(half: _Half, share: float, most: int, names: tuple[str, ...], steps: _Steps) -> Members:
    """Forward until the share is reached, then backward while a member can be spared."""
    every = np.arange(len(names))
    chosen, reached = np.zeros(len(names), dtype=bool), 0.0

    def best_of(sets: Members) -> tuple[int, float]:
        shares = half.shares(sets, f"search, {len(steps.rows)}")
        best = int(np.argmax(shares))
        return best, float(shares[best])

    while reached < share and chosen.sum() < min(most, len(names)):
        free = np.flatnonzero(~chosen)
        best, reached = best_of(chosen | (every == free[:, None]))
        chosen[free[best]] = True
        steps.rows.append(("add", names[free[best]], int(chosen.sum()), reached))
    while reached >= share and chosen.sum() > 1:
        members = np.flatnonzero(chosen)
        best, without = best_of(chosen & (every != members[:, None]))
        if without < share:
            break
        chosen[members[best]], reached = False, without
        steps.rows.append(("take out", names[members[best]], int(chosen.sum()), reached))
    return chosen


@dataclass(frozen=True, eq=False)
class _HeldOut:
    """Share, Fieller's and the bootstrap's ends on families that the search has not seen; and the drop without
    each member, with Fieller's ends."""

    share: float = np.nan
    lower: float = np.nan
    upper: float = np.nan
    boot_lower: float = np.nan
    boot_upper: float = np.nan
    drop: Array = field(default_factory=lambda: np.zeros(0))
    drop_lower: Array = field(default_factory=lambda: np.zeros(0))
    drop_upper: Array = field(default_factory=lambda: np.zeros(0))


def _held_out(half: _Half, chosen: Members, level: float, draws: int, seed: int) -> _HeldOut:
    members = np.flatnonzero(chosen)
    if not len(members):
        return _HeldOut()
    without = chosen & (np.arange(len(chosen)) != members[:, None])
    carried = half.carried(np.concatenate([chosen[None], without]), "held out")
    span, family = half.span[:, half.o : half.o + 1], half.bench.family
    whole = clustered_ratio(carried[:, :1], span, family, level)
    lost = clustered_ratio(carried[:, :1] - carried[:, 1:], span, family, level)
    low, high = bootstrap_interval(carried[:, :1], span, family, level, draws, seed)
    share, lower, upper = float(whole.ratio[0]), float(whole.lower[0]), float(whole.upper[0])
    return _HeldOut(share, lower, upper, float(low[0]), float(high[0]), lost.ratio, lost.lower, lost.upper)


def _random_shares(half: _Half, size: int, count: int, seed: int) -> Array:
    """Held-out shares of random sets of a size."""
    if not count or not size:
        return np.zeros(0)
    key = np.random.default_rng([seed, 29]).random((count, len(half.numbers)))
    return half.shares(key.argsort(axis=1).argsort(axis=1) < size, "random sets")
