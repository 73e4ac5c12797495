"""A small result of any type, with made-up numbers: to see what its table, its text and its figure look like."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.errors import InputError, near_misses
from mrinterp.results._abstraction.alignment_search import AlignmentSearch
from mrinterp.results._abstraction.interchange_accuracy import ALIGNED, InterchangeAccuracy
from mrinterp.results._against_random import PER, AgainstRandom
from mrinterp.results._agreement import SCORES, Agreement
from mrinterp.results._attribution_scores import AttributionScores
from mrinterp.results._attribution_table import AttributionTable
from mrinterp.results._borrowed_effects import BYPASS, BorrowedEffects
from mrinterp.results._check import NotApplicable
from mrinterp.results._claims import DOMAINS, Claims
from mrinterp.results._co_activation_map import CoActivationMap
from mrinterp.results._coloc import Coloc
from mrinterp.results._contrast_levels import ContrastLevels
from mrinterp.results._designs.direct_effect import DOWNSTREAM, DirectEffect
from mrinterp.results._designs.dose_response import SHAPES, DoseResponse
from mrinterp.results._designs.epistasis import CALLS, Epistasis
from mrinterp.results._designs.faithfulness import Faithfulness
from mrinterp.results._designs.mediated_effects import MediatedEffects
from mrinterp.results._designs.minimal_set import MinimalSet
from mrinterp.results._designs.ordered_knockouts import OrderedKnockouts
from mrinterp.results._designs.paths_to_outcome import PathsToOutcome
from mrinterp.results._designs.rescue import Rescue
from mrinterp.results._designs.set_effects import SetEffects
from mrinterp.results._designs.site_experiment import DEPENDS, SiteExperiment
from mrinterp.results._designs.specificity import Specificity
from mrinterp.results._diagnosis import Diagnosis
from mrinterp.results._edits.confounder_removal import CUE_GROUPS, ConfounderRemoval
from mrinterp.results._edits.pruning import Pruning
from mrinterp.results._edits.vestigial_features import VestigialFeatures
from mrinterp.results._estimates import Estimates
from mrinterp.results._feature_profiles import FeatureProfiles
from mrinterp.results._fine_mapping import CredibleSet, FineMapping
from mrinterp.results._kind_comparison import KindComparison
from mrinterp.results._knockout_effects import KnockoutEffects
from mrinterp.results._leaderboard import ALL, Leaderboard
from mrinterp.results._leaderboard import SCORES as BOARD_SCORES
from mrinterp.results._negative_controls import NegativeControls
from mrinterp.results._network_description import NetworkDescription
from mrinterp.results._read_back import ReadBack
from mrinterp.results._result import Axis, Named, Parts, Result, Rows, Shape, declared
from mrinterp.results._scan.feature_scan import FeatureScan
from mrinterp.results._sensitivity import Sensitivity
from mrinterp.results._sweep_results import SweepResults
from mrinterp.results._trait_clusters import TraitCluster, TraitClusters

__all__ = ["example"]

Given = dict[str, Any]


class _Maker:
    """Made-up fields of one type: what its declaration allows, and what the type's own recipe says beyond that."""

    def __init__(self, kind: type[Result], size: int, seed: int) -> None:
        self.kind, self.rng = kind, np.random.default_rng(seed)
        self.declared = declared(kind)
        self.sizes: dict[str, int] = {}
        for mark, _ in self.declared.values():
            for axis in mark.axes if isinstance(mark, Shape) else [getattr(mark, "name", "")]:
                if isinstance(axis, str) and axis.isidentifier() and axis not in self.sizes:
                    # Axes of different lengths, so that a transposed array does not pass for the right one.
                    self.sizes[axis] = 2 if axis == "O" else size + len(self.sizes)

    def size(self, axis: str | int) -> int:
        return sum(int(p) if p.isdigit() else self.sizes[p] for p in str(axis).split("+"))

    def fields(self) -> Given:
        made: Given = {}
        for name, (mark, hint) in self.declared.items():
            if isinstance(mark, Axis):
                made[name] = self.names(name, mark)
            elif isinstance(mark, Shape):
                made[name] = self.array(name, mark, hint, made)
            elif not isinstance(mark, Rows | Parts | Named):
                made[name] = {str: name, int: 10, bool: True}.get(hint, {})
        level = {"level": 0.95, "df": 20.0, "noise_floor": made.get("noise_floor")}
        made |= {k: v for k, v in level.items() if k in made and np.ndim(made[k]) == 0}
        made |= {"noise_floor": 0.01} if np.ndim(made.get("noise_floor", np.zeros(1))) == 0 else {}
        return made

    def names(self, name: str, mark: Axis) -> tuple[str, ...]:
        count = self.size(mark.name)
        stem = name.removesuffix("s") if name.endswith("s") else name
        return (mark.fill,) * count if mark.fill is not None else tuple(f"{stem} {i}" for i in range(count))

    def array(self, name: str, mark: Shape, hint: Any, made: Given) -> Any:
        shape = tuple(self.size(a) for a in mark.axes)
        if not shape and hint is float:
            shape = ()
        words = str(hint)
        if "int" in words:
            return np.arange(int(np.prod(shape))).reshape(shape) % 2
        if "bool" in words:
            return np.ones(shape, dtype=bool)
        if "object" in words or (hint == NDArray[Any]):
            return np.full(shape, "ok" if name == "status" else "", dtype=object)
        if mark.ends is not None:
            return np.sort(self.rng.normal(0.6, 0.2, shape), axis=0)[[1, 0, 2] if shape[0] == 3 else [0, 1]]
        for end, sign in (
            ("lower", -1),
            ("low", -1),
            ("upper", 1),
            ("high", 1),
        ):
            if name.endswith(end):
                return self.end(name, end, shape, sign, made)
        small = any(w in name for w in ("se", "error", "leakage", "rope", "floor", "sd"))
        value = (
            self.rng.uniform(0.02, 0.9, shape)
            if small or name.startswith(("p", "adjusted", "tost", "q", "i2"))
            else self.rng.normal(0.5, 0.4, shape)
        )
        return value * 0.1 if small else value

    def end(self, name: str, suffix: str, shape: tuple[int, ...], sign: int, made: Given) -> Any:
        """An interval's end, on its side of the number that the interval is of."""
        stem = name.removesuffix(suffix).rstrip("_")
        center = made.get(stem)
        if center is None or np.shape(center) != shape:
            alike = [
                k
                for k, v in made.items()
                if np.shape(v) == shape
                and isinstance(v, float | np.ndarray)
                and np.asarray(v).dtype.kind == "f"
            ]
            numbers = [k for k in alike if not k.endswith(("se", "lower", "upper", "low", "high"))]
            center = made[numbers[-1]] if numbers else 0.5
        return center + sign * 0.3


def example(kind: str | type[Result], size: int = 3, seed: int = 0) -> Result:
    """Make up a small result of a type.

    Parameters
    ----------
    kind : str or type
        A type of `mrinterp.results`, or its name.
    size : int
        Entries of the first axis; the others are a little longer, and there are two outcomes.
    seed : int
        Of the made-up numbers.

    Returns
    -------
    Result

    Raises
    ------
    InputError
        For a name that is not a type of result, or a size below 2.

    Notes
    -----
    The numbers mean nothing, and do not fit each other as those of a study do.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> print(example("Epistasis").summary)
    epistasis: 3 features, 2 outcomes
    """
    name = kind if isinstance(kind, str) else kind.__name__
    if name not in RECIPES:
        raise InputError("example", repr(name), near_misses(name, RECIPES) or f"Known: {', '.join(RECIPES)}")
    if not isinstance(size, int) or size < 2:
        raise InputError("size", repr(size), "Give a whole number of at least 2")
    result, recipe = RECIPES[name]
    maker = _Maker(result, size, seed)
    made = maker.fields()
    made |= recipe(maker, made)
    needed = {f.name for f in fields(result) if f.default is MISSING and f.default_factory is MISSING}  # type: ignore[arg-type]
    assert needed <= set(made), f"{name}: {needed - set(made)}"
    return result(**made)


def _nothing(maker: _Maker, made: Given) -> Given:
    return {}


def _cycled(words: tuple[str, ...], shape: tuple[int, ...]) -> NDArray[Any]:
    return np.resize(np.array(words, dtype=object), shape)


def _pairs_of(maker: _Maker, first: str, other: str, made: Given) -> tuple[NDArray[Any], NDArray[Any]]:
    a, b = (np.array(made[n], dtype=object) for n in (first, other))
    return np.repeat(a, len(b)), np.tile(b, len(a))


def _against_random(maker: _Maker, made: Given) -> Given:
    shape = made["effect"].shape
    R = maker.sizes["R"]
    rank = 1.0 + np.arange(np.prod(shape)).reshape(shape) % R
    return {
        "knockout": "mean",
        "unit": PER["sd"],
        "rank": rank,
        "p": rank / (R + 1),
        "adjusted_p": rank / (R + 1),
    }


def _sweep(maker: _Maker, made: Given) -> Given:
    effect = np.round(maker.rng.normal(0, 0.3, 6), 3)
    places = {"study": ["h.0", "h.1"], "site": ["h.0", "h.1"], "position": "last", "dictionary": "units"}
    studies = pd.DataFrame(places).assign(status="finished")
    claims = studies.drop(columns="status").loc[np.repeat([0, 1], 3)].reset_index(drop=True)
    claims = claims.assign(feature=[f"feature {i}" for i in range(6)], outcome="y", effect=effect)
    found = np.arange(6) % 2 == 0
    claims = claims.assign(ci_lower=effect - 0.05, ci_upper=effect + 0.05, in_ropes=effect / 0.02)
    claims = claims.assign(
        verdict=np.where(found, "causal", "indeterminate"), q=np.where(found, 0.01, 0.4), stands=found
    )
    return {"claims": claims, "studies": studies, "alpha": 0.05, "meta": {"title": "layers"}}


def _leaderboard(maker: _Maker, made: Given) -> Given:
    methods, families = ("default", "exhaustive"), ("a gate", "a null world")
    places = [(f, m, s) for f in (ALL, *families) for m in methods for s in BOARD_SCORES]
    scores = pd.DataFrame(places, columns=["family", "method", "score"])
    value = np.round(maker.rng.uniform(0.2, 0.8, len(scores)), 3)
    worlds = np.where(scores["family"] == ALL, 4, 2)
    scores = scores.assign(
        label=scores["method"], value=value, lower=value - 0.1, upper=value + 0.1, spread=0.05
    )
    scores = scores.assign(worlds=worlds, drawn=worlds, why="")
    lacking = scores["score"] == "source"
    scores.loc[lacking, ["value", "lower", "upper", "spread"]] = np.nan
    scores.loc[lacking, "worlds"], scores.loc[lacking, "why"] = 0, "it names no cause of an impostor"
    paired = scores[~lacking & (scores["method"] != "default")].rename(columns={"value": "difference"})
    paired = paired[["family", "method", "score", "difference", "lower", "upper", "worlds"]].reset_index(
        drop=True
    )
    known = pd.DataFrame({"family": families, "about": ["One cause behind a gate.", "Nothing is causal."]})
    return {
        "scores": scores,
        "paired": paired,
        "families": known,
        "order": methods,
        "size": "quick",
        "seeds": 2,
        "log": (),
        "meta": {"estimands": dict.fromkeys(methods, "slope")},
    }


def _profiles(maker: _Maker, made: Given) -> Given:
    names = list(made["features"])
    ends = pd.DataFrame({"feature": np.repeat(names, 2), "end": ["high", "low"] * len(names), "rank": 1})
    ends = ends.assign(
        input=[0, 1] * len(names), family=["0", "1"] * len(names), value=[2.0, -1.5] * len(names)
    )
    ends = ends.assign(token=["good", "bad"] * len(names), token_class="quality")
    ends = ends.assign(text=["it was [[good]]", "it was [[bad]]"] * len(names))
    tokens = ends[["feature", "token"]].assign(
        difference=[1.5, -1.2] * len(names), count=40, families=40, z=9.0
    )
    classes = ends[["feature", "token_class", "value"]].rename(columns={"value": "mean"})
    classes = classes.drop_duplicates("feature", ignore_index=True).assign(
        sd=1.0, share_active=1.0, count=80, difference=0.0
    )
    return {
        "inputs": ends,
        "tokens": tokens,
        "classes": classes,
        "share_active": np.ones(len(names)),
        "sd": np.ones(len(names)),
        "meta": {},
    }


def _agreement(maker: _Maker, made: Given) -> Given:
    rng, F = maker.rng, 6
    methods, outcome = ("within", "gradient"), "outcome 0"
    truth = rng.normal(0, 0.5, F)
    scores = pd.DataFrame({"method": methods, "label": methods, "outcome": outcome, "n": F, "missing": 0})
    for name in SCORES:
        value = rng.uniform(0.6, 0.95, len(methods))
        ends = {f"{name}_boot_lower": value - 0.2, f"{name}_boot_upper": value + 0.2}
        ends |= {f"{name}_lower": value - 0.2, f"{name}_upper": value + 0.2}
        scores = pd.concat([scores, pd.DataFrame({name: value, **ends})], axis=1)
    scores["base_rate"], scores["reason"], scores["rmse"] = 0.5, "", 0.1
    parts = []
    for method in methods:
        estimate = truth + rng.normal(0, 0.1, F)
        parts.append(
            pd.DataFrame(
                {
                    "method": method, "exposure": [f"feature {i}" for i in range(F)], "outcome": outcome,
                    "estimate": estimate, "ci_lower": estimate - 0.2, "ci_upper": estimate + 0.2,
                    "knockout": truth, "knockout_lower": truth - 0.1, "knockout_upper": truth + 0.1,
                }
            )
        )  # fmt: skip
    joined = pd.concat(parts, ignore_index=True)
    return {
        "scores": scores,
        "joined": joined,
        "misled": joined[:0],
        "meta": {"screen": "ivw_noise", "rope": [0.1]},
    }


def _attribution_scores(maker: _Maker, made: Given) -> Given:
    gradient = example("Estimates", max(maker.sizes.values(), default=3))
    assert isinstance(gradient, Estimates)
    return {"methods": {"gradient": gradient, "linear_probe": NotApplicable("there is one class only")}}


def _attribution_table(maker: _Maker, made: Given) -> Given:
    F, methods, rng = 6, made["methods"], maker.rng
    truth = rng.normal(0, 0.5, F)
    table = pd.DataFrame(
        {"feature": [f"feature {i}" for i in range(F)], "outcome": "outcome 0", "knockout": truth}
    )
    table["knockout_lower"], table["knockout_upper"], table["flags"] = truth - 0.1, truth + 0.1, ""
    for method in methods:
        table[method] = truth + rng.normal(0, 0.1, F)
    scores = pd.DataFrame({"method": methods, "outcome": "outcome 0", "features": F, "status": "ok"})
    for name in ("correlation", "slope"):
        value = rng.uniform(0.7, 0.95, len(methods))
        scores[name], scores[f"{name}_lower"], scores[f"{name}_upper"] = value, value - 0.2, value + 0.2
    for name in ("rank_correlation", "sign_concordance", "coverage", "rmse"):
        scores[name] = rng.uniform(0.7, 0.95, len(methods))
    return {"knockout": "mean", "table": table, "scores": scores}


def _coloc(maker: _Maker, made: Given) -> Given:
    F, O, K, J, G = (maker.sizes[a] for a in "FOKJG")
    posterior = maker.rng.dirichlet(np.ones(5), (F, O, K))
    return {
        "posterior": posterior,
        "priors": np.tile([1e-2, 1e-2, 1e-3], (K, 1)),
        "shares": np.linspace(0.1, 0.9, G),
        "sensitivity": maker.rng.uniform(0, 0.5, (F, O, K, G, 2)),
        "sign": np.where(maker.rng.random((F, O, K)) > 0.5, 1.0, -1.0),
        "locus": np.arange(J) % K,
        "top": np.broadcast_to(np.arange(K), (F, O, K)).copy(),
        "meta": {"p12_grid": np.full((K, G), 1e-3).tolist()},
    }


def _estimates(maker: _Maker, made: Given) -> Given:
    shape = made["beta"].shape
    return {
        "label": "inverse-variance weighted", "method": "ivw", "se": np.full(shape, 0.1), "df": np.full(shape, np.inf),
        "n_instruments": np.full(shape, 20), "ci_lower": None, "ci_upper": None, "neglog10p": None,
        "details": {"q": np.full(shape, 12.0)}, "unit": "logits",
    }  # fmt: skip


def _fine_mapping(maker: _Maker, made: Given) -> Given:
    names = made["instruments"]
    sets = tuple(
        (
            CredibleSet(
                trait=trait, members=names[:2], positions=(0, 1), effect=0, coverage=0.96, min_abs_corr=0.9,
                mean_abs_corr=0.93, log_bf=8.0,
            ),
        )
        for trait in made["traits"]
    )  # fmt: skip
    pip = np.full(made["pip"].shape, 0.02)
    pip[:, :2] = 0.48
    return {"pip": pip, "sets": sets}


def _kind_comparison(maker: _Maker, made: Given) -> Given:
    shape = (maker.sizes["K"], maker.sizes["F"])
    return {"labels": made["kinds"], "flags": np.full(shape, "", dtype=object), "compared": np.full(made["q"].shape, 3.0),
            "df": np.full(made["effect"].shape, 20.0), "families": 21}  # fmt: skip


def _contrast_levels(maker: _Maker, made: Given) -> Given:
    low = np.zeros((maker.sizes["F"], maker.sizes["K"]))
    rare = np.full(len(low), np.nan)
    return {
        "low": low,
        "high": low + 1.0,
        "usual": rare,
        "fires": rare,
        "families": 40,
        "quantiles": (0.1, 0.9),
    }


def _knockout_effects(maker: _Maker, made: Given) -> Given:
    P = maker.sizes["P"]
    inputs = pd.DataFrame({"prompt": np.arange(P), "family": np.arange(P)})
    effect = made["effect"]
    return {
        "kind": "mean", "label": "mean of the clean values", "inputs": inputs, "df": P - 1.0, "mean_df": P - 1.0,
        "effect_df": np.full(len(effect), P - 1.0), "rms_change": np.abs(effect), "noise_floor": np.full(2, 0.01),
        "outside": np.zeros(made["outside"].shape), "massive_activation": np.ones(made["outside"].shape),
        "rms_bound": np.abs(effect) / 2, "rms_upper": np.abs(effect) * 2,
        "as_it_is": effect, "as_it_is_lower": effect - 1.0, "as_it_is_upper": effect + 1.0,
    }  # fmt: skip


def _trait_clusters(maker: _Maker, made: Given) -> Given:
    one = TraitCluster(
        traits=made["traits"][:2], posterior=0.9, regional=0.95, alignment=0.93, candidate=made["instruments"][0],
        explained=0.8, instrument_posterior=tuple(np.full(len(made["instruments"]), 1 / len(made["instruments"])).tolist()),
    )  # fmt: skip
    alone = [
        TraitCluster(
            traits=(), posterior=float("nan"), regional=float("nan"), alignment=float("nan"), candidate="",
            explained=float("nan"), dropped=name,
        )
        for name in made["traits"][2:]
    ]  # fmt: skip
    return {"clusters": (one, *alone)}


def _direct_effect(maker: _Maker, made: Given) -> Given:
    return {"downstream": _cycled(DOWNSTREAM, made["total"].shape), "status": "ok"}


def _dose_response(maker: _Maker, made: Given) -> Given:
    F, D = made["dose"].shape
    shape = _cycled(SHAPES[:5], (F, maker.sizes["O"]))
    return {"dose": np.tile(np.linspace(-2, 2, D), (F, 1)), "outside": np.zeros((F, D)), "shape": shape}


def _epistasis(maker: _Maker, made: Given) -> Given:
    M, K = len(made["joint"]), maker.sizes["K"]
    i, j = np.triu_indices(K, 1)
    pairs = np.resize(np.column_stack([i, j]), (M, 2))
    return {"pairs": pairs, "call": _cycled(CALLS, made["joint"].shape), "status": "ok"}


def _faithfulness(maker: _Maker, made: Given) -> Given:
    D = maker.sizes["D"]
    return {"proportions": np.linspace(0, 1, D), "sizes": np.arange(D)}


def _minimal_set(maker: _Maker, made: Given) -> Given:
    path = pd.DataFrame(
        {"step": [1, 2], "action": "add", "feature": ["a", "b"], "size": [1, 2], "share": [0.5, 0.8]}
    )
    return {"mode": "sufficiency", "path": path, "status": "ok"}


def _scalar_status(maker: _Maker, made: Given) -> Given:
    return {"status": "ok"}


def _site_experiment(maker: _Maker, made: Given) -> Given:
    words = ("causal", "negligible", "indeterminate", DEPENDS)
    return {
        "averaged": "averaged over the other features' settings",
        "difference_p": np.full(made["effect"].shape, 0.2),
        "verdict": _cycled(words, made["effect"].T.shape).T,
        "runs": 1920,
        "advice": "",
    }


def _specificity(maker: _Maker, made: Given) -> Given:
    words = ("specific", "not specific", "no effect", "indeterminate")
    return {"verdict": _cycled(words, made["verdict"].shape)}


def _change_table(before: Any) -> pd.DataFrame:
    table = pd.DataFrame(
        {"inputs": 8, "families": 4, "before": before, "after": before + 0.1, "change": 0.1, "se": 0.02},
        index=range(len(before)),
    )
    return table.assign(lower=0.05, upper=0.15, boot_lower=0.06, boot_upper=0.14, changed=0.5, status="ok")


def _borrowed_effects(maker: _Maker, made: Given) -> Given:
    S = len(made["sources"])
    total = made["own"] + made["borrowed"].sum(axis=1) + made["left"]
    return {
        "sources": (*made["sources"][:-1], BYPASS),
        "member": np.full(len(made["features"]), -1),
        "correlation": np.tile(np.append(np.linspace(0.9, 0.1, S - 1), np.nan), (len(made["features"]), 1)),
        "total": total,
        "unit": "logits per sd",
    }


def _co_activation_map(maker: _Maker, made: Given) -> Given:
    K, F = len(made["leads"]), len(made["features"])
    centers = made["centers"] / np.linalg.norm(made["centers"], axis=1, keepdims=True)
    return {
        "centers": centers,
        "cluster": np.arange(F) % K,
        "similarity": np.full(F, 0.9),
        "strength": np.full(F, 8.0),
    }


def _negative_controls(maker: _Maker, made: Given) -> Given:
    ends = {"mean": 0.1, "mean_lower": -0.2, "mean_upper": 0.4, "sd": 1.2, "sd_lower": 0.9, "sd_upper": 1.6}
    return {**ends, "effective": float(len(made["controls"])), "method": "likelihood", "test_neglog10p": 0.5}


def _feature_scan(maker: _Maker, made: Given) -> Given:
    J, Q = len(made["instruments"]), len(made["expected"])
    pairs = pd.DataFrame(
        {"feature": _cycled(("x1", "x7"), (4,)), "instrument": made["instruments"][0], "beta": 0.5, "se": 0.1}
    )
    line = np.linspace(0.0, 3.0, Q)
    return {
        "pairs": pairs.assign(neglog10p=5.0),
        "features": 1000,
        "changed": 990,
        "kept": 40,
        "threshold": 4.0,
        "expected": line,
        "observed": 1.3 * line,
        "permuted": line,
        "permuted_lower": 0.9 * line,
        "permuted_upper": 1.1 * line,
        "inflation": np.full(J, 1.4),
        "inflation_permuted": 1.01,
        "inflation_permuted_se": 0.01,
        "errors": "CR3",
    }


def _confounder_removal(maker: _Maker, made: Given) -> Given:
    N = len(made["before"])
    inputs = pd.DataFrame({"input": np.arange(N), "family": np.arange(N), "group": _cycled(CUE_GROUPS, (N,))})
    groups = (*CUE_GROUPS, "elsewhere", "all")
    table = _change_table(np.full(2 * len(groups), 0.7))
    table.insert(0, "outcome", np.tile(np.array(made["outcomes"], dtype=object), len(groups)))
    table.insert(0, "group", np.repeat(np.array(groups, dtype=object), 2))
    return {"how": "weights", "inputs": inputs, "table": table}


def _read_back(maker: _Maker, made: Given) -> Given:
    count = len(made["features"])
    matrix = np.eye(count) + 0.1 * made["matrix"]
    return {"matrix": matrix, "meta": {"unit": "sd", "measured": True}}


def _pruning(maker: _Maker, made: Given) -> Given:
    table = _change_table(np.full(len(made["outcomes"]), 0.7)).drop(columns="status")
    table.insert(0, "outcome", np.array(made["outcomes"], dtype=object))
    return {
        "table": table.assign(sd=1.0, rope=0.2, verdict="negligible"),
        "parameters_before": 1000,
        "parameters_after": 900,
    }


def _vestigial_features(maker: _Maker, made: Given) -> Given:
    F = len(made["features"])
    table = pd.DataFrame(
        {"feature": made["features"], "kind": "mean", "outcome": "outcome 0", "effect": 0.1 * np.arange(F)}
    )
    table = table.assign(
        rope=0.2, p=0.01, adjusted=0.02, rms_change=0.05, vestigial=np.arange(F) < 2, status="ok", flags=""
    )
    return {"table": table, "correction": "holm"}


def _interchange_accuracy(maker: _Maker, made: Given) -> Given:
    M = 12
    arms = ("random subspace", "wrong variable")
    table = pd.DataFrame(
        {"alignment": [ALIGNED, *arms], "detail": "", "read_back": 0.0, "undecided": 0.0, "status": "ok"}
    )
    pairs = pd.DataFrame({"base": np.arange(M), "source": np.arange(M)[::-1], "family": np.arange(M) // 2})
    pairs = pairs.assign(base_label=0, label=np.arange(M) % 2, informative=np.arange(M) % 2 == 1)
    return {
        "arms": table,
        "pairs": pairs,
        "hits": (maker.rng.random((3, M)) > [[0.1], [0.5], [0.6]]).astype(float),
        "draws": 50,
    }


def _alignment_search(maker: _Maker, made: Given) -> Given:
    variables = [f"variable {i}" for i in range(maker.sizes["V"])]
    held = {v: example("InterchangeAccuracy") for v in variables}
    return {
        "rotation": {v: np.eye(4)[:2] for v in variables},
        "held_out": held,
        "trained": dict.fromkeys(variables, 0.95),
        "losses": np.linspace(1.0, 0.2, 30)[:, None] + np.zeros((30, len(variables))),
        "pairs": {"trained": 40, "held_out": 12, "unused": 8},
    }


def _network_description(maker: _Maker, made: Given) -> Given:
    S = maker.sizes["S"]
    classes = pd.DataFrame({"token_class": ["first", "last"], "least": 1, "most": 1, "example": "the"})
    suggestions = pd.DataFrame(
        {"key": ["model.site"], "value": ["site 1"], "why": "the middle of the network"}
    )
    return {
        "name": "gpt2",
        "pattern": np.array([f"site {i}" for i in range(S)], dtype=object),
        "what": np.full(S, "residual stream", dtype=object),
        "classes": classes,
        "suggestions": suggestions,
        "facts": {"blocks": f"{S}"},
    }


def _paths_to_outcome(maker: _Maker, made: Given) -> Given:
    path = np.ones(made["path"].shape, dtype=bool)
    path[-1] = False
    largest = np.where(path, np.nan, 0.0)
    found = np.where(path, "gradient", "").astype(object)
    edits = np.where(path.all(axis=1), 0, 64)
    meta = {"inputs": 8, "settings": 8}
    return {"path": path, "found_by": found, "largest": largest, "edits": edits, "meta": meta}


def _diagnosis(maker: _Maker, made: Given) -> Given:
    said = {"outcome": "y", "reason": "F 4.0.", "next_step": "", "bears": True}
    rows = [("a", "relevance", "green"), ("b", "relevance", "green"), ("b", "exclusion", "red")]
    columns = ("feature", "assumption", "colour")
    return {
        "findings": pd.DataFrame([dict(zip(columns, r, strict=True)) | said for r in rows]).assign(
            check="asked"
        )
    }


def _claims(maker: _Maker, made: Given) -> Given:
    said = {
        "outcome": "y",
        "size": "confirmed",
        "contradiction": "",
        "ceiling": "A",
        "ceiling_why": "",
        "lacking": "",
    }
    numbers = {
        "effect": 0.5,
        "ci_lower": 0.4,
        "ci_upper": 0.6,
        "exploratory": False,
        **dict.fromkeys(DOMAINS, 1.0),
    }
    rows = [
        {"feature": f, "grade": g, "points": p, "sentence": f"{f} on y: {g}."} | said | numbers
        for f, g, p in (("a", "B", 8.0), ("b", "E", 0.0))
    ]
    keys = pd.DataFrame({"feature": ["a", "b"], "outcome": "y"})
    return {
        "claims": pd.DataFrame(rows),
        "domains": keys.assign(
            domain="E1", title="the estimate itself", points=2.0, reason="outside the region"
        ),
        "cards": keys.assign(item="claim", answer="Causal: a natural contrast."),
        "meta": {"rules": "MIG-2", "tested": 2},
    }


RECIPES: dict[str, tuple[type[Result], Callable[[_Maker, Given], Given]]] = {
    "AgainstRandom": (AgainstRandom, _against_random),
    "SweepResults": (SweepResults, _sweep),
    "FeatureProfiles": (FeatureProfiles, _profiles),
    "Agreement": (Agreement, _agreement),
    "AlignmentSearch": (AlignmentSearch, _alignment_search),
    "AttributionScores": (AttributionScores, _attribution_scores),
    "AttributionTable": (AttributionTable, _attribution_table),
    "BorrowedEffects": (BorrowedEffects, _borrowed_effects),
    "CoActivationMap": (CoActivationMap, _co_activation_map),
    "Claims": (Claims, _claims),
    "Coloc": (Coloc, _coloc),
    "ConfounderRemoval": (ConfounderRemoval, _confounder_removal),
    "Diagnosis": (Diagnosis, _diagnosis),
    "DirectEffect": (DirectEffect, _direct_effect),
    "DoseResponse": (DoseResponse, _dose_response),
    "Epistasis": (Epistasis, _epistasis),
    "Estimates": (Estimates, _estimates),
    "Faithfulness": (Faithfulness, _faithfulness),
    "FeatureScan": (FeatureScan, _feature_scan),
    "FineMapping": (FineMapping, _fine_mapping),
    "InterchangeAccuracy": (InterchangeAccuracy, _interchange_accuracy),
    "ContrastLevels": (ContrastLevels, _contrast_levels),
    "KindComparison": (KindComparison, _kind_comparison),
    "KnockoutEffects": (KnockoutEffects, _knockout_effects),
    "Leaderboard": (Leaderboard, _leaderboard),
    "MediatedEffects": (MediatedEffects, _nothing),
    "MinimalSet": (MinimalSet, _minimal_set),
    "NegativeControls": (NegativeControls, _negative_controls),
    "NetworkDescription": (NetworkDescription, _network_description),
    "OrderedKnockouts": (OrderedKnockouts, _scalar_status),
    "PathsToOutcome": (PathsToOutcome, _paths_to_outcome),
    "Pruning": (Pruning, _pruning),
    "ReadBack": (ReadBack, _read_back),
    "Rescue": (Rescue, _nothing),
    "Sensitivity": (Sensitivity, _nothing),
    "SetEffects": (SetEffects, _nothing),
    "SiteExperiment": (SiteExperiment, _site_experiment),
    "Specificity": (Specificity, _specificity),
    "TraitClusters": (TraitClusters, _trait_clusters),
    "VestigialFeatures": (VestigialFeatures, _vestigial_features),
}
"""Name of a type -> the type, and its fields beyond what its declaration says."""
