"""Effects of early features split into what goes through a later site's features, through the rest of it, and past it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.results._result import Axis, Result, Shape
from mrinterp.results._sentences import first_lines
from mrinterp.stats.tests.tails import critical_value

__all__ = ["MediatedEffects"]

Array = NDArray[np.float64]

NAMED = 3
"""Mediators that a sentence names."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class MediatedEffects(Result):
    """Total effects of F early features on O outcomes, and what M later features carry of them.

    Parameters
    ----------
    features, mediators, outcomes : tuple of str
        Of the early site, of the later one, and outcomes.
    total, total_se : ndarray (F, O)
        Effect with everything downstream free, the rest of the early site held, in outcome units per unit of the feature.
    direct, direct_se : ndarray (F, O)
        What is left with features and bypass of the later site held.
    through, through_se : ndarray (F, M, O)
        What each later feature carries.
    rest, rest_se : ndarray (F, O)
        What the later site's bypass carries.
    mediated, mediated_se : ndarray (F, O)
        Sum of ``through`` over the later features.
    share, share_se : ndarray (F, O)
        Mediated over total; nan where the total may be 0.
    status : ndarray (F, O) of str
        ``ok``, or why there is no number or no share.
    df, level : float
        Degrees of freedom of t, and confidence level of the intervals.
    unit : str
        What one unit of the effects is.
    meta : dict
        Families, ranks held, and ``determined``: later features that the early site determines.

    Notes
    -----
    total = direct + mediated + rest, exactly.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("MediatedEffects").summary)
    mediated effects: 3 features, 4 mediators, 2 outcomes
    """

    KIND: ClassVar[str] = "mediated effects"

    features: Annotated[tuple[str, ...], Axis("F")]
    mediators: Annotated[tuple[str, ...], Axis("M")]
    outcomes: Annotated[tuple[str, ...], Axis("O")]
    total: Annotated[Array, Shape("F", "O")]
    total_se: Annotated[Array, Shape("F", "O")]
    direct: Annotated[Array, Shape("F", "O")]
    direct_se: Annotated[Array, Shape("F", "O")]
    through: Annotated[Array, Shape("F", "M", "O")]
    through_se: Annotated[Array, Shape("F", "M", "O")]
    rest: Annotated[Array, Shape("F", "O")]
    rest_se: Annotated[Array, Shape("F", "O")]
    mediated: Annotated[Array, Shape("F", "O")]
    mediated_se: Annotated[Array, Shape("F", "O")]
    share: Annotated[Array, Shape("F", "O")]
    share_se: Annotated[Array, Shape("F", "O")]
    status: Annotated[NDArray[Any], Shape("F", "O")]
    df: float
    level: float = 0.95
    unit: str = ""
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def half(self) -> float:
        """Standard errors from an estimate to the end of its interval."""
        return float(critical_value(self.level, self.df))

    def to_frame(self) -> pd.DataFrame:
        """One row per (feature, outcome, part): ``kind`` total, direct, mediated, rest, share, and through each ``mediator``."""
        F, O = self.total.shape
        M = len(self.mediators)
        kinds = ("total", "direct", "mediated", "rest", "share")
        alone = [getattr(self, k)[:, None, :] for k in kinds]
        errors = [getattr(self, f"{k}_se")[:, None, :] for k in kinds]
        effect = np.concatenate([*alone, self.through], axis=1).transpose(0, 2, 1)
        se = np.concatenate([*errors, self.through_se], axis=1).transpose(0, 2, 1)
        parts = len(kinds) + M
        return pd.DataFrame(
            {
                "feature": np.repeat(np.array(self.features, dtype=object), O * parts),
                "outcome": np.tile(np.repeat(np.array(self.outcomes, dtype=object), parts), F),
                "kind": np.tile(np.array([*kinds, *["through"] * M], dtype=object), F * O),
                "mediator": np.tile(np.array([*[""] * len(kinds), *self.mediators], dtype=object), F * O),
                "effect": effect.ravel(),
                "se": se.ravel(),
                "ci_lower": (effect - self.half * se).ravel(),
                "ci_upper": (effect + self.half * se).ravel(),
                "status": np.repeat(self.status.ravel(), parts),
            }
        )

    def sentence(self, feature: str, outcome: str) -> str:
        """One feature and outcome in words."""
        f, o = self._at((feature, outcome), self.features, self.outcomes)
        if not np.isfinite(self.total[f, o]):
            return f"{feature} on {outcome}: {self.status[f, o]}."
        size = np.abs(np.nan_to_num(self.through[f, :, o]))
        order = [int(m) for m in np.argsort(-size, kind="stable")[:NAMED] if size[m] > 0]
        via = [f"{self._number('through', f, m, o)} through {self.mediators[m]}" for m in order]
        others = len(self.mediators) - len(order)
        if others:
            left = np.delete(self.through[f, :, o], order).sum()
            via.append(f"{left:.2g} through {others} more")
        share = f"; mediated share {self._number('share', f, o)}"
        if not np.isfinite(self.share[f, o]):
            share = f"; {self.status[f, o]}"
        return (
            f"{feature} on {outcome}: {self.total[f, o]:.2g} {self.unit}".rstrip()
            + f", of which {', '.join(via)}, {self._number('rest', f, o)} through the rest of the later site,"
            f" {self._number('direct', f, o)} past it{share} ({100 * self.level:.4g}% intervals)."
        )

    def _number(self, part: str, *at: int) -> str:
        value, half = getattr(self, part)[at], self.half * getattr(self, f"{part}_se")[at]
        return f"{value:.2g} [{value - half:.2g}, {value + half:.2g}]"

    def __str__(self) -> str:
        size = np.abs(np.nan_to_num(self.total)).max(axis=1)
        cells = (
            self.sentence(self.features[f], y)
            for y in self.outcomes
            for f in np.argsort(-size, kind="stable")
        )
        return first_lines(cells, self.total.size)
