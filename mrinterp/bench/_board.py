"""From scores by world to the board: means, intervals over worlds, differences to the default, the order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from statsmodels.stats.proportion import proportion_confint

from mrinterp.bench._method import Method
from mrinterp.results._leaderboard import ALL, SCORES, Leaderboard
from mrinterp.stats.tests.tails import critical_value

__all__ = ["board_of"]

Array = NDArray[np.float64]

DEFAULT, CEILING = "default", "exhaustive"
CHANCE = 0.5
"""AUROC of a world that a method cannot be run on, in the order of methods: it ranks nothing there."""


def board_of(
    cells: Sequence[Mapping[str, Any]],
    methods: Sequence[Method],
    about: Mapping[str, str],
    *,
    size: str,
    seeds: int,
    log: Sequence[Mapping[str, Any]] = (),
) -> Leaderboard:
    """The board of all answers.

    Parameters
    ----------
    cells : sequence of dict
        What is stored of every method on every world.
    methods : sequence of Method
    about : mapping of str to str
        Families, and what they are.
    """
    frame = pd.DataFrame(
        [{"family": c["family"], "seed": c["seed"], "method": c["method"], **c["scores"]} for c in cells]
    )
    frame = frame.reindex(columns=["family", "seed", "method", *SCORES]).astype(dict.fromkeys(SCORES, float))
    label = {m.name: m.label for m in methods}
    worlds = pd.MultiIndex.from_frame(frame[["family", "seed"]].drop_duplicates())
    # One array (worlds, methods, scores): sums over pandas' own index took longer than many a method.
    at = worlds.get_indexer(pd.MultiIndex.from_frame(frame[["family", "seed"]]))
    which = pd.Index(list(label)).get_indexer(pd.Index(frame["method"]))
    values = np.full((len(worlds), len(label), len(SCORES)), np.nan)
    values[at, which] = frame[list(SCORES)].to_numpy()
    drawn = np.zeros(values.shape[:2], dtype=bool)
    drawn[at, which] = True
    base = list(label).index(DEFAULT) if DEFAULT in label else None
    rows, paired = [], []
    for family in (ALL, *about):
        part = np.flatnonzero((worlds.get_level_values(0) == family) | (family == ALL))
        own = [c for c in cells if family in (ALL, c["family"])]
        for m, method in enumerate(label):
            for s, score in enumerate(SCORES):
                mine = values[part, m, s]
                known = mine[~np.isnan(mine)]
                why = "" if len(known) else _why([c for c in own if c["method"] == method], score)
                row = {"family": family, "method": method, "label": label[method], "score": score}
                counted = {"drawn": int(drawn[part, m].sum()), "why": why}
                rows.append(row | _mean(known, SCORES[score].share) | counted)
                if base is not None and m != base:
                    gap = mine - values[part, base, s]
                    paired.append(
                        {
                            **{k: row[k] for k in ("family", "method", "score")},
                            **_difference(gap[~np.isnan(gap)]),
                        }
                    )
    columns = ["family", "method", "score", "difference", "lower", "upper", "worlds"]
    differences = pd.DataFrame(paired, columns=columns)
    return Leaderboard(
        scores=pd.DataFrame(rows),
        paired=differences[differences["worlds"] > 0].reset_index(drop=True),
        families=pd.DataFrame({"family": list(about), "about": list(about.values())}),
        order=_order(frame, list(label)),
        size=size,
        seeds=seeds,
        log=tuple(dict(entry) for entry in log),
        meta={
            "estimands": {m.name: m.estimand for m in methods},
            "needs": {m.name: list(m.needs) for m in methods},
        },
    )


def _mean(values: Array, share: bool) -> dict[str, float | int]:
    """Mean over worlds with its 95% interval: Wilson's for shares, else t."""
    n = len(values)
    if not n:
        return {"value": np.nan, "lower": np.nan, "upper": np.nan, "spread": np.nan, "worlds": 0}
    mean = float(values.mean())
    spread = float(values.std(ddof=1)) if n > 1 else float("nan")
    if share:
        lower, upper = _share_interval(mean, spread, n)
    else:
        half = _half_width(spread, n)
        lower, upper = mean - half, mean + half
    return {"value": mean, "lower": lower, "upper": upper, "spread": spread, "worlds": n}


def _share_interval(mean: float, spread: float, n: int) -> tuple[float, float]:
    """Wilson's interval with as many trials as the variance over worlds is worth.

    Where worlds agree the variance is 0 and says nothing: then one trial a world, so that 1.00 on four worlds is .51 to 1.
    """
    trials = float(n)
    if np.isfinite(spread) and spread > 0:
        trials = max(mean * (1 - mean) / (spread**2 / n), float(n))
        # t in place of the normal: few worlds know their own spread badly.
        trials *= float(critical_value(0.95, np.inf) / critical_value(0.95, n - 1.0)) ** 2
    lower, upper = proportion_confint(mean * trials, trials, method="wilson")
    return float(min(lower, mean)), float(max(upper, mean))


def _half_width(spread: float, n: int) -> float:
    return float(critical_value(0.95, n - 1.0) * spread / np.sqrt(n)) if n > 1 else float("nan")


def _difference(gap: Array) -> dict[str, float | int]:
    n = len(gap)
    mean = float(gap.mean()) if n else float("nan")
    half = _half_width(float(gap.std(ddof=1)), n) if n > 1 else float("nan")
    return {"difference": mean, "lower": mean - half, "upper": mean + half, "worlds": n}


def _why(cells: Sequence[Mapping[str, Any]], score: str) -> str:
    """The commonest reason why a method lacks a score."""
    found = Counter(c["why"] or c["why_not"].get(score, "") for c in cells)
    return found.most_common(1)[0][0] if found else "not run"


def _order(frame: pd.DataFrame, methods: list[str]) -> tuple[str, ...]:
    """Best first, by AUROC over all worlds that have impostors, chance where a method does not apply; power breaks ties.

    A mean over the worlds on which a method happens to apply would reward those that apply where it is easy.
    """
    has = frame.groupby(["family", "seed"])["auroc"].transform("max").notna()
    ranked = frame[has].assign(auroc=frame["auroc"].fillna(CHANCE), power=frame["power"].fillna(0.0))
    means = ranked.groupby("method")[["auroc", "power"]].mean().to_dict("index")
    known = {m: (-means[m]["auroc"], -means[m]["power"]) if m in means else (0.0, 0.0) for m in methods}
    return tuple(sorted(methods, key=lambda m: (m == CEILING, *known[m])))
