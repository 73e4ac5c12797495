"""Latents of an autoencoder as a study's features: which ones, their units, how they are written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.core.basis import Dictionary
from mrinterp.core.design import Design
from mrinterp.core.errors import InputError
from mrinterp.core.plan_model import FeaturesSection
from mrinterp.features._dictionary_view import dictionary_view
from mrinterp.features._latents import Latents
from mrinterp.features._sae import SparseAutoencoder
from mrinterp.models._cut import CutNetwork
from mrinterp.scan._reader import sharded

__all__ = ["latent_dictionary"]

Array = NDArray[np.float64]
SAMPLE = 64
"""Sentences over which the read-back matrix is measured."""


def latent_dictionary(
    network: CutNetwork, design: Design, section: FeaturesSection, folder: Path | None = None
) -> Dictionary:
    """Choose latents by their spread over natural sentences of the discovery split.

    Parameters
    ----------
    network : CutNetwork
        With its autoencoder.
    folder : Path, optional
        Where finished shards are kept.

    Raises
    ------
    InputError
        For an autoencoder of another width, a latent that it does not have or that never changes, or
        fewer changing latents than asked for.

    Notes
    -----
    One unit is a latent's standard deviation over these sentences, zero its mean. It is written along
    its decoder row; the read-back matrix is measured by encoding again, since thresholds, top-k and
    overlapping decoder rows stand between what is written and what is then read.
    """
    sae = network.sae
    assert sae is not None
    rows = _natural(design)
    view = Latents(sae, network.width, section.latents)
    values = _values(network.viewing(view), design, rows, folder)
    sd = values.std(axis=0)
    chosen = _chosen(section, view, sd)
    latents = tuple(int(view.index[c]) for c in chosen)
    names = tuple(f"{network.site}:latent{i}" for i in latents)
    write = _decoder_rows(sae, latents, network, rows[:SAMPLE]) * sd[chosen][:, None]
    zero = values[:, chosen].mean(axis=0)
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
    measured = network.each_written(dictionary_view(blank, sae), write, rows[:SAMPLE])
    return Dictionary(
        names=names,
        read=None,
        write=write,
        center=center,
        labels=(),
        unit="sd",
        latents=latents,
        zero=zero,
        scale=sd[chosen],
        measured_read_back=measured,
    )


def _natural(design: Design) -> NDArray[np.int_]:
    """Inputs of the discovery split as they are, without noise; in order of first use."""
    rows = design.rows("discovery")
    runs = design.runs.iloc[rows]
    return np.asarray(runs.loc[runs["kind"] != "noise", "input"].drop_duplicates().to_numpy())


def _values(network: CutNetwork, design: Design, rows: NDArray[np.int_], folder: Path | None) -> Array:
    def work(a: int, b: int) -> dict[str, NDArray]:
        return {"values": network.run(rows[a:b], cut=False).features}

    block = int(design.settings["block"])
    return sharded(len(rows), block, work, folder and folder / "latents", "latents")["values"]


def _chosen(section: FeaturesSection, view: Latents, sd: Array) -> NDArray[np.int_]:
    if section.latents is not None:
        still = np.flatnonzero(~(sd > 0))
        if len(still):
            raise InputError(
                f"features.latents, latent {int(view.index[still[0]])}",
                "never changes over the natural sentences of the discovery split (dead there)",
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
    return np.sort(np.argsort(-sd, kind="stable")[: section.count])


def _decoder_rows(
    sae: SparseAutoencoder, latents: tuple[int, ...], network: CutNetwork, rows: NDArray[np.int_]
) -> Array:
    """What one unit of each latent adds to an activation (F, width), on average where the autoencoder
    normalizes activations."""
    one = torch.zeros(len(latents), sae.latents, dtype=torch.float64)
    one[torch.arange(len(latents)), list(latents)] = 1
    like = network.token_activations(rows[:SAMPLE]).double().cpu()
    some = 1 if sae.normalize_activations == "none" else SAMPLE
    like = like[:: -(-len(like) // some)]
    sae = SparseAutoencoder(**{**vars(sae), "weights": {k: v.cpu() for k, v in sae.weights.items()}})
    total = np.zeros((len(latents), sae.width))
    for h in like:
        same = h.expand(len(latents), -1)
        total += (sae.decode(one, same) - sae.decode(torch.zeros_like(one), same)).numpy()
    return total / len(like)
