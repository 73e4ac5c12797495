"""Greedy search for a small set of features that carries an outcome, checked on other families."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.errors import InputError, near_misses
from mrinterp.core.minimal_set import MinimalSet
from mrinterp.knockouts.bench import Bench
from mrinterp.knockouts.designs.knock_out_sets import knock_out_sets, slots_of
from mrinterp.knockouts.feature_numbers import Features, feature_numbers
from mrinterp.knockouts.kinds.replacement import Replacement, outside_support, replacement_values
from mrinterp.knockouts.outcome_rope import check_draws, check_level, span_status
from mrinterp.stats.clustered_ratio import clustered_ratio
from mrinterp.stats.family_draws import family_draws, percentile_interval

__all__ = ["minimal_set"]

Array = NDArray[np.float64]
Members = NDArray[np.bool_]


def minimal_set(
    bench: Bench,
    candidates: Features | None,
    values: Replacement,
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
        Prompts of at least 4 families: a random half is searched, the other half only checks.
    candidates : names or numbers, optional
        "Everything"; None for all of the view. Features beside them are never touched.
    values : Replacement
        What is written into what is knocked out, in the candidates' order.
    outcome : str, optional
        Which one, where the bench has several.
    mode : {"sufficiency", "necessity"}
        Knock out all but the set and ask what is kept, or the set and ask what is lost.
    share : float
        Of the effect of knocking all candidates out; between 0 and 1.
    most : int, optional
        Largest set tried; default all candidates.
    random_sets : int
        Random sets of the same size run on the held-out families, as a baseline.
    allow_off_support : bool
        Write values far outside what a feature shows all the same; they are then flagged.
    level, draws, seed
        Of the held-out intervals; of their family bootstrap; of halves, random sets and bootstrap.

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
    """
    check_level(level)
    check_draws(draws)
    if not 0 < share <= 1 or mode not in ("sufficiency", "necessity"):
        raise InputError(
            "minimal_set", f"share {share}, mode {mode!r}", "Give 0 < share <= 1 and a known mode"
        )
    if most is not None and most < 1:
        raise InputError("most", f"{most}", "Allow at least one feature")
    o = _outcome(bench, outcome)
    numbers = feature_numbers(bench, candidates, "candidates")
    new = replacement_values(bench, numbers, values, allow_off_support)
    searched = _search_half(bench, seed)
    look, check = (
        _Half(bench.subset(np.flatnonzero(rows)), numbers, new[:, rows], mode, o)
        for rows in (searched, ~searched)
    )
    search_status, _ = span_status(look.bench, look.span, level, "knocking all candidates out")
    status, df = span_status(
        check.bench, check.span, level, "on held-out families, knocking all candidates out"
    )
    nan, none = float("nan"), np.zeros(0)
    reason = next((str(s[o]) for s in (search_status, status) if s[o] != "ok"), "ok")
    chosen, steps = np.zeros(len(numbers), dtype=bool), _Steps()
    if reason == "ok":
        chosen = _search(
            look, share, len(numbers) if most is None else most, bench.view.names, numbers, steps
        )
        reached = steps.rows[-1][-1]
        if reached < share:
            reason = f"the greedy search came to {reached:.3g} with {int(chosen.sum())} features"
    found = np.flatnonzero(chosen) if reason == "ok" else np.zeros(0, dtype=int)
    numbers_of = {"share": nan, "lower": nan, "upper": nan, "boot_lower": nan, "boot_upper": nan}
    drop = (none, none, none)
    random = none
    if len(found):
        numbers_of, drop = _held_out(check, chosen, level, draws, seed)
        random = _random_shares(check, len(found), random_sets, seed)
    return MinimalSet(
        bench.outcome.names[o],
        mode,
        tuple(bench.view.names[numbers[k]] for k in found),
        len(numbers),
        share,
        steps.frame(),
        steps.rows[-1][-1] if len(found) else nan,
        **numbers_of,
        drop=drop[0],
        drop_lower=drop[1],
        drop_upper=drop[2],
        random_share=random,
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

    def _change(self, knocked: Members, what: str) -> Array:
        """Outcome changes (A, P, O) of knocking sets out."""
        swept = knock_out_sets(self.bench, self.numbers, self.values, slots_of(knocked), what)
        return swept.outcome - self.bench.clean

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
    if outcome not in names:
        fix = near_misses(str(outcome), names) or f"Known: {names}"
        raise InputError(f"outcome {outcome!r}", "not among the bench's", fix)
    return names.index(outcome)


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


def _search(
    half: _Half,
    share: float,
    most: int,
    names: tuple[str, ...],
    numbers: NDArray[np.int_],
    steps: _Steps,
) -> Members:
    """Forward until the share is reached, then backward while a member can be spared."""
    chosen, reached = np.zeros(len(numbers), dtype=bool), 0.0
    while reached < share and chosen.sum() < min(most, len(numbers)):
        free = np.flatnonzero(~chosen)
        shares = half.shares(
            chosen | (np.arange(len(numbers)) == free[:, None]), f"search, {len(steps.rows)}"
        )
        best = int(np.argmax(shares))
        chosen[free[best]], reached = True, float(shares[best])
        steps.rows.append(("add", names[numbers[free[best]]], int(chosen.sum()), reached))
    while reached >= share and chosen.sum() > 1:
        members = np.flatnonzero(chosen)
        shares = half.shares(
            chosen & (np.arange(len(numbers)) != members[:, None]), f"search, {len(steps.rows)}"
        )
        best = int(np.argmax(shares))
        if shares[best] < share:
            break
        chosen[members[best]], reached = False, float(shares[best])
        steps.rows.append(("take out", names[numbers[members[best]]], int(chosen.sum()), reached))
    return chosen


def _held_out(
    half: _Half, chosen: Members, level: float, draws: int, seed: int
) -> tuple[dict[str, float], tuple[Array, Array, Array]]:
    """Share with intervals on families that the search has not seen, and the drop without each member."""
    members = np.flatnonzero(chosen)
    without = chosen & (np.arange(len(chosen)) != members[:, None])
    carried = half.carried(np.concatenate([chosen[None], without]), "held out")
    span, family = half.span[:, half.o : half.o + 1], half.bench.family
    whole = clustered_ratio(carried[:, :1], span, family, level)
    lost = clustered_ratio(carried[:, :1] - carried[:, 1:], span, family, level)
    drawn = family_draws(np.concatenate([carried[:, :1], span], axis=1), family, draws, seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = percentile_interval(drawn[:, 0] / drawn[:, 1], level)
    numbers = (whole.ratio[0], whole.lower[0], whole.upper[0], low, high)
    keys = ("share", "lower", "upper", "boot_lower", "boot_upper")
    return dict(zip(keys, map(float, numbers), strict=True)), (lost.ratio, lost.lower, lost.upper)


def _random_shares(half: _Half, size: int, count: int, seed: int) -> Array:
    if not count:
        return np.zeros(0)
    key = np.random.default_rng([seed, 29]).random((count, len(half.numbers)))
    return half.shares(key.argsort(axis=1).argsort(axis=1) < size, "random sets")
