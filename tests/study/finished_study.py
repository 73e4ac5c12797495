"""A finished study of five features, made by hand: what the page is tested on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import norm

from mrinterp.core.basis import Basis, Dictionary
from mrinterp.core.design import Design
from mrinterp.core.history import appended
from mrinterp.core.plan import Plan
from mrinterp.core.sumstats import SumStats
from mrinterp.diagnostics._agreement import agreement
from mrinterp.diagnostics._claim_checks import claim_checks
from mrinterp.diagnostics._diagnose import diagnose
from mrinterp.diagnostics._ladder import ladder, ladder_checks
from mrinterp.diagnostics._study_controls import _differences, rung_null
from mrinterp.effects._claims import claim_table
from mrinterp.effects._doubts import with_doubts
from mrinterp.effects._rungs import rung_table
from mrinterp.evidence import grade
from mrinterp.knockouts._kinds.compare_kinds import compare_kinds
from mrinterp.report.finished import CardSources
from mrinterp.results._against_random import AgainstRandom
from mrinterp.results._agreement import Agreement
from mrinterp.results._check import Check, NotApplicable
from mrinterp.results._claims import Claims
from mrinterp.results._estimates import Estimates
from mrinterp.results._examples import example
from mrinterp.results._feature_profiles import SHARES, FeatureProfiles
from mrinterp.results._kind_comparison import KindComparison
from mrinterp.results._knockout_effects import KnockoutEffects
from mrinterp.results._negative_controls import DIFFERENCES, OUT_OF_REACH, RANDOM_SIGNS

ROPE = 0.02
HOSTILE = (
    "<script>document.title='owned'</script>\"'&amp; $\\frac{1}$ \u202eab\u202c 表 \x07</svg></td>"
    "<img src=http://x.test/y onerror=alert(1)>"
)


@dataclass(frozen=True)
class Finished:
    """What the page reads of a study."""

    header: dict[str, Any]
    results: pd.DataFrame
    agreement: Agreement
    basis: Basis
    checks: list[dict[str, Any]]
    design: Design
    estimates: dict[str, Estimates]
    knockouts: dict[str, KnockoutEffects]
    sumstats: dict[str, SumStats]
    kinds: KindComparison | None
    equivalence: pd.DataFrame
    rank_path: pd.DataFrame = field(default_factory=pd.DataFrame)
    pilot: dict[str, Any] = field(
        default_factory=lambda: {"families": 10, "chosen_by": "a pilot on 5 discovery families"}
    )

    out: Path = Path("runs/made_up")
    choices: dict[str, Any] = field(default_factory=dict)
    scale_path: pd.DataFrame | NotApplicable = field(
        default_factory=lambda: NotApplicable("the design has no noise", "the path over the noise's scale")
    )

    @property
    def rungs(self) -> pd.DataFrame:
        """The rungs of the first outcome."""
        held = {n: e for n, e in self.estimates.items() if n not in CONTRASTS[1:]}
        rope = dict.fromkeys(self.results["outcome"], ROPE)
        passes = {n: {"forward": 900} for n in held} | {
            "rectified": self.estimates["rectified"].meta["passes"]
        }
        return rung_table(held, self.agreement, self.estimates["rectified_judge"], self.results, rope, passes)

    @cached_property
    def claims(self) -> Claims:
        """Graded by the default rules."""
        return grade(self)

    @property
    def card_sources(self) -> CardSources:
        """Profiles, checks, parts and curves of the first features; nothing where parts are missing."""
        if self.kinds is None:
            return CardSources()
        names, (outcome,) = self.kinds.features, self.kinds.outcomes
        both = (outcome, f"{outcome} 2")
        borrowed, dose = example("BorrowedEffects"), example("DoseResponse")
        return CardSources(
            profiles=_profiles(names),
            diagnosis=diagnose(self),
            borrowed=replace(borrowed, features=names[: len(borrowed.features)], outcomes=both),
            dose_response=replace(dose, features=names[: len(dose.features)], outcomes=both),
        )

    @property
    def claim_checks(self) -> list[Check | NotApplicable]:
        """As a study makes them."""
        return [*claim_checks(self.results, self.agreement), *ladder_checks(self.ladder)]

    @cached_property
    def ladder(self) -> pd.DataFrame:
        """As a study makes it."""
        rope = dict.fromkeys(self.results["outcome"], ROPE)
        return ladder(self.results, self.knockouts["shift"], rope)

    @cached_property
    def controls(self) -> dict[str, Any]:
        """Differences between families, and the claims held against them."""
        nothing = {n: NotApplicable("a made-up study", n) for n in (OUT_OF_REACH, RANDOM_SIGNS)}
        found = nothing | {DIFFERENCES: _differences(self.estimates, self.knockouts)}
        return found | {"claims": rung_null(found, "rectified", self.estimates["rectified"])}

    @property
    def borrowed(self) -> NotApplicable:
        return NotApplicable("a made-up study", "borrowed effects")

    @property
    def whole_features(self) -> dict[str, KnockoutEffects]:
        return {}

    @property
    def against_random(self) -> AgainstRandom | NotApplicable:
        """Features compared with two random directions."""
        if "random" not in self.knockouts:
            return NotApplicable("none was asked for", "ranks among random directions")
        random = replace(self.knockouts["random"], kind="shift")
        return AgainstRandom.of(self.knockouts["shift"], random, per="unit")


#            confirmed, confirmed, contradicted, nothing, missed
EFFECT = np.array([0.5, -0.3, 0.10, 0.001, 0.02])
TRUTH = np.array([0.48, -0.31, -0.08, 0.002, 0.15])
CONTRASTS = ("rectified", "rectified_judge", "rectified_again")
AGAIN = np.array([0.45, -0.02, -0.11, 0.003, 0.02])


def study(
    text: str = "", outcome: str = "score", parts: bool = True, effect: np.ndarray = EFFECT
) -> Finished:
    """A finished study of five features; ``text`` stands wherever a user's words may stand."""
    names = tuple(f"layer.1:c{k}{text if k == 0 else ''}" for k in range(5))
    labels = tuple(f"word={k} {text}".strip() for k in range(5))
    design = _design(text)
    estimates = _estimates(names, outcome, effect, parts)
    kinds = {"shift": _knockout("shift", names, outcome, TRUTH)}
    if parts:
        kinds["random"] = _knockout("random", ("r0", "r1"), outcome, np.array([0.05, 0.12]))
        flags = (f"massive activation at {text}".strip(), "not measurable", "", "", "far outside support")
        kinds["mean"] = _knockout("mean", names, outcome, TRUTH + np.array([0, 0.3, 0, 0, 0]), flags)
    named = [replace(e, method=n) for n, e in estimates.items() if n not in CONTRASTS]
    held = agreement(named, kinds["shift"], np.array([ROPE]), "ivw_noise", "abc")
    path = pd.concat([estimates["within"].to_frame().assign(rank=r) for r in (0, 4, 8)], ignore_index=True)
    checks = [
        {
            "name": f"placebo {text}",
            "verdict": "failed",
            "note": f"12% of 40 {text}",
            "null_in_words": "no effect",
        },
        {"name": "saturation", "verdict": "not applicable", "note": "no such runs"},
    ]
    return Finished(
        _header(text, outcome),
        with_doubts(
            claim_table(
                {n: e for n, e in estimates.items() if n not in CONTRASTS[1:]},
                replace(_knockout("contrast", names, outcome, TRUTH), mean_move=np.full(5, 2.563)),
                estimates["rectified_judge"],
                estimates["rectified_again"],
                np.array([ROPE]),
                labels,
            ),
            checks,
        ),
        held,
        _basis(names, labels),
        checks,
        design,
        estimates,
        kinds,
        {"noise": _sumstats(design, names, outcome)},
        compare_kinds([kinds["shift"], kinds["mean"]]) if parts else None,
        pd.concat([k.equivalence(rope=ROPE).assign(kind=n) for n, k in kinds.items()], ignore_index=True),
        path,
    )


def many(count: int, claims: int = 40) -> Finished:
    """A finished study of many features: the rows of five, over and over, with effects drawn anew."""
    small, rng = study(), np.random.default_rng(count)
    names = tuple(f"layer.1:f{k:07d}" for k in range(count))
    effect, se = rng.normal(0, 0.01, count), rng.uniform(0.004, 0.012, count)
    effect[rng.choice(count, min(claims, count), replace=False)] = (
        rng.choice([-1, 1], min(claims, count)) * 0.4
    )
    lower, upper = effect - 1.96 * se, effect + 1.96 * se
    causal, negligible = np.maximum(lower, -upper) > ROPE, np.maximum(-lower, upper) < ROPE
    table = small.results.iloc[np.arange(count) % 5].reset_index(drop=True)
    table = table.assign(
        feature=names,
        label=[f"word={k % 97}" for k in range(count)],
        effect=effect,
        ci_lower=lower,
        ci_upper=upper,
        neglog10p=-(np.log(2) + norm.logsf(np.abs(effect / se))) / np.log(10),
        verdict=np.where(causal, "causal", np.where(negligible, "negligible", "indeterminate")),
        knockout=effect + rng.normal(0, 0.01, count),
        confirmed=np.where(causal, "confirmed", ""),
        knockout_verdict=np.where(causal, "causal", "indeterminate"),
    )
    table = table.assign(knockout_lower=table["knockout"] - 0.02, knockout_upper=table["knockout"] + 0.02)
    directions = rng.normal(size=(count, 5)).astype(np.float32)
    dictionary = Dictionary(names=names, read=directions, write=directions, center=np.zeros(5))
    order = np.argsort(-np.abs(effect), kind="stable")
    made = replace(
        small,
        results=table.iloc[order].reset_index(drop=True),
        basis=replace(small.basis, dictionary=dictionary),
        kinds=None,
    )
    graded = small.claims.claims
    graded = graded.iloc[np.arange(count) % len(graded)].assign(feature=made.results["feature"].to_numpy())
    made.__dict__["claims"] = replace(small.claims, claims=graded.reset_index(drop=True))
    return made


def tall(count: int) -> Finished:
    """A finished study of many features with all that grades ask for: what five features have, over and over."""
    small, at = study(), np.arange(count) % 5
    names = tuple(f"layer.1:f{k:07d}" for k in range(count))

    def taller(held: Any, named: str) -> Any:
        if len(getattr(held, named)) != 5:
            return held
        arrays = {n: v for n, v in vars(held).items() if isinstance(v, np.ndarray) and 5 in v.shape}
        rows = {n: v.take(at, axis=v.shape.index(5)) for n, v in arrays.items()}
        flags = {"flags": tuple(held.flags[k] for k in at)} if getattr(held, "flags", ()) else {}
        return replace(held, **rows, **flags, **{named: names})

    dictionary = small.basis.dictionary
    return replace(
        small,
        results=small.results.iloc[at].reset_index(drop=True).assign(feature=names),
        estimates={n: taller(e, "exposures") for n, e in small.estimates.items()},
        knockouts={n: taller(k, "features") for n, k in small.knockouts.items()},
        basis=replace(
            small.basis,
            dictionary=replace(
                dictionary,
                names=names,
                read=dictionary.read[at],
                write=dictionary.write[at],
                labels=tuple(dictionary.labels[k] for k in at),
            ),
        ),
        kinds=None,
    )


def _profiles(names: tuple[str, ...]) -> FeatureProfiles:
    """What five features respond to; what stands in their names stands in their inputs too."""
    text, F = names[0].removeprefix("layer.1:c0"), len(names)
    inputs = [
        (n, end, 1, k, f"f{k}", 2.0 - k, f"good{text}", "word", f"It was [[good{text}]] {text} today")
        for n in names
        for end in ("high", "low")
        for k in range(3)
    ]
    columns = ["feature", "end", "rank", "input", "family", "value", "token", "token_class", "text"]
    tokens = [(n, f"good{text}", 1.5, 12, 9, 6.0) for n in names]
    classes = [(n, c, 0.2, 1.0, 0.9, 40) for n in names for c in ("word", f"slot {text}")]
    return FeatureProfiles(
        features=names,
        mean=np.zeros(F),
        sd=np.ones(F),
        share_active=np.full(F, 0.5),
        inputs=pd.DataFrame(inputs, columns=columns),
        tokens=pd.DataFrame(tokens, columns=["feature", "token", "difference", "count", "families", "z"]),
        classes=pd.DataFrame(
            classes, columns=["feature", "token_class", "mean", "sd", "share_active", "count"]
        ),
        quantiles=np.tile(norm.ppf(np.clip(SHARES, 0.001, 0.999)), (F, 1)),
    )


def _header(text: str, outcome: str) -> dict[str, Any]:
    plan = Plan.model_validate(
        {
            "title": f"A study {text}",
            "model": {"site": "layer.1", "folder": f"net {text}"},
            "outcome": {"name": outcome, "positive": [f"good {text}"], "negative": [f"bad {text}"]},
            "prompts": {"templates": f"{text}.txt", "fillers": {f"slot {text}": [f"filler {text}"]}},
        }
    )
    provenance = {
        "model": "m" * 64,
        "design": "d" * 64,
        "seeds": {"plan": 3},
        "versions": {"python": "3.11"},
        "machine": "Linux",
        "command": "mrinterp run",
    }
    return {
        "plan": plan.to_dict(),
        "rules_hash": "a" * 64,
        "candidates_hash": "b" * 64,
        "knockouts": {"shift": "c" * 64},
        "history": _history(),
        "earlier_plans": 2,
        "format_version": 1,
        "provenance": provenance,
    }


def _history() -> list[dict[str, Any]]:
    """The record of a run whose steps came in their order."""
    history: list[dict[str, Any]] = []
    for step, wrote, more in (
        ("rules", {"design": "d"}, {"existed": []}),
        ("discovery", {"basis": "b"}, {}),
        ("candidates", {}, {"existed": []}),
        ("plan knockouts", {}, {"names": ["shift"], "planned": "blind", "existed": []}),
        ("keep knockout", {"knockouts/shift": "c" * 64}, {"planned": "blind", "existed": []}),
        ("freeze", {}, {"names": ["shift"], "existed": []}),
        ("scan", {"panel/estimation": "p"}, {}),
        ("estimates", {"estimates/within": "e"}, {}),
    ):
        history = appended(history, step, (), wrote, **more)
    return history


def _estimates(names: tuple[str, ...], outcome: str, effect: np.ndarray, parts: bool) -> dict[str, Estimates]:
    def made(method: str, beta: np.ndarray, se: float) -> Estimates:
        status = np.array(["ok"] * 4 + ["weak <b>set</b>"], dtype=object)[:, None]
        return Estimates(
            method=method,
            label=f"the {method}",
            exposures=names,
            outcomes=(outcome,),
            beta=beta[:, None],
            se=np.full((5, 1), se),
            status=status,
            n_instruments=np.full((5, 1), 90),
            df=np.full((5, 1), 60.0),
            assumes=(f"{method} is right",),
            reference=f"Ref {method} 10.1/x",
            unit="point per sd",
        )

    def contrast(beta: np.ndarray, se: float) -> Estimates:
        meta = {"estimand": "contrast", "bias": "none: knocked out", "families": 10, "all_families": 80}
        meta["passes"] = {"forward": 1200, "resumed": 3600, "backward": 1000}
        return replace(made("rectified_contrast", beta, se), unit="point per natural sd", meta=meta)

    again = AGAIN if parts else np.full(5, np.nan)
    out = {
        "rectified": contrast(effect, 0.01),
        "rectified_judge": contrast(TRUTH, 0.005),
        "rectified_again": contrast(again, 0.02),
        "ivw_noise": made("ivw", effect + np.array([0.1, 0.1, 0.1, 0.2, 0.1]), 0.02),
        "within": made("within", effect, 0.01),
    }
    if parts:
        out |= {"gradient": made("gradient", TRUTH, 0.003)}
    return out


def _knockout(
    kind: str, names: tuple[str, ...], outcome: str, effect: np.ndarray, flags: tuple[str, ...] = ()
) -> KnockoutEffects:
    F, P = len(names), 6
    each = np.random.default_rng(len(kind)).normal(0, 0.01, (F, P, 1))
    prompts = pd.DataFrame({"prompt": range(P), "family": [0, 0, 1, 1, 2, 2]})
    zeros = np.zeros(F)
    return KnockoutEffects(
        kind=kind,
        label=f"{kind} of 1 sd",
        features=names,
        outcomes=(outcome,),
        effect=effect[:, None],
        se=np.full((F, 1), 0.005),
        df=40.0,
        effect_by_input=effect[:, None, None] + each - each.mean(axis=1, keepdims=True),
        inputs=prompts,
        read_back_error=zeros + 1e-7,
        leakage=zeros + 2e-7,
        off_support=zeros + 0.014,
        outside_range=zeros + 0.25,
        noise_floor=np.zeros(1),
        flags=flags,
    )


def _basis(names: tuple[str, ...], labels: tuple[str, ...]) -> Basis:
    eye = np.eye(5)
    ranks = pd.DataFrame({"rank": [0, 4, 8], "outcome_r2": [0.1, 0.4, 0.3], "feature_r2": [-1e-9, 0.2, 0.3]})
    meta = {"outcome_sd": [1.0], "ceiling": 8}
    return Basis(
        dictionary=Dictionary(names=names, read=eye, write=eye, center=np.zeros(5), labels=labels),
        mean_directions=eye,
        position_directions=eye,
        order=np.arange(10),
        rank=4,
        path=ranks,
        support=eye,
        support_variance=np.ones(5),
        meta=meta,
    )


def _design(text: str) -> Design:
    rows = [
        {"prompt": f"{split}{f}", "family": f"{split}{f}", "split": split, "kind": kind}
        for split in ("discovery", "estimation", "replication", "knockout")
        for f in range(3)
        for kind in ("clean", "noise", "noise")
        if kind == "clean" or split != "knockout"
    ]
    runs = pd.DataFrame(rows).assign(run=range(len(rows)), input=0, clean=0)
    instruments = pd.DataFrame(
        {
            "instrument": [f"n{j} {text}" for j in range(4)] + ["slot=x", "p0"],
            "kind": ["noise"] * 4 + ["slot", "placebo"],
            "locus": ["first"] * 4 + ["slot", "none"],
            "allele": "",
            "unit": "",
            "placebo": [False] * 5 + [True],
        }
    )
    return Design(
        inputs=pd.DataFrame({"text": [f"It was fine {text}"]}),
        runs=runs,
        instruments=instruments,
        doses=np.zeros((len(runs), 6), np.float32),
        noise_directions=np.zeros((1, 4, 2), np.float32),
    )


def _sumstats(design: Design, names: tuple[str, ...], outcome: str) -> SumStats:
    beta, se = np.ones((6, 6)), np.ones((6, 6))
    se[:, 3] = 0  # dropped: no error
    traits = pd.DataFrame({"trait": [*names, outcome], "role": ["feature"] * 5 + ["outcome"], "label": ""})
    return SumStats(
        beta=beta, se=se, traits=traits, instruments=design.instruments, dof=np.full(6, 2.0), clusters=3
    )
