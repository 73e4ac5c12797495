"""How often a network answers as a high-level model says when a variable is interchanged between inputs."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.results._result import Result, Rows, Shape
from mrinterp.results._sentences import first_lines
from mrinterp.stats.clustered.family_draws import bootstrap_ratio
from mrinterp.stats.clustered.least_squares import clustered_mean
from mrinterp.stats.clustered.proportion import clustered_proportion
from mrinterp.stats.tests.tails import critical_value

__all__ = ["ALIGNED", "InterchangeAccuracy"]

Array = NDArray[np.float64]

ALIGNED = "aligned"
"""Name of the first row: the alignment itself. All others are controls."""


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class InterchangeAccuracy(Result):
    """Interchange-intervention accuracy of an alignment, and of its controls, on M pairs of inputs.

    Parameters
    ----------
    variable : str
        What was interchanged (several joined by ``+``).
    place : str
        Where, in words: site and number of coordinates.
    arms : DataFrame (R rows)
        ``alignment, detail, read_back, undecided, status`` of the alignment (first) and its controls.
        ``read_back``: largest difference between a value written and the one read again. ``undecided``:
        share of pairs whose two largest scores differ by no more than the repeat-run noise.
    hits : ndarray (R, M)
        1 where the answer is the counterfactual label, 0 where not, nan where an arm does not apply.
    pairs : DataFrame (M rows)
        ``base, family, base_label, label, informative``, and ``source`` (``source:<variable>`` where there
        are several). Informative are pairs whose counterfactual label differs from the base input's own
        label: on the others an edit that does nothing hits.
    level : float
    draws, seed : int
        Of the bootstrap over families.
    meta : dict

    Notes
    -----
    Errors are clustered by the family of the base input. They hold the sources for given: where few sources
    serve many bases, other sources may give another accuracy than the interval says.

    Source: Geiger et al. 2021, arXiv:2106.02997; 2023, arXiv:2301.04709.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("InterchangeAccuracy").summary)
    interchange accuracy of variable: the alignment and 2 controls on 12 pairs
    """

    KIND: ClassVar[str] = "interchange accuracy"

    variable: str
    place: str
    arms: Annotated[
        pd.DataFrame, Rows("R", columns=("alignment", "detail", "read_back", "undecided", "status"))
    ]
    hits: Annotated[Array, Shape("R", "M")]
    pairs: Annotated[pd.DataFrame, Rows("M", columns=("family", "label", "informative"))]
    level: float = 0.95
    draws: int = 2000
    seed: int = 0
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """What it is and how large, in one line."""
        arms, pairs = self.hits.shape
        return f"interchange accuracy of {self.variable}: the alignment and {arms - 1} controls on {pairs:,} pairs"

    def to_frame(self) -> pd.DataFrame:
        """One row per arm.

        ``accuracy, lower, upper`` (Wilson's interval with the effective sample size and t, see
        `mrinterp.stats.clustered.proportion`), ``boot_lower, boot_upper`` (percentiles of the family
        bootstrap; without width where all pairs are hits); the same, with prefix ``informative_``, on the
        informative pairs; ``over, over_lower, over_upper``: accuracy of the
        alignment minus that of the arm on the same pairs (clustered t interval), nan in the first row.
        """
        return self._table.copy()

    @cached_property
    def _table(self) -> pd.DataFrame:
        family = self.pairs["family"].to_numpy()
        applies = np.isfinite(self.hits)
        parts = {"": applies, "informative_": applies & self.pairs["informative"].to_numpy()}
        table = self.arms[["alignment", "detail"]].copy()
        table.insert(0, "variable", self.variable)
        for prefix, counted in parts.items():
            filled = np.where(counted, self.hits, 0.0)
            p = clustered_proportion(filled, family, counted, self.level)
            table[f"{prefix}accuracy"] = p.estimate
            table[f"{prefix}lower"], table[f"{prefix}upper"] = p.lower, p.upper
            low, high = bootstrap_ratio(filled.T, counted.T, family, self.draws, self.seed, self.level)
            table[f"{prefix}boot_lower"], table[f"{prefix}boot_upper"] = low, high
            table[f"{prefix}pairs"], table[f"{prefix}families"] = p.rows, p.families
        ahead, se, df = clustered_mean((self.hits[0] - self.hits).T, family)
        half = critical_value(self.level, df) * se if df else np.full(len(se), np.nan)
        ahead[0] = np.nan
        table["over"], table["over_lower"], table["over_upper"] = ahead, ahead - half, ahead + half
        return pd.concat([table, self.arms[["read_back", "undecided", "status"]]], axis=1)

    @property
    def accuracy(self) -> float:
        """Accuracy of the alignment over all pairs."""
        return float(self._table["accuracy"].iloc[0])

    def arm(self, alignment: str) -> pd.DataFrame:
        """Rows of one kind of arm: ``aligned``, ``random subspace``, ``wrong variable`` ..."""
        return self._table[self._table["alignment"] == alignment].reset_index(drop=True)

    def with_arm(
        self, alignment: str, detail: str, hits: Array, read_back: float = np.nan, undecided: float = np.nan
    ) -> InterchangeAccuracy:
        """The same with one more control on the same pairs, compared with the same labels."""
        row = pd.DataFrame([[alignment, detail, read_back, undecided, "ok"]], columns=self.arms.columns)
        return replace(
            self,
            arms=pd.concat([self.arms, row], ignore_index=True),
            hits=np.vstack([self.hits, np.asarray(hits, dtype=float)]),
        )

    def _not_behind(self) -> list[str]:
        """Controls over which the interval of the alignment's lead is not above zero, in words."""
        words = []
        for name, rows in self._table.iloc[1:].groupby("alignment", sort=False):
            known = rows["over_lower"].notna()
            level = int((rows["over_lower"] <= 0).sum())
            if level:
                words.append(str(name) if len(rows) == 1 else f"{name} ({level} of {int(known.sum())})")
        return words

    def __str__(self) -> str:
        t = self._table
        first = t.iloc[0]
        text = (
            f"Interchanging {self.variable} ({self.place}) gives the high-level model's answer on "
            f"{first['accuracy']:.1%} of {first['pairs']} pairs ({_interval(first, '', self.level)}; "
            f"{first['families']} families)"
        )
        if first["informative_pairs"]:
            text += (
                f", and on {first['informative_accuracy']:.1%} of the {first['informative_pairs']} pairs where that "
                f"is not the base input's own answer ({_interval(first, 'informative_', self.level)})"
            )
        else:
            text += ", but in none of them does that differ from the base input's own answer"
        controls = []
        for name, rows in t.iloc[1:].groupby("alignment", sort=False):
            found = rows["accuracy"].dropna()
            if not len(found):
                controls.append(f"{name}: {rows['status'].iloc[0]}")
            elif len(found) == 1:
                controls.append(f"{name} {found.iloc[0]:.1%}")
            else:
                controls.append(f"{name} {found.mean():.1%} ({found.min():.1%} to {found.max():.1%})")
        text += ". Controls over all pairs: " + "; ".join(controls) + "." if controls else "."
        equal = self._not_behind()
        text += f" Not shown to be ahead of: {'; '.join(equal)}." if equal else ""
        said = text if first["status"] == "ok" else f"{text} Note: {first['status']}."
        return first_lines([said], 1)


def _interval(row: pd.Series, prefix: str, level: float) -> str:
    if not np.isfinite(row[f"{prefix}lower"]):
        return "no interval: one family"
    return f"{level:.0%} interval {row[f'{prefix}lower']:.1%} to {row[f'{prefix}upper']:.1%}"
