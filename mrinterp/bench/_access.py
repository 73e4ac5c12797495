"""What a world gives a method: runs, perturbed runs, summaries; scales of its features; its halves."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.attribution._method import token_mean
from mrinterp.core.mrdata import MRData
from mrinterp.core.panel import Panel
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._clean_values import clean_values, spread
from mrinterp.knockouts._outcome_rope import outcome_sd
from mrinterp.results._check import NotApplicable
from mrinterp.results._contrast_levels import NATURAL_SD
from mrinterp.scan._marginal import marginal_scan
from mrinterp.tables._arrays import from_arrays
from mrinterp.worlds._sparse_runs import SparseRuns
from mrinterp.worlds._world import World

__all__ = [
    "halves",
    "natural_sd",
    "perturbed_runs",
    "rope_per_sd",
    "ropes",
    "runs",
    "some_runs",
    "summaries",
    "unit_sd",
]

Array = NDArray[np.float64]

ROPE_SD = 0.02
"""Half width of the region of practical equivalence where a world names none: sd of the outcome, per natural sd."""

MOST_RUNS, MOST_DOSES = 4000, 40
"""Perturbed runs that are made of a network's inputs, at most, and doses: random directions, or tokens put in."""

SHARE_SWAPPED = 0.3
"""Probability that a token is replaced by another one of its class: few enough that a run is still like its prompt."""

BYPASS = 30
"""Components of what of the site is no feature, at most, that estimates adjust for."""


def runs(world: World) -> Panel | NotApplicable:
    """Features and outcomes without any perturbation, one run a prompt (all runs of a table that has no such ones)."""
    if world.panel is not None:
        clean = (world.panel.runs["kind"] == "clean").any()
        return world.panel.clean() if clean else world.panel
    if world.bench is not None:
        return _panel(
            world.bench, world.bench, np.zeros((world.bench.prompts, 1)), np.arange(world.bench.prompts)
        )
    return NotApplicable("the world is a table of summary statistics: there are no runs", "runs")


@lru_cache(maxsize=2)
def perturbed_runs(world: World) -> Panel | NotApplicable:
    """Clean runs and runs whose inputs were changed at random, with their doses.

    A network's inputs are perturbed here where the world has no table of runs: numbers along random directions, by their
    natural sd; tokens by others of their class. What of the site is no feature enters as the bypass: components of its mean
    over tokens, the largest first.
    """
    if world.panel is not None:
        return world.panel
    if world.bench is None:
        return NotApplicable(
            "the world is a table of summary statistics: there are no runs", "perturbed runs"
        )
    bench = world.bench
    rng = np.random.default_rng([world.seed, 31])
    repeats = int(np.clip(MOST_RUNS // bench.prompts - 1, 2, 8))
    rows = np.concatenate([np.arange(bench.prompts), np.repeat(np.arange(bench.prompts), repeats)])
    moved = np.arange(len(rows)) >= bench.prompts
    found = _perturbed(bench.inputs, rows, moved, rng)
    if isinstance(found, NotApplicable):
        return found
    inputs, doses = found
    other = Bench(
        bench.adapter,
        bench.site,
        bench.view,
        inputs,
        bench.outcome_of(rows),
        position=bench.position,
        family=bench.family[rows],
        block=bench.block,
        first=bench.first,
    )
    return _panel(bench, other, doses, rows, clean=~moved, bypass=_bypass(other, rows, bench.prompts))


def summaries(world: World) -> MRData | NotApplicable:
    """Effects of instruments on features and outcomes, as the world gives them, or of its perturbed runs."""
    if world.mr_data is not None:
        return world.mr_data
    panel = perturbed_runs(world)
    return panel if isinstance(panel, NotApplicable) else marginal_scan(panel).to_mrdata()


def natural_sd(world: World) -> Array:
    """Natural standard deviation (F,) of the features, in their units; 1 where only summaries are known."""
    if world.bench is not None:
        return spread(clean_values(world.bench, np.arange(world.bench.features)))
    if world.panel is not None:
        found = runs(world)
        assert isinstance(found, Panel)
        return np.asarray(np.asarray(found.features, dtype=float).std(axis=0))
    return np.ones(len(world.truth.features))


def unit_sd(world: World) -> Array:
    """Features' units (F,) of the truth's slopes and shifts: a natural sd in a network, one unit of a table."""
    return natural_sd(world) if world.bench is not None else np.ones(len(world.truth.features))


def rope_per_sd(world: World) -> Array:
    """Half width (O,) of the region of practical equivalence, per natural sd of a feature: as the world names it."""
    given = world.truth.rope
    default = np.full(len(given), ROPE_SD)
    if world.bench is not None:
        default = ROPE_SD * outcome_sd(world.bench)
    elif world.panel is not None:
        found = runs(world)
        assert isinstance(found, Panel)
        default = ROPE_SD * np.asarray(found.outcomes, dtype=float).std(axis=0)
    return np.where(given > 0, given, default)


def ropes(world: World, estimand: str) -> Array:
    """The same (F, O), in the units of the truth's table of an estimand: a contrast is 2.563 natural sd."""
    wide, shape = rope_per_sd(world)[None, :], world.truth.causal.shape
    if estimand == "contrast":
        return np.broadcast_to(wide * NATURAL_SD, shape)
    if estimand in ("shift", "slope"):
        unit = unit_sd(world)
        sd = np.divide(
            natural_sd(world), unit, out=np.ones_like(unit), where=unit > 0
        )  # a feature that never varies
        wide = wide / np.where(sd > 0, sd, 1.0)[:, None]
    return np.broadcast_to(wide, shape)


def halves(world: World, seed: int) -> tuple[World, World] | NotApplicable:
    """The world on one random half of its families and on the other: the same question to other prompts."""
    if world.bench is None and world.panel is None and world.sparse is None:
        return NotApplicable("summary statistics hold no families that could be left out", "a second run")
    names = np.unique(_families(world))
    if len(names) < 20:
        return NotApplicable(f"{len(names)} families: fewer than ten in each half", "a second run")
    first = np.random.default_rng([seed, 32]).permutation(names)[: len(names) // 2]

    def of(inside: bool) -> World:
        panel = (
            None
            if world.panel is None
            else some_runs(world.panel, np.isin(world.panel.runs["family"].to_numpy(), first) == inside)
        )
        bench = world.bench
        if bench is not None:
            bench = bench.subset(np.flatnonzero(np.isin(bench.family, first) == inside))
        sparse = None if world.sparse is None else _some_sparse(world.sparse, first, inside)
        return replace(world, panel=panel, bench=bench, mr_data=None, sparse=sparse)

    return of(True), of(False)


def _families(world: World) -> NDArray[Any]:
    """The family of every run or prompt: of the runs where there are stored ones."""
    if world.sparse is not None:
        return world.sparse.family
    if world.bench is not None:
        return np.asarray(world.bench.family)
    assert world.panel is not None
    return np.asarray(world.panel.runs["family"])


def _some_sparse(runs: SparseRuns, families: NDArray[Any], inside: bool) -> SparseRuns:
    """The runs of these families, or all others."""
    rows = np.flatnonzero(np.isin(runs.family, families) == inside)
    names = ("activations", "doses", "outcomes", "prompt", "family", "clean")
    return replace(runs, **{name: getattr(runs, name)[rows] for name in names})


def some_runs(panel: Panel, kept: NDArray[np.bool_]) -> Panel:
    """The runs of a panel that are ``kept`` (N,)."""
    rows = np.flatnonzero(kept)
    arrays = {n: getattr(panel, n)[rows] for n in ("doses", "features", "bypass", "outcomes")}
    return replace(panel, runs=panel.runs.iloc[rows].reset_index(drop=True), **arrays)


def _panel(
    bench: Bench,
    read: Bench,
    doses: Array,
    rows: NDArray[np.int_],
    clean: NDArray[np.bool_] | None = None,
    bypass: Array | None = None,
) -> Panel:
    """What was read of runs made from the prompts ``rows`` of a bench."""
    return from_arrays(
        doses=doses,
        features=token_mean(read, read.values),
        outcomes=read.clean,
        prompt=rows,
        family=bench.family[rows],
        bypass=bypass,
        clean=np.ones(len(rows), dtype=bool) if clean is None else clean,
        feature_names=list(bench.view.names),
        outcome_names=list(bench.outcome.names),
    )


def _perturbed(
    inputs: ModelInputs, rows: NDArray[np.int_], moved: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[ModelInputs, Array] | NotApplicable:
    """Inputs of all runs, those that are ``moved`` changed at random, and the doses (N, J)."""
    taken = inputs.take(rows)
    numbers = [n for n, t in taken.tensors.items() if t.is_floating_point()]
    words = [
        n
        for n, t in taken.tensors.items()
        if not t.is_floating_point() and n != "attention_mask" and t.ndim == 2
    ]
    if numbers:
        name = numbers[0]
        changed, doses = _noise(taken.tensors[name], moved, rng)
    elif words and taken.mask is not None:
        name = words[0]
        changed, doses = _swapped(taken, name, moved, rng)
    else:
        return NotApplicable("inputs of this kind cannot be perturbed here", "perturbed runs")
    if not doses.any():
        return NotApplicable("inputs never vary, so that nothing can be put in their place", "perturbed runs")
    return replace(taken, tensors={**taken.tensors, name: changed}), doses


def _noise(
    values: torch.Tensor, moved: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[torch.Tensor, Array]:
    """Numbers moved along random directions (each coordinate where there are few), by their natural sd."""
    flat = values.double().cpu().numpy().reshape(len(values), -1)
    sd, D = flat[~moved].std(axis=0), flat.shape[1]
    along = np.eye(D) if D <= MOST_DOSES else rng.standard_normal((MOST_DOSES, D)) / np.sqrt(MOST_DOSES)
    doses = rng.standard_normal((len(flat), len(along))) * moved[:, None]
    return torch.from_numpy((flat + doses @ along * sd).reshape(values.shape)).to(values.dtype), doses


def _swapped(
    inputs: ModelInputs, name: str, moved: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[torch.Tensor, Array]:
    """Tokens replaced by others that their class (or their place) holds; a dose counts one token of one class."""
    ids, own = inputs.tensors[name].numpy().copy(), inputs.mask_or_ones.numpy().astype(bool)
    place = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
    code = place if inputs.classes is None else inputs.classes.numpy()
    swapped = own & moved[:, None] & (rng.random(ids.shape) < SHARE_SWAPPED)
    for k in np.unique(code[own]):
        pool, here = ids[own & ~moved[:, None] & (code == k)], swapped & (code == k)
        ids[here] = rng.choice(pool, int(here.sum()))
    pairs, counts = np.unique(np.stack([code[swapped], ids[swapped]]), axis=1, return_counts=True)
    often = pairs[:, np.argsort(-counts, kind="stable")[:MOST_DOSES]]
    doses = np.stack([(own & (code == k) & (ids == t)).sum(axis=1) for k, t in often.T], axis=1)
    return torch.from_numpy(ids), doses.astype(float)


def _bypass(bench: Bench, rows: NDArray[np.int_], prompts: int) -> Array | None:
    """Leading components (N, R) of how the site changes beside the features; None where the features are all of it."""
    parts = [h.double().cpu().numpy() for _, h in bench.activations([bench.site])[bench.site].parts()]
    h = np.concatenate(parts)
    if h.ndim > 2:
        h = h.reshape(len(h), -1, h.shape[-1])
        mask = bench.inputs.mask
        own = np.ones(h.shape[:2]) if mask is None or mask.shape[1] != h.shape[1] else mask.numpy()
        h = (h * own[..., None]).sum(axis=1) / own.sum(axis=1)[:, None]
    change = (h - h[rows])[prompts:]
    x = token_mean(bench, bench.values)
    moved = (x - x[rows])[prompts:]
    beside = change - moved @ np.linalg.lstsq(moved, change, rcond=None)[0]
    _, size, along = np.linalg.svd(beside, full_matrices=False)
    whole = np.linalg.norm(change)
    kept = along[: min(int((size > 1e-6 * whole).sum()), BYPASS)]
    if not len(kept):
        return None
    slope = np.linalg.lstsq(moved, change, rcond=None)[0]
    return np.asarray((h - x @ slope) @ kept.T)
