"""What the page of estimated effects is made of, and its rows: one an exposure and outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.mrdata import MRData
from mrinterp.core.panel import Panel
from mrinterp.report.effects.grades import EffectGrades
from mrinterp.results._check import Check, NotApplicable
from mrinterp.results._estimates import Estimates
from mrinterp.results._sensitivity import Sensitivity

__all__ = ["EXCLUDES", "INCLUDES", "NO_ESTIMATE", "EffectsSource"]

Array = NDArray[np.float64]

EXCLUDES, INCLUDES, NO_ESTIMATE = "excludes 0", "includes 0", "no estimate"
"""What the interval of an effect says. Local slopes have no region of practical equivalence here: nothing is negligible."""
ALPHA = 0.05
"""False discovery rate at which effects stand in the answer."""


@dataclass(frozen=True, kw_only=True)
class EffectsSource:
    """Estimates with the summary statistics that they, or figures beside them, were made of.

    Parameters
    ----------
    title : str
    source : {"table", "runs"}
    data : MRData
        F exposures, O outcomes, J instruments; of runs their marginal effects.
    results : tuple of Estimates
        Effects by every method, the one that the answer rests on first.
    single : tuple of Estimates
        Univariable ones, for figures of one exposure; at least one.
    alike : tuple of str
        Other methods of the same estimand: those that can agree or contradict.
    without_each : (ndarray (F, O, J), ndarray (F, O, J)), optional
        IVW estimates and errors without each instrument.
    sensitivity : Sensitivity, optional
        Of the first of ``single``.
    direction : mapping of (exposure, outcome) to Check or NotApplicable
        Steiger's test, where it was made.
    checks : tuple of (str, Check or NotApplicable)
        Of the runs as a whole, each behind the assumption that it asks about.
    panel : Panel, optional
        The runs.
    asked : mapping of str to DataFrame or NotApplicable
        What runs were asked beside the estimates, for their grades: ``stability``, ``company`` (`told_apart`), ``shared causes``.
    left_out : mapping of str to str
        What was left out and why: methods that estimate no effect, figures of too large data.
    settings : mapping
        How the estimates were made, to be printed and repeated.
    command : str
        What repeats them.
    versions : mapping of str to str
    digest : str
        SHA-256 of the effects and errors.
    """

    title: str
    source: Literal["table", "runs"]
    data: MRData
    results: tuple[Estimates, ...]
    single: tuple[Estimates, ...]
    alike: tuple[str, ...] = ()
    without_each: tuple[Array, Array] | None = None
    sensitivity: Sensitivity | None = None
    direction: Mapping[tuple[str, str], Check | NotApplicable] = field(default_factory=dict)
    checks: tuple[tuple[str, Check | NotApplicable], ...] = ()
    panel: Panel | None = None
    asked: Mapping[str, pd.DataFrame | NotApplicable] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    command: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    digest: str = ""

    @property
    def primary(self) -> Estimates:
        """What the answer rests on."""
        return self.results[0]

    @property
    def level(self) -> float:
        """Confidence level of the intervals."""
        return self.primary.level

    @property
    def unit(self) -> str:
        """Unit of the effects, in words."""
        of = "feature" if self.source == "runs" else "exposure"
        return f"{self.data.unit or 'outcome'} per unit of the {of}"

    @property
    def noun(self) -> str:
        """What is tested."""
        return "features" if self.source == "runs" else "exposures"

    @cached_property
    def _places(self) -> dict[int, tuple[dict[str, int], dict[str, int]]]:
        held = (self.data, *self.results, *self.single, *((self.sensitivity,) if self.sensitivity else ()))
        return {
            id(h): (
                {x: k for k, x in enumerate(h.exposures)},
                {y: k for k, y in enumerate(h.outcomes)},
            )
            for h in held
        }

    def place(self, held: MRData | Estimates | Sensitivity, exposure: str, outcome: str) -> tuple[int, int]:
        """Row and column of a pair in any part of this source."""
        x, y = self._places[id(held)]
        return x[exposure], y[outcome]

    @cached_property
    def strength(self) -> Array:
        """Mean F (F,) of the instruments of every exposure, one at a time."""
        with np.errstate(all="ignore"):
            f = np.square(self.data.beta_x / self.data.se_x)
        known = np.isfinite(f)
        count = known.sum(axis=1)
        return np.asarray(np.where(known, f, 0.0).sum(axis=1) / np.where(count > 0, count, np.nan))

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row per exposure and outcome, the strongest evidence first.

        ``feature, outcome, effect, se, ci_lower, ci_upper, neglog10p, q, verdict, against, contradiction, n, strength,
        i2, status`` and for every other method ``NAME, NAME_se, NAME_lower, NAME_upper``.
        """
        first = self.primary
        F, O = first.beta.shape
        columns: dict[str, Any] = {
            "feature": np.repeat(np.array(first.exposures, dtype=object), O),
            "outcome": np.tile(np.array(first.outcomes, dtype=object), F),
            "label": np.repeat(np.array(self._labels, dtype=object), O),
            "effect": first.beta.ravel(),
            "se": first.se.ravel(),
            "ci_lower": np.ravel(first.ci_lower),
            "ci_upper": np.ravel(first.ci_upper),
            "neglog10p": np.ravel(first.neglog10p),
            "n": first.n_instruments.ravel(),
            "strength": np.repeat(self.strength, O),
            "i2": self._detail("i2"),
            "intercept_p": self._detail("intercept_p"),
            "q_p": self._detail("q_p"),
            "status": first.status.ravel(),
        }
        for other in self.results[1:]:
            at = self._like_first(other)
            for end, values in (("", other.beta), ("_se", other.se), ("_lower", other.ci_lower), ("_upper", other.ci_upper)):  # fmt: skip
                columns[f"{other.method}{end}"] = np.asarray(values, float)[at].ravel()
        table = pd.DataFrame(columns)
        table["q"] = _q_values(table["neglog10p"].to_numpy())
        lower, upper = table["ci_lower"].to_numpy(), table["ci_upper"].to_numpy()
        known = np.isfinite(table["effect"].to_numpy())
        excludes = (lower > 0) | (upper < 0)
        table["verdict"] = np.where(~known, NO_ESTIMATE, np.where(excludes, EXCLUDES, INCLUDES))
        table["against"], table["contradiction"] = self._others(table)
        order = np.argsort(-np.nan_to_num(table["neglog10p"].to_numpy(), nan=-1.0), kind="stable")
        return table.iloc[order].reset_index(drop=True)

    @cached_property
    def grades(self) -> EffectGrades:
        """The grade of every row of the table."""
        return EffectGrades(self)

    @property
    def _labels(self) -> Sequence[str]:
        if self.panel is None or not self.panel.labels:
            return [""] * len(self.primary.exposures)
        held = dict(zip(self.panel.feature_names, self.panel.labels, strict=True))
        return [held.get(x, "") for x in self.primary.exposures]

    def _like_first(self, other: Estimates) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
        """Where the cells of the first method stand in another one."""
        rows = [other.exposures.index(x) for x in self.primary.exposures]
        columns = [other.outcomes.index(y) for y in self.primary.outcomes]
        return np.ix_(rows, columns)  # type: ignore[return-value]

    def _detail(self, name: str) -> Array:
        """A number of the first method of the same estimand that has it."""
        cells = np.full(self.primary.beta.shape, np.nan)
        for result in self.results:
            if name in result.details and result.method in (self.primary.method, *self.alike):
                found = np.asarray(result.details[name], float)[self._like_first(result)]
                cells = np.where(np.isnan(cells), found, cells)
        return cells.ravel()

    def _others(self, table: pd.DataFrame) -> tuple[list[str], list[str]]:
        """What other methods of the same estimand say of every effect, in a word, and which contradict it."""
        sign = np.sign(table["effect"].to_numpy())
        claimed = (table["verdict"] == EXCLUDES).to_numpy()
        agree, against, count = (np.zeros(len(table), int) for _ in range(3))
        against_words: list[list[str]] = [[] for _ in range(len(table))]
        for other in (r for r in self.results[1:] if r.method in self.alike):
            low, high = (table[f"{other.method}_{end}"].to_numpy() for end in ("lower", "upper"))
            side = np.where(low > 0, 1, np.where(high < 0, -1, 0))
            count += np.isfinite(low) & np.isfinite(high)
            agree += side == sign
            opposite = claimed & (side == -sign) & (side != 0)
            against += opposite
            for k in np.flatnonzero(opposite):
                against_words[k].append(other.label.split(" (")[0])
        words = [
            "" if not c or not count[k]
            else "contradicted" if against[k]
            else "all others agree" if agree[k] == count[k]
            else f"{agree[k]} of {count[k]} others agree"
            if agree[k]
            else "no other agrees"
            for k, c in enumerate(claimed)
        ]  # fmt: skip
        said = [
            f"{' and '.join(w)}: the opposite sign, and 0 outside the interval" if w else ""
            for w in against_words
        ]
        return words, said


def _q_values(neglog10p: Array) -> Array:
    """Benjamini and Hochberg's q of every p that is known."""
    q = np.full(len(neglog10p), np.nan)
    known = np.flatnonzero(np.isfinite(neglog10p))
    order = known[np.argsort(-neglog10p[known], kind="stable")]
    raw = 10.0 ** -neglog10p[order] * len(order) / np.arange(1, len(order) + 1)
    q[order] = np.minimum(np.minimum.accumulate(raw[::-1])[::-1], 1.0)
    return q
