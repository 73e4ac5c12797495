"""Directions learned on the discovery split: the features' dictionary and the bypass beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.errors import InputError
from mrinterp.core.storage import (
    FORMAT_VERSION,
    check_format,
    read_json,
    read_table,
    whole_folder,
    write_json,
    write_table,
)

__all__ = ["Basis", "Dictionary"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Dictionary:
    """F directions of a site: how a feature is read and how it is written.

    Parameters
    ----------
    names : tuple of str
        Feature names.
    read : ndarray (F, width)
        Feature values of an activation h are ``read @ (h - center)``.
    write : ndarray (F, width)
        Dual directions: adding ``write[k]`` raises feature k by one unit and no other feature.
    center : ndarray (width,)
        Zero of the features.
    labels : tuple of str
        What each feature responds to, in words ("" where unknown).
    unit : str
        What one unit of a feature is.
    """

    names: tuple[str, ...]
    read: Array
    write: Array
    center: Array
    labels: tuple[str, ...] = ()
    unit: str = "sd"

    def __post_init__(self) -> None:
        if self.read.shape != self.write.shape or len(self.names) != len(self.read):
            raise InputError(
                "Dictionary",
                f"{len(self.names)} names, read {self.read.shape}, write {self.write.shape}",
                "Give one name, one read row and one write row per feature",
            )
        if not self.labels:
            object.__setattr__(self, "labels", ("",) * len(self.names))

    @property
    def read_back(self) -> Array:
        """The read-back matrix W A (F, F): what reading returns after writing; the identity when dual."""
        return self.read @ self.write.T


@dataclass(frozen=True, eq=False)
class Basis:
    """The dictionary, and the bypass components of the rest of the cut in their nested order.

    Parameters
    ----------
    dictionary : Dictionary
    mean_directions : ndarray (A, width)
        Read rows of the token-mean bypass; zero on every write direction of the dictionary.
    position_directions : ndarray (B, C * width)
        Read rows of the position-varying bypass: share-weighted deviations of the C position
        classes from the token mean, one after the other.
    order : ndarray (A + B,) of int
        Nested order of the components (token-mean ones first in the numbering).
    rank : int
        Chosen number of components.
    path : DataFrame
        How the rank was chosen: ``rank, outcome_r2, feature_r2`` cross-validated by family.
    support : ndarray (width, width)
        Orthonormal rows spanning where single-token activations vary, most variable first.
    support_variance : ndarray (width,)
        Their variances.
    """

    dictionary: Dictionary
    mean_directions: Array
    position_directions: Array
    order: NDArray[np.int_]
    rank: int
    path: pd.DataFrame
    support: Array
    support_variance: Array
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def bypass_names(self) -> list[str]:
        """Names of the components in nested order."""
        A = len(self.mean_directions)
        return [f"mean:{i}" if i < A else f"position:{i - A}" for i in self.order.tolist()]

    def bypass(self, mean: Array, deviation: Array) -> Array:
        """Scores (N, A + B) of all components in nested order.

        Parameters
        ----------
        mean : ndarray (N, width)
            Token means.
        deviation : ndarray (N, C * width)
            Share-weighted class deviations.
        """
        scores = np.concatenate(
            [mean @ self.mean_directions.T, deviation @ self.position_directions.T], axis=1
        )
        return np.asarray(scores[:, self.order])

    def features(self, mean: Array) -> Array:
        """Feature values (N, F) of token means (N, width)."""
        return np.asarray((mean - self.dictionary.center) @ self.dictionary.read.T)

    def save(self, folder: Path) -> None:
        """Write the basis into ``folder``, whole or not at all."""
        with whole_folder(folder) as partial:
            d = self.dictionary
            arrays = {
                "read": d.read,
                "write": d.write,
                "center": d.center,
                "mean_directions": self.mean_directions,
                "position_directions": self.position_directions,
                "order": self.order,
                "support": self.support,
                "support_variance": self.support_variance,
            }
            for name, value in arrays.items():
                np.save(partial / f"{name}.npy", value)
            write_table(partial / "rank_path.parquet", self.path)
            pd.DataFrame(d.read_back, index=list(d.names), columns=list(d.names)).to_csv(
                partial / "read_back.csv"
            )
            header = {
                "kind": "basis",
                "format_version": FORMAT_VERSION,
                "names": list(d.names),
                "labels": list(d.labels),
                "unit": d.unit,
                "rank": self.rank,
                "meta": self.meta,
                "arrays": list(arrays),
            }
            write_json(partial / "basis.json", header)

    @classmethod
    def load(cls, folder: Path) -> Basis:
        """Reopen what `save` wrote."""
        folder = Path(folder)
        header = read_json(folder / "basis.json")
        check_format(str(folder), header, "basis")
        a = {name: np.load(folder / f"{name}.npy") for name in header["arrays"]}
        dictionary = Dictionary(
            tuple(header["names"]),
            a["read"],
            a["write"],
            a["center"],
            tuple(header["labels"]),
            header["unit"],
        )
        return cls(
            dictionary,
            a["mean_directions"],
            a["position_directions"],
            a["order"],
            int(header["rank"]),
            read_table(folder / "rank_path.parquet"),
            a["support"],
            a["support_variance"],
            header["meta"],
        )
