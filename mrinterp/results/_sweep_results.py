"""The answers of several studies of one network side by side: sites, positions and dictionaries, with one accounting."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import numpy as np
import pandas as pd

from mrinterp.results._result import Result, Rows

__all__ = ["SweepResults"]


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class SweepResults(Result):
    """Claims at several sites of one network, with one accounting of how many were tested.

    Parameters
    ----------
    claims : DataFrame
        One row per effect tested, those of all studies together: ``study, site, position, dictionary``, then the columns of
        `Study.results`; ``q``, the smallest false discovery rate at which the effect is found, over all rows (Benjamini and
        Hochberg); ``stands``, whether it is causal and q is below ``alpha``; ``in_ropes``, the effect in half widths of its
        study's region of practical equivalence.
    studies : DataFrame
        One row per study: ``study, site, position, dictionary, status`` (``finished``, or why it was not carried out).
    alpha : float
        False discovery rate at which claims stand.
    meta : dict
        Title, and versions.

    Notes
    -----
    Not valid where studies were chosen after a look at their results: the rate holds over what was tested, which is all that
    the file names. Effects at neighboring sites depend on each other; the rate holds under positive dependence.

    Source: Benjamini & Hochberg 1995, 10.1111/j.2517-6161.1995.tb02031.x.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("SweepResults").summary)
    sweep of 2 studies: 6 effects tested, 3 causal, of which 3 stand at a false discovery rate of 5% over all
    """

    KIND: ClassVar[str] = "sweep"
    HEADER: ClassVar[str] = "sweep_results.json"
    TABLE: ClassVar[str | None] = None

    claims: Annotated[
        pd.DataFrame,
        Rows(columns=("study", "site", "position", "feature", "outcome", "effect", "verdict", "q", "stands")),
    ]
    studies: Annotated[pd.DataFrame, Rows(columns=("study", "site", "position", "dictionary", "status"))]
    alpha: float = 0.05
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """What it is and how large, in one line."""
        causal, stand = int((self.claims["verdict"] == "causal").sum()), int(self.claims["stands"].sum())
        done = int((self.studies["status"] == "finished").sum())
        more = len(self.studies) - done
        left = f" ({more} could not be carried out)" if more else ""
        return (
            f"sweep of {done} studies{left}: {len(self.claims)} effects tested, {causal} causal, of which {stand} stand at a"
            f" false discovery rate of {self.alpha:.0%} over all"
        )

    @property
    def by_study(self) -> pd.DataFrame:
        """One row per study and outcome: effects ``tested``, ``causal``, those that ``stand``, and the largest that stands
        (``feature, effect, in_ropes``); studies that could not be carried out have none."""
        keys = ["study", "site", "position", "dictionary"]
        outcomes = list(dict.fromkeys(self.claims["outcome"]))
        rows = []
        for study in self.studies.to_dict("records"):
            own = self.claims[self.claims["study"] == study["study"]]
            for outcome in outcomes if len(own) else [""]:
                part = own[own["outcome"] == outcome]
                standing = part[part["stands"].astype(bool)]
                row = {k: study[k] for k in keys} | {"outcome": outcome, "tested": len(part)}
                row |= {"causal": int((part["verdict"] == "causal").sum()), "stand": len(standing)}
                row |= _largest(standing)
                rows.append(row | {"status": study["status"]})
        return pd.DataFrame(rows)

    def to_frame(self) -> pd.DataFrame:
        """The claims: one row per effect tested."""
        return self.claims

    def __str__(self) -> str:
        lines = [self.summary]
        for row in self.by_study.to_dict("records"):
            place = ", ".join(p for p in (row["site"], row["position"], row["dictionary"]) if p)
            if row["status"] != "finished":
                lines.append(f"  {place}: {row['status']}")
                continue
            found = f"{row['stand']} of {row['tested']} stand"
            if row["stand"]:
                found += f"; largest {row['feature']} {row['effect']:+.3g}"
            lines.append(f"  {place}, {row['outcome']}: {found}")
        return "\n".join(lines)


def _largest(part: pd.DataFrame) -> dict[str, Any]:
    if not len(part):
        return {"feature": "", "effect": np.nan, "in_ropes": np.nan}
    first = part.iloc[int(part["in_ropes"].abs().to_numpy().argmax())]
    return {name: first[name] for name in ("feature", "effect", "in_ropes")}
