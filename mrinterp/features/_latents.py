"""SAE latents as features: edited through the decoder, the reconstruction error kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from mrinterp.core.errors import InputError
from mrinterp.features._feature_view import TokenFeatureView
from mrinterp.features._sae import Autoencoder, SparseAutoencoder
from mrinterp.positions import SelectedTokens

__all__ = [
    "Latents",
    "ReconstructionError",
    "ReconstructionReport",
    "fit_report",
    "reconstruction_report",
    "row_blocks",
]

AT_ONCE = 1 << 26
"""Latents of tokens that are held at once by a report: 256 MB in single precision."""


class Latents(TokenFeatureView):
    """Latents of an autoencoder: any object with ``encode`` and ``decode``.

    Parameters
    ----------
    sae : Autoencoder
        Any object with encode and decode.
    width : int
        Width of the site.
    latents : sequence of int, optional
        Which ones; default all.

    Raises
    ------
    InputError
        For an autoencoder of another width, or a latent that it does not have.

    Notes
    -----
    An edited activation is ``x - decode(encode(x)) + decode(edited latents)``: what the autoencoder
    cannot reconstruct stays where it was, and writing what was read changes nothing, bit for bit.
    Encoding the edited activation again gives the written latents only as far as the encoder
    inverts the decoder: thresholds, top-k competition and overlapping directions keep it from doing so.
    `read_back` says by how much; it is to be shown with every edit.
    A value below zero, which a shift of the mean over tokens can ask for, is decoded as it is.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.features import Latents
    >>> class Rectified:
    ...     def encode(self, x):
    ...         return x.relu()
    ...     def decode(self, latents):
    ...         return latents
    >>> view, h = Latents(Rectified(), width=2), torch.tensor([[3.0, -1.0]])
    >>> view.read(h).tolist(), view.write(h, torch.tensor([[5.0, 0.0]])).tolist()
    ([[3.0, 0.0]], [[5.0, -1.0]])
    """

    def __init__(self, sae: Autoencoder, width: int, latents: Sequence[int] | None = None) -> None:
        self.sae, self.width = sae, width
        count = _probe(sae, width)
        chosen = list(range(count)) if latents is None else [int(i) for i in latents]
        for i in chosen:
            if not 0 <= i < count:
                raise InputError(
                    f"latent {i}", f"the SAE has {count} latents", f"Latents run from 0 to {count - 1}"
                )
        if not chosen or len(set(chosen)) < len(chosen):
            raise InputError(
                "latents",
                f"{len(chosen)} given, {len(set(chosen))} distinct",
                "Give distinct latents, at least one",
            )
        self.index = torch.tensor(chosen)
        self.names = tuple(f"latent{i}" for i in chosen)

    def values(self, h: torch.Tensor) -> torch.Tensor:
        """The chosen latents (..., F)."""
        _check_width(h, self.width)
        return self.sae.encode(h).index_select(-1, self.index.to(h.device))

    def moved(self, h: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        """The vectors with the latents changed, reconstruction error kept."""
        present = self.sae.encode(h)
        edited = present.index_add(-1, self.index.to(h.device), change.to(present.dtype))
        return h + (_decode(self.sae, edited, h) - _decode(self.sae, present, h))

    def keep(self, features: torch.Tensor) -> None:
        """Reduce the view to some of its latents."""
        self.index = self.index[features]


class ReconstructionError(TokenFeatureView):
    """What an autoencoder does not reconstruct, ``x - decode(encode(x))``: an exposure of its own.

    Latents and error together are the whole site, so the error is part of the bypass of every SAE study.

    Parameters
    ----------
    sae : Autoencoder
        Any object with encode and decode.
    width : int
        Width of the site.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.features import ReconstructionError
    >>> class Rectified:
    ...     def encode(self, x):
    ...         return x.relu()
    ...     def decode(self, latents):
    ...         return latents
    >>> ReconstructionError(Rectified(), width=2).read(torch.tensor([[3.0, -1.0]])).tolist()
    [[0.0, -1.0]]
    """

    def __init__(self, sae: Autoencoder, width: int) -> None:
        _probe(sae, width)
        self.sae, self.width = sae, width
        self.index = torch.arange(width)
        self.names = tuple(f"error{i}" for i in range(width))

    def values(self, h: torch.Tensor) -> torch.Tensor:
        """The error vector (..., width)."""
        _check_width(h, self.width)
        error = h - _decode(self.sae, self.sae.encode(h), h)
        return error if len(self.index) == self.width else error.index_select(-1, self.index.to(h.device))

    def moved(self, h: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        """The vectors with the error changed and the present reconstruction kept."""
        return h.index_add(-1, self.index.to(h.device), change.to(h.dtype))

    def keep(self, features: torch.Tensor) -> None:
        """Reduce the view to some coordinates of the error."""
        self.index = self.index[features]


@dataclass(frozen=True)
class ReconstructionReport:
    """How well an autoencoder fits the activations it is used on.

    Parameters
    ----------
    tokens : int
        Tokens that it was judged on.
    explained_variance : float
        One minus squared error over total variance.
    mean_squared_error : float
        Per coordinate, in squared units of the activation.
    relative_error : float
        Mean over tokens of the error's length over the activation's.
    active : float
        Mean number of latents per token that are not zero.
    dead : tuple of int
        Latents that are zero on every token.
    dead_fraction : float
        Their share of all latents.

    Examples
    --------
    >>> from mrinterp.features import ReconstructionReport
    >>> print(ReconstructionReport(1000, 0.93, 0.01, 0.2, 8.0, (4,), 1 / 64))
    93.0% of the variance explained over 1000 tokens, error 20.0% of the activation's length, 8.0 latents active ...
    """

    tokens: int
    explained_variance: float
    mean_squared_error: float
    relative_error: float
    active: float
    dead: tuple[int, ...]
    dead_fraction: float

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"{self.explained_variance:.1%} of the variance explained over {self.tokens} tokens, "
            f"error {self.relative_error:.1%} of the activation's length, "
            f"{self.active:.1f} latents active per token, {self.dead_fraction:.1%} dead"
        )


def reconstruction_report(
    sae: Autoencoder, activation: torch.Tensor, positions: SelectedTokens | None = None
) -> ReconstructionReport:
    """Reconstruction error and dead latents on the selected tokens of a site's activation.

    Parameters
    ----------
    sae : Autoencoder
    activation : tensor (runs, tokens, width) or (rows, width)
        Activation of the site.
    positions : SelectedTokens, optional
        Which tokens count; default all, padding included.

    Returns
    -------
    ReconstructionReport

    Raises
    ------
    InputError
        For fewer than two tokens, or an autoencoder of another width.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.features import reconstruction_report
    >>> class Rectified:
    ...     def encode(self, x):
    ...         return x.relu()
    ...     def decode(self, latents):
    ...         return latents
    >>> reconstruction_report(Rectified(), torch.tensor([[1.0, -1.0], [3.0, -1.0]])).explained_variance
    0.0
    """
    h = activation if activation.ndim == 2 or positions is None else activation[positions.selected]
    h = h.reshape(-1, h.shape[-1])
    h = h if h.dtype == torch.float64 else h.float()
    if len(h) < 2:
        raise InputError("activation", f"{len(h)} tokens", "Give at least two")
    count = _probe(sae, h.shape[-1])

    def fitted() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for rows in row_blocks(len(h), count):
            latents = sae.encode(h[rows])
            yield latents, _decode(sae, latents, h[rows])

    with torch.no_grad():
        return fit_report(h, fitted())


def row_blocks(rows: int, latents: int) -> Iterator[slice]:
    """Rows whose latents are held at once."""
    size = max(AT_ONCE // max(latents, 1), 1)
    return (slice(a, a + size) for a in range(0, rows, size))


def fit_report(h: torch.Tensor, fitted: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> ReconstructionReport:
    """How near to ``h`` (rows, width) what was made of it is: latents (rows, latents) and vectors (rows, width) made of them,
    some rows at a time."""
    made: list[torch.Tensor] = []
    active: list[torch.Tensor] = []
    fired = torch.zeros(0, dtype=torch.bool)
    for latents, vectors in fitted:
        on = latents != 0
        fired = on.any(0) if not made else fired | on.any(0)
        active.append(on.sum(-1).double())
        made.append(vectors)
    error = (h - torch.cat(made)).double()
    total = (h.double() - h.double().mean(0)).square().sum()
    length = h.double().norm(dim=-1).clamp(min=1e-30)
    dead = tuple((~fired).nonzero().flatten().tolist())
    return ReconstructionReport(
        len(h),
        float(1 - error.square().sum() / total),
        float(error.square().mean()),
        float((error.norm(dim=-1) / length).mean()),
        float(torch.cat(active).mean()),
        dead,
        len(dead) / len(fired),
    )


def _decode(sae: Autoencoder, latents: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return sae.decode(latents, like) if isinstance(sae, SparseAutoencoder) else sae.decode(latents)


def _probe(sae: Autoencoder, width: int) -> int:
    """Number of latents; refuses an object that does not take and return the site's width."""
    for method in ("encode", "decode"):
        if not callable(getattr(sae, method, None)):
            raise InputError(
                "SAE", f"{type(sae).__name__} has no method {method}", "Give an object with encode and decode"
            )
    if isinstance(sae, SparseAutoencoder) and sae.width != width:
        raise InputError(
            "SAE", f"width {sae.width}; the site has {width}", "Choose the site that it was trained on"
        )
    weight = next(sae.parameters(), torch.empty(0)) if isinstance(sae, torch.nn.Module) else torch.empty(0)
    trial = torch.ones(2, width, dtype=weight.dtype, device=weight.device)
    try:
        with torch.no_grad():
            latents = sae.encode(trial)
            back = _decode(sae, latents, trial)
    except RuntimeError as e:
        raise InputError(
            "SAE", f"does not take a site of width {width} ({e})", "Choose the site that it was trained on"
        ) from None
    if latents.ndim != 2 or back.shape != trial.shape:
        raise InputError(
            "SAE", f"turns (2, {width}) into {tuple(back.shape)}", "Choose the site that it was trained on"
        )
    return int(latents.shape[1])


def _check_width(h: torch.Tensor, width: int) -> None:
    if h.shape[-1] != width:
        raise InputError(
            "SAE",
            f"made for width {width}; the site has {h.shape[-1]}",
            "Choose the site that it was trained on",
        )
