"""Grades of estimated effects: the rules of studies, applied to what a table or runs in hand hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.mrdata import MRData
from mrinterp.core.panel import Panel
from mrinterp.evidence._apply import (
    Facts,
    bounded,
    ceiling_letters,
    ceilings_of,
    decided,
    lacking,
    points_of,
    scored,
)
from mrinterp.evidence._fact_names import FACTS
from mrinterp.evidence._facts import failed_of, few_instruments, fitted_effects, named
from mrinterp.evidence._facts_beyond import Asked, company_facts, shared_cause_facts, stability_facts
from mrinterp.evidence._rules import Rules, read_rules
from mrinterp.results._check import Check, NotApplicable
from mrinterp.results._claims import GRADES
from mrinterp.results._estimates import Estimates
from mrinterp.results._negative_controls import is_control

__all__ = ["WEAK", "EffectGrades", "Reasons"]

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

WEAK = 10.0
"""Mean F below which estimates are noticeably biased towards the observational one, or towards 0."""
FEWEST_FAMILIES, LEVEL = 40, 0.05
NO_INSTRUMENT = ("observational",)
ON_RUNS = ("within", *NO_INSTRUMENT)
"""Methods of runs that need no instrument for every effect."""
BEYOND = "bias not measured"
NO_REGION = "no region of practical equivalence was stated, so that no change can be called small"


class GradedSource(Protocol):
    """What estimated effects must have to be graded."""

    @property
    def source(self) -> str: ...
    @property
    def data(self) -> MRData: ...
    @property
    def panel(self) -> Panel | None: ...
    @property
    def table(self) -> pd.DataFrame: ...
    @property
    def primary(self) -> Estimates: ...
    @property
    def results(self) -> tuple[Estimates, ...]: ...
    @property
    def single(self) -> tuple[Estimates, ...]: ...
    @property
    def alike(self) -> tuple[str, ...]: ...
    @property
    def without_each(self) -> tuple[Array, Array] | None: ...
    @property
    def direction(self) -> Mapping[tuple[str, str], Check | NotApplicable]: ...
    @property
    def checks(self) -> tuple[tuple[str, Check | NotApplicable], ...]: ...
    @property
    def asked(self) -> Mapping[str, pd.DataFrame | NotApplicable]: ...


@dataclass(frozen=True)
class Reasons:
    """Why an effect has its grade: ``name, title, points, reason`` of every domain, what the next grade needs, what bounds it."""

    domains: list[tuple[str, str, float, str]]
    lacking: str
    ceiling_why: str


class EffectGrades:
    """Grades of every row of a source's table; reasons in words for those that are asked for, since a table can have a million.

    Parameters
    ----------
    source : GradedSource
    """

    def __init__(self, source: GradedSource) -> None:
        self.source, self.keys = source, source.table[["feature", "outcome"]]
        self.rules: Rules = read_rules()
        self.facts = _Asking(source).all()
        self.results = self.keys.assign(ceiling="D", ceiling_why=BEYOND, doubted="")
        self.points, _ = points_of(self.rules, self.facts, len(self.keys))
        self.ceiling = ceiling_letters(self.rules, self.facts, self.results)
        self.letter = bounded(decided(self.rules, self.facts, self.points), self.ceiling)

    @property
    def counts(self) -> dict[str, int]:
        """Number of effects by grade, in the order of `GRADES`; those without any are left out."""
        found = pd.Series(self.letter).value_counts()
        return {g: int(found[g]) for g in GRADES if g in found}

    @cached_property
    def by_pair(self) -> dict[tuple[str, str], str]:
        """Grade by exposure and outcome."""
        return dict(
            zip(zip(self.keys["feature"], self.keys["outcome"], strict=True), self.letter, strict=True)
        )

    def words(self, row: int) -> str:
        """Grade and points of a row, in words."""
        letter = self.letter[row]
        return f"{letter} ({GRADES[letter]}) by {self.rules.version}, {self.points['points'][row]:g} points"

    def reasons(self, rows: Sequence[int]) -> list[Reasons]:
        """Of some rows of the table, by their places."""
        at = np.asarray(rows, dtype=int)
        facts, results = self.facts.only(at), self.results.iloc[at].reset_index(drop=True)
        points, domains = scored(self.rules, facts, results)
        ceiling, why = ceilings_of(self.rules, facts, results)
        lines = lacking(self.rules, facts, points, self.letter[at], ceiling, why)
        count = len(self.rules.domains)
        told = [
            tuple(r)
            for r in domains[["domain", "title", "points", "reason"]].itertuples(index=False, name=None)
        ]
        return [
            Reasons(told[k * count : (k + 1) * count], line, bound)
            for k, (line, bound) in enumerate(zip(lines, why, strict=True))
        ]


class _Asking:
    """A source being asked for what rules of grading may ask, subject by subject; one entry per row of its table."""

    def __init__(self, source: GradedSource) -> None:
        self.source, self.table, self.primary = source, source.table, source.primary
        self.count = len(self.table)
        self.place = self._places(self.primary)
        self.effect, self.lower, self.upper = (self._column(c) for c in ("effect", "ci_lower", "ci_upper"))
        self.true: dict[str, Bools] = {name: np.zeros(self.count, dtype=bool) for name in FACTS}
        self.values: dict[str, NDArray[Any]] = {}

    def all(self) -> Facts:
        """Every fact that such data can have; of the others none holds."""
        self._estimate()
        self._instruments()
        self._controls()
        self._other_ways()
        self._stability()
        self._company()
        self._direction()
        return Facts(self.true, self.values)

    def _column(self, name: str) -> Array:
        return self.table[name].to_numpy(dtype=float)

    def _everywhere(self, value: Any) -> NDArray[Any]:
        return np.full(self.count, value, dtype=object if isinstance(value, str) else None)

    def _places(self, held: Estimates | MRData) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
        """Row and column of every effect in a part of the source."""
        return (
            pd.Index(held.exposures).get_indexer(pd.Index(self.table["feature"])),
            pd.Index(held.outcomes).get_indexer(pd.Index(self.table["outcome"])),
        )

    def _estimate(self) -> None:
        bounded_ = np.isfinite(self.effect) & np.isfinite(self.lower) & np.isfinite(self.upper)
        sets = np.zeros(self.primary.beta.shape, dtype=bool)
        for one in self.primary.meta.get("dependent_sets", []):
            sets[[self.primary.exposures.index(m) for m in one["members"]], self.primary.outcomes.index(one["outcome"])] = True  # fmt: skip
        clear = ((self.lower > 0) | (self.upper < 0)) & ~(self.primary.undecided | sets)[self.place]
        q = np.nan_to_num(self._column("q"), nan=1.0)
        yes = self._everywhere(True)
        self.true |= {
            "has_interval": bounded_,
            "on_instruments": yes,
            "no_region": yes,
            "stands_out": q < LEVEL,
            "excludes_zero": clear,
            "claimed": clear,
        }
        self.values |= {
            "effect": self.effect, "ci_lower": self.lower, "ci_upper": self.upper, "rope": self._everywhere(np.nan), "q": q,
            "tested": self._everywhere(float(self.count)), "status": self.table["status"].to_numpy(dtype=object),
        }  # fmt: skip

    def _instruments(self) -> None:
        """How many there are and how strong they are, where the answer rests on them alone."""
        alone = any(self.primary is made for made in self.source.single)
        fitted = 1.0 if alone else fitted_effects(self.primary)
        count, strength = self._column("n"), self._column("strength")
        with np.errstate(invalid="ignore"):
            weak = strength < WEAK
        self.true |= {
            "without_instruments": self._everywhere(self.primary.method in NO_INSTRUMENT),
            "on_doses": self._everywhere(self.primary.method not in ON_RUNS),
            "too_few_instruments": few_instruments(count, fitted),
            "weak_instruments": weak,
        }
        self.values |= {"instruments": count, "fitted": self._everywhere(fitted), "first_stage_f": strength}

    def _controls(self) -> None:
        """What runs say of their perturbations; no direction was knocked out at random."""
        made = [c for _, c in self.source.checks if isinstance(c, Check)]
        reached = [c.verdict for c in made if c.name.startswith("manipulation: ")]
        families = [c.statistic for c in made if c.name == "families"]
        failed = [c.to_dict() for c in made if c.verdict == "failed" and is_control(c.name)]
        outcomes = {o: failed_of(failed, o, self.primary.method) for o in self.primary.outcomes}
        controls = self.table["outcome"].map(outcomes).to_numpy(dtype=object)
        panel = self.source.panel
        kinds = set() if panel is None else {str(k) for k in panel.runs["kind"].unique()} - {"clean"}
        self.true |= {
            "manipulation_failed": self._everywhere(bool(reached) and set(reached) == {"failed"}),
            "too_few_families": self._everywhere(bool(families) and min(families) < FEWEST_FAMILIES),
            "one_kind_of_perturbation": self._everywhere(len(kinds) == 1),
            "negative_controls_failed": np.asarray(controls != "", dtype=bool),
        }
        self.values |= {"failed_controls": controls, "random_count": self._everywhere(0.0), "random_larger": self._everywhere(np.nan)}  # fmt: skip

    def _other_ways(self) -> None:
        """Other methods of the same estimand; without a region none lies outside it."""
        names = [r.method for r in self.source.results[1:] if r.method in self.source.alike]
        parts = [[self._column(f"{n}{end}") for end in ("", "_lower", "_upper")] for n in names]
        beta, lower, upper = np.array(parts).reshape(len(names), 3, self.count).transpose(1, 0, 2)
        known = np.isfinite(beta) & np.isfinite(lower) & np.isfinite(upper)
        apart = known & ((lower > 0) | (upper < 0))
        same = np.sign(beta) == np.sign(self.effect)
        own = np.where(self.true["claimed"], np.sign(self.effect), 0.0)
        every = np.concatenate([np.where(apart, np.sign(beta), 0.0), own[None, :]])
        self.true |= {
            "has_others": np.asarray(known.any(axis=0)),
            "others_same_sign": np.asarray(known.any(axis=0) & (same | ~known).all(axis=0)),
            "one_other_excludes": np.asarray((apart & same).any(axis=0)),
            "others_contradict": np.asarray((every > 0).any(axis=0) & (every < 0).any(axis=0)),
        }
        self.values |= {
            "others_outside": self._everywhere(0.0),
            "others_excluding": apart.sum(axis=0).astype(float),
            "others_named": named(np.array([*names, ""], dtype=object)[:-1], beta, known),
        }

    def _stability(self) -> None:
        """Whether an adjustment moves the estimate out of its own interval: of runs several, of a table no single row."""
        if "stability" in self.source.asked:
            true, values = stability_facts(self.source.asked["stability"], self._claims())
            self.true, self.values = self.true | true, self.values | values
            self.values["stability_why"] = self._everywhere(NO_REGION)
            return
        self.values |= {"stability_why": self._everywhere(NO_REGION), "moved_most": self._everywhere("")}
        ivw, held = self.source.single[0], self.source.without_each
        if held is None or ivw.method not in (self.primary.method, *self.source.alike):
            return
        own = self._places(ivw)
        left = held[0][self._places(self.source.data)]
        lower, upper = ivw.ci_lower[own], ivw.ci_upper[own]
        moved = (left < lower[:, None]) | (left > upper[:, None])
        self.true["unstable"] = moved.any(axis=1)
        for k in np.flatnonzero(self.true["unstable"]):
            j = int(np.nanargmax(np.abs(left[k] - ivw.beta[own[0][k], own[1][k]])))
            self.values["moved_most"][k] = f"without {self.source.data.instruments[j]} {left[k, j]:+.3g} (inverse-variance weighted)"  # fmt: skip

    def _claims(self) -> Asked:
        return Asked(self.table, self.effect, self._everywhere(True))

    def _company(self) -> None:
        """Which of the features that move together carries it, and whether causes are shared: both are asked of runs alone."""
        why = NotApplicable("it is asked of runs: a table does not say how its exposures move together")
        true, values = company_facts(self.source.asked.get("company", why), self._claims())
        why = NotApplicable(
            "it takes every instrument of a locus with its LD: mrinterp coloc asks it of such tables"
        )
        more, words = shared_cause_facts(self.source.asked.get("shared causes", why), self._claims())
        self.true, self.values = self.true | true | more, self.values | values | words

    def _direction(self) -> None:
        """Given by the doses of runs; of a table by Steiger's test where it was made."""
        self.true["structural"] = self._everywhere(self.source.source == "runs")
        tested = {p: c.verdict for p, c in self.source.direction.items() if isinstance(c, Check)}
        if not tested:
            return
        at = pd.MultiIndex.from_frame(self.table[["feature", "outcome"]]).get_indexer(
            pd.MultiIndex.from_tuples(list(tested))
        )
        verdict = np.array(list(tested.values()), dtype=object)
        self.true["direction_passed"][at] = verdict == "passed"
        self.true["reversed"][at] = verdict == "failed"
