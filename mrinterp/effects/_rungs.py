"""The rungs of the ladder side by side: how well each held against knockouts of its own estimand, and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

from mrinterp.effects._claims import at_stated_values
from mrinterp.results._agreement import Agreement
from mrinterp.results._estimates import Estimates
from mrinterp.stats.tests.tails import critical_value

__all__ = ["PASSES", "passes_of", "rung_table"]

PASSES = ("forward", "resumed", "backward")


def passes_of(name: str, made: Estimates, runs: int) -> dict[str, int]:
    """Passes of the network that a rung takes by itself, of ``runs`` in the estimation split."""
    if "passes" in made.meta:
        return dict(made.meta["passes"])
    if name == "gradient":
        prompts = int(made.n_instruments.max())
        return {"forward": prompts, "backward": prompts * len(made.outcomes)}
    return {"forward": runs}


def rung_table(
    estimates: Mapping[str, Estimates],
    agreement: Agreement,
    judge: Estimates,
    results: pd.DataFrame,
    rope: Mapping[str, float],
    passes: Mapping[str, Mapping[str, int]],
    doubts: Mapping[tuple[str, str], str] | None = None,
) -> pd.DataFrame:
    """One row per rung and outcome.

    Parameters
    ----------
    estimates : mapping of str to Estimates
        The rungs.
    agreement : Agreement
        Of the local slopes with the matched shift.
    judge : Estimates
        Contrasts on other families, which the rectified effects are compared with.
    results : DataFrame
        `claim_table`'s, for the widths on one scale.
    rope : mapping of str to float
        By outcome.
    passes : mapping of str to mapping of str to int
        ``forward, resumed, backward`` passes that each rung takes by itself.
    doubts : mapping of (str, str) to str, optional
        Failed checks by rung and outcome (`doubted_rungs`).

    Returns
    -------
    DataFrame
        ``rung, label, outcome, estimand, compared_with``; ``features`` compared, ``coverage`` (share that differs from
        the knockout by no more than both errors allow) with its exact interval ``coverage_lower, coverage_upper``;
        ``half_width``, median over features in regions of practical equivalence per natural sd; ``forward, resumed,
        backward``; ``doubted``, the failed checks of its equation, "" where there are none.
    """
    rows = []
    scores = {(s["method"], s["outcome"]): s for s in agreement.scores.to_dict("records")}
    for name, e in estimates.items():
        local = e.meta.get("estimand", "local slope") == "local slope"
        for o, outcome in enumerate(e.outcomes):
            known = scores.get((name, outcome)) if local else None
            found = _coverage(e, judge, o) if known is None else _scored(known)
            own = results[results["outcome"] == outcome]
            half = (own[f"{name}_upper"] - own[f"{name}_lower"]) / 2 / rope[outcome]
            rows.append(
                {
                    "rung": name,
                    "label": e.label,
                    "outcome": outcome,
                    "estimand": "local slope" if local else str(e.meta["estimand"]),
                    "compared_with": "matched shift" if local else "contrast on other families",
                    **dict(
                        zip(("features", "coverage", "coverage_lower", "coverage_upper"), found, strict=True)
                    ),
                    "half_width": float(half.median()),
                    "bias": str(e.meta.get("bias", "unmeasured")),
                    "doubted": (doubts or {}).get((name, outcome), ""),
                    **{p: int(passes.get(name, {}).get(p, 0)) for p in PASSES},
                }
            )
    return pd.DataFrame(rows)


def _scored(row: Mapping[Any, Any]) -> list[float]:
    """What the agreement with the matched shifts says already."""
    return [float(row[c]) for c in ("n", "coverage", "coverage_lower", "coverage_upper")]


def _coverage(e: Estimates, judge: Estimates, o: int) -> list[float]:
    """Features compared, and the share that differs from the judge by no more than both errors, with its interval."""
    e = at_stated_values(e)
    gap = np.abs(e.beta[:, o] - judge.beta[:, o])
    error = critical_value(0.95, np.minimum(e.df[:, o], judge.df[:, o])) * np.hypot(
        e.se[:, o], judge.se[:, o]
    )
    known = np.isfinite(gap) & np.isfinite(error)
    n, hits = int(known.sum()), int((gap <= error)[known].sum())
    if not n:
        return [0, np.nan, np.nan, np.nan]
    lower, upper = proportion_confint(hits, n, method="beta")
    return [n, hits / n, float(lower), float(upper)]
