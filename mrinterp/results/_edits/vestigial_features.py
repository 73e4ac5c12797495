"""Features shown to have practically no effect on any outcome tested."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import pandas as pd

from mrinterp.core.shown import listed
from mrinterp.results._result import Axis, Result, Rows

__all__ = ["VestigialFeatures"]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class VestigialFeatures(Result):
    """Which of F features are vestigial.

    Parameters
    ----------
    features, outcomes, kinds : tuple of str
        What was tested; a feature is vestigial only if it is for every outcome and every kind of
        knockout.
    table : DataFrame
        One row per feature: ``feature``; ``kind, outcome, effect, rope`` of the cell with the least
        evidence of equivalence; ``p`` of that cell (two one-sided tests), ``adjusted`` for the number of
        features; ``rms_change``, the largest root mean square outcome change of a swap in sd of the
        outcome; ``vestigial``; ``status`` (``ok``, ``dead`` or why there is no test); ``flags``, what the
        knockouts say about the feature (outside support, massive activations).
    level : float
        1 - the error rate that is controlled over all features.
    correction : str
        For testing F features: ``holm`` or ``fdr_bh``.
    meta : dict
        Options, seeds and whatever else a report needs.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("VestigialFeatures").summary)
    vestigial features: 3 features, 2 outcomes, 5 kinds
    """

    KIND: ClassVar[str] = "vestigial features"

    features: Annotated[tuple[str, ...], Axis("F")]
    outcomes: Annotated[tuple[str, ...], Axis("O")]
    kinds: Annotated[tuple[str, ...], Axis("K")]
    table: Annotated[
        pd.DataFrame, Rows("F", columns=("feature", "effect", "rope", "p", "vestigial", "status"))
    ]
    level: float
    correction: str
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def names(self) -> tuple[str, ...]:
        """The vestigial features, in the order of the view."""
        return tuple(self.table.loc[self.table["vestigial"].astype(bool), "feature"])

    def to_frame(self) -> pd.DataFrame:
        """One row per feature."""
        return self.table

    def __str__(self) -> str:
        dead = int((self.table["status"] == "dead").sum())
        untested = int(self.table["p"].isna().sum()) - dead
        rule = {"holm": "family-wise error", "fdr_bh": "false discovery rate"}[self.correction]
        alone = int((self.table["p"] < 1 - self.level).sum())
        text = (
            f"{len(self.names)} of {len(self.features)} features are shown to have practically no effect on"
            f" {listed(self.outcomes)} under {', '.join(self.kinds)} ({rule} {1 - self.level:g} over"
            f" {len(self.features)} features; {alone} before correction)"
        )
        text += f", {dead} of them dead on these inputs" if dead else ""
        awake = self.table["vestigial"].astype(bool) & (self.table["status"] != "dead")
        flagged = int((awake & (self.table.get("flags", "") != "")).sum())
        text += f", {flagged} of them flagged" if flagged else ""
        return text + (f"; {untested} could not be tested." if untested else ".")
