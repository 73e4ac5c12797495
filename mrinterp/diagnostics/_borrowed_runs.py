"""The co-activation decomposition of runs, and how sources are put into groups and results into their places."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.checks import checked_numbers_of, checked_type
from mrinterp.core.errors import InputError
from mrinterp.core.panel import Panel
from mrinterp.core.shown import listed
from mrinterp.mr._runs.run_level import DEAD, FLAT, MIN_PARTIAL_VARIANCE, RunData, run_data
from mrinterp.results._borrowed_effects import BYPASS, BorrowedEffects
from mrinterp.results._check import NotApplicable
from mrinterp.results._estimates import Estimates
from mrinterp.stats.clustered.borrowed import BorrowedParts, Layout, borrowed_parts, forward_choice, run_sums
from mrinterp.stats.clustered.dependence import DependentSet, changes_beyond_rounding, dependent_sets
from mrinterp.stats.clustered.least_squares import families_of
from mrinterp.stats.tests.tails import critical_value

__all__ = [
    "MOST_CHOSEN",
    "MOST_JOINT",
    "NO_SOURCE",
    "all_at_once",
    "given_effects",
    "grouped",
    "made_result",
    "near_copies",
    "run_borrowed",
    "screened",
    "share_explained",
]

Array = NDArray[np.float64]
Ints = NDArray[np.int_]

MOST_JOINT = 400
"""Features that are all held against one another; beyond it, sources are chosen."""

MOST_CHOSEN = 40
"""Sources that are chosen at most."""

ROWS_PER_COLUMN = 3
"""Runs (or instruments) that a column of a joint fit needs, so that all features may be sources."""

ONE_FAMILY = "it changes in fewer than two of the families that are estimated on: no error can be measured"

ONE_TELLS = "one family or instrument alone tells it apart from the sources: its own part has no error"

NO_SOURCE = "no feature explains the outcome beyond chance, and there is no bypass"


def all_at_once(features: int, columns: int, rows: int) -> bool:
    """Whether all features can be held against one another."""
    return features <= MOST_JOINT and columns * ROWS_PER_COLUMN <= rows


def run_borrowed(
    panel: Panel, rank: int | None, wanted: Ints | None, effects: Estimates | None, level: float
) -> BorrowedEffects | NotApplicable:
    """The decomposition of a panel's changes, with the wanted sources or with those that the rows allow."""
    run = _many_features(panel, rank) if len(panel.feature_names) > MOST_JOINT else run_data(panel, rank)
    families, names = families_of(run.change.family)
    kept = run.columns if wanted is None else np.intersect1d(run.columns, _kept_for(run, wanted))
    held = len(kept) + run.R.shape[1] + run.change.absorbed
    rows, note = np.arange(len(families)), ""
    if wanted is None and not all_at_once(len(kept), held, len(families)):
        kept, first = _chosen_on_half(run, families)
        rows = np.flatnonzero(~first)
        note = f"{len(kept)} sources chosen on {(len(names) + 1) // 2} families, estimated on the others"
    if not len(kept) + run.R.shape[1]:
        return NotApplicable(NO_SOURCE, "borrowed effects")
    return _on_rows(run, kept, rows, families, effects, level, note)


def _chosen_on_half(run: RunData, families: Ints) -> tuple[Ints, NDArray[np.bool_]]:
    """Features that explain the outcomes on every other family, by number, and the changes of these families."""
    first = families % 2 == 0
    place = forward_choice(run.X[first], run.Y[first], run.R[first], MOST_CHOSEN)
    return np.sort(run.columns[place]), first


def screened(panel: Panel) -> tuple[Panel, int] | None:
    """The up to 40 features of a panel that explain its outcomes on every other family, on the runs of the families between, and
    how many families chose them; None where no feature explains more than chance would."""
    run = _many_features(panel, None)
    codes, names = families_of(run.change.family)
    kept, first = _chosen_on_half(run, codes)
    if not len(kept):
        return None
    used = {names[c] for c in np.unique(codes[first])}
    rows = np.flatnonzero(~panel.runs["family"].isin(used).to_numpy())
    few = replace(
        panel,
        features=np.asarray(panel.features)[:, kept],
        feature_names=tuple(panel.feature_names[k] for k in kept),
        labels=tuple(panel.labels[k] for k in kept),
    )
    return few._take(rows), len(used)


def _many_features(panel: Panel, rank: int | None) -> RunData:
    """As `run_data`, without the search for dependent sets among all features, whose cost grows with their cube."""
    change = panel.changes()
    live = np.flatnonzero(changes_beyond_rounding(change.features, np.asarray(panel.features)))
    dead = np.setdiff1d(np.arange(len(panel.feature_names)), live)
    one = int(live[0]) if len(live) else 0
    few = run_data(
        replace(
            panel,
            features=panel.features[:, [one]],
            feature_names=panel.feature_names[one : one + 1],
            labels=panel.labels[one : one + 1],
        ),
        rank,
    )
    X = change.features if not len(dead) else change.features[:, live]
    return replace(few, panel=panel, change=change, X=X, columns=live, dead=dead)


def _kept_for(run: RunData, wanted: Ints) -> Ints:
    """The columns that stand for the wanted features: of dependent ones those that they are made of."""
    sets = [s.kept for s in run.sets if set(s.members) & set(wanted.tolist())]
    return np.unique(np.concatenate([wanted, *(np.array(k) for k in sets)]).astype(int))


@dataclass(frozen=True, eq=False)
class Sources:
    """Base columns in the order of their sources: ``order`` among the kept features, names, and who belongs where."""

    order: Ints
    starts: Ints
    names: tuple[str, ...]
    own: Ints
    spanned: NDArray[np.bool_]
    with_bypass: list[int]


def _on_rows(
    run: RunData,
    kept: Ints,
    rows: Ints,
    families: Ints,
    effects: Estimates | None,
    level: float,
    note: str,
) -> BorrowedEffects | NotApplicable:
    """The decomposition on some rows of a panel's changes."""
    panel, change = run.panel, run.change
    live = np.setdiff1d(np.arange(len(panel.feature_names)), run.dead)
    code, which = np.unique(families[rows], return_inverse=True)
    moved = change.features[np.ix_(rows, live)] != 0
    twice = sum(moved[which == c].any(axis=0).astype(int) for c in range(len(code))) >= 2
    still = dict.fromkeys(run.dead.tolist(), DEAD) | dict.fromkeys(live[~twice].tolist(), ONE_FAMILY)
    live = live[twice]
    kept = np.intersect1d(kept, live)
    if not len(kept) + run.R.shape[1]:
        return NotApplicable(NO_SOURCE, "borrowed effects")
    base, columns = change.features[np.ix_(rows, kept)], change.features[np.ix_(rows, live)]
    R, Y = run.R[rows], run.Y[rows]
    found = grouped(panel.feature_names, run.sets, kept, live, np.concatenate([base, R], axis=1))
    Z = np.concatenate([base[:, found.order], R], axis=1)
    starts = found.starts if not R.shape[1] else np.append(found.starts, len(kept))
    names = found.names + ((BYPASS,) if R.shape[1] else ())
    own, spanned, near = near_copies(Z, columns, found, len(kept))
    clusters = (run_sums(Z[which == c], columns[which == c], Y[which == c]) for c in range(len(code)))
    given = (
        None
        if effects is None
        else given_effects(effects, panel.feature_names, panel.outcome_names, kept[found.order], R.shape[1])
    )
    try:
        parts = borrowed_parts(run_sums(Z, columns, Y), clusters, Layout(starts, own, spanned), given)
    except np.linalg.LinAlgError:
        return NotApplicable(
            "one family alone tells some of the sources apart: give more families", "sources"
        )
    words = dict.fromkeys(np.flatnonzero(run.flat), FLAT)
    unit = f"{panel.units['outcome']} per {panel.units['feature']}"
    meta = {"level_of": "runs", "clusters": len(code), "rank": int(R.shape[1]), "chosen": note}
    if effects is None:
        meta["fit"] = share_explained(Z, Y, parts.effects)
    for k in found.with_bypass:
        near[np.flatnonzero(live == k)[0]] = "cannot be told apart from the bypass: lower its rank"
    return made_result(
        panel.feature_names,
        panel.outcome_names,
        names,
        parts,
        live,
        own,
        near,
        starts,
        words,
        unit,
        level,
        meta,
        still,
    )


def share_explained(Z: Array, Y: Array, effects: Array) -> list[float]:
    """Share of the sum of squares of every outcome (N, O) that columns (N, d) with effects (d, O) explain; 1 of nothing."""
    whole = np.einsum("no,no->o", Y, Y)
    rest = ((Y - Z @ effects) ** 2).sum(axis=0)
    return [float(v) for v in 1.0 - np.divide(rest, whole, out=np.zeros_like(whole), where=whole > 0)]


def grouped(
    features: Sequence[str], sets: Sequence[DependentSet], kept: Ints, live: Ints, base: Array
) -> Sources:
    """Base features put into groups that cannot be told apart, and the group of every live feature."""
    place = {int(k): i for i, k in enumerate(kept)}
    label = np.arange(len(kept))
    with_bypass: list[int] = []
    members: dict[int, set[int]] = {i: {int(k)} for i, k in enumerate(kept)}
    belongs: dict[int, int] = {int(k): i for i, k in enumerate(kept)}
    for one in sets:
        inside = [place[k] for k in one.kept if k in place]
        if len(inside) < len(one.kept):
            continue
        label[np.isin(label, label[inside])] = label[inside[0]]
        for m in one.members:
            belongs[m] = inside[0]
            members[inside[0]].add(m)
    for near in dependent_sets(base, MIN_PARTIAL_VARIANCE):
        inside = [m for m in near.members if m < len(kept)]
        if len(inside) < len(near.members):
            with_bypass += [int(kept[m]) for m in inside]
        if len(inside) > 1:
            label[np.isin(label, label[inside])] = label[inside[0]]
    order = np.lexsort((np.arange(len(kept)), label))
    values, starts, group = np.unique(label[order], return_index=True, return_inverse=True)
    of_base = np.empty(len(kept), int)
    of_base[order] = group
    names = []
    for g in range(len(values)):
        inside = sorted(set().union(*(members[int(i)] for i in np.flatnonzero(of_base == g))))
        named = [features[m] for m in inside]
        names.append(named[0] if len(named) == 1 else f"any of {listed(named)}")
    own = np.array([of_base[belongs[int(k)]] if int(k) in belongs else -1 for k in live])
    return Sources(order, starts, tuple(names), own, own >= 0, with_bypass)


def near_copies(
    Z: Array, columns: Array, found: Sources, features: int
) -> tuple[Ints, NDArray[np.bool_], dict[int, str]]:
    """Features outside of the base that it makes up all but entirely: near copies join their source."""
    own, spanned = found.own.copy(), found.spanned.copy()
    words: dict[int, str] = {}
    beside = np.flatnonzero(~spanned)
    if not len(beside):
        return own, spanned, words
    length = np.einsum("nf,nf->f", columns, columns)
    scale = np.sqrt(np.einsum("nd,nd->d", Z, Z))
    cross = (Z / scale).T @ columns[:, beside]
    fitted = (cross * np.linalg.solve((Z / scale).T @ (Z / scale), cross)).sum(axis=0)
    cosine = cross[:features] ** 2 / length[beside]
    for i, k in enumerate(beside):
        if length[k] - fitted[i] >= MIN_PARTIAL_VARIANCE * length[k]:
            continue
        spanned[k] = True
        best = int(np.argmax(cosine[:, i])) if features else 0
        if features and cosine[best, i] > 1.0 - MIN_PARTIAL_VARIANCE:
            own[k] = int(np.searchsorted(found.starts, best, side="right")) - 1
            words[int(k)] = f"cannot be told apart from {found.names[own[k]]}"
        else:
            words[int(k)] = (
                "the sources and the bypass together make it up: it has no part of its own that could be told"
            )
    return own, spanned, words


def given_effects(
    effects: Estimates, features: Sequence[str], outcomes: Sequence[str], kept: Ints, rank: int
) -> tuple[Array, Array]:
    """Effects of the base columns and their errors from another method; those of the bypass are not known: 0."""
    checked_type(effects, "effects", Estimates, "Give the result of an estimator")
    if tuple(effects.outcomes) != tuple(outcomes):
        raise InputError("effects", f"outcomes {listed(effects.outcomes)}", f"Give {listed(outcomes)}")
    names = [features[k] for k in kept]
    at = checked_numbers_of(names, "effects", list(effects.exposures), numbers=False)
    beta, se = effects.beta[at], effects.se[at]
    bad = np.argwhere(~np.isfinite(beta) | ~np.isfinite(se))
    if len(bad):
        raise InputError(
            f"effects of {names[bad[0][0]]!r}", "no number", "Name the features that have one as sources"
        )
    nothing = np.zeros((rank, beta.shape[1]))
    return np.concatenate([beta, nothing]), np.concatenate([se, nothing])


def made_result(
    features: tuple[str, ...],
    outcomes: tuple[str, ...],
    sources: tuple[str, ...],
    parts: BorrowedParts,
    live: Ints,
    own: Ints,
    near: dict[int, str],
    starts: Ints,
    flat: dict[Any, str],
    unit: str,
    level: float,
    meta: dict[str, Any],
    still: dict[int, str],
) -> BorrowedEffects:
    """Parts of the live features put in their places among all of them, with words for what cannot be told apart."""
    F, O = len(features), len(outcomes)

    def wide(values: Array) -> Array:
        out = np.full((F, *values.shape[1:]), np.nan)
        out[live] = np.where(np.isfinite(values), values, np.nan)
        return out

    df = float(max(parts.clusters - 1, 1))
    status = np.full((F, O), "ok", dtype=object)
    for k in np.setdiff1d(np.arange(F), live):
        status[k] = still[int(k)]
    _say_not_told_apart(status, parts, live, sources, float(critical_value(level, df)))
    for f, o in np.argwhere(~np.isfinite(parts.own_se)):
        status[live[f], o] = ONE_TELLS
    for k, word in near.items():
        status[live[k]] = word
    for o, word in flat.items():
        status[:, o] = word
    member = np.full(F, -1)
    member[live] = own
    return BorrowedEffects(
        features=features,
        sources=sources,
        outcomes=outcomes,
        total=wide(parts.total),
        total_se=wide(parts.total_se),
        own=wide(parts.own),
        own_se=wide(parts.own_se),
        borrowed=wide(parts.borrowed),
        borrowed_se=wide(parts.borrowed_se),
        left=wide(parts.left),
        left_se=wide(parts.left_se),
        own_and_largest_se=wide(parts.own_and_largest_se),
        correlation=wide(_of_sources(parts.cosine, starts, BYPASS in sources)),
        member=member,
        status=status,
        df=df,
        level=level,
        unit=unit,
        meta=meta,
    )


def _of_sources(cosine: Array, starts: Ints, bypass: bool) -> Array:
    """The largest correlation (F, S) with a column of each source, with its sign; nan with the bypass."""
    high, low = np.maximum.reduceat(cosine, starts, axis=1), np.minimum.reduceat(cosine, starts, axis=1)
    found = np.where(high >= -low, high, low)
    if bypass:
        found[:, -1] = np.nan
    return found


def _say_not_told_apart(
    status: NDArray[Any], parts: BorrowedParts, live: Ints, sources: tuple[str, ...], critical: float
) -> None:
    """Where own and largest borrowed part may each be 0, and both together are not."""
    most = np.take_along_axis(parts.borrowed, parts.largest[:, None, :], axis=1)[:, 0]
    error = np.take_along_axis(parts.borrowed_se, parts.largest[:, None, :], axis=1)[:, 0]
    unclear = (np.abs(parts.own) <= critical * parts.own_se) & (np.abs(most) <= critical * error)
    unclear &= np.abs(parts.own + most) > critical * parts.own_and_largest_se
    for f, o in np.argwhere(unclear):
        source = sources[parts.largest[f, o]]
        status[live[f], o] = (
            f"cannot be told apart from {source}: each part alone may be 0, both together are not"
        )
