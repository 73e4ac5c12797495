"""Where the activations of a site vary: what a write direction is compared with, and random directions in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.core.checks import checked_count, checked_seed
from mrinterp.core.errors import InputError
from mrinterp.features._directions import Directions
from mrinterp.features._feature_view import ChannelMap, FeatureView, TokenFeatureView
from mrinterp.features._transcoder_weights import PairedLatents
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._clean_values import clean_activation

__all__ = [
    "EXPLAINED",
    "MOST_TOKENS",
    "SiteVariation",
    "random_directions",
    "site_variation",
    "write_vectors",
]

Array = NDArray[np.float64]

EXPLAINED = 0.999
"""Share of the tokens' variance whose axes are the support."""

MOST_TOKENS = 2048
"""Tokens looked at, spread evenly over the inputs."""


@dataclass(frozen=True, eq=False)
class SiteVariation:
    """Variation of single tokens' clean activations at a site.

    ``axes`` (r, width) orthonormal and ``variance`` (r,): the leading axes that carry 99.9% of it, largest
    first; ``typical`` the median size of a coordinate that is not zero; ``tokens`` looked at; ``like`` an
    empty tensor of the site's type, on its device.
    """

    axes: Array
    variance: Array
    typical: float
    tokens: int
    like: torch.Tensor

    @property
    def width(self) -> int:
        """Width of the site."""
        return self.axes.shape[1]

    def off_support(self, vectors: Array) -> Array:
        """Share (f,) of each vector's squared length outside the axes; an upper bound with fewer tokens than width."""
        square = (vectors**2).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.maximum(1 - ((vectors @ self.axes.T) ** 2).sum(axis=1) / square, 0.0)


def site_variation(bench: Bench) -> SiteVariation:
    """Look at the clean activations of a bench's site, one forward pass over as many inputs as it takes."""
    mask = bench.inputs.mask
    own = bench.prompts if mask is None else int(mask.sum())
    step = max(1, own // MOST_TOKENS)
    rows = np.arange(0, bench.prompts, step)
    parts = []
    for a in range(0, len(rows), bench.block):
        block = rows[a : a + bench.block]
        inputs, h = bench.inputs.take(block), bench.written_part(clean_activation(bench, block))
        h = h.flatten(2).transpose(1, 2) if h.ndim == 4 else h
        parts.append(
            (h if inputs.mask is None else h[inputs.mask.bool().to(h.device)]).double().cpu().numpy()
        )
    tokens = np.concatenate(parts)
    tokens = tokens.reshape(-1, tokens.shape[-1])[:MOST_TOKENS]
    size = np.abs(tokens[tokens != 0])
    variance, axes = _principal_axes(tokens - tokens.mean(axis=0))
    like = h.new_empty(0) if h.dtype == torch.float64 else h.new_empty(0, dtype=torch.float32)
    return SiteVariation(axes, variance, float(np.median(size)) if size.size else 1.0, len(tokens), like)


def _principal_axes(centered: Array) -> tuple[Array, Array]:
    """Variances, largest first, and axes that carry 99.9% of it, from the smaller of the two Gram matrices."""
    n, width = centered.shape
    wide = n < width
    values, vectors = np.linalg.eigh((centered @ centered.T if wide else centered.T @ centered) / n)
    values, vectors = values[::-1], vectors[:, ::-1]
    share = np.cumsum(values) / max(values.sum(), 1e-300)
    rank = min(int((share < EXPLAINED).sum()) + 1, int((values > 1e-12 * max(values[0], 1e-300)).sum()))
    leading = vectors[:, :rank]
    axes = (centered.T @ leading / np.sqrt(n * values[:rank])) if wide else leading
    return values[:rank], np.ascontiguousarray(axes.T)


def write_vectors(view: FeatureView, variation: SiteVariation) -> Array:
    """What one unit of each feature adds to an activation, (f, width); nan for a view that does not say."""
    inner = view.view if isinstance(view, ChannelMap) else view
    if not isinstance(inner, TokenFeatureView):
        return np.full((len(view.names), variation.width), np.nan)
    held: Any = getattr(inner, "view", inner)
    pair = held.pair if isinstance(held, PairedLatents) else None
    width = variation.width if pair is None else pair.width_in + 2 * pair.width_out
    origin = variation.like.new_zeros(len(inner.names), width)
    unit = torch.eye(len(inner.names), dtype=origin.dtype, device=origin.device)
    with torch.inference_mode():
        moved = inner.moved(origin, unit) - origin
        moved = moved if pair is None else pair.written_part(moved)
        return np.asarray(moved.double().cpu().numpy())


def random_directions(bench: Bench, count: int, seed: int = 0) -> Directions:
    """Random directions within the natural variation of a site's tokens, as a view.

    Their effects are the baseline that a claim must stand out from: `against_random` knocks them out beside
    the candidates and ranks the ones among the others.

    Parameters
    ----------
    bench : Bench
        Whose site they lie in.
    count : int
        No more than the site's support has dimensions.
    seed : int
        Of the rotation drawn.

    Returns
    -------
    Directions
        A view of ``count`` features named ``random:00, random:01, ...``, each of natural sd 1 over tokens.

    Raises
    ------
    InputError
        For none, or more than the support has dimensions: writing one would move the others.

    Notes
    -----
    A random rotation of the whitened principal axes: each direction is as likely as any other of the same
    natural standard deviation over tokens, one, and writing one moves no other. Their size does not depend on
    how many there are (the duals of independent draws grow without bound as these come to fill the space).

    Examples
    --------
    >>> import mrinterp
    >>> bench = mrinterp.worlds.gated_world(families=10).bench()
    >>> mrinterp.knockouts.random_directions(bench, 2).names
    ('random:00', 'random:01')
    """
    checked_count(count, "count", unit="directions"), checked_seed(seed)
    variation = site_variation(bench)
    if not 0 < count <= len(variation.axes):
        raise InputError(
            "count", f"{count} directions", f"Give 1 to {len(variation.axes)}, the dimensions of the support"
        )
    # 8 marks the stream of random controls, so that the same seed elsewhere draws other numbers.
    drawn = np.random.default_rng([seed, 8]).standard_normal((len(variation.axes), count))
    turned = np.linalg.qr(drawn)[0].T
    sd = np.sqrt(variation.variance)
    read, write = (turned / sd) @ variation.axes, (turned * sd) @ variation.axes
    names = [f"random:{i:02d}" for i in range(count)]
    return Directions(read, write, names=names)
