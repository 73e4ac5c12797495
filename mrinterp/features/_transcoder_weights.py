"""Transcoders with their weights, and the view of their latents at a pair of sites."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from mrinterp.adapters._adapter import Adapter
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._paired_sites import PairedSites
from mrinterp.core.errors import InputError
from mrinterp.features._feature_view import FeatureView, TokenFeatureView
from mrinterp.features._sae import Autoencoder
from mrinterp.features._transcoder import TranscoderView

__all__ = ["TRANSCODERS", "PairedLatents", "Transcoder", "at_pair"]

_PLAIN = ("W_enc", "b_enc", "W_dec", "b_dec")
TRANSCODERS: dict[str, tuple[str, ...]] = {
    "transcoder": _PLAIN,
    "jumprelu_transcoder": (*_PLAIN, "threshold"),
    "skip_transcoder": (*_PLAIN, "W_skip"),
    "jumprelu_skip_transcoder": (*_PLAIN, "threshold", "W_skip"),
}
"""Architectures, by their names in SAELens, and the weights that each has."""


@dataclass(frozen=True, eq=False)
class Transcoder:
    """A transcoder with its weights: it predicts what a sublayer writes from what the sublayer reads.

    Parameters
    ----------
    architecture : str
        ``transcoder`` (ReLU, or top-k with ``k``), ``jumprelu_transcoder``, ``skip_transcoder`` or
        ``jumprelu_skip_transcoder``.
    weights : dict of str to tensor
        ``W_enc (width in, latents)``, ``b_enc (latents,)``, ``W_dec (latents, width out)``, ``b_dec (width out,)``; with
        jumprelu ``threshold (latents,)``, with a skip ``W_skip (width out, width in)``.
    k : int, optional
        Latents kept per token, for a top-k transcoder.
    settings : dict
        All other settings in the file that came with the weights.

    Raises
    ------
    InputError
        For an unknown architecture, or weights that are missing, not finite, or do not fit together.

    References
    ----------
    Dunefsky, Chlenski & Nanda 2024, arXiv:2406.11944; with a skip: Paulo, Shabalin & Belrose 2025, arXiv:2501.18823.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.features import Transcoder
    >>> weights = {"W_enc": torch.eye(2), "b_enc": torch.zeros(2), "W_dec": torch.ones(2, 3), "b_dec": torch.zeros(3)}
    >>> Transcoder("transcoder", weights).predict(torch.tensor([2.0, -1.0])).tolist()
    [2.0, 2.0, 2.0]
    """

    architecture: str
    weights: dict[str, torch.Tensor]
    k: int | None = None
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.architecture not in TRANSCODERS:
            known = ", ".join(TRANSCODERS)
            raise InputError("transcoder architecture", repr(self.architecture), f"Known: {known}")
        needed = TRANSCODERS[self.architecture]
        missing, extra = sorted(set(needed) - set(self.weights)), sorted(set(self.weights) - set(needed))
        if missing or extra:
            found = f"missing {missing}, unknown {extra}"
            fix = f"A {self.architecture} holds {', '.join(needed)}"
            raise InputError("transcoder weights", found, fix)
        width, latents, out = self.width, self.latents, self.width_out
        shapes = {"W_enc": (width, latents), "W_dec": (latents, out), "b_dec": (out,), "W_skip": (out, width)}
        for name, value in self.weights.items():
            if tuple(value.shape) != shapes.get(name, (latents,)):
                found = f"shape {tuple(value.shape)}; W_enc is {(width, latents)}, W_dec {(latents, out)}"
                raise InputError(
                    f"transcoder weight {name}", found, f"Expected {shapes.get(name, (latents,))}"
                )
            if not bool(torch.isfinite(value).all()):
                raise InputError(
                    f"transcoder weight {name}", "values that are not finite", "Give trained weights"
                )
        if self.k is not None and not 1 <= self.k <= latents:
            raise InputError("transcoder k", f"{self.k} of {latents} latents", "Give 1 to all of them")

    @property
    def width(self) -> int:
        """Width of the activations that it reads."""
        return int(self.weights["W_enc"].shape[0])

    @property
    def width_out(self) -> int:
        """Width of the activations that it writes."""
        return int(self.weights["W_dec"].shape[-1])

    @property
    def latents(self) -> int:
        """Number of latents."""
        return int(self.weights["W_enc"].shape[-1])

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Latents (..., latents) of activations (..., width in).

        Raises
        ------
        InputError
            Where the width does not match.
        """
        if x.shape[-1] != self.width:
            found = f"reads width {self.width}; the site has {x.shape[-1]}"
            raise InputError("transcoder", found, "Choose the site that it was trained to read")
        w = {name: value.to(x) for name, value in self.weights.items()}
        before = x @ w["W_enc"] + w["b_enc"]
        if "threshold" in w:
            before = torch.where(before > w["threshold"], before, 0)
        if self.k is None:
            return before.relu()
        kept = before.topk(self.k, dim=-1)
        return torch.zeros_like(before).scatter(-1, kept.indices, kept.values.relu())

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """What latents write (..., width out); a skip, which the latents have no part in, is not in it."""
        return latents @ self.weights["W_dec"].to(latents) + self.weights["b_dec"].to(latents)

    def predict(self, x: torch.Tensor) -> torch.Tensor:
        """The whole prediction (..., width out) for activations (..., width in): latents, and the skip where it has one."""
        made = self.decode(self.encode(x))
        return made if "W_skip" not in self.weights else made + x @ self.weights["W_skip"].to(x).T


class PairedLatents(TokenFeatureView):
    """Latents of a transcoder as features of a `PairedSites`: read at one site, their change written at the other.

    A value is what the transcoder encodes of ``reads``, and what has been added to ``writes`` since along the decoder rows of
    these latents: so that a write is read back from what the other site then holds. Where rows depend on each
    other, what is read back of several latents together is one of the ways to add them up.

    Parameters
    ----------
    transcoder : Autoencoder
        Any object with encode and decode.
    pair : PairedSites
    latents : sequence of int, optional
        Which ones; default all.

    Raises
    ------
    InputError
        For a transcoder of other widths, or a latent that it does not have.
    """

    def __init__(
        self, transcoder: Autoencoder, pair: PairedSites, latents: Sequence[int] | None = None
    ) -> None:
        self.transcoder, self.pair = transcoder, pair
        count = _latents_of(transcoder, pair)
        chosen = list(range(count)) if latents is None else [int(i) for i in latents]
        for i in chosen:
            if not 0 <= i < count:
                found, fix = f"the transcoder has {count} latents", f"Latents run from 0 to {count - 1}"
                raise InputError(f"latent {i}", found, fix)
        if not chosen or len(set(chosen)) < len(chosen):
            found = f"{len(chosen)} given, {len(set(chosen))} distinct"
            raise InputError("latents", found, "Give distinct latents, at least one")
        self.index = torch.tensor(chosen)
        self.names = tuple(f"latent{i}" for i in chosen)
        self.rows = _decoder_rows(transcoder, chosen, count)
        self._dual = torch.linalg.pinv(self.rows)

    def values(self, h: torch.Tensor) -> torch.Tensor:
        """The chosen latents (..., F)."""
        read = self.transcoder.encode(self.pair.read_part(h)).index_select(-1, self.index.to(h.device))
        return read + h[..., -self.pair.width_out :] @ self._dual.to(h)

    def moved(self, h: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        """The pair with the latents' change decoded onto ``writes``; what the transcoder does not predict of it stays."""
        return h + self.pair.padded(change.to(h) @ self.rows.to(h))

    def keep(self, features: torch.Tensor) -> None:
        """Reduce the view to some of its latents."""
        self.index, self.rows = self.index[features], self.rows[features]
        self._dual = torch.linalg.pinv(self.rows)


def at_pair(
    adapter: Adapter, site: str, view: FeatureView | TranscoderView, inputs: ModelInputs
) -> tuple[Adapter, str, FeatureView]:
    """Adapter, site and view of a bench: those that were given, or, of a `TranscoderView`, its two sites as one.

    Raises
    ------
    InputError
        For a ``site`` that is not where the transcoder writes.
    """
    if not isinstance(view, TranscoderView):
        return adapter, site, view
    if isinstance(adapter, PairedSites):
        adapter = adapter.inner
    if site not in (view.site_out, f"{view.site_in} -> {view.site_out}"):
        found = f"{site!r}; the transcoder writes at {view.site_out!r}"
        raise InputError("site", found, "Give the site that it writes")
    pair = PairedSites.of(adapter, view.site_in, view.site_out, inputs.take([0]).tensors)
    return pair, pair.site, PairedLatents(view.transcoder, pair, view.latents)


def _latents_of(transcoder: Autoencoder, pair: PairedSites) -> int:
    """Number of latents; refuses an object that does not take the one site's width and return the other's."""
    weight = next(transcoder.parameters(), None) if isinstance(transcoder, torch.nn.Module) else None
    trial = torch.ones(2, pair.width_in) if weight is None else torch.ones(2, pair.width_in).to(weight)
    fix = "Choose the sites that it was trained on"
    try:
        with torch.no_grad():
            latents = transcoder.encode(trial)
            back = transcoder.decode(latents)
    except RuntimeError as e:
        found = f"does not take width {pair.width_in} ({e})"
        raise InputError(f"transcoder at {pair.reads!r}", found, fix) from None
    if latents.ndim != 2 or back.shape != (2, pair.width_out):
        found = f"decodes to width {back.shape[-1]}; the site has {pair.width_out}"
        raise InputError(f"transcoder at {pair.writes!r}", found, fix)
    return int(latents.shape[1])


def _decoder_rows(transcoder: Autoencoder, chosen: Sequence[int], count: int) -> torch.Tensor:
    """What one unit of each latent adds to ``writes`` (F, width out), in float64."""
    if isinstance(transcoder, Transcoder):
        return transcoder.weights["W_dec"][list(chosen)].detach().cpu().double()
    weight = next(transcoder.parameters(), None) if isinstance(transcoder, torch.nn.Module) else None
    one = torch.zeros(len(chosen), count)
    one[torch.arange(len(chosen)), list(chosen)] = 1
    one = one if weight is None else one.to(weight)
    with torch.no_grad():
        rows = transcoder.decode(one).double() - transcoder.decode(torch.zeros_like(one)).double()
        three = transcoder.decode(3 * one).double() - transcoder.decode(torch.zeros_like(one)).double()
    if not torch.allclose(three, 3 * rows, rtol=1e-4, atol=1e-6):
        raise InputError(
            "transcoder", "its decoder is not linear in the latents", "Use TranscoderView.edits by hand"
        )
    return rows.cpu()
