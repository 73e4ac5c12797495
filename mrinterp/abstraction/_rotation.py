"""Learned coordinates of a site: orthonormal rows, and where wanted a learned number of them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.utils.parametrizations import orthogonal

from mrinterp.features._feature_view import TokenFeatureView

__all__ = ["Rotation"]


class Rotation(torch.nn.Module):
    """Orthonormal rows of a site, kept so by the parametrization, in one block per variable.

    Parameters
    ----------
    width : int
    dimensions : dict of str to int
        Rows of each variable, at the most where the boundary is learned.
    boundary : bool
        Learn how many of a variable's rows are interchanged: row i counts by a sigmoid of
        (boundary - i) / temperature, the boundary a learned share of the rows.
    seed : int

    Notes
    -----
    Source: rows as in Geiger et al. 2024, arXiv:2303.02536; boundary as in Wu et al. 2023, arXiv:2305.08809.
    """

    def __init__(self, width: int, dimensions: dict[str, int], boundary: bool, seed: int) -> None:
        super().__init__()
        count = sum(dimensions.values())
        start = np.linalg.qr(np.random.default_rng(seed).standard_normal((width, count)))[0].T
        linear = torch.nn.Linear(width, count, bias=False)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(np.ascontiguousarray(start)))
        # Not the Householder map: its float32 gradients differed between identical calls (torch 2.13).
        # The Cayley map completes the rows to a square by global random numbers, so these are seeded.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.linear = orthogonal(linear, orthogonal_map="cayley")
        self.dimensions = dimensions
        stops = np.cumsum(list(dimensions.values()))
        self.rows = {
            v: slice(int(b - d), int(b)) for (v, d), b in zip(dimensions.items(), stops, strict=True)
        }
        self.shares = torch.nn.Parameter(torch.full((len(dimensions),), 0.5)) if boundary else None
        self.temperature = 1.0

    @property
    def weight(self) -> torch.Tensor:
        """All rows (sum of dimensions, width), made anew from the parameters at each call."""
        weight = self.linear.weight
        assert isinstance(weight, torch.Tensor)
        return weight

    def view(self, variable: str, rotation: torch.Tensor) -> _Coordinates:
        """A variable's rows as features, their weights (all one without a boundary) on what is written."""
        return _Coordinates(rotation[self.rows[variable]], self.mask(variable))

    def mask(self, variable: str) -> torch.Tensor | None:
        """Weight of each of the variable's rows; None where all count fully."""
        if self.shares is None:
            return None
        count = self.dimensions[variable]
        place = torch.arange(count, dtype=self.shares.dtype, device=self.shares.device) + 0.5
        edge = count * self.shares[list(self.dimensions).index(variable)]
        return torch.sigmoid((edge - place) / self.temperature)

    def kept(self, variable: str) -> NDArray[np.float64]:
        """The variable's subspace: orthonormal rows (k, width), those of weight above one half."""
        with torch.no_grad():
            rows = self.weight[self.rows[variable]].double().cpu().numpy()
            mask = self.mask(variable)
        count = len(rows) if mask is None else max(int((mask > 0.5).sum()), 1)
        # Orthonormal in float32 only: once more in float64, each row turned as little as that takes.
        left, _, right = np.linalg.svd(rows[:count], full_matrices=False)
        return np.asarray(left @ right)


class _Coordinates(TokenFeatureView):
    """Rows of a rotation that is being learned, as features through which gradients flow."""

    def __init__(self, rows: torch.Tensor, mask: torch.Tensor | None) -> None:
        self._rows, self._mask = rows, mask
        self.names = tuple(f"coordinate{i}" for i in range(len(rows)))

    def values(self, h: torch.Tensor) -> torch.Tensor:
        """Coordinates (..., F)."""
        return h @ self._rows.to(h).T

    def moved(self, h: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        """The vectors moved along the rows, each as far as its weight says."""
        change = change if self._mask is None else change * self._mask.to(change)
        return h + change.to(h.dtype) @ self._rows.to(h)

    def keep(self, features: torch.Tensor) -> None:
        """Reduce the view to some of its rows."""
        self._rows = self._rows[features]
        self._mask = None if self._mask is None else self._mask[features]
