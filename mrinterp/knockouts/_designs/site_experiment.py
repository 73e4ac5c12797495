"""The randomized experiment at a site: every feature low or high at random, all of them in the same runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from statsmodels.stats.multitest import multipletests

from mrinterp.core.checks import checked_count, checked_level, checked_seed
from mrinterp.core.errors import InputError
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._clean_values import ROUNDING, clean_values, spread
from mrinterp.knockouts._contrast_levels import contrast_levels
from mrinterp.knockouts._designs.site_writes import (
    SHARES,
    MirroredRuns,
    WrittenLevels,
    along_components,
    moved_ones,
)
from mrinterp.knockouts._feature_numbers import Features, feature_numbers
from mrinterp.knockouts._kinds.contrast import Contrast
from mrinterp.knockouts._kinds.registry import kind_named
from mrinterp.knockouts._outcome_rope import ONE_FAMILY, outcome_rope, outcome_sd, resolutions, unread
from mrinterp.knockouts._site_variation import site_variation
from mrinterp.results._contrast_levels import NATURAL_SD
from mrinterp.results._designs.site_experiment import DEPENDS, SiteExperiment
from mrinterp.stats.clustered.calibrated import DRAWN, FEWEST, OWN, calibrated, calibration_roles
from mrinterp.stats.clustered.joint_effects import Jackknifed, joint_effects, random_settings
from mrinterp.stats.tests.equivalence import verdict
from mrinterp.stats.tests.tails import critical_value, neglog10p_t, two_sided_p

__all__ = ["site_experiment"]

Array = NDArray[np.float64]
Rows = NDArray[np.int_]

PAYS = 40
"""Features from which the joint experiment needs fewer runs than one at a time, where run noise dominates."""

EXTRAPOLATED = 100
"""Features from which extrapolating pays: its gain is about a thirtieth of their number."""

OFF = 0.01
"""Read-back error, in natural standard deviations, from which a write did not do what it was to do."""

WITHHELD = (
    "no interval: the features outnumber the site's dimensions, so that its components were set at random; what is mapped"
    f" to features from them is off by more than its error, and fewer than {FEWEST} features were drawn to measure by how much"
)
OTHERS = "the other features' settings"
STILL = "nothing to change: its high and its low value are the same on every input"


def site_experiment(
    bench: Bench,
    kind: str | Contrast = "contrast",
    features: Features | None = None,
    *,
    runs_per_prompt: int = 24,
    inclusion: float = 1.0,
    extrapolate: bool = False,
    components: bool | None = None,
    beside: int | Features = 5,
    calibrate: int = 20,
    rope_sd: float = 0.02,
    level: float = 0.95,
    seed: int = 0,
) -> SiteExperiment:
    """Set every feature to its low or its high value at random, all in the same runs; one regression gives all effects.

    Parameters
    ----------
    bench : Bench
        The network, its inputs, features and outcomes; best where an outcome is drawn (judged, sampled, served).
    kind : "contrast" or Contrast
        A `Contrast` has quantiles, groups or levels of its own; by name 90% against 10%, learned from the bench's own
        prompts.
    features : names or numbers, optional
        K features, the others left as they are; default all of the view.
    runs_per_prompt : int
        Even, at least 4 (16 where extrapolated): every run has a mirror image with all signs turned. Replicates of a
        sampled outcome come through it.
    inclusion : float
        Probability that a feature is moved at all, above 0: 1 moves every one.
    extrapolate : bool
        Move features with probability 1/4 and 1/2, and extrapolate to none of the other features moved:
        2 b(1/4) - b(1/2), "one at a time, extrapolated".
    components : bool, optional
        Randomize along the site's principal components, and map to features; default where features outnumber dimensions.
    beside : int, or names
        How many of the strongest features are also run one at a time, or which, with at most as many runs in all as the
        joint experiment where an outcome is drawn, else once.
    calibrate : int
        Along components: features drawn at random that are run one at a time, to measure how far the mapped effects are
        off, and the largest (at most 20) besides, which rest on their own contrasts. Below 5 there are no intervals.
    rope_sd : float
        Region of practical equivalence of effects per natural sd, in sd of the clean outcome.
    level : float
        Of the intervals.
    seed : int
        Of the random settings.

    Returns
    -------
    SiteExperiment
        Effects per natural sd, averaged over the other features' settings, and beside them those of the strongest alone.

    Raises
    ------
    InputError
        For another kind, too few runs for so many features (with how many are needed), levels of other features, or a
        view that does not say what it writes, where components are asked for.

    Notes
    -----
    The estimand is the effect *averaged over the other features' settings*, not the knockout's: `depends on other
    features` where the two differ. Runs are mirrored, so that a prompt's own level and all interactions of two features
    cancel; signs are balanced within families; errors leave families out of the whole procedure, t on families less one.
    Where the noise of single runs dominates, K features need about K times fewer runs than one at a time; nothing is
    gained where an outcome is smooth and not drawn.

    Not valid as a statement on one feature's knockout where features interact, nor where the values are natural one by
    one but not together. Linear extrapolation is off where effects bend with the share moved. Along components the jackknife
    alone covered .16 to .70, so that intervals are calibrated against features run one at a time, and hold on average over
    features.

    Source: factorial experiments, Fisher 1935; averaged effects of randomized factors, Hainmueller et al. 2014,
    10.1093/pan/mpt024.

    Examples
    --------
    >>> import mrinterp
    >>> bench = mrinterp.worlds.gated_world(families=20).bench()
    >>> mrinterp.knockouts.site_experiment(bench, beside=1)["linear", "output"].verdict
    'causal'
    """
    checked_level(level), checked_seed(seed), checked_count(calibrate, "calibrate", least=0)
    region, numbers = outcome_rope(bench, rope_sd), feature_numbers(bench, features)
    wanted = _wanted_beside(bench, numbers, beside)
    bench = bench.by_token
    contrast, variation = _contrast(kind, bench), site_variation(bench)
    written = WrittenLevels.of(bench, contrast, numbers, variation)
    along = len(numbers) > variation.width if components is None else components
    site, matrix = along_components(written, contrast, variation) if along else moved_ones(written)
    runs = MirroredRuns.of(bench, matrix.shape[1], runs_per_prompt, inclusion, extrapolate)
    joint = _Joint.run(site, matrix / NATURAL_SD, runs, seed, extrapolate)
    size = _size(joint, outcome_sd(bench), written.moved)
    roles = _roles(size, calibrate, seed) if along else np.full(len(size), "", dtype=object)
    chosen = _chosen(wanted, size, roles)
    replicates = max(1, runs_per_prompt // (2 * len(chosen))) if bench.sampled and len(chosen) else 1
    alone = written.taken(chosen).alone(replicates, runs.codes) * (1 / NATURAL_SD)
    floor = 4 * resolutions(bench) / NATURAL_SD
    found = _ends(joint.all, runs.df, level) | _beside(joint, alone, chosen, level, floor)
    if along:
        found |= _calibrated(joint, alone, chosen, roles, level)
    silent = unread(bench, joint.change)
    for name in ("effect", "se", "lower", "upper"):
        found[name] = np.where(written.moved[:, None] & (not silent), found[name], np.nan)
    words = _verdicts(found, region, floor, 0.0 if along else 1 - level)
    read_back = np.full(len(numbers), np.nan)
    read_back[written.moved] = np.nan if along else site.read_back()
    return SiteExperiment(
        features=tuple(bench.view.names[f] for f in numbers),
        outcomes=tuple(bench.outcome.names),
        averaged=_averaged(inclusion, extrapolate, len(site.numbers) if along else 0, roles),
        verdict=words,
        rope=region,
        df=runs.df,
        level=level,
        noise_floor=bench.noise_floor(),
        read_back_error=read_back,
        runs=2 * len(runs.inclusion) * bench.prompts,
        advice=_advice(bench, len(numbers), extrapolate, words[chosen]),
        status=_status(written.moved, along, roles, runs.df, silent),
        flags=_flags(bench, written, read_back, roles),
        meta={
            "site": bench.site,
            "position": str(bench.position),
            "options": contrast.options,
            "natural_sd": NATURAL_SD,
            "runs_per_prompt": runs_per_prompt,
            "inclusion": list(SHARES) if extrapolate else inclusion,
            "seed": seed,
            "runs_alone": 2 * replicates * len(chosen) * bench.prompts,
            "components": len(site.numbers) if along else 0,
            "outside_support": written.outside,
        },
        **found,
    )


@dataclass(frozen=True, eq=False)
class _Joint:
    """The runs in which all are set at random: settings (R, P, K'), outcome less that of the mirror image (R, P, O), and
    how effects of what was set make those of features, ``matrix`` (K, K')."""

    settings: NDArray[np.int8]
    change: Array
    matrix: Array
    runs: MirroredRuns
    extrapolate: bool

    @classmethod
    def run(
        cls, site: WrittenLevels, matrix: Array, runs: MirroredRuns, seed: int, extrapolate: bool
    ) -> _Joint:
        # 21: a stream of its own under the seed.
        rng = np.random.default_rng([seed, 21])
        settings = random_settings(runs.codes, matrix.shape[1], runs.inclusion, rng)
        return cls(settings, site.changes(settings, "site experiment"), matrix, runs, extrapolate)

    @cached_property
    def all(self) -> Jackknifed:
        """Effects (K, O) from all runs."""
        return self._of(np.ones(len(self.settings), dtype=bool))

    @cached_property
    def first(self) -> Jackknifed:
        """From the half of the runs that chooses features."""
        return self._of(~self.runs.second)

    @cached_property
    def second(self) -> Jackknifed:
        """From the other half."""
        return self._of(self.runs.second)

    def _of(self, rows: NDArray[np.bool_]) -> Jackknifed:
        inclusion = self.runs.inclusion[rows]
        found = joint_effects(
            self.settings[rows], self.change[rows], self.runs.codes, inclusion, self.extrapolate
        )
        return found.mapped(self.matrix)


def _contrast(kind: str | Contrast, bench: Bench) -> Contrast:
    made = kind_named(kind, {})
    if not isinstance(made, Contrast):
        raise InputError("kind", f"{made.name!r} has no low and high value", 'Give "contrast" or a Contrast')
    return replace(made, levels=made.levels or contrast_levels(bench, made.low, made.high, made.by))


def _wanted_beside(bench: Bench, numbers: Rows, beside: int | Features) -> int | Rows:
    """How many features are run one at a time, or their places among those of the experiment where they are named."""
    if isinstance(beside, int | float) or beside is None:
        return checked_count(beside, "beside", least=0)
    named = feature_numbers(bench, beside, "beside")
    other = np.flatnonzero(~np.isin(named, numbers))
    if len(other):
        found = f"{bench.view.names[named[other[0]]]!r} is not in the experiment"
        raise InputError("beside", found, "List it among the features, or leave it out")
    place = np.argsort(numbers)
    return np.asarray(place[np.searchsorted(numbers, named, sorter=place)])


def _size(joint: _Joint, sd: Array, moved: NDArray[np.bool_]) -> Array:
    """How large each feature looks (K,), against each outcome's spread, in the half of the runs that chooses; -inf for
    one that is not moved."""
    effect = np.abs(joint.first.value) / np.where(sd > 0, sd, 1.0)
    return np.where(moved, effect.max(axis=1), -np.inf)


def _roles(size: Array, drawn: int, seed: int) -> NDArray[np.object_]:
    """Which features rest on their own contrasts, which are drawn to calibrate the others; "" without calibration."""
    roles = np.full(len(size), "", dtype=object)
    moved = np.isfinite(size)
    if drawn >= FEWEST:
        roles[moved] = calibration_roles(size[moved], drawn, seed)
    return roles


def _chosen(wanted: int | Rows, size: Array, roles: NDArray[np.object_]) -> Rows:
    """Places of the features that are run one at a time: those wanted, and those that calibration needs."""
    if isinstance(wanted, int):
        wanted = np.argsort(-size, kind="stable")[: min(wanted, int(np.isfinite(size).sum()))]
    needed = np.flatnonzero((roles == OWN) | (roles == DRAWN))
    return np.concatenate([wanted, needed[~np.isin(needed, wanted)]])


def _ends(found: Jackknifed, df: float, level: float) -> dict[str, Array]:
    half = (critical_value(level, df) if df else np.nan) * found.se
    return {"effect": found.value, "se": found.se, "lower": found.value - half, "upper": found.value + half}


def _beside(joint: _Joint, alone: Jackknifed, chosen: Rows, level: float, floor: Array) -> dict[str, Array]:
    """One at a time, and what the joint effect has beyond it: (K, O), nan for features that were not run so."""
    df, gap = joint.runs.df, joint.second.taken(chosen) - alone
    p = np.full(gap.value.shape, np.nan)
    if df and len(chosen):
        with np.errstate(divide="ignore", invalid="ignore"):
            t = np.where(np.abs(gap.value) > floor, gap.value / gap.se, 0.0)
        single = two_sided_p(neglog10p_t(t, df))
        p = np.stack([multipletests(one, method="holm")[1] for one in single.T], axis=1)
    small = {
        **{("alone" if n == "effect" else f"alone_{n}"): v for n, v in _ends(alone, df, level).items()},
        "difference": gap.value,
        "difference_se": gap.se,
        "difference_p": p,
    }
    out = {name: np.full(joint.all.value.shape, np.nan) for name in small}
    for name, value in small.items():
        out[name][chosen] = value
    return out


def _calibrated(
    joint: _Joint, alone: Jackknifed, chosen: Rows, roles: NDArray[np.object_], level: float
) -> dict[str, Array]:
    """Effects and intervals that allow for how far what is mapped from components was off for the features drawn."""
    effect = joint.all
    if not (roles != "").any():  # the jackknife's intervals do not cover there
        return {name: np.full(effect.value.shape, np.nan) for name in ("se", "lower", "upper")}
    own, error = np.full((2, *effect.value.shape), np.nan)
    own[chosen] = alone.value
    # The noise of a drawn feature's own contrast counts as bias: taken off, what features share makes intervals too short.
    error[chosen] = np.where((roles[chosen] == OWN)[:, None], alone.se, 0.0)
    named = np.where(roles == "", "rest", roles)
    made = calibrated(effect.value, effect.se, own, error, named, shift_df=joint.runs.df, level=level)
    return {"effect": made.beta, "se": made.se, "lower": made.lower, "upper": made.upper}


def _verdicts(found: dict[str, Array], region: Array, floor: Array, alpha: float) -> NDArray[np.object_]:
    words = verdict(found["lower"], found["upper"], region)
    words[(found["difference_p"] < alpha) & (np.abs(found["difference"]) > np.maximum(region, floor))] = (
        DEPENDS
    )
    return words


def _status(
    moved: NDArray[np.bool_], along: bool, roles: NDArray[np.object_], df: float, silent: str
) -> tuple[str, ...]:
    withheld = WITHHELD if along and not (roles != "").any() else "ok"
    return tuple(np.where(moved, ONE_FAMILY if not df else silent or withheld, STILL))


def _flags(
    bench: Bench, written: WrittenLevels, read_back: Array, roles: NDArray[np.object_]
) -> tuple[str, ...]:
    """Words per feature: what to know before its numbers are used."""
    natural = spread(clean_values(bench, written.numbers))
    off = read_back > np.maximum(OFF * natural, ROUNDING * np.abs(bench.values).max())
    drawn = int((roles == DRAWN).sum())
    by_role = {"": "", OWN: "its own contrast, one at a time"}
    said = [by_role.get(role, f"calibrated by {drawn} features run one at a time") for role in roles]
    return tuple(
        "read back together with the others, it differs from what was written" if x else words
        for x, words in zip(off, said, strict=True)
    )


def _averaged(inclusion: float, extrapolate: bool, components: int, roles: NDArray[np.object_]) -> str:
    if components and (roles != "").any():
        return f"one at a time, by way of the site's {components} principal components, calibrated"
    over = f"the settings of the site's {components} principal components"
    if extrapolate:
        return "one at a time, extrapolated" + (f", from {over}" if components else "")
    share = "" if inclusion == 1 else f", each moved with probability {inclusion:g}"
    return f"averaged over {over if components else OTHERS}{share}"


def _advice(bench: Bench, features: int, extrapolate: bool, compared: NDArray[np.object_]) -> str:
    """Why one at a time is as good or better, where it is; what the features run alone say."""
    why = []
    computed = [n for n in bench.outcome.names if n not in bench.outcome.sampled_names]
    if computed:
        why.append(
            f"{', '.join(computed[:3])} is computed, not drawn: the joint experiment has little noise to average"
        )
    if features < PAYS:
        why.append(f"{features} features are fewer than some {PAYS}")
    elif extrapolate and features < EXTRAPOLATED:
        why.append(f"extrapolating pays from some {EXTRAPOLATED} features, here are {features}")
    said = [f"One at a time (knock_out) is as good or better here: {'; '.join(why)}."] if why else []
    depend = int((compared == DEPENDS).any(axis=1).sum())
    if depend:
        said.append(
            f"{depend} of {len(compared)} features run alone act otherwise when the others are as they are: rest what is"
            " said of single features on knockouts one at a time."
        )
    return " ".join(said)
