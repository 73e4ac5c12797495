"""What is fixed on the discovery split: the features' dictionary and the bypass beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.errors import InputError
from mrinterp.core.shown import Shown, listed
from mrinterp.core.storage import (
    FORMAT_VERSION,
    read_header,
    read_table,
    whole_folder,
    write_json,
    write_table,
)

__all__ = ["MOVED", "Basis", "Dictionary"]

Array = NDArray[np.float64]


MOVED = 0.1
"""Change of another feature's reading, in its units, from which a write is not of one feature alone: where the other one does .2 sd of
the outcome per sd, that adds the default region of practical equivalence (.02)."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Dictionary(Shown):
    """F features of a site: how each is read and how it is written.

    Parameters
    ----------
    names : tuple of str
        Feature names.
    read : ndarray (F, width), optional
        Feature values of an activation h are ``read @ (h - center)``. None where reading is not
        linear: the latents of an autoencoder.
    write : ndarray (F, width)
        Adding ``write[k]`` raises feature k by one unit. Linear features are written by their dual
        directions, which raise no other feature; latents by their decoder rows.
    center : ndarray (width,)
        Zero of linear features.
    labels : tuple of str
        What each feature responds to, in words ("" where unknown).
    unit : str
        What one unit of a feature is.
    latents : tuple of int
        Numbers of the latents that the features are, where reading is not linear.
    zero, scale : ndarray (F,), optional
        A latent's value in units is (activation - zero) / scale.
    measured_read_back : ndarray (F, F), optional
        Where reading is not linear: mean change of feature k (rows) when one unit of feature l
        (columns) is written, on natural sentences.
    """

    names: tuple[str, ...]
    read: Array | None
    write: Array
    center: Array
    labels: tuple[str, ...] = ()
    unit: str = "sd"
    latents: tuple[int, ...] = ()
    zero: Array | None = None
    scale: Array | None = None
    measured_read_back: Array | None = None

    def __post_init__(self) -> None:
        shape = self.write.shape if self.read is None else self.read.shape
        if shape != self.write.shape or len(self.names) != len(self.write):
            raise InputError(
                "Dictionary",
                f"{len(self.names)} names, read {shape}, write {self.write.shape}",
                "Give one name, one read row and one write row per feature",
            )
        if self.read is None and (len(self.latents) != len(self.names) or self.zero is None):
            raise InputError(
                "Dictionary",
                f"{len(self.names)} names, {len(self.latents)} latents",
                "Features without read rows are latents: name each, with zero and scale",
            )
        if not self.labels:
            object.__setattr__(self, "labels", ("",) * len(self.names))

    @property
    def summary(self) -> str:
        """What it is and how large, in one line."""
        how = "latents" if self.read is None else "linear features"
        return f"{len(self.names):,} {how} of width {self.write.shape[1]:,}, in {self.unit}: {listed(self.names)}"

    def to_frame(self) -> pd.DataFrame:
        """One row per feature: ``feature, label, read_back`` (what reading returns after writing one unit)."""
        return pd.DataFrame(
            {
                "feature": np.array(self.names, dtype=object),
                "label": np.array(self.labels, dtype=object),
                "read_back": np.diag(self.read_back),
            }
        )

    def _first_rows(self, rows: int) -> tuple[pd.DataFrame, int]:
        frame = self.to_frame()
        return frame.head(rows), len(frame)

    @property
    def read_back(self) -> Array:
        """The read-back matrix (F, F), what reading returns after writing: W A, the identity when dual;
        measured where reading is not linear."""
        if self.read is not None:
            return self.read @ self.write.T
        assert self.measured_read_back is not None
        return self.measured_read_back

    @property
    def moved_beside(self) -> Array:
        """Largest change of another feature's reading when one unit of each is written (F,), in units of the other."""
        matrix = self.read_back
        return np.asarray(np.abs(matrix - np.diag(np.diag(matrix))).max(axis=0, initial=0.0))

    @property
    def leaking(self) -> tuple[str, ...]:
        """Features that move another one by more than a tenth of its unit: of their writes, *and no other* is not true."""
        return tuple(self.names[k] for k in np.flatnonzero(self.moved_beside > MOVED))


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Basis(Shown):
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
    further : dict of str to ndarray
        Read rows of further parts of the bypass, by the part they read: ``error`` (what an
        autoencoder leaves over), ``beside`` and ``beside_position`` (the site beside). They follow
        the two above in the numbering.
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
    further: dict[str, Array] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """What it is and how large, in one line."""
        return f"{self.dictionary.summary}; bypass of {len(self.order):,} components, rank {self.rank}"

    def to_frame(self) -> pd.DataFrame:
        """One row per feature of the dictionary."""
        return self.dictionary.to_frame()

    def _first_rows(self, rows: int) -> tuple[pd.DataFrame, int]:
        return self.dictionary._first_rows(rows)

    @property
    def components(self) -> dict[str, Array]:
        """Read rows of every part of the bypass, in the order of their numbering."""
        return {"mean": self.mean_directions, "position": self.position_directions, **self.further}

    @property
    def bypass_names(self) -> list[str]:
        """Names of the components in nested order."""
        names = [f"{part}:{i}" for part, rows in self.components.items() for i in range(len(rows))]
        return [names[i] for i in self.order.tolist()]

    def bypass(self, parts: Mapping[str, Array]) -> Array:
        """Scores (N, R) of all components in nested order.

        Parameters
        ----------
        parts : mapping of str to ndarray (N, width of the part)
            What was read of every part of the cut: ``mean`` (token means), ``position``
            (share-weighted class deviations), and the further ones.
        """
        scores = [parts[part] @ rows.T for part, rows in self.components.items()]
        return np.asarray(np.concatenate(scores, axis=1)[:, self.order])

    def save(self, folder: Path) -> None:
        """Write the basis into ``folder``, whole or not at all."""
        with whole_folder(folder) as partial:
            d = self.dictionary
            optional = {
                "read": d.read,
                "zero": d.zero,
                "scale": d.scale,
                "measured_read_back": d.measured_read_back,
                **{f"further_{part}": rows for part, rows in self.further.items()},
            }
            arrays = {
                "write": d.write,
                "center": d.center,
                "mean_directions": self.mean_directions,
                "position_directions": self.position_directions,
                "order": self.order,
                "support": self.support,
                "support_variance": self.support_variance,
                **{name: value for name, value in optional.items() if value is not None},
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
                "latents": list(d.latents),
                "further": list(self.further),
                "rank": self.rank,
                "meta": self.meta,
                "arrays": list(arrays),
            }
            write_json(partial / "basis.json", header)

    @classmethod
    def load(cls, folder: Path) -> Basis:
        """Reopen what `save` wrote."""
        folder = Path(folder)
        header = read_header(folder / "basis.json", "basis")
        a = {name: np.load(folder / f"{name}.npy") for name in header["arrays"]}
        dictionary = Dictionary(
            names=tuple(header["names"]),
            read=a.get("read"),
            write=a["write"],
            center=a["center"],
            labels=tuple(header["labels"]),
            unit=header["unit"],
            latents=tuple(header["latents"]),
            zero=a.get("zero"),
            scale=a.get("scale"),
            measured_read_back=a.get("measured_read_back"),
        )
        return cls(
            dictionary=dictionary,
            mean_directions=a["mean_directions"],
            position_directions=a["position_directions"],
            order=a["order"],
            rank=int(header["rank"]),
            path=read_table(folder / "rank_path.parquet"),
            support=a["support"],
            support_variance=a["support_variance"],
            meta=header["meta"],
            further={part: a[f"further_{part}"] for part in header["further"]},
        )
