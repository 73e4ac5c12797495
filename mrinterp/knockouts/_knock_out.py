"""Run one kind of knockout on every feature: the one driver of all kinds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.checks import checked_draws, checked_seed, shown
from mrinterp.core.errors import InputError
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._clean_values import ROUNDING, clean_values, spread, written_tokens
from mrinterp.knockouts._feature_numbers import Features, feature_numbers
from mrinterp.knockouts._kinds.kind import Kind
from mrinterp.knockouts._kinds.registry import kind_named
from mrinterp.knockouts._kinds.resample import Resample
from mrinterp.knockouts._outcome_rope import label_sizes, outcome_sd, resolutions, unread
from mrinterp.knockouts._site_variation import site_variation
from mrinterp.knockouts._support import FAR, MASSIVE, Support, check_support
from mrinterp.knockouts._token_groups import token_groups
from mrinterp.results._knockout_effects import KnockoutEffects
from mrinterp.stats.clustered.rectified import rectified_mean
from mrinterp.stats.clustered.swap_effects import SwapEffects, swap_effects

__all__ = ["knock_out"]

Array = NDArray[np.float64]
Rows = NDArray[np.int_]
Firing = tuple[Array, Array, Array]
"""What the firing of rare features does, and the ends of its 95% interval, (f, O) each."""

HELD = 8_000_000
"""Values to write that are held at a time: 64 MB. Part of the result only for sampled outcomes, which draw by part."""

OFF = 0.01
"""Read-back error, in natural standard deviations, from which a write did not do what it was to do."""


def knock_out(
    bench: Bench,
    kind: str | Kind,
    features: Features | None = None,
    *,
    draws: int = 1000,
    seed: int = 0,
    allow_off_support: bool = False,
    **options: Any,
) -> KnockoutEffects:
    """Knock out features one at a time, on every input of a bench.

    Parameters
    ----------
    bench : Bench
        The network, its inputs, features and outcomes.
    kind : str or Kind
        What is written: ``contrast, shift, zero, mean, resample, clamp, scale, steer, interchange``, or one of your own.
    features : names or numbers, optional
        Default all of the view.
    draws : int
        Draws of the family bootstrap.
    seed : int
        Of the bootstrap, and of the donors of a ``resample`` given by name; a `Resample` has its own.
    allow_off_support : bool
        Run a clamp, a scaling, a shift or a step far outside natural values all the same; the features
        are then flagged in everything that is shown.
    **options
        Of the kind, where it is given by name.

    Returns
    -------
    KnockoutEffects
        Per unit of each feature and of the knockout itself, on every outcome, with errors clustered by family.

    Raises
    ------
    InputError
        For an unknown kind, feature or option, options that the kind cannot use, or a chosen value far
        outside support that was not asked for. Names the feature, the value and the fix. No edited run is
        made before all of this is known.

    Notes
    -----
    Cost: features x swaps x inputs runs from the edited layer, and a few passes over the clean inputs.
    Not valid with few families: errors are clustered by family, t on at most C - 1 degrees of freedom.

    Examples
    --------
    >>> import mrinterp
    >>> bench = mrinterp.worlds.gated_world(families=10).bench()
    >>> mrinterp.knock_out(bench, "zero", "saturated").mean.round(6)
    array([[-1.]])
    """
    if not isinstance(bench, Bench):
        raise InputError("bench", shown(bench), "Give a Bench, for example Study.bench()")
    drawn = checked_draws(draws), checked_seed(seed)
    given = kind_named(kind, {"seed": seed} | options if kind == Resample.name else options)
    bench = bench.by_token if given.each_token else bench
    numbers, made = feature_numbers(bench, features), given.learned(bench)
    aim = made.targets(bench)

    def written(rows: Rows) -> Array:
        values = _checked(bench, made, np.asarray(aim(rows), dtype=float), len(rows))
        return np.where(written_tokens(bench), values, np.nan) if bench.each else values

    tokens = bench.inputs.mask_or_ones.shape[1]
    step = max(1, HELD // (len(made.signs) * bench.prompts * tokens))
    parts = [slice(a, min(a + step, len(numbers))) for a in range(0, len(numbers), step)]
    variation = site_variation(bench)
    support = _joined(check_support(bench, numbers[p], written(numbers[p]), variation) for p in parts)
    if made.chosen and not allow_off_support:
        _refuse_far(bench, made, numbers, support.far)
    floor = resolutions(bench, sampling=True)
    ran = []
    for part in parts:
        values = written(numbers[part])
        values[~support.moved[part]] = np.nan  # left alone, bit for bit
        # A name of its own for every part: sampled outcomes draw by it.
        what = f"{made.name} from {part.start}" if part.start else made.name
        ran.append(_ran(bench, numbers[part], values, made, what, floor, drawn))
    return _joined_effects(bench, given, numbers, support, floor, ran, drawn)


def _checked(bench: Bench, kind: Kind, values: Array, features: int) -> Array:
    """What a kind wants to write, refused where it is of another shape: kinds may be a user's own."""
    wanted = (features, len(kind.signs), *bench.values.shape[:-1])
    if values.shape != wanted:
        raise InputError(
            f"kind {kind.name!r}: targets",
            f"shape {values.shape} for {features} features",
            f"Give {wanted}: features, swaps (one sign each), prompts{', tokens' if bench.each else ''}",
        )
    return values


def _joined_effects(
    bench: Bench,
    kind: Kind,
    numbers: Rows,
    support: Support,
    floor: Array,
    ran: list[tuple[SwapEffects, Array, Array, Array, Firing]],
    drawn: tuple[int, int],
) -> KnockoutEffects:
    """The parts' effects as one result, with what is to be known of each feature."""
    effects = _together([r[0] for r in ran])
    read_back, leakage, natural = (np.concatenate([r[i] for r in ran]) for i in (1, 2, 3))
    as_it_is, lower, upper = (np.concatenate([r[4][i] for r in ran]) for i in range(3))
    positions = token_groups(bench.inputs).names
    # A feature that never varies has no spread to hold rounding against.
    flat = bench.values.reshape(-1, bench.features)
    size = np.maximum(flat.max(axis=0), -flat.min(axis=0))[numbers]
    not_written = np.asarray(read_back > np.maximum(OFF * natural, ROUNDING * size))
    found = KnockoutEffects(
        kind=kind.name,
        label=kind.label,
        features=tuple(bench.view.names[f] for f in numbers),
        outcomes=tuple(bench.outcome.names),
        df=float(len(np.unique(bench.family)) - 1),
        inputs=bench.table,
        read_back_error=read_back,
        leakage=leakage,
        off_support=support.off_support,
        outside_range=support.outside_range,
        noise_floor=floor,
        meta={
            "site": bench.site,
            "position": str(bench.position),
            "options": kind.options,
            "bootstrap": list(drawn),
            "sampled_outcomes": list(bench.outcome.sampled_names),
            "extremal_at_clean": list(bench.outcome.flat_at_clean_names),
            "labels": label_sizes(bench),
            "two_sided": sum(kind.signs) == 0,
        },
        feature_sd=natural,
        outcome_sd=outcome_sd(bench),
        positions=positions,
        outside=support.outside,
        massive_activation=support.massive,
        as_it_is=as_it_is,
        as_it_is_lower=lower,
        as_it_is_upper=upper,
        **{f.name: getattr(effects, f.name) for f in fields(SwapEffects)},
    )
    measurable = np.asarray(found.measurable.any(axis=1))
    # Not one bit of any outcome, whatever was written: it may be that nothing reads the site.
    silent = unread(bench, found.rms_change[support.moved])
    why = silent or "not measurable: outcome changes are below the noise floor"
    return replace(found, flags=_flags(kind, positions, support, not_written, measurable, why))


def _ran(
    bench: Bench, features: Rows, values: Array, kind: Kind, what: str, floor: Array, drawn: tuple[int, int]
) -> tuple[SwapEffects, Array, Array, Array, Firing]:
    """Write values (f, S, P[, T]): effects, worst read-back, leakage and natural spread (f,) each, and what the firing of
    rare features does."""
    f, S = values.shape[:2]
    clean = clean_values(bench, features)
    edited = bench.sweep(np.repeat(features, S)[:, None], values.reshape(f * S, 1, *values.shape[2:]), what)
    amount = np.nan_to_num(values - clean[:, None])
    if bench.each:
        amount = amount.sum(axis=-1) / written_tokens(bench).sum(axis=1)
    change = edited.outcome.reshape(f, S, bench.prompts, -1) - bench.clean
    effects = swap_effects(amount, change, bench.family, kind.signs, floor, *drawn)
    worst = [x.reshape(f, S).max(axis=1) for x in (edited.read_back, edited.leakage)]
    swap = kind.usual_swap([bench.view.names[k] for k in features])
    return effects, worst[0], worst[1], spread(clean), _firing(bench, swap, amount, change, floor)


def _firing(bench: Bench, swap: Rows, amount: Array, change: Array, floor: Array) -> Firing:
    """Outcome as it is less that of the usual value, which swap (f,) of each feature writes (-1: none), with its 95%
    interval, (f, O) each; amounts (f, S, P) and changes (f, S, P, O) of the swaps."""
    moved = (amount != 0).any(axis=1) & (swap >= 0)[:, None]
    each = np.where(moved[..., None], -change[np.arange(len(swap)), np.maximum(swap, 0)], np.nan)
    sizes = label_sizes(bench)
    largest = [sizes.get(name, np.nan) for name in bench.outcome.names]
    found = rectified_mean(each.transpose(1, 0, 2), None, bench.family, largest=largest, floor=floor)
    return found.beta, found.lower, found.upper


def _refuse_far(bench: Bench, kind: Kind, numbers: Rows, far: Array) -> None:
    beyond = np.flatnonzero(far > FAR)
    if not len(beyond):
        return
    f = int(beyond[np.argmax(far[beyond])])
    width = (
        "it never varies" if np.isinf(far[f]) else f"by {far[f]:.3g} times the width of its natural values"
    )
    raise InputError(
        f"{kind.name}, feature {bench.view.names[numbers[f]]!r}",
        f"{kind.label} is far outside what clean inputs show ({width})"
        + (f"; so it is for {len(beyond) - 1} more" if len(beyond) > 1 else ""),
        "Choose a value inside the natural range, or allow_off_support=True to run it flagged",
    )


def _flags(
    kind: Kind,
    positions: tuple[str, ...],
    support: Support,
    not_written: NDArray[np.bool_],
    measurable: NDArray[np.bool_],
    why: str,
) -> tuple[str, ...]:
    """Words per feature: what to know before its numbers are used."""
    words = []
    asked = "outside support, asked for" if kind.chosen else "far outside support"
    for f in range(len(support.far)):
        said = []
        if not support.moved[f]:
            said.append("nothing to change: the value written is the clean one on every input")
        elif not measurable[f]:
            said.append(why)
        if support.far[f] > FAR:
            said.append(asked)
        if not_written[f] and support.moved[f]:
            said.append("read back differs from what was written")
        large = np.flatnonzero(support.massive[f] >= MASSIVE)
        if len(large):
            where = ", ".join(positions[k] for k in large[:3]) + (" ..." if len(large) > 3 else "")
            said.append(f"massive activation at {where}")
        words.append("; ".join(said))
    return tuple(words)


def _joined(parts: Iterator[Support]) -> Support:
    made = list(parts)
    return Support(*(np.concatenate([getattr(p, f.name) for p in made]) for f in fields(Support)))


def _together(parts: list[SwapEffects]) -> SwapEffects:
    def joined(name: str) -> Any:
        values = [getattr(p, name) for p in parts]
        return (
            values[0] if name == "mean_df" else np.concatenate(values, axis=1 if "bootstrap" in name else 0)
        )

    return SwapEffects(*(joined(f.name) for f in fields(SwapEffects)))
