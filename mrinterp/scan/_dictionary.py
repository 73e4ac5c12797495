"""Dictionaries of features, directions or latents, in units of their spread over noise-free sentences.

A noise-free sentence is an input of the discovery split as it stands, clean or with substituted words, without noise
on its embeddings.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.decomposition import PCA, FastICA

from mrinterp.adapters._like_lengths import blocks_of
from mrinterp.core.basis import Dictionary
from mrinterp.core.design import Design
from mrinterp.core.errors import InputError
from mrinterp.core.plan_model import FeaturesSection
from mrinterp.features._latents import Latents
from mrinterp.features._principal import leading_rows
from mrinterp.features._sae import SparseAutoencoder
from mrinterp.features._transcoder_weights import PairedLatents, Transcoder
from mrinterp.models._cut import CutNetwork
from mrinterp.scan._reader import shards
from mrinterp.scan._shard_stores import MappedShards

__all__ = [
    "describe_by_inputs",
    "describe_features",
    "feature_names",
    "latent_dictionary",
    "leading_dictionary",
    "learn_dictionary",
    "more_components",
    "refuse_dead_latents",
    "scaled_dictionary",
]

Array = NDArray[np.float64]

SAMPLE = 64
"""Sentences over which the read-back matrix is measured."""

UNITS = 1 << 24
"""Values of latents (128 MB) that are written at once to learn what one unit of each adds."""

HELD = 1024
"""Latents whose values in all sentences are held at once."""


def learn_dictionary(means: Array, kind: str, count: int, seed: int, site: str) -> Dictionary:
    """Independent (or principal) components of token means, with their dual write directions.

    Parameters
    ----------
    means : ndarray (N, width)
        Token means of noise-free sentences of the discovery split.
    kind : {"independent_components", "principal_components"}
        Kind of feature.
    count : int
        Number of features F.

    Notes
    -----
    One unit of a feature is its standard deviation over these sentences. The write direction of a
    component is its column of the mixing matrix, so that reading after writing gives the identity.
    Components are ordered by the variance they explain and oriented so that their skewness is
    positive. Source: Hyvarinen 1999, 10.1109/72.761722.
    """
    N, width = means.shape
    spectrum = np.linalg.svd(means - means.mean(axis=0), compute_uv=False)
    # Below a billionth of the largest singular value a dimension is rounding error.
    dimensions = min(int((spectrum > 1e-9 * spectrum[0]).sum()), N - 1, width)
    if count > dimensions:
        raise InputError(
            "features.count",
            f"{count} components from {N} sentences of width {width}, which vary in {dimensions} dimensions",
            more_components(dimensions, N - 1),
        )
    if kind == "independent_components":
        model = FastICA(count, whiten="unit-variance", random_state=seed, max_iter=2000, tol=1e-3)
        model.fit(means)
        read, write = model.components_, model.mixing_.T
    else:
        model = PCA(count, svd_solver="full").fit(means)
        sd = np.sqrt(model.explained_variance_)[:, None]
        read, write = model.components_ / sd, model.components_ * sd
    found = scaled_dictionary(feature_names(site, count), read, write, means, oriented=True)
    order = np.argsort(-np.einsum("fd,fd->f", found.write, found.write), kind="stable")
    assert found.read is not None
    return replace(found, read=found.read[order], write=found.write[order])


def more_components(dimensions: int, by_sentences: int) -> str:
    """What to change where more components are asked for than there are: by the sentences, or by the site."""
    if dimensions < by_sentences:
        return f"Ask for at most {dimensions}"
    return f"Give more discovery sentences (prompts.per_family, splits.discovery), or ask for at most {dimensions}"


def scaled_dictionary(
    names: tuple[str, ...], read: Array, write: Array, means: Array, oriented: bool = False
) -> Dictionary:
    """Directions in units of their standard deviation over noise-free sentences, zero at their mean.

    Parameters
    ----------
    read, write : ndarray (F, width)
        Dual to each other.
    means : ndarray (N, width)
        What is read of the site on noise-free sentences of the discovery split.
    oriented : bool
        Whether signs are free: each feature is then turned so that its skewness is positive.

    Raises
    ------
    InputError
        For a feature that does not vary over these sentences.
    """
    center = means.mean(axis=0)
    scores = (means - center) @ read.T
    sd = scores.std(axis=0)
    flat = np.flatnonzero(~(sd > 1e-9 * max(float(sd.max(initial=0.0)), 1e-30)))
    if len(flat):
        raise InputError(
            f"feature {names[flat[0]]!r}",
            "does not vary over the noise-free sentences of the discovery split",
            "Leave it out",
        )
    sign = np.where((scores**3).mean(axis=0) < 0, -1.0, 1.0) if oriented else np.ones(len(sd))
    turn = sign[:, None]
    return Dictionary(
        names=names,
        read=read / sd[:, None] * turn,
        write=write * sd[:, None] * turn,
        center=center,
        unit="sd",
    )


def leading_dictionary(
    names: tuple[str, ...], wholes: Iterable[Array], means: Array, count: int
) -> Dictionary:
    """Leading principal coordinates of attention heads or a subspace: the directions along which each varies most.

    Parameters
    ----------
    wholes : iterable of ndarray (k, width)
        Orthonormal rows that span each at the site.
    count : int
        Coordinates of each.
    """
    rows = np.concatenate([leading_rows(means @ whole.T, count) @ whole for whole in wholes])
    return scaled_dictionary(names, rows, rows, means, oriented=True)


def feature_names(site: str, count: int) -> tuple[str, ...]:
    """Names of the dictionary's features: the site and a number, largest variance first."""
    return tuple(f"{site}:c{i:02d}" for i in range(count))


def describe_features(values: Array, doses: NDArray, instruments: pd.DataFrame) -> tuple[str, ...]:
    """Per feature, the slot filler that moves it most, with the mean difference in units.

    Parameters
    ----------
    values : ndarray (N, F)
        Feature values of noise-free sentences.
    doses : ndarray (N, J)
        Their slot doses.
    """
    slot = np.flatnonzero((instruments["kind"] == "slot").to_numpy())
    if not len(slot):
        return ("",) * values.shape[1]
    present = np.asarray(doses[:, slot], dtype=float)
    share = present.mean(axis=0)
    usable = (share > 0.01) & (share < 0.99)
    with np.errstate(divide="ignore", invalid="ignore"):
        with_allele = (present.T @ values) / present.sum(axis=0)[:, None]
        without = ((1 - present).T @ values) / (1 - present).sum(axis=0)[:, None]
    difference = np.where(usable[:, None], with_allele - without, 0.0)
    best = np.abs(difference).argmax(axis=0)
    names = instruments["instrument"].to_numpy()[slot]
    return tuple(f"{names[b]} {difference[b, f]:+.1f}" for f, b in enumerate(best))


FEWEST_TOLD = 5
"""Inputs with and without a token at a place, or a label, at least, for it to be told as what moves a feature."""


def describe_by_inputs(values: Array, rows: NDArray[np.int_], design: Design) -> tuple[str, ...]:
    """Per feature, the token at its place, the column of a table, or the label of images that moves it most.

    Parameters
    ----------
    values : ndarray (N, F)
        Feature values of noise-free runs.
    rows : ndarray (N,)
        Their rows of the design.

    Returns
    -------
    tuple of str
        F texts: of a token or label the difference of means with and without it, in units of the feature, the largest in its
        standard errors; of a column the slope per its sd in a regression on all columns. Empty where there is nothing to tell.
    """
    nothing = ("",) * values.shape[1]
    if "values" not in design.arrays:
        return nothing
    inputs = design.inputs.iloc[design.runs["input"].to_numpy()[rows]]
    given = np.asarray(design.arrays["values"])[inputs["array_row"].to_numpy()]
    if design.settings["inputs"] == "table":
        told, names = _column_slopes(values, given, design.instruments)
        size = np.ones_like(told)
    else:
        groups = {"label": inputs["label"].to_numpy(str)} if "label" in inputs else {}
        if design.settings["inputs"] == "tokens":
            own = np.asarray(design.arrays["own"])[inputs["array_row"].to_numpy()]
            shown = np.where(own, given.astype(str), "")
            groups = {f"token{place}": shown[:, place] for place in range(shown.shape[1])}
        told, size, names = _group_differences(values, groups)
    if not len(names):
        return nothing
    best = np.abs(told / size).argmax(axis=0)
    return tuple(f"{names[b]} {told[b, f]:+.1f}" for f, b in enumerate(best))


def _column_slopes(values: Array, given: NDArray, instruments: pd.DataFrame) -> tuple[Array, list[str]]:
    """Slopes (K, F) of the features on all columns that vary, per sd of a column, and the columns' names."""
    moves = np.flatnonzero(given.std(axis=0) > 0)
    of_columns = instruments["unit"].to_numpy() == "sd of the column"
    named = list(dict.fromkeys(instruments["locus"].to_numpy()[of_columns]))
    names = named if len(named) == len(moves) else [f"column {j}" for j in moves]
    scaled = (given[:, moves] - given[:, moves].mean(axis=0)) / given[:, moves].std(axis=0)
    return np.linalg.lstsq(scaled, values - values.mean(axis=0), rcond=None)[0], names


def _group_differences(values: Array, groups: dict[str, NDArray]) -> tuple[Array, Array, list[str]]:
    """Difference (K, F) of feature means with and without each word of each group, its standard error, and what it is."""
    N, F = values.shape
    total, squares = values.sum(axis=0), (values**2).sum(axis=0)
    told, size, names = [np.zeros((0, F))], [np.ones((0, F))], []
    for name, words in groups.items():  # a label, or the places of an input: few
        known, code, count = np.unique(words, return_inverse=True, return_counts=True)
        kept = (known != "") & (count >= FEWEST_TOLD) & (N - count >= FEWEST_TOLD)
        here = csr_array((np.ones(N), (code, np.arange(N))), shape=(len(known), N))[kept]
        n = count[kept][:, None].astype(float)
        with_sum, with_squares = here @ values, here @ values**2
        with_mean, without_mean = with_sum / n, (total - with_sum) / (N - n)
        spread = (with_squares / n - with_mean**2) / n
        spread += ((squares - with_squares) / (N - n) - without_mean**2) / (N - n)
        told.append(with_mean - without_mean)
        size.append(np.sqrt(np.maximum(spread, 1e-12)))
        names += [f"{name}={word}" for word in known[kept]]
    return np.concatenate(told), np.concatenate(size), names


def latent_dictionary(
    network: CutNetwork,
    design: Design,
    section: FeaturesSection,
    folder: Path | None = None,
    score: Array | None = None,
) -> Dictionary:
    """Choose latents by their spread over noise-free sentences of the discovery split, or by a score.

    Parameters
    ----------
    network : CutNetwork
        With its autoencoder.
    folder : Path, optional
        Where finished shards are kept.
    score : ndarray (F,), optional
        Of all latents: the largest are chosen among those that change.

    Raises
    ------
    InputError
        For an autoencoder of another width or a latent that it does not have; a latent that never changes, or fewer
        changing ones than asked for, of a given autoencoder; one trained here of which no latent changes.

    Notes
    -----
    One unit is a latent's standard deviation over these sentences, zero its mean. It is written along
    its decoder row; the read-back matrix is measured by encoding again, since thresholds, top-k and
    overlapping decoder rows make what is then read differ from what was written.
    """
    rows = _noise_free_inputs(design)
    view = network.latents(section.latents)
    parts = _latent_values(network.viewing(view), design, rows, folder)
    sd = np.concatenate([_columns(parts, slice(*at)).std(axis=0) for at in _edges(parts)])
    chosen = _chosen_latents(section, view, sd, score)
    latents = tuple(int(view.index[c]) for c in chosen)
    names = tuple(f"{network.site}:latent{i}" for i in latents)
    write = _decoder_rows(network, latents, rows[:SAMPLE]) * sd[chosen][:, None]
    zero = np.asfortranarray(_columns(parts, chosen)).mean(axis=0)
    center = np.zeros(network.width)
    count = len(latents)
    blank = Dictionary(
        names=names,
        read=None,
        write=write,
        center=center,
        labels=(),
        unit="sd",
        latents=latents,
        zero=zero,
        scale=sd[chosen],
        measured_read_back=np.zeros((count, count)),
    )
    measured = network.each_written(network.dictionary_view(blank), write, rows[:SAMPLE])
    return replace(blank, measured_read_back=measured)


def refuse_dead_latents(network: CutNetwork, design: Design, section: FeaturesSection) -> None:
    """Refuse latents that never change over the noise-free sentences of the discovery split, read until it is known.

    Raises
    ------
    InputError
        As `latent_dictionary` does.
    """
    rows, block = _noise_free_inputs(design), int(design.settings["block"])
    view = network.latents(section.latents)
    moved, first = np.zeros(len(view.index), dtype=bool), None
    wanted = len(moved) if section.latents is not None else section.count
    for a in range(0, len(rows), block):
        values = network.viewing(view).run(rows[a : a + block], cut=False).features
        first = values[:1] if first is None else first
        moved |= (values != first).any(axis=0)
        if moved.sum() >= wanted:
            return
    _chosen_latents(section, view, moved.astype(float))


def _noise_free_inputs(design: Design) -> NDArray[np.int_]:
    """Inputs of the discovery split as they are, without noise; in order of first use."""
    rows = design.rows("discovery")
    runs = design.runs.iloc[rows]
    return np.asarray(runs.loc[runs["kind"] != "noise", "input"].drop_duplicates().to_numpy())


def _latent_values(
    network: CutNetwork, design: Design, rows: NDArray[np.int_], folder: Path | None
) -> list[Array]:
    """Values of the network's view in these inputs, some inputs at a time; memory-mapped where there is a folder."""

    def work(here: NDArray[np.int_]) -> dict[str, NDArray]:
        return {"values": network.run(rows[here], cut=False).features}

    grid = list(blocks_of((np.arange(len(rows)),), int(design.settings["block"])))
    found = shards(grid, work, folder and folder / "latents", "latents", MappedShards())
    return [part["values"] for _, part in found]


def _columns(parts: list[Array], which: slice | NDArray[np.int_]) -> Array:
    """Some columns of all rows."""
    return np.concatenate([part[:, which] for part in parts])


def _edges(parts: list[Array]) -> Iterator[tuple[int, int]]:
    """First and last of the columns that are held at once."""
    count = parts[0].shape[1]
    return ((a, min(a + HELD, count)) for a in range(0, count, HELD))


def _chosen_latents(
    section: FeaturesSection, view: Latents | PairedLatents, sd: Array, score: Array | None = None
) -> NDArray[np.int_]:
    # Latents that never change come last, whatever their score.
    by = sd if score is None else np.where(sd > 0, score, -1.0)
    if section.kind == "train_sae":
        return _live_latents(section, sd, by)
    if section.latents is not None:
        still = np.flatnonzero(~(sd > 0))
        if len(still):
            raise InputError(
                f"features.latents, latent {int(view.index[still[0]])}",
                "never changes over the noise-free sentences of the discovery split (dead there)",
                "Leave it out",
            )
        return np.arange(len(sd))
    alive = int((sd > 0).sum())
    if section.count > alive:
        raise InputError(
            "features.count",
            f"{section.count} latents; {alive} of {len(sd)} change over the discovery split",
            f"Ask for at most {alive}",
        )
    return np.sort(np.argsort(-by, kind="stable")[: section.count])


def _live_latents(section: FeaturesSection, sd: Array, by: Array) -> NDArray[np.int_]:
    """Of an autoencoder trained here: how many of its latents live is known only after training, so that those are taken
    of the asked ones that do; `sae_facts` says how many were asked for."""
    alive = np.flatnonzero(sd > 0)
    if not len(alive):
        raise InputError(
            "features.train",
            f"none of {len(sd)} latents changes over the discovery split",
            "Train longer or with another rate (features.train.steps, features.train.rate), or keep more per token"
            " (features.train.k)",
        )
    if section.latents is not None:
        return alive
    return np.sort(np.argsort(-by, kind="stable")[: min(section.count, len(alive))])


def _decoder_rows(network: CutNetwork, latents: tuple[int, ...], rows: NDArray[np.int_]) -> Array:
    """What one unit of each latent adds to an activation (F, width), on average where the autoencoder
    normalizes activations."""
    sae = network.sae
    if isinstance(sae, Transcoder):
        return np.asarray(sae.weights["W_dec"][list(latents)].cpu().double().numpy())
    assert sae is not None
    like = network.token_activations(rows[:SAMPLE]).double().cpu()
    some = 1 if sae.normalize_activations == "none" else SAMPLE
    like = like[:: -(-len(like) // some)]
    sae = SparseAutoencoder(**{**vars(sae), "weights": {k: v.cpu() for k, v in sae.weights.items()}})
    total, held = np.zeros((len(latents), sae.width)), max(1, UNITS // sae.latents)
    for first in range(0, len(latents), held):
        here = torch.tensor(latents[first : first + held])
        one = torch.zeros(len(here), sae.latents, dtype=torch.float64)
        one[torch.arange(len(here)), here] = 1
        for h in like:
            same = h.expand(len(here), -1)
            moved = sae.decode(one, same) - sae.decode(torch.zeros_like(one), same)
            total[first : first + held] += moved.numpy()
    return total / len(like)
