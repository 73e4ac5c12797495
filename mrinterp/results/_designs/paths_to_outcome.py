"""Whether any path leads from a feature to an outcome."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.shown import listed
from mrinterp.results._result import Axis, Result, Shape
from mrinterp.results._sentences import first_lines

__all__ = ["NO_PATH", "PathsToOutcome"]

Array = NDArray[np.float64]

NO_PATH = "no path leads from it to the outcome"
"""What is said of a feature whose edits, of every size and at every setting tried, left the outcome bit for bit."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class PathsToOutcome(Result):
    """For F features and O outcomes, whether something showed a path from the one to the other.

    Parameters
    ----------
    features, outcomes : tuple of str
    path : ndarray (F, O) of bool
        Whether a path was found. Where none was, the feature can be no cause of the outcome on these inputs.
    found_by : ndarray (F, O) of str
        ``gradient``: a derivative that is not zero; ``edit``: an edit that changed the outcome; ``output``: one that
        changed the network's output, of an outcome that is discrete or of generated text; "" where nothing did.
    largest : ndarray (F, O)
        Largest change of the outcome by any edit of the feature, its units; nan where a gradient made edits needless.
    edits : ndarray (F,) of int
        Edited runs of each feature.
    meta : dict
        Inputs, families, settings of the other features, sizes of the edits, passes.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("PathsToOutcome").summary)
    paths to the outcome: 3 features, 2 outcomes
    """

    KIND: ClassVar[str] = "paths to the outcome"

    features: Annotated[tuple[str, ...], Axis("F")]
    outcomes: Annotated[tuple[str, ...], Axis("O")]
    path: Annotated[NDArray[np.bool_], Shape("F", "O")]
    found_by: Annotated[NDArray[np.object_], Shape("F", "O")]
    largest: Annotated[Array, Shape("F", "O")]
    edits: Annotated[NDArray[np.int_], Shape("F")]
    meta: dict[str, Any] = field(default_factory=dict)

    def without(self, outcome: str) -> tuple[str, ...]:
        """Names of the features from which no path to an outcome was found."""
        (o,) = self._at((outcome,), self.outcomes)
        return tuple(n for n, p in zip(self.features, self.path[:, o], strict=True) if not p)

    def to_frame(self) -> pd.DataFrame:
        """One row per (feature, outcome)."""
        F, O = self.path.shape
        return pd.DataFrame(
            {
                "feature": np.repeat(np.array(self.features, dtype=object), O),
                "outcome": np.tile(np.array(self.outcomes, dtype=object), F),
                "path": self.path.ravel(),
                "found_by": self.found_by.ravel(),
                "largest": self.largest.ravel(),
                "edits": np.repeat(self.edits, O),
            }
        )

    def sentence(self, outcome: str) -> str:
        """One outcome in words."""
        none = self.without(outcome)
        tried = f"{self.meta.get('settings', 'some')} settings of the others on {self.meta.get('inputs', 'some')} inputs"
        if not none:
            return f"{outcome}: a path leads to it from each of {len(self.features)} features."
        return (
            f"{outcome}: no path leads to it from {len(none)} of {len(self.features)} features ({listed(none)}): edits of"
            f" all sizes, in {tried}, left it bit for bit."
        )

    def __str__(self) -> str:
        return first_lines([self.sentence(o) for o in self.outcomes], len(self.outcomes))
