"""The autoencoder of a study: read from its folder, or trained on the discovery split."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._paired_sites import PairedSites
from mrinterp.core.basis import Basis
from mrinterp.core.design import Design
from mrinterp.core.errors import InputError
from mrinterp.core.plan import Plan
from mrinterp.core.plan_inputs import PERTURBATIONS
from mrinterp.core.run_folder import RunFolder
from mrinterp.features._latents import ReconstructionReport, fit_report, reconstruction_report, row_blocks
from mrinterp.features._sae import SparseAutoencoder
from mrinterp.features._sae_folder import read_sae, read_transcoder, write_sae
from mrinterp.features._sae_settings import check_sae_use
from mrinterp.features._train_sae import loss_recovered, train_topk_sae
from mrinterp.features._transcoder_weights import PairedLatents, Transcoder
from mrinterp.models._cut import CutNetwork
from mrinterp.positions import MEAN_OF_TOKENS, Position
from mrinterp.results._check import NotApplicable
from mrinterp.scan._reader import block_noise
from mrinterp.stats.clustered.least_squares import families_of

__all__ = ["STORED", "open_sae", "sae_facts", "stored_sae"]

Array = NDArray[np.float64]

STORED = ("sae", "transcoder")
"""Kinds of features whose autoencoder or transcoder lies in a folder."""

SAMPLE = 256
"""Sentences on which the reconstruction is judged."""


@dataclass(frozen=True, eq=False)
class StudySAE:
    """An autoencoder as it is saved in a run folder, in the SAELens format."""

    sae: SparseAutoencoder
    metadata: dict[str, Any]

    def save(self, folder: Path) -> None:
        """Write it, whole or not at all."""
        write_sae(self.sae, folder, **self.metadata)

    @classmethod
    def load(cls, folder: Path) -> StudySAE:
        """Read what `save` wrote."""
        sae = read_sae(folder)
        return cls(sae, dict(sae.settings.get("metadata", {})))


def open_sae(
    network: CutNetwork, design: Design, plan: Plan, source: Path, run: RunFolder
) -> SparseAutoencoder | Transcoder | None:
    """The plan's autoencoder or transcoder: from its folder, or trained on discovery and kept in the run folder; None
    where features are not latents.

    Parameters
    ----------
    source : Path
        Folder that the plan's relative paths start from.
    run : RunFolder

    Raises
    ------
    InputError
        For an autoencoder of another width, or another one than the basis in the run folder was made
        with.
    """
    features = plan.features
    sae: SparseAutoencoder | Transcoder
    if features.kind in STORED:
        sae = stored_sae(network, plan, source, network.position)
    elif features.kind == "train_sae":
        sae = run.kept("sae", StudySAE.load, lambda: fit_sae(network, design, plan)).sae
    else:
        return None
    basis = run.path / "basis"
    if basis.exists() and Basis.load(basis).meta["sae"]["digest"] != sae_digest(sae):
        raise InputError(
            "autoencoder", "differs from the one that the basis was made with", "Run with another --out"
        )
    return sae


def stored_sae(
    network: CutNetwork, plan: Plan, source: Path, position: Position | None
) -> SparseAutoencoder | Transcoder:
    """The autoencoder or transcoder of the plan's folder, held against the network, its sites and the tokens that are read.

    Parameters
    ----------
    position : Position, optional
        Where features are read; None where that is not known yet.

    Raises
    ------
    InputError
        For another width, site or layer, and tokens that its training left out.
    """
    folder = source / str(plan.features.folder)
    if plan.features.kind == "sae":
        sae = read_sae(folder, network.width)
        check_sae_use(sae, network.adapter, network.site, network.inputs, position)
        return sae
    found = read_transcoder(folder)
    assert isinstance(network.adapter, PairedSites)
    view = PairedLatents(found, network.adapter, [0])
    check_sae_use(view, network.adapter, network.site, network.inputs, position)
    return found


def fit_sae(network: CutNetwork, design: Design, plan: Plan) -> StudySAE:
    """Train a top-k autoencoder on every token of the discovery split's clean sentences.

    Raises
    ------
    InputError
        For more latents kept than there are, or too few tokens.
    """
    train, block = plan.features.train, int(design.settings["block"])
    if train.k > train.latents:
        raise InputError(
            "features.train.k", f"{train.k} of {train.latents} latents", "Keep at most all of them per token"
        )
    rows = clean_inputs(design)
    starts = range(0, len(rows), block)
    activations = torch.cat([network.token_activations(rows[a : a + block]).float().cpu() for a in starts])
    trained = train_topk_sae(
        activations,
        train.latents,
        train.k,
        steps=train.steps,
        batch=train.batch,
        rate=train.rate,
        seed=plan.seed,
    )
    return StudySAE(
        trained.sae,
        {
            "hook_name": network.site,
            "seed": plan.seed,
            "steps": train.steps,
            "tokens": len(activations),
            "held_out_explained_variance": trained.explained_variance,
        },
    )


def sae_facts(network: CutNetwork, design: Design) -> dict[str, Any]:
    """How well the autoencoder fits the site on clean sentences of the discovery split.

    Returns
    -------
    dict
        Of `ReconstructionReport`, with ``latents``, and ``loss_recovered`` and ``past`` per outcome or the reason
        why they do not apply. ``past``: share of what the perturbations do to the outcome that is gone where the
        reconstruction takes the site's place, and its standard error.
    """
    sae = network.sae
    assert sae is not None
    rows = clean_inputs(design)[:SAMPLE]
    block = int(design.settings["block"])
    if isinstance(sae, Transcoder):
        report = _prediction(sae, network, rows, block)
    else:
        parts = [network.token_activations(rows[a : a + block]).float() for a in range(0, len(rows), block)]
        report = reconstruction_report(sae, torch.cat(parts))
    facts: dict[str, Any] = {"latents": sae.latents, "summary": str(report), **report.to_dict()}
    facts |= {"dead": list(report.dead), "digest": sae_digest(sae)}
    facts["loss_recovered"] = _recovered(network, rows[:block])
    facts["past"] = _past(network, design)
    return facts


def _past(network: CutNetwork, design: Design) -> dict[str, list[float]] | str:
    """Share of the perturbations' effect on each outcome that goes past the dictionary, and its standard error."""
    if not isinstance(network.sae, SparseAutoencoder):
        return "a transcoder's prediction takes no part in the runs: what it misses stays at the site it is written to"
    if network.outcome.generated:
        return "an outcome is generated"
    perturbed = design.runs["kind"].isin(PERTURBATIONS) & (design.runs["split"] == "discovery")
    rows = np.flatnonzero(perturbed.to_numpy())
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, SAMPLE).astype(int))] if len(rows) else rows
    runs, block = design.runs, int(design.settings["block"])
    whole, kept = [], []
    for a in range(0, len(rows), block):
        here = rows[a : a + block]
        inputs, noise = runs["input"].to_numpy()[here], block_noise(design, here)
        before = runs["input"].to_numpy()[runs["clean"].to_numpy()[here]]
        whole.append(
            network.run(inputs, noise=noise, cut=False).outcome - network.run(before, cut=False).outcome
        )
        kept.append(network.reconstructed(inputs, noise) - network.reconstructed(before))
    if not whole:
        return "no perturbed run of the discovery families"
    family = runs["family"].to_numpy()[rows]
    shares = effect_past(np.concatenate(whole), np.concatenate(kept), family)
    return dict(zip(network.outcome.names, shares.tolist(), strict=True))


def effect_past(whole: Array, kept: Array, family: np.ndarray) -> Array:
    """Share of an effect that a substitute loses, and its standard error, by leaving one family out (O, 2).

    Parameters
    ----------
    whole, kept : ndarray (N, O)
        Changes of the outcome as they are, and with the substitute in place.
    family : ndarray (N,)
        Clusters of the errors.

    Notes
    -----
    One minus the slope of ``kept`` on ``whole`` through the origin: negative where the substitute makes the effect larger.
    Not a number where the outcome never changes.
    """
    codes, names = families_of(family)
    cross, square = np.zeros((2, len(names), whole.shape[1]))
    np.add.at(cross, codes, kept * whole)
    np.add.at(square, codes, whole**2)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = 1.0 - cross.sum(axis=0) / square.sum(axis=0)
        without = 1.0 - (cross.sum(axis=0) - cross) / (square.sum(axis=0) - square)
    C = len(names)
    se = np.sqrt(((without - without.mean(axis=0)) ** 2).sum(axis=0) * (C - 1) / C)
    return np.stack([share, se], axis=1)


def _prediction(
    transcoder: Transcoder, network: CutNetwork, rows: np.ndarray, block: int
) -> ReconstructionReport:
    """How well a transcoder predicts what its second site holds."""
    pair, parts = network.adapter, []
    assert isinstance(pair, PairedSites)
    for a in range(0, len(rows), block):
        parts.append(network.token_activations(rows[a : a + block], network.view_site).float())
    h = torch.cat(parts)
    inside, outside = pair.read_part(h), pair.written_part(h)
    blocks = row_blocks(len(h), transcoder.latents)
    with torch.no_grad():
        return fit_report(
            outside, ((transcoder.encode(inside[b]), transcoder.predict(inside[b])) for b in blocks)
        )


class _Predicting:
    """A transcoder as an autoencoder of its pair of sites, for what is lost where its prediction takes the place."""

    def __init__(self, transcoder: Transcoder, network: CutNetwork) -> None:
        self.transcoder, self.pair = transcoder, network.adapter

    def encode(self, h: torch.Tensor) -> torch.Tensor:
        """The prediction itself."""
        assert isinstance(self.pair, PairedSites)
        return self.transcoder.predict(self.pair.read_part(h))

    def decode(self, made: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        """The pair with the prediction at its second site."""
        assert isinstance(self.pair, PairedSites)
        return like + self.pair.padded(made - self.pair.written_part(like))


def sae_digest(sae: SparseAutoencoder | Transcoder) -> str:
    """SHA-256 over an autoencoder's weights."""
    h = hashlib.sha256()
    for name, value in sorted(sae.weights.items()):
        h.update(f"{name}{tuple(value.shape)}".encode())
        h.update(value.detach().cpu().contiguous().float().numpy().tobytes())
    return h.hexdigest()


def clean_inputs(design: Design) -> np.ndarray:
    """Inputs of the discovery split's clean runs, each once."""
    rows = design.rows("discovery", ("clean",))
    return np.unique(design.runs["input"].to_numpy()[rows])


def _recovered(network: CutNetwork, rows: np.ndarray) -> dict[str, float] | str:
    if network.outcome.generated:
        return "an outcome is generated"
    inputs, outcome = network.inputs.take(rows), network.outcome.take(rows)
    assert network.sae is not None
    every = None if inputs.mask is None else MEAN_OF_TOKENS.at(inputs.mask)
    sae: Any = network.sae
    if isinstance(sae, Transcoder):
        sae = _Predicting(sae, network)
    found = loss_recovered(sae, network.adapter, network.view_site, inputs.tensors, outcome, every)
    if isinstance(found, NotApplicable):
        return found.reason
    return dict(zip(outcome.names, found.tolist(), strict=True))
