"""Everything that is learned on the discovery split, and nothing after it: the Basis."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.core.basis import Basis, Dictionary
from mrinterp.core.checks import places_by_name
from mrinterp.core.design import Design
from mrinterp.core.errors import InputError, near_misses
from mrinterp.core.plan import Plan
from mrinterp.core.shown import listed, progress
from mrinterp.features._dictionary_view import dictionary_view
from mrinterp.models._cut import CutNetwork
from mrinterp.models._plan_features import PlanFeatures
from mrinterp.scan._bypass import choose_rank, mean_bypass, nested_order, position_bypass
from mrinterp.scan._dictionary import (
    describe_by_inputs,
    describe_features,
    feature_names,
    latent_dictionary,
    leading_dictionary,
    learn_dictionary,
    scaled_dictionary,
)
from mrinterp.scan._latent_screen import LatentScreen, screened_latents
from mrinterp.scan._reader import read_runs, sharded
from mrinterp.scan._study_sae import sae_facts

__all__ = ["learn_basis", "linear_dictionary", "named_labels", "study_latents", "unmoved"]

Array = NDArray[np.float64]

ROWS = 256
"""Runs whose changes are worked on at once."""

ROUNDING = 1e-6
"""Share of the largest value that is nothing but rounding: about eight steps of float32."""


def learn_basis(
    network: CutNetwork,
    design: Design,
    plan: Plan,
    given: PlanFeatures | None = None,
    folder: Path | None = None,
    labels: dict[str, str] | None = None,
) -> Basis:
    """Scan the discovery split; fix dictionary, bypass bases, their order and the rank.

    Parameters
    ----------
    network : CutNetwork
        With its autoencoder where features are latents.
    given : PlanFeatures, optional
        Features that the plan defines; without them they are learned, or are latents.
    folder : Path, optional
        Where finished shards are kept.
    labels : dict, optional
        Imported labels by feature name; the others are described by what moves them.

    Raises
    ------
    InputError
        If a kind of perturbation never changes the site (names the kind or the instrument), an
        outcome never changes, or a label names a feature that does not exist.
    """
    if given is None and not plan.features.sparse:
        named_labels(labels, feature_names(plan.model.site, plan.features.count))
    dictionary, screen = study_latents(network, design, plan, folder)
    rows = design.rows("discovery")
    viewed = network.viewing(dictionary)
    read = read_runs(viewed, design, rows, folder=folder and folder / "runs", what="discovery")
    runs = design.runs.iloc[rows].reset_index(drop=True)
    clean = runs["clean"].to_numpy() - rows[0]
    kind = runs["kind"].to_numpy()
    still = np.all([unmoved(read[part], clean) for part in ("mean", "position")], axis=0)
    _refuse_perturbations_not_at_site(design, rows, kind, still)
    noise_free, primary = kind != "noise", kind == plan.estimation.kind
    if not primary.any():
        raise InputError(
            "estimation.kind",
            f"no {plan.estimation.kind!r} runs in the design",
            "Ask for runs of that kind, or change the kind",
        )
    with progress(3, "basis", "step") as bar:
        if dictionary is None:
            dictionary = linear_dictionary(plan, given, read["mean"][noise_free])
            read["features"] = _values(dictionary, read["mean"])
        if plan.features.sparse:  # a table of labels may name every latent of the autoencoder
            taken = places_by_name(dictionary.names)
            labels = {name: label for name, label in (labels or {}).items() if name in taken}
        labels = named_labels(labels, dictionary.names)
        bar.update()
        values, outcome = read["features"], read["outcome"]
        change = {name: changes(read.pop(name), primary, clean) for name in list(read)}
        _refuse_constant_outcomes(network.outcome.names, change["outcome"], outcome, plan.estimation.kind)
        directions = _bypass_directions(dictionary, change, plan.estimation.max_rank, plan.seed)
        bar.update()
        bypass = np.concatenate([change[part] @ found.T for part, found in directions.items()], axis=1)
        order = nested_order(change["features"], bypass, change["outcome"])
        family = runs["family"].to_numpy()[primary]
        ceiling = _ceiling(design, plan, len(dictionary.names))
        rank, path = choose_rank(change["features"], bypass[:, order], change["outcome"], family, ceiling)
        bar.update()
    support, variance = _token_support(network, design, rows[noise_free], folder)
    if network.beside is not None:
        _refuse_downstream(viewed, dictionary, design)
    meta = _meta(network, design, outcome, noise_free, change["features"], ceiling)
    if network.sae is not None:
        meta["sae"] = sae_facts(network, design) | _asked(plan, len(dictionary.names))
    if screen is not None:
        meta["screen"] = screen.facts(np.array(dictionary.latents))
    return Basis(
        dictionary=_labelled(dictionary, values[noise_free], rows[noise_free], design, labels),
        mean_directions=directions.pop("mean"),
        position_directions=directions.pop("position"),
        order=order,
        rank=rank,
        path=path,
        support=support,
        support_variance=variance,
        meta=meta,
        further=directions,
    )


def study_latents(
    network: CutNetwork, design: Design, plan: Plan, folder: Path | None = None
) -> tuple[Dictionary | None, LatentScreen | None]:
    """Latents of the network's autoencoder and the screen that chose them; None where there is none."""
    if network.sae is None:
        return None, None
    screen = None
    if plan.features.choose == "screen":
        every = network.viewing(network.latents(None))
        screen = screened_latents(every, design, plan.estimation.kind, folder)
    score = None if screen is None else screen.score
    return latent_dictionary(network, design, plan.features, folder, score), screen


def _bypass_directions(
    dictionary: Dictionary, change: dict[str, Array], most: int, seed: int
) -> dict[str, Array]:
    """Directions of the bypass by part of the cut: what is left of the site, of its error, of what runs beside."""
    directions = {"mean": mean_bypass(dictionary, change["mean"])}
    directions["position"] = position_bypass(change["position"], 2 * most, seed)
    for part in ("error", "beside", "beside_position"):
        if part in change:
            directions[part] = position_bypass(change[part], most if part == "error" else 2 * most, seed)
    return directions


def _labelled(
    dictionary: Dictionary,
    values: Array,
    rows: NDArray[np.int_],
    design: Design,
    labels: dict[str, str] | None,
) -> Dictionary:
    """The dictionary with its labels: imported ones first, else what moves each feature."""
    found = describe_features(values, design.doses[rows], design.instruments)
    if not any(found):
        found = describe_by_inputs(values, rows, design)
    named = zip(dictionary.names, found, strict=True)
    return replace(dictionary, labels=tuple((labels or {}).get(n, d) for n, d in named))


def _meta(
    network: CutNetwork,
    design: Design,
    outcome: Array,
    noise_free: NDArray[np.bool_],
    feature_change: Array,
    ceiling: int,
) -> dict[str, object]:
    """What later stages read of the discovery split beside the bases."""
    spread = outcome[noise_free].std(axis=0)
    meta: dict[str, object] = {
        "ceiling": ceiling,
        "position_classes": list(network.inputs.class_names),
        # Noise-free runs of an outcome that is measured against them (a divergence) may all be alike.
        "outcome_sd": np.where(spread > 0, spread, outcome.std(axis=0)).tolist(),
        "natural_runs": int(noise_free.sum()),
        "feature_change_sd": float(np.sqrt((feature_change**2).mean())),
    }
    return meta


def _asked(plan: Plan, found: int) -> dict[str, int]:
    """How many latents the plan asks for, where training left fewer that live."""
    chosen = plan.features.latents
    asked = plan.features.count if chosen is None else len(chosen)
    return {"asked": asked, "taken": found} if asked > found else {}


def linear_dictionary(plan: Plan, given: PlanFeatures | None, means: Array) -> Dictionary:
    """The plan's linear features, learned or scaled on what sentences without noise read (N, width)."""
    site, features = plan.model.site, plan.features
    if given is None:
        return learn_dictionary(means, features.kind, features.count, plan.seed, site)
    names = tuple(f"{site}:{name}" for name in given.names)
    if given.leading:
        return leading_dictionary(names, given.wholes.values(), means, given.leading)
    return scaled_dictionary(names, given.read, given.write, means)


def _values(dictionary: Dictionary, means: Array) -> Array:
    """Values of linear features, read from means of the tokens where they are read."""
    return np.asarray(dictionary_view(dictionary).read(torch.from_numpy(means)).numpy())


def named_labels(labels: dict[str, str] | None, names: tuple[str, ...]) -> dict[str, str]:
    """Labels by the features' full names, whether they are given for those or for the short ones that tables print.

    Raises
    ------
    InputError
        For a label of a feature that does not exist, or two labels of one feature.
    """
    place, found = places_by_name(names), {}
    for name, label in (labels or {}).items():
        where = f"features.labels, feature {name!r}"
        if name not in place:
            raise InputError(
                where, "no such feature", near_misses(name, place) or f"Features: {listed(names)}"
            )
        full = names[place[name]]
        if full in found:
            raise InputError(where, f"has a label already, as {full!r}", "Keep one row per feature")
        found[full] = label
    return found


def unmoved(values: Array, clean: NDArray[np.int_]) -> NDArray[np.bool_]:
    """Runs (N,) in which nothing differs from the clean run by more than rounding, which runs of other blocks have."""
    blocks = [slice(a, a + ROWS) for a in range(0, len(values), ROWS)]
    largest = max((np.abs(values[here]).max(initial=0) for here in blocks), default=0.0)
    found = [(np.abs(values[b] - values[clean[b]]) <= ROUNDING * largest).all(axis=1) for b in blocks]
    return np.concatenate([*found, np.zeros(0, bool)])


def changes(values: Array, which: NDArray[np.bool_], clean: NDArray[np.int_]) -> Array:
    """Rows that are asked for (M, ...) less their clean runs': what was read of the site is a study's largest array, and no
    other of that size is made."""
    rows = np.flatnonzero(which)
    out = np.empty((len(rows), *values.shape[1:]), values.dtype)
    for a in range(0, len(rows), ROWS):
        here = rows[a : a + ROWS]
        np.subtract(values[here], values[clean[here]], out=out[a : a + ROWS])
    return out


def _refuse_constant_outcomes(names: tuple[str, ...], change: Array, values: Array, kind: str) -> None:
    moves = (np.abs(change) > ROUNDING * np.abs(values).max(axis=0)).any(axis=0)
    for name, moved in zip(names, moves, strict=True):
        if not moved:
            raise InputError(
                f"outcome {name!r}",
                f"never changes under {kind} (discovery split)",
                _stronger(kind),
            )


def _stronger(kind: str) -> str:
    """What makes a perturbation of this kind change an outcome that it never changed."""
    more = {"noise": "raise instruments.noise.scale", "slot": "give fillers that differ more"}
    return f"{more.get(kind, 'give pairs that differ more').capitalize()}; or check that it depends on the network at all"


def _refuse_downstream(network: CutNetwork, dictionary: Dictionary, design: Design) -> None:
    """A second site that changes when the features are written comes after them: it would be a mediator."""
    rows = design.runs["input"].to_numpy()[design.rows("discovery", ("clean",))[:1]]
    before = network.run(rows).parts["beside"]
    after = network.run(rows, shift=dictionary.write[:1]).parts["beside"]
    if (before != after).any():
        raise InputError(
            f"model.beside {network.beside!r}",
            f"changes when {network.site!r} is written: it is downstream",
            "Give the residual stream that runs in parallel to the site",
        )


def _ceiling(design: Design, plan: Plan, features: int) -> int:
    runs = len(design.rows("estimation", (plan.estimation.kind,)))
    return int(min(plan.estimation.max_rank, runs / plan.estimation.runs_per_column - features))


def _refuse_perturbations_not_at_site(
    design: Design, rows: NDArray[np.int_], kind: NDArray, still: NDArray[np.bool_]
) -> None:
    """A perturbation that leaves the site as it was, up to rounding, is an error of the plan.

    Parameters
    ----------
    rows : ndarray (N,) of int
        Rows of the design.
    kind : ndarray (N,)
        Kind of perturbation of every row (``clean``, or one of `PERTURBATIONS`).
    still : ndarray (N,) of bool
        Runs in which nothing that was read at the site differs from the clean run.

    Raises
    ------
    InputError
        Names the kind of perturbation or the instrument.
    """
    for name in sorted(set(kind) - {"clean"}):
        if still[kind == name].all():
            raise InputError(
                f"instruments.{name}",
                "never changes the site (discovery split)",
                "Check that the site is downstream of the perturbed input",
            )
    slot = design.columns("slot")
    if not len(slot):
        return
    clean = design.runs["clean"].to_numpy()[rows]
    of_kind = np.flatnonzero(kind == "slot")
    change = np.asarray(design.doses[rows[of_kind]][:, slot]) - np.asarray(
        design.doses[clean[of_kind]][:, slot]
    )
    for j, name in enumerate(design.instruments["instrument"].to_numpy()[slot]):
        used = change[:, j] != 0
        alone = used & (np.abs(change).sum(axis=1) == 1)
        if alone.any() and still[of_kind][alone].all():
            raise InputError(
                f"instrument {name!r}",
                "never changes the site (discovery split)",
                "Give a filler that the tokenizer does not treat like another",
            )


def _token_support(
    network: CutNetwork, design: Design, rows: NDArray[np.int_], folder: Path | None
) -> tuple[Array, Array]:
    """Principal axes (width, width) of single-token activations of noise-free sentences, and their variances."""
    inputs = np.unique(design.runs["input"].to_numpy()[rows])
    block = int(design.settings["block"])

    def work(a: int, b: int) -> dict[str, NDArray]:
        flat = network.token_activations(inputs[a:b]).double()
        first, second = flat.sum(0).cpu().numpy(), (flat.T @ flat).cpu().numpy()
        return {"n": np.array([float(len(flat))]), "first": first[None], "second": second[None]}

    # Only a sample of sentences is needed for a covariance of a few hundred dimensions.
    count = min(len(inputs), 16 * block)
    parts = sharded(count, block, work, folder and folder / "support", "support")
    n = parts["n"].sum()
    mean = parts["first"].sum(axis=0) / n
    covariance = parts["second"].sum(axis=0) / n - np.outer(mean, mean)
    values, vectors = np.linalg.eigh(covariance)
    return vectors[:, ::-1].T.copy(), np.maximum(values[::-1], 0.0)
