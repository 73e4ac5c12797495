"""Train a small top-k sparse autoencoder on the activations of a site."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._adapter import Adapter
from mrinterp.core.errors import InputError
from mrinterp.core.shown import counted
from mrinterp.features._latents import reconstruction_report
from mrinterp.features._sae import SparseAutoencoder
from mrinterp.features._sae_folder import write_sae
from mrinterp.outcomes._outcome import Outcome, check_is_outcome, outcome_values
from mrinterp.positions import SelectedTokens
from mrinterp.results._check import NotApplicable

__all__ = ["TrainedSAE", "loss_recovered", "site_activations", "train_topk_sae"]

AUXILIARY_WEIGHT = 1 / 32
"""Weight of the auxiliary loss that keeps unused latents in play: the value of Gao et al. 2024, arXiv:2406.04093."""
HELD_OUT = 10
"""One row in so many is not trained on."""


@dataclass(frozen=True, eq=False)
class TrainedSAE:
    """A trained autoencoder and how well it does; what `train_topk_sae` returns.

    Parameters
    ----------
    sae : SparseAutoencoder
    explained_variance : float
        Share of the variance that it reconstructs on rows that it was not trained on.
    dead_fraction : float
        Share of latents that no row activates.
    losses : ndarray (steps,)
        Mean squared error of every step, in units of the variance.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.features import train_topk_sae
    >>> x = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    >>> print(str(train_topk_sae(x, latents=8, k=2, steps=5))[:36])
    top-2 SAE, 8 latents of width 4: ...
    """

    sae: SparseAutoencoder
    explained_variance: float
    dead_fraction: float
    losses: NDArray[np.float64]

    def __str__(self) -> str:
        return (
            f"top-{self.sae.k} SAE, {self.sae.latents} latents of width {self.sae.width}: "
            f"{self.explained_variance:.1%} of held-out variance explained, "
            f"{self.dead_fraction:.1%} of latents dead"
        )


def site_activations(
    adapter: Adapter, site: str, batches: Iterable[tuple[Mapping[str, torch.Tensor], SelectedTokens | None]]
) -> torch.Tensor:
    """Activations (rows, width) of a site in float32: the selected tokens of every batch.

    Parameters
    ----------
    adapter : Adapter
    site : str
    batches : iterable of (inputs, positions)
        Keyword tensors of the network, and the `SelectedTokens` to take; None for a site without a token axis.

    Returns
    -------
    tensor (rows, width)
        On the CPU, one row per selected token.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.adapters import TorchAdapter
    >>> from mrinterp.features import site_activations
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU()).eval()
    >>> site_activations(TorchAdapter(net), "0", [({"input": torch.ones(5, 2)}, None)]).shape
    torch.Size([5, 3])
    """
    rows = []
    with torch.inference_mode():
        for inputs, positions in batches:
            h = adapter.run(inputs, read=[site]).activations[site]
            rows.append((h if positions is None else h[positions.selected]).float().cpu())
    if not rows:
        raise InputError("batches", "none given", "Give at least one batch of inputs")
    return torch.cat(rows)


def train_topk_sae(
    activations: torch.Tensor,
    latents: int,
    k: int,
    *,
    steps: int = 1000,
    batch: int = 256,
    rate: float = 2e-3,
    seed: int = 0,
    folder: Path | None = None,
    site: str = "",
) -> TrainedSAE:
    """Train a top-k SAE by Adam; the same arguments give the same bytes on one machine and build.

    Parameters
    ----------
    activations : tensor (rows, width)
        One row per token (`site_activations`). Every tenth is held out, for the explained variance.
    latents, k : int
        Number of latents, and how many are kept per token.
    steps, batch, rate : int, int, float
        Optimizer steps, rows per step and step size at the start (it falls to zero linearly).
    seed : int
        Of the initial weights and of the rows of every step.
    folder : path, optional
        Where the SAE is saved, in the SAELens format.
    site : str, optional
        Name of the site, saved as ``hook_name``.

    Returns
    -------
    TrainedSAE

    Raises
    ------
    InputError
        For fewer than 20 rows, values that are not finite, or rows that are all alike.

    Notes
    -----
    Decoder rows have length one. Latents that were zero on every row for a tenth of the steps are trained to
    reconstruct what the others do not, with weight 1/32.

    References
    ----------
    Gao et al. 2024, arXiv:2406.04093.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.features import train_topk_sae
    >>> generator = torch.Generator().manual_seed(0)
    >>> x = torch.randint(0, 2, (400, 4), generator=generator).float() @ torch.randn(4, 6, generator=generator)
    >>> trained = train_topk_sae(x, latents=8, k=4, steps=200)
    >>> trained.sae.latents, trained.explained_variance > 0.8
    (8, True)
    """
    x, held_out, scale = _prepare(activations, latents, k)
    generator = torch.Generator().manual_seed(seed)
    weights = _initial(x, latents, generator)
    optimizer = torch.optim.Adam(list(weights.values()), lr=rate)
    steps_unused = torch.zeros(latents, dtype=torch.long)
    losses = np.zeros(steps)
    for step in counted(range(steps), "train SAE", "step"):
        rows = torch.randint(len(x), (min(batch, len(x)),), generator=generator)
        loss, auxiliary, active = _loss(weights, x[rows], k, steps_unused > max(steps // 10, 1))
        optimizer.zero_grad()
        (loss + AUXILIARY_WEIGHT * auxiliary).backward()
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - step / steps)
        optimizer.step()
        with torch.no_grad():
            weights["W_dec"] /= weights["W_dec"].norm(dim=1, keepdim=True).clamp(min=1e-8)
            steps_unused = torch.where(active, 0, steps_unused + 1)
        losses[step] = float(loss.detach())
    final = {name: value.detach().clone() for name, value in weights.items()}
    for name in ("b_dec", "b_enc"):
        final[name] *= scale
    sae = SparseAutoencoder("topk", final, k, apply_b_dec_to_input=True)
    if folder is not None:
        write_sae(sae, folder, hook_name=site, seed=seed, steps=steps)
    whole = torch.cat([x, held_out]) * scale
    return TrainedSAE(
        sae,
        reconstruction_report(sae, held_out * scale).explained_variance,
        reconstruction_report(sae, whole).dead_fraction,
        losses,
    )


def loss_recovered(
    sae: SparseAutoencoder,
    adapter: Adapter,
    site: str,
    inputs: Mapping[str, torch.Tensor],
    outcome: Outcome,
    positions: SelectedTokens | None = None,
) -> NDArray[np.float64] | NotApplicable:
    """How much of each outcome's mean is kept when the site's activation is replaced by its reconstruction.

    One where the reconstruction gives the clean mean, zero where it does no better than zeros at the site.

    Parameters
    ----------
    sae : SparseAutoencoder
    adapter : Adapter
    site : str
    inputs : mapping of str to tensor (runs, ...)
        Keyword arguments of the network.
    outcome : Outcome
        Of these runs.
    positions : SelectedTokens, optional
        Tokens that are replaced; None for a site without a token axis.

    Returns
    -------
    ndarray (O,) or NotApplicable
        Does not apply where zeros at the site leave a mean as it is.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.adapters import TorchAdapter
    >>> from mrinterp.features import SparseAutoencoder, loss_recovered
    >>> from mrinterp.outcomes import Logit
    >>> net = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.Linear(2, 2)).eval()
    >>> weights = {"W_enc": torch.eye(2), "b_enc": torch.zeros(2), "W_dec": torch.eye(2), "b_dec": torch.zeros(2)}
    >>> sae = SparseAutoencoder("standard", weights)  # exact on activations that are not negative
    >>> loss_recovered(sae, TorchAdapter(net), "0", {"input": torch.ones(5, 2)}, Logit(1))
    array([1.])
    """

    check_is_outcome(outcome)

    def replaced(h: torch.Tensor, by: torch.Tensor) -> torch.Tensor:
        by = by.to(h.dtype)
        return by if positions is None else torch.where(positions.selected.unsqueeze(-1), by, h)

    def reconstruction(h: torch.Tensor) -> torch.Tensor:
        return replaced(h, sae.decode(sae.encode(h.float()), h.float()))

    mask = (
        torch.ones(len(next(iter(inputs.values()))), 1)
        if positions is None
        else inputs.get("attention_mask", positions.selected)
    )
    means: list[Any] = []
    with torch.inference_mode():
        for edit in (None, reconstruction, lambda h: replaced(h, torch.zeros_like(h))):
            output = adapter.run(inputs, write={site: edit} if edit else None).output
            means.append(outcome_values(outcome, output, mask).mean(0))
    clean, kept, zeros = means
    if np.any(np.abs(zeros - clean) <= 1e-9 * (1 + np.abs(clean))):
        return NotApplicable(f"zeros at {site!r} leave the mean outcome as it is", "loss recovered")
    return np.asarray(1 - (kept - clean) / (zeros - clean))


def _prepare(activations: torch.Tensor, latents: int, k: int) -> tuple[torch.Tensor, torch.Tensor, float]:
    if activations.ndim != 2 or len(activations) < 20:
        raise InputError(
            "activations", f"shape {tuple(activations.shape)}", "Give (rows, width), at least 20 rows"
        )
    if not bool(torch.isfinite(activations).all()):
        raise InputError("activations", "values that are not finite", "Leave those rows out")
    if not 1 <= k <= latents:
        raise InputError("k", f"{k} of {latents} latents", "Keep between 1 and all latents per token")
    x = activations.detach().float().cpu()
    scale = float((x - x.mean(0)).square().sum(1).mean().sqrt())
    if scale < 1e-12:
        raise InputError("activations", "all rows alike", "Give the activations of different inputs")
    x = x / scale
    held = torch.arange(len(x)) % HELD_OUT == 0
    return x[~held], x[held], scale


def _initial(x: torch.Tensor, latents: int, generator: torch.Generator) -> dict[str, torch.Tensor]:
    decoder = torch.randn(latents, x.shape[1], generator=generator)
    decoder /= decoder.norm(dim=1, keepdim=True)
    made = {"W_enc": decoder.T.clone(), "b_enc": torch.zeros(latents), "W_dec": decoder, "b_dec": x.mean(0)}
    return {name: value.requires_grad_(True) for name, value in made.items()}


def _loss(
    w: dict[str, torch.Tensor], x: torch.Tensor, k: int, dead: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    before = (x - w["b_dec"]) @ w["W_enc"] + w["b_enc"]
    latents = _keep(before, k)
    error = x - latents @ w["W_dec"] - w["b_dec"]
    auxiliary = torch.zeros(())
    count = int(dead.sum())
    if count:
        revived = _keep(before.masked_fill(~dead, -torch.inf), min(count, max(k, x.shape[1] // 2)))
        auxiliary = (error.detach() - revived @ w["W_dec"]).square().sum(1).mean()
    return error.square().sum(1).mean(), auxiliary, (latents.detach() > 0).any(0)


def _keep(before: torch.Tensor, k: int) -> torch.Tensor:
    kept = before.topk(k, dim=-1)
    return torch.zeros_like(before).scatter(-1, kept.indices, kept.values.relu())
