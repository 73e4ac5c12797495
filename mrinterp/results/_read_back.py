"""What a dictionary reads after one unit of each of its features was written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.basis import Dictionary
from mrinterp.core.checks import checked_type
from mrinterp.results._result import Axis, Result, Shape
from mrinterp.results._sentences import first_lines

__all__ = ["ReadBack"]

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ReadBack(Result):
    """By how much each of F features is read to have changed (rows) when one unit of each is written (columns).

    Parameters
    ----------
    features : tuple of str
    matrix : ndarray (F, F)
        In units of the feature that is read. The identity where every write moves its own feature by one and no other.
    meta : dict
        ``unit``: what one unit is; ``measured``: whether it is a mean over natural inputs, not W A of a linear dictionary.

    Notes
    -----
    Not valid for single inputs where it is measured: thresholds and top-k competition differ from one to the next.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("ReadBack").summary)
    read-back matrix: 3 features
    """

    KIND: ClassVar[str] = "read-back matrix"

    features: Annotated[tuple[str, ...], Axis("F")]
    matrix: Annotated[Array, Shape("F", "F")]
    meta: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, dictionary: Dictionary) -> Self:
        """The read-back matrix of a dictionary, such as ``Study.basis.dictionary``.

        Raises
        ------
        InputError
            For anything else.
        """
        checked_type(dictionary, "dictionary", Dictionary, "Study.basis.dictionary is one")
        meta = {"unit": dictionary.unit, "measured": dictionary.read is None}
        return cls(features=dictionary.names, matrix=np.asarray(dictionary.read_back, dtype=float), meta=meta)

    @property
    def own(self) -> Array:
        """The diagonal (F,): how much of its own unit each feature reads back."""
        return np.diag(self.matrix)

    @property
    def others(self) -> Array:
        """The matrix with zeros on its diagonal (F, F)."""
        return self.matrix - np.diag(self.own)

    def to_frame(self) -> pd.DataFrame:
        """One row per feature that is written: ``feature, own``, the one it moves most beside itself (``moves``) and by how much
        (``by``)."""
        most, names = np.abs(self.others).argmax(axis=0), np.array(self.features, dtype=object)
        alone = len(names) < 2
        return pd.DataFrame(
            {
                "feature": names,
                "own": self.own,
                "moves": "" if alone else names[most],
                "by": np.nan if alone else self.matrix[most, np.arange(len(names))],
            }
        )

    def __str__(self) -> str:
        rows = self.to_frame()
        rows = rows.iloc[np.argsort(-np.nan_to_num(np.abs(rows["by"].to_numpy())), kind="stable")]
        said = (
            f"{name}: one unit written is read back as {own:.3g}"
            + (f", and moves {moves} by {by:.2g} of its units." if moves else ".")
            for name, own, moves, by in rows.itertuples(index=False, name=None)
        )
        return first_lines(said, len(rows))
