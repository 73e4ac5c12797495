"""Leading principal coordinates of features of more than one dimension: heads, subspaces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from mrinterp.core.errors import InputError
from mrinterp.features._feature_view import TokenFeatureView, feature_names

__all__ = ["PrincipalCoordinates", "leading_rows"]

Array = NDArray[np.float64]


class PrincipalCoordinates(TokenFeatureView):
    """Orthonormal combinations of a view's features, read and written in their place.

    Parameters
    ----------
    view : TokenFeatureView
        Of F features, such as the coordinates of a head.
    rows : array (K, F)
        Orthonormal rows: coordinate k is ``rows[k] @ values``, and moving it moves the features along its row.
    names : sequence of str, optional
        One per coordinate; default ``pc0, pc1, ...``.

    Raises
    ------
    InputError
        For rows of another length, or that are not orthonormal (to 1e-6).

    Examples
    --------
    >>> import torch
    >>> from mrinterp.features import PrincipalCoordinates, Units
    >>> view, h = PrincipalCoordinates(Units([0, 1], 3), [[0.6, 0.8]]), torch.tensor([[3.0, 4.0, 9.0]])
    >>> view.read(h).round(decimals=4).item(), view.write(h, torch.tensor([[10.0]])).round(decimals=4).tolist()
    (5.0, [[6.0, 8.0, 9.0]])
    """

    def __init__(self, view: TokenFeatureView, rows: ArrayLike, names: Sequence[str] | None = None) -> None:
        r = np.atleast_2d(np.asarray(rows, dtype=float))
        if r.ndim != 2 or r.shape[1] != len(view.names):
            raise InputError("rows", f"shape {r.shape} of {len(view.names)} features", "Give one column each")
        off = float(np.abs(r @ r.T - np.eye(len(r))).max())
        if not off <= 1e-6:
            raise InputError("rows", f"off orthonormal by {off:.2g}", "Orthonormalize them (numpy.linalg.qr)")
        self.view = view
        self.names = feature_names(names, len(r), [f"pc{i}" for i in range(len(r))])
        self._rows = torch.from_numpy(np.ascontiguousarray(r))

    def values(self, h: torch.Tensor) -> torch.Tensor:
        """Values (..., K)."""
        inner = self.view.values(h)
        return inner @ self._rows.to(inner).T

    def moved(self, h: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        """The vectors with the coordinates changed."""
        return self.view.moved(h, change @ self._rows.to(change))

    def keep(self, features: torch.Tensor) -> None:
        """Reduce the view to some of its coordinates."""
        self._rows = self._rows[features]


def leading_rows(values: Array, count: int) -> Array:
    """The ``count`` directions (orthonormal rows) along which values (N, k) vary most, the most variable first."""
    found = np.linalg.svd(values - values.mean(axis=0), full_matrices=False)[2]
    return np.asarray(found[:count])
