"""A subspace that was searched for: what was found, and how it does on pairs that the search never saw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.errors import InputError, near_misses
from mrinterp.core.shown import listed
from mrinterp.core.storage import (
    whole_file,
)
from mrinterp.results._abstraction.interchange_accuracy import InterchangeAccuracy
from mrinterp.results._result import Named, Result, Shape
from mrinterp.results._sentences import first_lines

__all__ = ["AlignmentSearch"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class AlignmentSearch(Result):
    """Subspaces of one site, one per high-level variable.

    Parameters
    ----------
    site : str
    rotation : dict of str to ndarray (k, width)
        Orthonormal rows of each variable's subspace.
    held_out : dict of str to InterchangeAccuracy
        On pairs of held-out families; with the row ``random network``, the same search on the network with
        random weights, where that was asked for.
    trained : dict of str to float
        Accuracy on the pairs that were searched with: optimistic.
    losses : ndarray (steps, V)
        Cross-entropy of each variable's batch.
    pairs : dict of str to int
        ``trained, held_out`` and ``unused``: pairs whose base and source lie on different sides of the split.
    meta : dict

    Notes
    -----
    A subspace that is found has the variable's effect when it is interchanged; it need not be the only one,
    nor what the network uses by itself where activations are moved off the paths that inputs take them
    (Makelov et al. 2024, arXiv:2311.17030). Random mixtures of the activations can do nearly as well without
    any search (up to .97 in networks with a planted variable, ``benchmarks/alignment_search.py``): their rows
    stand in every held-out result, and ``over`` says by how much the found subspace is ahead.

    Source: Geiger et al. 2024, arXiv:2303.02536.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> example("AlignmentSearch").to_frame().shape
    (12, 25)
    """

    KIND: ClassVar[str] = "alignment search"
    HEADER: ClassVar[str] = "search.json"
    FORMER_NAMES: ClassVar[Mapping[str, str]] = {"rotation": "variables", "held_out": "variables"}

    site: str
    rotation: Annotated[dict[str, Array], Named()]
    held_out: Annotated[dict[str, InterchangeAccuracy], Named(InterchangeAccuracy)]
    trained: dict[str, float]
    losses: Annotated[Array, Shape("steps", "V")]
    pairs: dict[str, int]
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """What it is and how large, in one line."""
        found = [f"{v} in {len(rows)} dimensions" for v, rows in self.rotation.items()]
        return f"subspaces searched for at {self.site}: {listed(found)}"

    def to_frame(self) -> pd.DataFrame:
        """One row per variable and arm: held-out accuracies as in `InterchangeAccuracy.to_frame`, with
        ``dimension`` and, in the row of the alignment, ``trained``."""
        parts = []
        for variable, accuracy in self.held_out.items():
            part = accuracy.to_frame()
            part.insert(1, "dimension", len(self.rotation[variable]))
            part["trained"] = np.where(np.arange(len(part)) == 0, self.trained[variable], np.nan)
            parts.append(part)
        return pd.concat(parts, ignore_index=True)

    def __str__(self) -> str:
        head = (
            f"Search at {self.site}: {self.pairs['trained']} pairs to search with, {self.pairs['held_out']} of "
            f"held-out families, {self.pairs['unused']} across the split and unused."
        )
        lines = [
            f"{accuracy} On the pairs searched with: {self.trained[variable]:.1%}."
            for variable, accuracy in self.held_out.items()
        ]
        return first_lines([head, *lines], 1 + len(lines))

    def save_subspace(self, variable: str, path: Path) -> Path:
        """Write a variable's subspace as ``.npz``: ``read`` (k, width), ``names`` and ``site``.

        A study takes the file with ``features.kind = "subspace"``; `numpy.load` opens it anywhere.

        Raises
        ------
        InputError
            For a variable that was not searched for, or a name that does not end in ``.npz``.
        """
        if variable not in self.rotation:
            fix = near_misses(variable, self.rotation) or f"Known: {', '.join(self.rotation)}"
            raise InputError(f"variable {variable!r}", "was not searched for", fix)
        path = Path(path)
        if path.suffix != ".npz":
            raise InputError("subspace file", path.name, "Give a name that ends in .npz")
        rows = self.rotation[variable]
        names = np.array([f"{variable}{i}" for i in range(len(rows))])
        with whole_file(path) as partial:
            np.savez(partial, allow_pickle=False, read=rows, names=names, site=np.array(self.site))
        return path
