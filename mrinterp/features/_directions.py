"""Directions of a site as features: probes, difference of means, PCA and ICA, subspaces."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from mrinterp.core.basis import Dictionary
from mrinterp.core.errors import InputError
from mrinterp.features._feature_view import TokenFeatureView, feature_names

__all__ = ["Directions", "Subspace", "difference_of_means"]

Array = NDArray[np.float64]


class Directions(TokenFeatureView):
    """F directions of a site, each read by one vector and written by its dual.

    Parameters
    ----------
    read : array (F, width)
        Values of an activation h are ``read @ (h - center)``: probe weights, rows of a PCA or an ICA
        unmixing matrix, a difference of means.
    write : array (F, width), optional
        Written by adding ``write[k]`` per unit. Default: the dual of ``read`` of least length, so
        that writing one feature moves no other.
    center : array (width,), optional
        Activation at which every feature is zero; default the zero vector.
    names : sequence of str, optional
        One per direction; default ``direction0, direction1, ...``.

    Raises
    ------
    InputError
        For directions that are not finite or depend on each other, or a given ``write`` that is not
        dual (``read @ write.T`` differs from the identity by more than 1e-4).

    Examples
    --------
    >>> import torch
    >>> from mrinterp.features import Directions
    >>> view = Directions([[1.0, 1.0, 0.0]], names=["sum"])
    >>> h = torch.tensor([[1.0, 3.0, 5.0]])
    >>> view.read(h).item(), view.write(h, torch.tensor([[0.0]])).tolist()
    (4.0, [[-1.0, 1.0, 5.0]])
    """

    def __init__(
        self,
        read: ArrayLike,
        write: ArrayLike | None = None,
        center: ArrayLike | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        r = _rows("read", read)
        w = _dual(r) if write is None else _rows("write", write)
        c = np.zeros(r.shape[1]) if center is None else np.asarray(center, dtype=float)
        if w.shape != r.shape or c.shape != r.shape[1:]:
            raise InputError(
                "directions", f"read {r.shape}, write {w.shape}, center {c.shape}", "Give matching shapes"
            )
        off = float(np.abs(r @ w.T - np.eye(len(r))).max())
        # Directions stored in float32 are dual only up to rounding, about 1e-6 for usual widths.
        if off > 1e-4:
            raise InputError(
                "write",
                f"read @ write.T is off the identity by {off:.2g}",
                "Leave write out, to use the dual of read",
            )
        self.names = feature_names(names, len(r), [f"direction{i}" for i in range(len(r))])
        self._read, self._write, self._center = (torch.from_numpy(np.ascontiguousarray(x)) for x in (r, w, c))

    @classmethod
    def from_dictionary(cls, dictionary: Dictionary) -> Directions:
        """The features of a study's dictionary, where reading them is linear."""
        if dictionary.read is None:
            raise InputError("dictionary", "its features are latents", "Use dictionary_view with their SAE")
        return cls(dictionary.read, dictionary.write, dictionary.center, dictionary.names)

    @classmethod
    def from_write(
        cls, write: ArrayLike, center: ArrayLike | None = None, names: Sequence[str] | None = None
    ) -> Directions:
        """Directions given by what writes them (an ICA mixing matrix, steering vectors); read by the dual."""
        w = _rows("write", write)
        return cls(_dual(w), w, center, names)

    @property
    def read_rows(self) -> Array:
        """Read vectors (F, width)."""
        return np.asarray(self._read.numpy())

    @property
    def write_rows(self) -> Array:
        """Write vectors (F, width)."""
        return np.asarray(self._write.numpy())

    def values(self, h: torch.Tensor) -> torch.Tensor:
        """Values (..., F)."""
        if h.shape[-1] != self._read.shape[1]:
            raise InputError(
                "site",
                f"width {h.shape[-1]}; the directions have {self._read.shape[1]}",
                "Choose the site that the directions were made for",
            )
        return (h - self._center.to(h)) @ self._read.to(h).T

    def moved(self, h: torch.Tensor, change: torch.Tensor) -> torch.Tensor:
        """The vectors moved along the write directions."""
        return h + change.to(h.dtype) @ self._write.to(h)

    def keep(self, features: torch.Tensor) -> None:
        """Reduce the view to some of its directions, each with the dual it had among all."""
        self._read, self._write = self._read[features], self._write[features]


class Subspace(Directions):
    """A subspace: the first rows of a rotation, read and written as its coordinates.

    Parameters
    ----------
    rotation : array (F, width)
        Orthonormal rows.
    center : array (width,), optional
        Activation at which every coordinate is zero; default the zero vector.
    names : sequence of str, optional
        One per row; default ``coordinate0, coordinate1, ...``.

    Raises
    ------
    InputError
        For rows that are not orthonormal (to 1e-4).

    Notes
    -----
    Interchanging a subspace between two inputs is ``write(h, read(h_other))``: Geiger et al. 2024,
    arXiv:2303.02536.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.features import Subspace
    >>> view, h, other = Subspace([[0.6, 0.8]]), torch.tensor([[3.0, 4.0]]), torch.tensor([[0.0, 0.0]])
    >>> view.read(h).round(decimals=4).item(), view.write(other, view.read(h)).round(decimals=4).tolist()
    (5.0, [[3.0, 4.0]])
    """

    def __init__(
        self, rotation: ArrayLike, center: ArrayLike | None = None, names: Sequence[str] | None = None
    ) -> None:
        r = _rows("rotation", rotation)
        off = float(np.abs(r @ r.T - np.eye(len(r))).max())
        if off > 1e-4:
            raise InputError(
                "rotation",
                f"rows are off orthonormal by {off:.2g}",
                "Orthonormalize them (numpy.linalg.qr), or use Directions",
            )
        super().__init__(
            r, None, center, feature_names(names, len(r), [f"coordinate{i}" for i in range(len(r))])
        )


def difference_of_means(
    positive: ArrayLike, negative: ArrayLike, name: str = "difference_of_means"
) -> Directions:
    """The direction between two groups of activations.

    Zero lies halfway between the group means and one unit is their distance: the groups average
    at plus and minus one half.

    Parameters
    ----------
    positive, negative : array (n, width)
        Activations of the two groups, whose sizes may differ.
    name : str
        Name of the feature.

    Returns
    -------
    Directions
        With one feature.

    Raises
    ------
    InputError
        Where the means coincide.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.features import difference_of_means
    >>> view = difference_of_means([[2.0, 0.0], [4.0, 0.0]], [[0.0, 0.0], [0.0, 2.0]])
    >>> view.read(torch.tensor([[3.0, 0.0], [0.0, 1.0]])).flatten().round(decimals=4).tolist()
    [0.5, -0.5]
    """
    a, b = _rows("positive", positive).mean(0), _rows("negative", negative).mean(0)
    if float(np.linalg.norm(a - b)) < 1e-12:
        raise InputError(
            "difference of means", "the two groups have the same mean", "Give groups that differ"
        )
    return Directions.from_write((a - b)[None], (a + b) / 2, [name])


def _rows(name: str, value: ArrayLike) -> Array:
    array = np.atleast_2d(np.asarray(value, dtype=float))
    if array.ndim != 2 or not array.size or not np.isfinite(array).all():
        raise InputError(
            name,
            f"shape {array.shape}, {int((~np.isfinite(array)).sum())} values not finite",
            "Give a finite matrix, one row per direction",
        )
    return array


def _dual(rows: Array) -> Array:
    spectrum = np.linalg.svd(rows, compute_uv=False)
    if len(rows) > rows.shape[1] or spectrum[-1] < 1e-8 * spectrum[0] or spectrum[0] == 0:
        dimensions = int((spectrum > 1e-8 * max(spectrum[0], 1e-300)).sum())
        raise InputError(
            "directions",
            f"{len(rows)} directions span {dimensions} dimensions",
            "Leave out those that the others determine",
        )
    return np.asarray(np.linalg.pinv(rows).T)
