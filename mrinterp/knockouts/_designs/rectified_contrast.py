"""Rectified contrasts: a cheap prediction on all prompts, put right by knockouts of few families drawn at random."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.checks import checked_choice, checked_count, checked_level, checked_seed
from mrinterp.core.errors import InputError
from mrinterp.core.plan import FEWEST_FAMILIES
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._bench_gradient import PREDICTIONS, predicted_contrast
from mrinterp.knockouts._contrast_levels import contrast_levels
from mrinterp.knockouts._feature_numbers import Features, feature_numbers
from mrinterp.knockouts._kinds.contrast import Contrast
from mrinterp.knockouts._kinds.registry import kind_named
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.knockouts._outcome_rope import unread
from mrinterp.results._contrast_levels import NATURAL_SD, ContrastLevels
from mrinterp.results._estimates import Estimates, Undecided
from mrinterp.results._knockout_effects import FIRING, KnockoutEffects
from mrinterp.stats.clustered.least_squares import families_of
from mrinterp.stats.clustered.rectified import Rectified, rectified_mean

__all__ = ["drawn_prompts", "moved_contrasts", "passes", "rectified_contrast", "rectified_estimates"]

Array = NDArray[np.float64]
Rows = NDArray[np.int_]

LABEL = "rectified natural contrast"
KINK = "kink or saturation: the gradient is 0 on every prompt, the knockout is not"


def rectified_contrast(
    bench: Bench,
    kind: str | Contrast = "contrast",
    features: Features | None = None,
    *,
    families: int = 10,
    prompts: int = 4,
    prediction: str | None = "gradient",
    level: float = 0.95,
    seed: int = 0,
) -> Estimates:
    """Effect of every feature's natural contrast, from few knockouts and a gradient on all prompts.

    Parameters
    ----------
    bench : Bench
        P prompts in N families, a view of F features at one site, and outcomes.
    kind : "contrast" or Contrast
        A `Contrast` has quantiles, groups or levels of its own; by name 90% against 10%, learned from the bench's own
        prompts.
    features : names or numbers, optional
        Default all of the view.
    families : int
        Families that are knocked out, drawn at random; all of them where there are no more.
    prompts : int
        Prompts of each that are knocked out, at most so many.
    prediction : {"gradient", "mean gradient"} or None
        What predicts every prompt's contrast: the gradient at the clean prompt; the mean of that and the gradient with all
        features at the values of a donor, a prompt of another family of the bench, at twice the passes (better where the
        clean gradient is saturated, worse where the donor's values add more noise than they take: compare ``rho``); None:
        nothing, the knockouts stand alone.
    level : float
        Confidence level of the intervals.
    seed : int
        Of the draw of families and prompts, and of donors.

    Returns
    -------
    Estimates
        Outcome units per natural sd of the feature: the contrast Y(high) - Y(low) over 2.563. ``details`` has the
        knockouts alone (``alone, alone_se``), the correlation of prediction and knockout over prompts (``rho``), the gain
        in variance over the knockouts alone and the most that this correlation allows (``gain, possible_gain``), and
        ``undecided`` (see `Estimates`). Of a feature that rarely fires, ``per_firing`` is 1, ``share_firing`` the share of
        tokens at which it fires, and ``as_it_is, as_it_is_lower, as_it_is_upper`` what its firing does, Y(as it is) - Y(low)
        over 2.563, with its 95% interval, by the knockouts alone. ``meta["passes"]`` counts the network's passes.

    Raises
    ------
    InputError
        For fewer than 10 families, an unknown feature or prediction, or levels of other features.

    Notes
    -----
    Unbiased whatever the gradient says: beta = mean over all families of lam g + mean over the knocked-out ones of
    C - lam g, g the prediction and C the knockout. The interval is for families like the bench's. One discrete outcome or
    a draw has no gradient: its knockouts stand alone. The contrast is the one between the low and high values stated: that few
    families know these badly is no part of the interval (``benchmarks/results/small_studies.md``).

    Not valid where the bench's families were chosen by what the network does on them.

    Source: Angelopoulos et al. 2023, 10.1126/science.adi6000.

    Examples
    --------
    >>> import mrinterp
    >>> bench = mrinterp.worlds.gated_world(families=40).bench()
    >>> found = mrinterp.knockouts.rectified_contrast(bench)
    >>> bool(found["linear", "output"].ci_lower > 0), found.meta["families"]
    (True, 10)
    """
    made_of = kind_named(kind, {})
    if not isinstance(made_of, Contrast):
        raise InputError("kind", made_of.label, "Give a Contrast, or run it with knock_out")
    numbers = feature_numbers(bench, features)
    checked_level(level), checked_seed(seed)
    if prediction is not None:
        checked_choice(prediction, "prediction", PREDICTIONS)
    if len(numbers) < bench.features or (numbers != np.arange(bench.features)).any():
        bench = bench.viewing(bench.view.select(numbers))
    rows = drawn_prompts(bench.family, families, prompts, seed)
    levels = made_of.levels or contrast_levels(bench, made_of.low, made_of.high, made_of.by)
    contrast = replace(made_of, levels=levels)
    predicted = None if prediction is None else predicted_contrast(bench, contrast, prediction, seed)
    knockout = knock_out(bench.subset(rows), contrast, seed=seed)
    made = rectified_estimates(
        knockout,
        levels,
        None if predicted is None else predicted[rows],
        predicted,
        bench.family,
        level=level,
    )
    silent = unread(bench, np.nan_to_num(knockout.change_by_input))
    if silent:
        made = replace(made, status=np.full(made.status.shape, silent, dtype=object))
    counted = passes(bench, len(rows), 0 if prediction is None else PREDICTIONS[prediction])
    return replace(made, meta=made.meta | {"passes": counted, "seed": seed, "prediction": prediction})


def drawn_prompts(
    family: NDArray[Any], families: int, prompts: int, seed: int, least: int = FEWEST_FAMILIES
) -> Rows:
    """Rows of some prompts of some families, drawn at random; the prompts rotate from family to family.

    Raises
    ------
    InputError
        For fewer than 10 families (``least``).
    """
    wanted = checked_count(families, "families", least=least)
    most = checked_count(prompts, "prompts", unit="per family")
    code, names = families_of(family)
    if len(names) < least:
        fix = f"Give prompts of at least {least} families: they are the sample size"
        raise InputError("families", f"{len(names)} in the bench", fix)
    rng = np.random.default_rng([checked_seed(seed), len(names)])
    chosen = rng.permutation(len(names))[:wanted]
    found = []
    for turn, c in enumerate(chosen):
        own = np.flatnonzero(code == c)
        found.append(own[(turn * most + np.arange(min(most, len(own)))) % len(own)])
    return np.sort(np.concatenate(found))


def moved_contrasts(knockout: KnockoutEffects) -> Array:
    """Contrasts (P, F, O) of every prompt; nan where a feature was not moved."""
    moved = np.asarray(np.isfinite(knockout.effect_by_input).any(axis=2))
    return np.where(moved[..., None], knockout.change_by_input, np.nan).transpose(1, 0, 2)


def rectified_estimates(
    knockout: KnockoutEffects,
    levels: ContrastLevels,
    predicted: Array | None,
    all_predicted: Array | None,
    all_family: NDArray[Any] | None,
    *,
    level: float = 0.95,
    new_families: bool = True,
) -> Estimates:
    """Contrasts of knocked-out prompts and predictions of them and of all prompts, as estimates per natural sd.

    Parameters
    ----------
    knockout : KnockoutEffects
        Of kind ``contrast``, on P_n prompts.
    levels : ContrastLevels
        That it was written with.
    predicted, all_predicted : ndarray (P_n, F, O) and (P_N, F, O), optional
        From `predicted_contrast`; None: the knockouts alone.
    all_family : ndarray (P_N,), optional
    level : float
    new_families : bool
        Whether the interval is for families like these, or for exactly these.
    """
    C = moved_contrasts(knockout)
    family = knockout.inputs["family"].to_numpy()
    made = rectified_mean(
        C,
        predicted,
        family,
        all_predicted,
        all_family,
        largest=_largest(knockout),
        floor=knockout.noise_floor,
        new_families=new_families,
        level=level,
    )
    row = [levels.features.index(f) for f in knockout.features]
    rare = levels.rare[row]
    n, N = len(np.unique(family)), len(np.unique(family if all_family is None else all_family))
    return Estimates(
        method="rectified_contrast",
        label=LABEL if predicted is not None else "natural contrast, knockouts alone",
        exposures=knockout.features,
        outcomes=knockout.outcomes,
        beta=made.beta / NATURAL_SD,
        se=made.se / NATURAL_SD,
        df=made.df,
        ci_lower=made.lower / NATURAL_SD,
        ci_upper=made.upper / NATURAL_SD,
        status=_status(made, rare),
        n_instruments=np.isfinite(C).sum(axis=0),
        level=level,
        details=_details(made, knockout, levels.fires[row]),
        assumes=(
            "families like those that were knocked out, which were drawn at random",
            "low and high values of a feature occur beside everything else held",
        ),
        reference="Angelopoulos et al. 2023, 10.1126/science.adi6000",
        unit="outcome units per natural sd of the feature (contrast / 2.563)",
        meta={
            "counted": "knocked-out prompts",
            "estimand": "contrast",
            "bias": "none: knocked out",
            "families": n,
            "all_families": N,
        },
    )


def _status(made: Rectified, rare: NDArray[np.bool_]) -> NDArray[np.object_]:
    """What to know of every number: too few families first."""
    words = np.where(made.kink & (made.status == "ok"), KINK, made.status).astype(object)
    for f, o in np.argwhere(_few(made)):
        what = "fires in" if rare[f] else "moved in"
        words[f, o] = f"{what} {made.families[f, o]} knocked-out families only: fewer than {FEWEST_FAMILIES}"
    return words


def _few(made: Rectified) -> NDArray[np.bool_]:
    """Effects (F, O) of too few families to carry a claim."""
    return np.asarray((made.families < FEWEST_FAMILIES) & (made.families > 0))


def _details(made: Rectified, knockout: KnockoutEffects, fires: Array) -> dict[str, Array]:
    """Numbers beside the effects; ``fires`` (F,) is the share of tokens of features that rarely fire, else nan."""
    unflipped = np.where(made.unflipped, Undecided.NO_LABEL_FLIPPED, Undecided.DECIDED)
    rare = np.broadcast_to(fires[:, None], made.beta.shape)
    return {
        "alone": made.alone / NATURAL_SD,
        "alone_se": made.alone_se / NATURAL_SD,
        "weight_of_prediction": made.lam,
        "rho": made.rho,
        "gain": made.gain,
        "possible_gain": made.possible_gain,
        "families": made.families.astype(float),
        "undecided": np.where(_few(made), Undecided.FEW_FAMILIES, unflipped).astype(float),
        "per_firing": np.isfinite(rare).astype(float),
        "share_firing": rare,
        **{name: getattr(knockout, name) / NATURAL_SD for name in FIRING},
    }


def _largest(knockout: KnockoutEffects) -> Array:
    """Largest effect of one prompt on each outcome that is a label, (O,); nan for the others."""
    labels = knockout.meta.get("labels", {})
    return np.array([labels.get(name, np.nan) for name in knockout.outcomes])


def passes(bench: Bench, knocked: int, states: int) -> dict[str, int]:
    """Passes of the network by kind: clean and predicted prompts, edited runs, and a backward pass per outcome and state
    at which a gradient is taken."""
    edited = 2 * knocked * bench.features
    outcomes = len(bench.outcome.names) - len(bench.outcome.sampled_names)
    return {
        "forward": bench.prompts * max(states, 1) + knocked + (0 if bench.resumes else edited),
        "resumed": edited if bench.resumes else 0,
        "backward": bench.prompts * outcomes * states,
    }
