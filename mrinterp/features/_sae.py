"""Sparse autoencoders: standard, gated, top-k and jumprelu."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import torch

from mrinterp.core.errors import InputError

__all__ = ["ARCHITECTURES", "Autoencoder", "SparseAutoencoder"]

ARCHITECTURES: dict[str, tuple[str, ...]] = {
    "standard": ("W_enc", "b_enc", "W_dec", "b_dec"),
    "topk": ("W_enc", "b_enc", "W_dec", "b_dec"),
    "jumprelu": ("W_enc", "b_enc", "W_dec", "b_dec", "threshold"),
    "gated": ("W_enc", "b_gate", "b_mag", "r_mag", "W_dec", "b_dec"),
}
"""Architectures and the weights each needs."""

NORMALIZATIONS = ("none", "layer_norm", "constant_norm_rescale")


class Autoencoder(Protocol):
    """Anything with an encoder to latents and a decoder back: what `Latents` takes.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.features import Autoencoder
    >>> class Rectified:
    ...     def encode(self, x):
    ...         return x.relu()
    ...     def decode(self, latents):
    ...         return latents
    >>> sae: Autoencoder = Rectified()
    >>> sae.decode(sae.encode(torch.tensor([3.0, -1.0]))).tolist()
    [3.0, 0.0]
    """

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Latents (..., latents) of activations (..., width)."""
        ...

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """Activations (..., width) of latents."""
        ...


@dataclass(frozen=True, eq=False)
class SparseAutoencoder:
    """A sparse autoencoder with its weights.

    Parameters
    ----------
    architecture : str
        ``standard``, ``topk``, ``jumprelu`` or ``gated``.
    weights : dict of str to tensor
        ``W_enc (width, latents)``, ``W_dec (latents, width)``, biases, and what the architecture adds.
    k : int, optional
        Latents kept per token (top-k).
    apply_b_dec_to_input : bool
        Subtract the decoder's bias before encoding.
    normalize_activations : str
        ``none``, ``layer_norm`` or ``constant_norm_rescale``: applied to each vector on the way in
        and undone on the way out.
    rescale_by_decoder_norm : bool
        Top-k only: latents are compared, and reported, times the length of their decoder row.
    settings : dict
        All other settings in the file that came with the weights.

    Raises
    ------
    InputError
        For an unknown architecture, or weights that are missing or do not fit together.

    References
    ----------
    Gated: Rajamanoharan et al. 2024, arXiv:2404.16014; jumprelu: 2024, arXiv:2407.14435; top-k: Gao
    et al. 2024, arXiv:2406.04093.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.features import SparseAutoencoder
    >>> weights = {"W_enc": torch.eye(2), "b_enc": torch.zeros(2), "W_dec": torch.eye(2), "b_dec": torch.zeros(2)}
    >>> sae = SparseAutoencoder("standard", weights)
    >>> sae.encode(torch.tensor([3.0, -1.0])).tolist()
    [3.0, 0.0]
    """

    architecture: str
    weights: dict[str, torch.Tensor]
    k: int | None = None
    apply_b_dec_to_input: bool = True
    normalize_activations: str = "none"
    rescale_by_decoder_norm: bool = False
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.architecture not in ARCHITECTURES:
            raise InputError(
                "SAE architecture", repr(self.architecture), f"Known: {', '.join(ARCHITECTURES)}"
            )
        if self.normalize_activations not in NORMALIZATIONS:
            raise InputError(
                "SAE normalize_activations",
                repr(self.normalize_activations),
                f"Known: {', '.join(NORMALIZATIONS)}",
            )
        _check_weights(self.architecture, self.weights)
        if self.architecture == "topk" and not (self.k and 1 <= self.k <= self.latents):
            raise InputError(
                "SAE k", f"{self.k!r} of {self.latents} latents", "Give the number of latents kept per token"
            )

    @property
    def width(self) -> int:
        """Width of the activations it reads."""
        return int(self.weights["W_enc"].shape[0])

    @property
    def latents(self) -> int:
        """Number of latents."""
        return int(self.weights["W_enc"].shape[1])

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        """Latents (..., latents) of activations (..., width).

        Raises
        ------
        InputError
            Where the width does not match.
        """
        if x.shape[-1] != self.width:
            raise InputError(
                "SAE",
                f"width {self.width}; the site has {x.shape[-1]}",
                "Choose the site that it was trained on",
            )
        w = {k: v.to(x) for k, v in self.weights.items()}
        scale, offset = self._normalization(x)
        inside = (x - offset) / scale
        if self.apply_b_dec_to_input:
            inside = inside - w["b_dec"]
        if self.architecture == "gated":
            product = inside @ w["W_enc"]
            return (product * w["r_mag"].exp() + w["b_mag"]).relu() * (product + w["b_gate"] > 0)
        before = inside @ w["W_enc"] + w["b_enc"]
        if self.architecture == "jumprelu":
            return before.relu() * (before > w["threshold"])
        if self.architecture == "standard":
            return before.relu()
        if self.rescale_by_decoder_norm:
            before = before * w["W_dec"].norm(dim=-1)
        kept = before.topk(int(self.k or 0), dim=-1)
        return torch.zeros_like(before).scatter(-1, kept.indices, kept.values.relu())

    def decode(self, latents: torch.Tensor, like: torch.Tensor | None = None) -> torch.Tensor:
        """Activations (..., width) of latents.

        Parameters
        ----------
        like : tensor (..., width), optional
            The activation that the latents came from: what normalization took away on the way in is
            put back. Needed only where activations are normalized.
        """
        W, bias = self.weights["W_dec"].to(latents), self.weights["b_dec"].to(latents)
        if self.rescale_by_decoder_norm:
            W = W / W.norm(dim=-1, keepdim=True).clamp(min=1e-8)
        out = latents @ W + bias
        if self.normalize_activations == "none":
            return out
        if like is None:
            raise InputError(
                "SAE decode",
                f"normalizes by {self.normalize_activations}",
                "Pass the activation that was encoded as like=",
            )
        scale, offset = self._normalization(like)
        spread = scale - 1e-5 if self.normalize_activations == "layer_norm" else scale
        return out * spread + offset

    def _normalization(self, x: torch.Tensor) -> tuple[Any, Any]:
        # 1e-5 as in SAELens, so that stored autoencoders give the values they were trained with.
        if self.normalize_activations == "layer_norm":
            return x.std(dim=-1, keepdim=True) + 1e-5, x.mean(dim=-1, keepdim=True)
        if self.normalize_activations == "constant_norm_rescale":
            return x.norm(dim=-1, keepdim=True) / self.width**0.5, 0.0
        return 1.0, 0.0


def _check_weights(architecture: str, weights: dict[str, torch.Tensor]) -> None:
    needed = ARCHITECTURES[architecture]
    missing, extra = set(needed) - set(weights), set(weights) - set(needed)
    if missing or extra:
        raise InputError(
            f"SAE weights ({architecture})",
            f"missing {sorted(missing)}, unknown {sorted(extra)}",
            f"A {architecture} SAE holds {', '.join(needed)}",
        )
    if weights["W_enc"].ndim != 2:
        raise InputError(
            "SAE weights", f"W_enc has {weights['W_enc'].ndim} dimensions", "W_enc is (width, latents)"
        )
    width, latents = weights["W_enc"].shape
    shapes = {"W_enc": (width, latents), "W_dec": (latents, width), "b_dec": (width,)}
    for name, value in weights.items():
        if tuple(value.shape) != shapes.get(name, (latents,)):
            raise InputError(
                f"SAE weight {name}",
                f"shape {tuple(value.shape)}; W_enc is {(width, latents)}",
                f"Expected {shapes.get(name, (latents,))}",
            )
        if not bool(torch.isfinite(value).all()):
            raise InputError(
                f"SAE weight {name}", "values that are not finite", "Give the weights of a trained SAE"
            )
