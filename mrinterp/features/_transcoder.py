"""Transcoder pairs: latents read at one site, their change written at another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mrinterp.adapters._adapter import Edit
from mrinterp.core.errors import InputError
from mrinterp.features._sae import Autoencoder
from mrinterp.positions import SelectedTokens

__all__ = ["TranscoderView"]


@dataclass(frozen=True, eq=False)
class TranscoderView:
    """Latents of a transcoder: encoded from ``site_in``, decoded onto ``site_out``.

    A transcoder predicts what a sublayer writes (``site_out``, the output of an MLP) from what it
    reads (``site_in``, its input).

    Parameters
    ----------
    transcoder : Autoencoder
        ``encode``: (..., width in) to (..., latents); ``decode``: (..., latents) to (..., width out).
    site_in, site_out : str
        Sites of the adapter; ``site_in`` is not downstream of ``site_out``.
    latents : sequence of int
        Which latents, distinct.

    Notes
    -----
    What is written at ``site_out`` is ``y + decode(edited latents) - decode(latents)``: what the
    transcoder does not predict of y stays where it was, and writing what was read changes nothing,
    bit for bit. The latents are read upstream of the edit, so reading again after it gives the old
    values: a write is checked by what changed at ``site_out``, not by reading back.

    References
    ----------
    Dunefsky, Chlenski & Nanda 2024, arXiv:2406.11944.

    Examples
    --------
    A layer and a perfect transcoder of it; latent 0 is moved from 1 to 2 by an edit of the layer's output:

    >>> import torch
    >>> from mrinterp.adapters import TorchAdapter
    >>> from mrinterp.features import TranscoderView
    >>> class Rectified:
    ...     def encode(self, x):
    ...         return x.relu()
    ...     def decode(self, latents):
    ...         return latents
    >>> adapter = TorchAdapter(torch.nn.Sequential(torch.nn.Identity(), torch.nn.ReLU()).eval())
    >>> view = TranscoderView(Rectified(), "0", "1", (0,))
    >>> adapter.run({"input": torch.tensor([[1.0, -1.0]])}, write=view.edits(torch.tensor([[2.0]]))).output.tolist()
    [[2.0, 0.0]]
    """

    transcoder: Autoencoder
    site_in: str
    site_out: str
    latents: tuple[int, ...]

    def __post_init__(self) -> None:
        if not self.latents or len(set(self.latents)) < len(self.latents) or min(self.latents) < 0:
            raise InputError("latents", f"{list(self.latents)}", "Give distinct latents, at least one")

    @property
    def names(self) -> tuple[str, ...]:
        """One name per latent."""
        return tuple(f"latent{i}" for i in self.latents)

    def select(self, features: Sequence[int]) -> TranscoderView:
        """The same view of some of its latents."""
        chosen = tuple(self.latents[f] for f in features)
        return TranscoderView(self.transcoder, self.site_in, self.site_out, chosen)

    def read(self, activation_in: torch.Tensor, positions: SelectedTokens | None = None) -> torch.Tensor:
        """Values (runs, F): the mean latent over the selected tokens of ``site_in``.

        Raises
        ------
        InputError
            For an activation of another width, or a latent that the transcoder does not have.
        """
        values = self._encode(activation_in)[..., list(self.latents)]
        if positions is None:
            return values
        weights = positions.weights.to(values).unsqueeze(-1)
        return torch.where(positions.selected.unsqueeze(-1), values * weights, 0).sum(1)

    def error(self, activation_in: torch.Tensor, activation_out: torch.Tensor) -> torch.Tensor:
        """What the transcoder does not predict of ``site_out``: an exposure of its own."""
        y = _precise(activation_out)
        return y - self._decode(self._encode(activation_in), y)

    def write(
        self,
        activation_out: torch.Tensor,
        values: torch.Tensor,
        activation_in: torch.Tensor,
        positions: SelectedTokens | None = None,
    ) -> torch.Tensor:
        """``site_out`` with the latents' decoded change added at the selected tokens; the error stays.

        Parameters
        ----------
        values : tensor (runs, F)
            Wanted means; every selected token's latents move by the same amount.
        activation_in : tensor
            What ``site_in`` holds in the same run.
        """
        y, present = _precise(activation_out), self._encode(activation_in)
        change = values.to(present) - self.read(activation_in, positions)
        if positions is not None:
            change = change.unsqueeze(1).expand(*present.shape[:-1], -1)
        index = torch.tensor(self.latents, device=present.device)
        edited = present.index_add(-1, index, change)
        moved = (y + (self._decode(edited, y) - self._decode(present, y))).to(activation_out.dtype)
        return (
            moved
            if positions is None
            else torch.where(positions.selected.unsqueeze(-1), moved, activation_out)
        )

    def edits(self, values: torch.Tensor, positions: SelectedTokens | None = None) -> dict[str, Edit]:
        """Edits, by site, that write ``values`` (runs, F) in one run: ``site_in`` is only read and
        left as it is. Make new edits for every run."""
        seen: dict[str, torch.Tensor] = {}

        def see(h: torch.Tensor) -> torch.Tensor:
            seen["in"] = h
            return h

        def edit(y: torch.Tensor) -> torch.Tensor:
            if "in" not in seen:
                raise InputError(
                    f"site_in {self.site_in!r}",
                    f"is not reached before {self.site_out!r}",
                    "Give the site that the transcoder reads, upstream of what it writes",
                )
            return self.write(y, values, seen.pop("in"), positions)

        return {self.site_in: see, self.site_out: edit}

    def _encode(self, activation_in: torch.Tensor) -> torch.Tensor:
        try:
            latents = self.transcoder.encode(_precise(activation_in))
        except RuntimeError as e:
            raise InputError(
                f"transcoder at {self.site_in!r}",
                f"does not take width {activation_in.shape[-1]} ({e})",
                "Choose the site that it was trained on",
            ) from None
        if max(self.latents) >= latents.shape[-1]:
            raise InputError(
                f"latent {max(self.latents)}",
                f"the transcoder has {latents.shape[-1]} latents",
                f"Latents run from 0 to {latents.shape[-1] - 1}",
            )
        return latents

    def _decode(self, latents: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
        out = self.transcoder.decode(latents)
        if out.shape != like.shape:
            raise InputError(
                f"transcoder at {self.site_out!r}",
                f"decodes to {tuple(out.shape)}; the site has {tuple(like.shape)}",
                "Choose the site that it was trained to write",
            )
        return out


def _precise(h: torch.Tensor) -> torch.Tensor:
    return h if h.dtype == torch.float64 else h.float()
