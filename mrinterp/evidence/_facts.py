"""Facts about every claim, as a finished study has computed them: what the rules of grading ask for, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from mrinterp.core.history import order_of
from mrinterp.core.plan import FEWEST_FAMILIES, HELD_OUT, MIN_FAMILIES
from mrinterp.core.plan_inputs import OBSERVED
from mrinterp.effects._claims import SIGN_VARIES, confirmation, shift_estimates
from mrinterp.evidence._apply import Facts
from mrinterp.evidence._fact_names import NEVER
from mrinterp.evidence._facts_beyond import Asked, facts_beyond
from mrinterp.results._against_random import AgainstRandom
from mrinterp.results._agreement import Agreement
from mrinterp.results._check import Check, NotApplicable
from mrinterp.results._contrast_levels import NATURAL_SD
from mrinterp.results._designs.paths_to_outcome import NO_PATH
from mrinterp.results._estimates import Estimates
from mrinterp.results._knockout_effects import KnockoutEffects
from mrinterp.results._negative_controls import is_control
from mrinterp.stats.tests.equivalence import NOT_APPLICABLE
from mrinterp.stats.tests.tails import critical_value

__all__ = ["GradedStudy", "facts_of", "failed_of", "few_instruments", "fitted_effects", "named"]

Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

FEWEST_RANDOM, QUANTILE = 10, 0.95
LEVEL, POWER, WEAK_F = 0.05, 0.8, 10.0
MIN_INSTRUMENTS, SPARE = 10, 5
WHOLE_AS_KINDS = ("resample", "mean")
"""Kinds of knockout that ask the same as a contrast; any kind beyond them, shifts and contrasts is a third one."""
OTHER_ESTIMATORS = ("tsls", "gradient")
"""Estimators of the same local slope as MR, one per class of assumptions: doses alone, the derivative."""
ON_DOSES = ("tsls",)


class GradedStudy(Protocol):
    """What a study must have for its claims to be graded."""

    @property
    def header(self) -> dict[str, Any]: ...
    @property
    def results(self) -> pd.DataFrame: ...
    @property
    def estimates(self) -> dict[str, Estimates]: ...
    @property
    def knockouts(self) -> dict[str, KnockoutEffects]: ...
    @property
    def agreement(self) -> Agreement: ...
    @property
    def against_random(self) -> AgainstRandom | NotApplicable: ...
    @property
    def checks(self) -> list[dict[str, Any]]: ...
    @property
    def claim_checks(self) -> list[Check | NotApplicable]: ...
    @property
    def rank_path(self) -> pd.DataFrame: ...


def facts_of(study: GradedStudy) -> Facts:
    """The facts of every row of a study's results.

    Parameters
    ----------
    study : GradedStudy
        A finished one.

    Returns
    -------
    Facts
    """
    return _Asked(study).all()


class _Asked:
    """One study being asked, subject by subject; every answer has one entry per row of its results."""

    def __init__(self, study: GradedStudy) -> None:
        self.study, self.table = study, study.results
        within = study.estimates["within"]
        self.place = (
            pd.Index(within.exposures).get_indexer(pd.Index(self.table["feature"])),
            pd.Index(within.outcomes).get_indexer(pd.Index(self.table["outcome"])),
        )
        self.rope = np.asarray(study.agreement.meta["rope"], dtype=float)[self.place[1]]
        self.effect, self.lower, self.upper = (self._column(c) for c in ("effect", "ci_lower", "ci_upper"))
        self.rests_on = self.table["rests_on"].to_numpy(dtype=object)
        self.slope = ~np.isin(self.rests_on, ["rectified", "site_experiment"])
        self.scale = np.where(self.slope, 1.0, self._column("move") / NATURAL_SD)
        self.true: dict[str, Bools] = {name: np.zeros(len(self.table), dtype=bool) for name in NEVER}
        self.values: dict[str, NDArray[Any]] = {}

    def all(self) -> Facts:
        """Every fact, one subject after the other."""
        self._estimate()
        self._controls()
        self._other_ways()
        self._again()
        self._judge()
        true, values = facts_beyond(self.study, Asked(self.table, self.effect, self.slope))
        return Facts(self.true | true, self.values | values)

    def _column(self, name: str) -> Array:
        return self.table[name].to_numpy(dtype=float)

    def _at(self, cells: NDArray[Any]) -> NDArray[Any]:
        """Cells (F, O) as one entry per claim."""
        return np.asarray(cells)[self.place]

    def _everywhere(self, answer: bool) -> Bools:
        return np.full(len(self.table), answer)

    def _estimate(self) -> None:
        primary = self.study.estimates[self._rung()]
        undecided = self._at(primary.undecided)
        verdict = self.table["verdict"].to_numpy(dtype=object)
        bounded = np.isfinite(self.effect) & np.isfinite(self.lower) & np.isfinite(self.upper)
        q = _adjusted(self._column("neglog10p"))
        sets = np.zeros(primary.beta.shape, dtype=bool)
        for one in primary.meta.get("dependent_sets", []):
            rows = [primary.exposures.index(m) for m in one["members"]]
            sets[rows, primary.outcomes.index(one["outcome"])] = True
        no_path = self.table["status"].to_numpy(dtype=object) == NO_PATH
        apart = (self.lower > 0) | (self.upper < 0)
        inside = (self.lower >= -self.rope) & (self.upper <= self.rope)
        instruments, fitted = self._at(primary.n_instruments).astype(float), fitted_effects(primary)
        clear = apart & ~undecided & ~self._at(sets) & ~no_path
        self.true |= {
            "has_interval": bounded & (verdict != NOT_APPLICABLE),
            "on_instruments": self.slope,
            "on_contrasts": ~self.slope,
            "on_doses": np.isin(self.rests_on, ON_DOSES),
            "too_few_instruments": few_instruments(instruments, fitted),
            "outside_region": verdict == "causal",
            "stands_out": q < LEVEL,
            "excludes_zero": clear,
            "claimed": clear & ~inside,
            "no_path": no_path,
            "inside_region": inside,
            "shown_negligible": verdict == "negligible",
            "sign_varies": verdict == SIGN_VARIES,
            "structural": ~no_path,
        }
        self.values |= {
            "effect": self.effect,
            "ci_lower": self.lower,
            "ci_upper": self.upper,
            "rope": self.rope,
            "q": q,
            "tested": np.full(len(self.table), float(len(self.table))),
            "status": self.table["status"].to_numpy(dtype=object),
            "instruments": instruments,
            "fitted": np.full(len(self.table), fitted),
        }

    def _rung(self) -> str:
        """What the claims of the study rest on, those of single cells that rest on another rung apart."""
        names = [n for n in dict.fromkeys(self.rests_on) if n in self.study.estimates]
        return str(names[0] if names else "rectified")

    def _controls(self) -> None:
        """What the run says of its perturbations, its writes and its random directions."""
        kind = self.study.header["plan"]["estimation"]["kind"]
        checks = {c["name"]: c for c in self.study.checks}
        reached = checks.get(f"manipulation: {kind}", {})
        families = checks.get("families", {}).get("statistic")
        strength = reached.get("statistic")
        contrast = self.study.knockouts.get("contrast")
        flags = np.array(
            contrast.flags if contrast is not None else [""] * (self.place[0].max() + 1), dtype=object
        )
        bad = np.array(["far outside support" in f or "read back differs" in f for f in flags], dtype=bool)
        order = order_of(self.study.header)
        kinds = {n.removeprefix("manipulation: ") for n in checks if n.startswith("manipulation: ")}
        kinds = kinds - {OBSERVED} or kinds  # found, not assigned: no experiment beside another
        controls = self._failed_controls()
        self.true |= {
            "written_as_meant": ~bad[self.place[0]],
            "manipulation_failed": self._everywhere(reached.get("verdict") == "failed"),
            "too_few_families": self._everywhere(families is not None and families < MIN_FAMILIES),
            "weak_instruments": self._everywhere(strength is not None and strength < WEAK_F),
            "one_kind_of_perturbation": self._everywhere(len(kinds) == 1),
            "negative_controls_failed": controls != "",
            "hashed_first": self._everywhere(order.rules_first and order.candidates_first),
        }
        self.values |= {
            "knockout_flag": flags[self.place[0]],
            "failed_controls": controls,
            "first_stage_f": np.full(len(self.table), np.nan if strength is None else strength, dtype=float),
        }
        self._random()

    def _failed_controls(self) -> NDArray[np.object_]:
        """Per claim the failed placebo instruments of its outcome, and the failed sets of negative controls that bear on its rung."""
        made = [*self.study.checks, *(c.to_dict() for c in self.study.claim_checks)]
        failed = [c for c in made if c["verdict"] == "failed" and is_control(c["name"])]
        claims = self.table[["outcome", "rests_on"]].itertuples(index=False, name=None)
        known = {claim: failed_of(failed, *claim) for claim in set(claims)}
        pairs = zip(self.table["outcome"], self.table["rests_on"], strict=True)
        return np.array([known[pair] for pair in pairs], dtype=object)

    def _random(self) -> None:
        """How many random directions on the support do at least as much, when shifted as far."""
        held, C = self.study.against_random, len(self.table)
        count, larger, known = np.zeros(C), np.full(C, np.nan), self._everywhere(False)
        if isinstance(held, AgainstRandom):
            supported = np.array(["outside support" not in f for f in held.control_flags], dtype=bool)
            size = np.where(supported[:, None], np.abs(held.control), np.nan)
            own = np.abs(held.effect)
            more = np.array([(size[:, o] >= own[:, [o]]).sum(axis=1) for o in range(own.shape[1])]).T
            fits = np.isfinite(own) & (np.array(held.status) == "ok")[None, :]
            count = np.isfinite(size).sum(axis=0)[self.place[1]].astype(float)
            larger = np.where(self._at(fits), self._at(more), np.nan)
            known = self._at(fits) & (count >= FEWEST_RANDOM)
        with np.errstate(invalid="ignore"):
            beyond = known & (larger <= (1.0 - QUANTILE) * count)
        self.true |= {"random_known": known, "beyond_random": beyond}
        self.values |= {"random_count": count, "random_larger": larger}

    def _other_ways(self) -> None:
        """Other kinds of knockout of a contrast; other estimators of a local slope; third kinds; bypass ranks."""
        made = self.study.knockouts
        firsts = {e.kind: n for n, e in reversed(made.items()) if e.kind in WHOLE_AS_KINDS}
        kinds = {kind: self._kind(made[n]) for kind, n in sorted(firsts.items(), reverse=True)}
        slopes = {
            n: self._cells(self.study.estimates[n]) for n in OTHER_ESTIMATORS if n in self.study.estimates
        }
        used = {"contrast", *HELD_OUT, "shift", "random", "permuted", "redrawn", *firsts.values()}
        third = {
            n: self._kind(e) for n, e in made.items() if n not in used and e.kind not in ("shift", "contrast")
        }
        joint = getattr(self.study, "site_experiment", None)
        on_joint = self.rests_on == "site_experiment"
        ways = {n: (v, ~self.slope) for n, v in kinds.items()}
        ways |= {n: (v, self.slope & (self.rests_on != n)) for n, v in slopes.items()}
        beta, lower, upper = self._stacked(ways)
        known = np.isfinite(beta) & np.isfinite(lower) & np.isfinite(upper)
        apart = known & ((lower > 0) | (upper < 0))
        outside = known & ((lower > self.rope) | (upper < -self.rope))
        same = np.sign(beta) == np.sign(self.effect)
        signs = np.where(apart, np.sign(beta), 0.0)
        own = np.where(self.true["excludes_zero"], np.sign(self.effect), 0.0)
        every = np.concatenate([signs, own[None, :]])
        names = np.array([*ways, ""], dtype=object)[:-1]
        self.true |= {
            "has_others": np.asarray(known.any(axis=0)),
            "others_same_sign": np.asarray(known.any(axis=0) & (same | ~known).all(axis=0)),
            "two_others_outside": (outside & same).sum(axis=0) >= 2,
            "one_other_excludes": np.asarray((apart & same).any(axis=0)),
            "others_contradict": np.asarray((every > 0).any(axis=0) & (every < 0).any(axis=0)),
            "moved_by_rank": self._moved_by_rank(),
            "third_kind_agrees": self._third(third, kinds, joint, on_joint),
        }
        self.values |= {
            "others_outside": outside.sum(axis=0).astype(float),
            "others_excluding": apart.sum(axis=0).astype(float),
            "others_named": named(names, beta, known),
        }

    def _stacked(
        self, ways: Mapping[str, tuple[tuple[Array, Array, Array], Bools]]
    ) -> tuple[Array, Array, Array]:
        """Numbers (W, C) of W ways to ask, nan where one does not belong to the claim."""
        if not ways:
            return tuple(np.full((0, len(self.table)), np.nan) for _ in range(3))  # type: ignore[return-value]
        parts = [[np.where(here, cells, np.nan) for cells in found] for found, here in ways.values()]
        return tuple(np.array(column) for column in zip(*parts, strict=True))  # type: ignore[return-value]

    def _kind(self, made: KnockoutEffects) -> tuple[Array, Array, Array]:
        """Effect and ends of a kind of knockout, on the scale of the claims."""
        lower, upper = made.interval()
        cells = [np.where(made.extremal_at_clean[None, :], np.nan, c) for c in (made.effect, lower, upper)]
        beta, one, other = (self._at(c) * self.scale for c in cells)
        return beta, np.minimum(one, other), np.maximum(one, other)

    def _cells(self, made: Estimates) -> tuple[Array, Array, Array]:
        return self._at(made.beta), self._at(made.ci_lower), self._at(made.ci_upper)

    def _third(
        self,
        third: Mapping[str, tuple[Array, Array, Array]],
        kinds: Mapping[str, tuple[Array, Array, Array]],
        joint: Any,
        on_joint: Bools,
    ) -> Bools:
        """Where a kind of knockout that was not used yet, or the experiment at the site, has the same sign and excludes 0."""
        found, named = self._everywhere(False), np.full(len(self.table), "", dtype=object)
        for name, (beta, lower, upper) in {**third, **kinds}.items():
            here = ((lower > 0) | (upper < 0)) & (np.sign(beta) == np.sign(self.effect)) & ~found
            here &= self.slope | (name in third)  # resampling and the mean are asked before, of a contrast
            named[here], found = name, found | here
        frame = joint.to_frame() if hasattr(joint, "to_frame") else None
        if frame is not None:
            both = self.table[["feature", "outcome"]].merge(frame, on=["feature", "outcome"], how="left")
            lower, upper = both["ci_lower"].to_numpy(dtype=float), both["ci_upper"].to_numpy(dtype=float)
            same = np.sign(both["effect"].to_numpy(dtype=float)) == np.sign(self.effect)
            here = ((lower > 0) | (upper < 0)) & same & ~on_joint & ~found
            named[here], found = "all features at random", found | here
        self.values["third_named"] = named
        return found

    def _moved_by_rank(self) -> Bools:
        """Whether the within estimate at twice the bypass rank, or the next one there is, leaves the interval of the first."""
        path, primary = self.study.rank_path, self.study.estimates["within"]
        rank = primary.meta.get("rank")
        if rank is None or not len(path) or "rank" not in path:
            return self._everywhere(False)
        higher = sorted(r for r in path["rank"].unique() if r >= 2 * max(int(rank), 1))
        if not higher:
            return self._everywhere(False)
        at = path[path["rank"] == higher[0]].rename(columns={"exposure": "feature", "estimate": "at_rank"})
        both = self.table[["feature", "outcome"]].merge(
            at[["feature", "outcome", "at_rank"]], on=["feature", "outcome"], how="left"
        )
        value = both["at_rank"].to_numpy(dtype=float)
        _, lower, upper = self._cells(primary)
        return np.asarray(self.slope & ((value < lower) | (value > upper)))

    def _again(self) -> None:
        """The estimate on the second half of the replication families."""
        mr = bool(self.slope.any())
        made = self.study.estimates.get("replication" if mr else "rectified_again")
        value, lower, upper = (self._column(f"replication{end}") for end in ("", "_lower", "_upper"))
        joint = self.rests_on == "site_experiment"
        known = np.isfinite(value) & np.isfinite(lower) & np.isfinite(upper) & ~joint
        families = self._families(made)
        se, df = self._errors(made, lower, upper)
        first_se, _ = self._errors(self.study.estimates[self._rung()], self.lower, self.upper)
        same = np.sign(value) == np.sign(self.effect)
        with np.errstate(divide="ignore", invalid="ignore"):
            gap = np.abs(value - self.effect) <= critical_value(0.95, df) * np.hypot(se, first_se)
            ratio, z = value / self.effect, np.where(same, np.abs(value), -np.abs(value)) / se
        power = _power(self.effect, se, df)
        inside = (lower >= -self.rope) & (upper <= self.rope)
        touches = (lower <= self.rope) & (upper >= -self.rope)
        self.true |= {
            "again_known": known,
            "again_enough_families": families >= FEWEST_FAMILIES,
            "again_same_sign": known & same,
            "again_outside": known & ((lower > self.rope) | (upper < -self.rope)),
            "again_one_sided": known & (stats.t.sf(np.nan_to_num(z), np.nan_to_num(df, nan=1.0)) < LEVEL),
            "again_power": known & (power >= POWER),
            "again_ratio_one": known & gap,
            "again_size_confirmed": known & _half_to_twice(value, se, self.effect, first_se, df),
            "again_opposite": known & ~same,
            "again_inside": known & inside,
            "again_underpowered": ~known
            | (touches & ((families < FEWEST_FAMILIES) | (~inside & ((upper - lower) / 2 >= self.rope)))),
            "other_kind_agrees": self._other_kind(),
        }
        self.values |= {
            "again": value,
            "again_lower": lower,
            "again_upper": upper,
            "again_ratio": ratio,
            "again_power_value": power,
            "again_families": families,
        }

    def _families(self, made: Estimates | None) -> Array:
        """Knocked-out families of an estimate, per claim; infinite where it does not count them."""
        if made is None:
            return np.zeros(len(self.table))
        if "families" in made.details:
            return np.asarray(self._at(made.details["families"]), dtype=float)
        return np.full(len(self.table), float(made.meta.get("families", np.inf)))

    def _errors(self, made: Estimates | None, lower: Array, upper: Array) -> tuple[Array, Array]:
        """Standard errors and degrees of freedom per claim, from the interval that is printed."""
        if made is None:
            return np.full(len(self.table), np.nan), np.full(len(self.table), np.nan)
        df = np.asarray(self._at(made.df), dtype=float)
        return (upper - lower) / 2 / critical_value(0.95, df), df

    def _other_kind(self) -> Bools:
        """Whether another kind of perturbation has the same sign and excludes 0 on the replication families."""
        found = self._everywhere(False)
        for name, made in self.study.estimates.items():
            if name.startswith("replication_") and name != f"replication_{OBSERVED}":
                beta, lower, upper = self._cells(made)
                found |= ((lower > 0) | (upper < 0)) & (np.sign(beta) == np.sign(self.effect))
        return found

    def _judge(self) -> None:
        """Knockouts on the first half of the replication families; of a local slope, the matched shifts."""
        primary = self.study.estimates[self._rung()]
        judge = (
            shift_estimates(self.study.knockouts["shift"])
            if self.slope.any()
            else self.study.estimates["rectified_judge"]
        )
        joint = self.rests_on == "site_experiment"
        own = np.array([role == "own" for role in primary.meta.get("roles", [])], dtype=bool)
        excluded = self._at(np.broadcast_to(own[:, None], primary.beta.shape)) if own.any() else joint
        value, lower, upper = (self._column(f"knockout{end}") for end in ("", "_lower", "_upper"))
        known = np.isfinite(value) & np.isfinite(lower) & np.isfinite(upper) & ~joint & ~excluded
        rope = np.asarray(self.study.agreement.meta["rope"], dtype=float)
        bearing = self._at(confirmation(primary, judge, rope))
        same = np.sign(value) == np.sign(self.effect)
        apart = (lower > 0) | (upper < 0)
        outside = known & same & ((lower > self.rope) | (upper < -self.rope))
        se, df = self._errors(judge, lower, upper)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = value / self.effect
        disagrees = known & (bearing == "size disagrees")
        self.true |= {
            "judge_known": known,
            "judge_outside": outside,
            "judge_inside": known & (lower >= -self.rope) & (upper <= self.rope),
            "judge_opposite": known & apart & ~same,
            "judge_power": known & (_power(self.effect, se, df) >= POWER),
            "judge_supports": outside & ~disagrees,
            "size_confirmed": known & (bearing == "confirmed"),
            "size_disagrees": disagrees,
        }
        self.values |= {"judge": value, "judge_lower": lower, "judge_upper": upper, "ratio": ratio}


def fitted_effects(made: Estimates) -> float:
    """How many effects a joint estimate by instruments fits: its exposures and the bypass."""
    return float(len(made.exposures) + int(made.meta.get("rank") or 0))


def few_instruments(instruments: Array, fitted: float) -> Bools:
    """Where an estimate by doses or rows alone has fewer than 10 of them, or not 5 more than effects to fit."""
    return (instruments < MIN_INSTRUMENTS) | (instruments < fitted + SPARE)


def _adjusted(neglog10p: Array) -> Array:
    """Benjamini and Hochberg's q over all tests of a study; 1 where there is no test."""
    p = np.minimum(10.0 ** -np.nan_to_num(neglog10p, nan=0.0, posinf=400.0), 1.0)
    return np.asarray(stats.false_discovery_control(p)) if len(p) else p


def _power(effect: Array, se: Array, df: Array) -> Array:
    """Chance that an effect of this size gives one-sided p < .05, with these errors."""
    known = np.isfinite(effect) & np.isfinite(se) & (se > 0) & np.isfinite(df)
    safe_df = np.where(known, df, 1.0)
    away = np.where(known, np.abs(effect) / np.where(known, se, 1.0), 0.0)
    # Beyond 30 errors the noncentral t of scipy loses digits, and the power is 1.
    power = stats.nct.sf(stats.t.isf(LEVEL, safe_df), safe_df, np.minimum(away, 30.0))
    return np.where(known, np.where(away >= 30.0, 1.0, power), np.nan)


def _half_to_twice(value: Array, se: Array, effect: Array, effect_se: Array, df: Array) -> Bools:
    """Where the 95% interval of value over effect, errors independent (Fieller), lies within 1/2 to 2."""
    known = np.isfinite(value) & np.isfinite(effect) & np.isfinite(df) & (se >= 0) & (effect_se >= 0)
    t2 = critical_value(0.95, np.where(known, df, 1.0)) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        below = effect**2 - t2 * effect_se**2
        spread = (value * effect) ** 2 - below * (value**2 - t2 * se**2)
        middle, half = value * effect / below, np.sqrt(np.maximum(spread, 0.0)) / below
        return np.asarray(known & (below > 0) & (middle - half >= 0.5) & (middle + half <= 2.0))


def named(names: NDArray[Any], beta: Array, known: Bools) -> NDArray[Any]:
    """``resample +0.1, mean +0.2`` for every claim."""
    said = np.full(known.shape[1], "", dtype=object)
    for name, values, here in zip(names, beta, known, strict=True):
        words = np.array([f"{name} {v:+.3g}" for v in values], dtype=object)
        said = np.where(here, np.where(said == "", words, said + ", " + words), said)
    return said


def failed_of(failed: Sequence[Mapping[str, Any]], outcome: str, rests_on: str) -> str:
    """Those of the failed controls that are about an outcome and the rung of a claim; placebo instruments are about all rungs."""
    rung = "within" if rests_on == "within_calibrated" else rests_on
    return ", ".join(
        c["name"]
        for c in failed
        if c.get("outcome", "") in ("", outcome) and (not c.get("rungs") or rung in c["rungs"])
    )
