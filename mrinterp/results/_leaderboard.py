"""The board of the truth benchmark: every method's scores by family of worlds, with intervals and empty cells explained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import pandas as pd

from mrinterp.results._result import Result, Rows

__all__ = ["ALL", "SCORES", "BoardCell", "Leaderboard", "Size"]

Size = Literal["quick", "full"]
"""Small worlds in minutes, or full ones in hours."""

ALL = "all"
"""Family of the rows that stand for all worlds together."""


@dataclass(frozen=True)
class Score:
    """One score: its title, what it is in words, its best value, and whether it is a share between 0 and 1."""

    title: str
    about: str
    best: float | None
    share: bool = True


SCORES = {
    "auroc": Score("AUROC", "causes ranked above features that only accompany them; .5 is chance", 1.0),
    "auroc_all": Score("AUROC, all", "causes ranked above every other feature", 1.0),
    "auprc": Score("AUPRC", "average precision of causes against features that accompany them", 1.0),
    "sign": Score("sign", "causes whose effect has the right sign", 1.0),
    "slope": Score("slope", "of effects on the truth of the method's own estimand", 1.0, share=False),
    "rmse": Score(
        "RMSE", "of effects, in half widths of the region of practical equivalence (ROPE)", 0.0, share=False
    ),
    "half_width": Score("half width", "median, of intervals, in half widths of the ROPE", None, share=False),
    "coverage": Score("coverage", "intervals that hold the truth, mean over studies", 0.95),
    "coverage_matter": Score(
        "coverage, matter", "the same for features of more than a tenth of the ROPE", 0.95
    ),
    "fdr": Score("FDR", "share of what is called causal that is not (0 where nothing is called)", 0.0),
    "power": Score("power", "causes of at least five ROPE that are called causal", 1.0),
    "recall": Score("found", "causes, however small, that are called causal", 1.0),
    "impostor_called": Score(
        "impostor called", "features that only accompany a cause and are called causal", 0.0
    ),
    "cause_called_negligible": Score("cause negligible", "causes called without an effect that matters", 0.0),
    "set": Score("sets", "groups of exact copies that are given as exactly that set", 1.0),
    "source": Score("source", "impostors whose cause is named", 1.0),
    "abstained": Score("abstained", "cells without an answer", None),
    "jaccard": Score(
        "Jaccard", "overlap of what is called on one half of the families and on the other", 1.0
    ),
    "passes": Score("passes", "of the network, forward, resumed and backward together", None, share=False),
}
"""Scores by name, in the order in which they are shown."""


@dataclass(frozen=True, kw_only=True)
class BoardCell:
    """One method's score; prints as a sentence.

    Parameters
    ----------
    method, score : str
    value : float
        Mean over worlds; nan: see ``why``.
    lower, upper : float
        95% interval over worlds.
    spread : float
        Standard deviation over worlds.
    worlds : int
        Worlds that have the score.
    why : str
        Why there is none.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> example("Leaderboard")["default", "power"].worlds
    4
    """

    method: str
    score: str
    value: float
    lower: float
    upper: float
    spread: float
    worlds: int
    why: str

    def __str__(self) -> str:
        if self.why:
            return f"{self.method}: no {SCORES[self.score].title}: {self.why}."
        ends = f"{self.lower:.3g} to {self.upper:.3g}"
        return f"{self.method}: {SCORES[self.score].title} {self.value:.3g} ({ends}, {self.worlds} worlds)."


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Leaderboard(Result):
    """Scores of methods on worlds whose causes are known.

    Parameters
    ----------
    scores : DataFrame
        One row per family (and ``all``), method and score: ``family, method, label, score, value, lower, upper`` (mean over
        worlds, 95% interval over them), ``spread`` (standard deviation over worlds), ``worlds`` (that have the score),
        ``drawn`` (that were made), ``why`` (why there is none).
    paired : DataFrame
        ``family, method, score, difference, lower, upper, worlds``: a method less the default, on the worlds that both have.
    families : DataFrame
        ``family, about``.
    order : tuple of str
        Methods, the best first; the ceiling, which is not ranked, last.
    size : str
        ``quick`` or ``full``.
    seeds : int
        Worlds per family.
    log : tuple of dict
        Runs of the evaluation so far, oldest first; empty on a board of development families.
    meta : dict

    Notes
    -----
    Shares have Wilson's interval with as many trials as their variance over worlds is worth, never more than there are
    worlds where all agree; other scores t over worlds. Worlds of one seed are the same for every method.

    Not valid to compare methods by means over different worlds: read ``worlds``, or ``paired``.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("Leaderboard").summary)
    leaderboard (quick): 2 methods on 2 families of 2 worlds
    """

    KIND: ClassVar[str] = "leaderboard"
    HEADER: ClassVar[str] = "leaderboard.json"
    TABLE: ClassVar[str | None] = None

    scores: Annotated[
        pd.DataFrame,
        Rows(
            columns=(
                "family",
                "method",
                "label",
                "score",
                "value",
                "lower",
                "upper",
                "spread",
                "worlds",
                "drawn",
                "why",
            )
        ),
    ]
    paired: Annotated[
        pd.DataFrame, Rows(columns=("family", "method", "score", "difference", "lower", "upper", "worlds"))
    ]
    families: Annotated[pd.DataFrame, Rows(columns=("family", "about"))]
    order: tuple[str, ...] = ()
    size: str = "quick"
    seeds: int = 1
    log: tuple[dict[str, Any], ...] = ()
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """What it is and how large, in one line."""
        return f"leaderboard ({self.size}): {len(self.order)} methods on {len(self.families)} families of {self.seeds} world{'s' * (self.seeds > 1)}"

    def to_frame(self) -> pd.DataFrame:
        """One row per family, method and score."""
        return self.scores

    def __getitem__(self, key: tuple[str, str]) -> BoardCell:
        """A method's score over all worlds: ``board["default", "auroc"]``."""
        method, score = self._at(key, self.order, tuple(SCORES))
        return self.cell(ALL, self.order[method], tuple(SCORES)[score])

    @cached_property
    def _rows(self) -> dict[tuple[str, str, str], Mapping[Any, Any]]:
        """Rows of the scores by family, method and score: pages ask for thousands."""
        rows = self.scores.to_dict("records")
        return {(r["family"], r["method"], r["score"]): r for r in rows}

    def cell(self, family: str, method: str, score: str) -> BoardCell:
        """A method's score in one family."""
        found = self._rows[family, method, score]
        names = ("value", "lower", "upper", "spread")
        return BoardCell(
            method=method,
            score=score,
            worlds=int(found["worlds"]),
            why=str(found["why"]),
            **{n: float(found[n]) for n in names},
        )

    def __str__(self) -> str:
        shown = ("auroc", "fdr", "power", "coverage", "jaccard", "passes")
        lines = [self.summary, f"{'':<22}" + "".join(f"{SCORES[s].title:>12}" for s in shown)]
        for method in self.order:
            cells = [self[method, s] for s in shown]
            lines.append(
                f"{method:<22}" + "".join(f"{'-' if c.why else format(c.value, '.3g'):>12}" for c in cells)
            )
        return "\n".join(lines)
