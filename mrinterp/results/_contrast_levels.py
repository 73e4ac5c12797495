"""Low and high natural values of features, by token group: what a natural contrast writes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.results._result import Axis, Result, Shape

__all__ = ["NATURAL_SD", "ContrastLevels"]

Array = NDArray[np.float64]

NATURAL_SD = 2.563
"""Standard deviations between the quantiles .1 and .9 of a normal distribution: a contrast over a natural sd."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class ContrastLevels(Result):
    """The low and the high value of F features in each of K groups of tokens.

    Parameters
    ----------
    features : tuple of str
    groups : tuple of str
        Token classes or positions; the last one, ``any token``, holds the values of all groups together, which stand
        for groups that are not known here.
    low, high : ndarray (F, K)
        In units of the features. nan where the feature does not vary in the group: its tokens are left as they are.
        Of a feature that rarely fires, its one usual value and the median of the others.
    usual : ndarray (F,)
        The one usual value of a feature that rarely fires (0 for a latent); nan for the others.
    fires : ndarray (F,)
        Share of tokens at which a feature that rarely fires has another value than its usual one; nan for the others,
        which are written at every token.
    pooled : tuple of str
        Groups of fewer than 10 families, which take the values of all groups together.
    families : int
        Behind the values; each family weighs alike.
    quantiles : tuple of float
        Of the low and the high value.
    meta : dict

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("ContrastLevels"))
    Low and high natural values (quantiles 0.1 and 0.9) of 3 features in 3 groups of tokens, from 40 families.
    """

    KIND: ClassVar[str] = "contrast levels"

    features: Annotated[tuple[str, ...], Axis("F")]
    groups: Annotated[tuple[str, ...], Axis("K", called="groups")]
    low: Annotated[Array, Shape("F", "K")]
    high: Annotated[Array, Shape("F", "K")]
    usual: Annotated[Array, Shape("F")]
    fires: Annotated[Array, Shape("F")]
    families: int
    quantiles: tuple[float, ...] = (0.1, 0.9)
    pooled: tuple[str, ...] = ()
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def rare(self) -> NDArray[np.bool_]:
        """Features (F,) that have one usual value: their contrast is per firing."""
        return np.isfinite(self.fires)

    def to_frame(self) -> pd.DataFrame:
        """One row per (feature, group): ``feature, group, low, high, usual, fires``."""
        F, K = self.low.shape
        return pd.DataFrame(
            {
                "feature": np.repeat(np.array(self.features, dtype=object), K),
                "group": np.tile(np.array(self.groups, dtype=object), F),
                "low": self.low.ravel(),
                "high": self.high.ravel(),
                "usual": np.repeat(self.usual, K),
                "fires": np.repeat(self.fires, K),
            }
        )

    def __str__(self) -> str:
        low, high = self.quantiles
        text = (
            f"Low and high natural values (quantiles {low:g} and {high:g}) of {len(self.features)} features in"
            f" {len(self.groups) - 1} groups of tokens, from {self.families} families"
        )
        if self.pooled:
            shown = ", ".join(self.pooled[:4]) + (" ..." if len(self.pooled) > 4 else "")
            text += f"; groups of fewer than 10 families take the values of all groups together: {shown}"
        if self.rare.any():
            text += f"; {int(self.rare.sum())} features rarely fire: their contrast is per firing"
        return text + "."
