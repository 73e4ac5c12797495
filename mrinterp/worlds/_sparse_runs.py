"""Runs of more features than fit into memory: activations and doses kept sparse, read block by block."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.checks import checked_count
from mrinterp.core.errors import InputError
from mrinterp.core.panel import Panel
from mrinterp.tables._arrays import from_arrays

__all__ = ["SparseRuns"]

Array = NDArray[np.float64]
Rows = NDArray[np.int_]


@dataclass(frozen=True, eq=False)
class SparseRuns:
    """N runs of F features that rarely fire: a panel whose columns are made dense a block at a time.

    Attributes
    ----------
    activations : scipy sparse array (N, F)
        Values of the features, by column (csc).
    doses : scipy sparse array (N, J)
        Dose of every instrument in every run, by row (csr).
    outcomes : ndarray (N, O)
        Values of the outcomes.
    prompt, family : ndarray (N,) of int
        Which prompt a run was made from, and that prompt's family.
    clean : ndarray (N,) of bool
        The unperturbed run of each prompt.
    feature_names, outcome_names : tuple of str
        Names of the columns.

    Raises
    ------
    InputError
        Where the numbers of runs or columns disagree.

    Examples
    --------
    >>> import mrinterp
    >>> world = mrinterp.worlds.world_families()["sparse codes"].make(0)
    >>> world.sparse
    SparseRuns(2,000 runs in 100 families, 1,024 features, 256 instruments)
    """

    activations: Any
    doses: Any
    outcomes: Array
    prompt: Rows
    family: Rows
    clean: NDArray[np.bool_]
    feature_names: tuple[str, ...]
    outcome_names: tuple[str, ...]

    def __post_init__(self) -> None:
        N, F = self.activations.shape
        for name in ("doses", "outcomes", "prompt", "family", "clean"):
            count = getattr(self, name).shape[0]
            if count != N:
                raise InputError(
                    name, f"{count} rows; activations has {N}", "Give every array one row per run"
                )
        for name, columns in (("feature_names", F), ("outcome_names", self.outcomes.shape[1])):
            if len(getattr(self, name)) != columns:
                found = f"{len(getattr(self, name))} names for {columns} columns"
                raise InputError(name, found, "Give one name per column")

    def __repr__(self) -> str:
        N, F = self.activations.shape
        families = len(np.unique(self.family))
        return f"SparseRuns({N:,} runs in {families} families, {F:,} features, {self.doses.shape[1]} instruments)"

    def blocks(self, width: int = 512) -> Iterator[tuple[Rows, Array]]:
        """Features in blocks, each block's values dense.

        Parameters
        ----------
        width : int
            Features of a block; it holds 8 x width x N bytes.

        Yields
        ------
        columns : ndarray (w,) of int
            Numbers of the features.
        values : ndarray (N, w)
            Their values in every run.

        Raises
        ------
        InputError
            For a width below one.

        Examples
        --------
        >>> import mrinterp
        >>> runs = mrinterp.worlds.world_families()["sparse codes"].make(0).sparse
        >>> [values.shape for _, values in runs.blocks(768)]
        [(2000, 768), (2000, 256)]
        """
        checked_count(width, "width", unit="features")
        F = self.activations.shape[1]
        for a in range(0, F, width):
            columns = np.arange(a, min(a + width, F))
            yield columns, self.activations[:, columns].toarray()

    def panel(self, columns: Rows) -> Panel:
        """Some of the features as a `Panel`, such as those that a screen has left.

        Parameters
        ----------
        columns : array (w,) of int
            Numbers of the features.

        Returns
        -------
        Panel
            All runs and doses; what the other features do is not listed as bypass.

        Examples
        --------
        >>> import numpy as np
        >>> import mrinterp
        >>> runs = mrinterp.worlds.world_families()["sparse codes"].make(0).sparse
        >>> runs.panel(np.arange(3)).feature_names
        ('latent0', 'latent1', 'latent2')
        """
        return from_arrays(
            doses=self.doses.toarray(),
            features=self.activations[:, columns].toarray(),
            outcomes=self.outcomes,
            prompt=self.prompt,
            family=self.family,
            clean=self.clean,
            feature_names=[self.feature_names[k] for k in columns],
            outcome_names=self.outcome_names,
        )
