"""Estimates held against knockouts, after the knockouts' digest is frozen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.agreement import Agreement
from mrinterp.core.errors import InputError
from mrinterp.core.estimates import Estimates
from mrinterp.core.knockout_effects import KnockoutEffects
from mrinterp.stats.agreement import agree
from mrinterp.stats.agreement_bootstrap import SCORES, Prediction, bootstrap_scores, scores
from mrinterp.stats.clustered import families_of
from mrinterp.stats.equivalence import verdict
from mrinterp.stats.tails import critical_value

__all__ = ["agreement", "verdict_table"]

Array = NDArray[np.float64]

FEWEST = 4
"""Features below which nothing about agreement is said."""


def agreement(
    estimates: list[Estimates],
    knockout: KnockoutEffects,
    rope: np.ndarray,
    screen: str,
    digest: str,
    draws: int = 1000,
    seed: int = 0,
    ranked_by: str = "effect",
) -> Agreement:
    """How well each method predicted the knockouts, and who was misled.

    Parameters
    ----------
    estimates : list of Estimates
        Same features and outcomes as the knockout.
    knockout : KnockoutEffects
        The matched shift, of the same estimand.
    rope : ndarray (O,)
        Region of practical equivalence, in outcome units per feature unit.
    screen : str
        The univariable method whose significant features are checked against the knockout.
    digest : str
        Hash of the knockouts, frozen before this call.
    draws, seed : int
        Of the bootstrap: features, and with them the knockout's families where its effect is the
        weighted mean of the effects per prompt that it keeps (``meta["resampled"]`` says which).
    ranked_by : {"effect", "z"}
        What ranks features for AUROC and AUPRC: the size of the estimate, or its size in standard
        errors. Positive are features that the knockout finds causal, negative those that it finds
        negligible (co-activated: candidates without an effect); indeterminate ones are left out.

    Raises
    ------
    InputError
        For other features or outcomes than the knockout's, or another ranking.
    """
    if ranked_by not in ("effect", "z"):
        raise InputError("ranked_by", repr(ranked_by), "Rank features by 'effect' or by 'z'")
    rope = np.asarray(rope, dtype=float)
    summary, joined = [], []
    lower, upper = knockout.interval()
    truth = verdict(lower, upper, rope[None, :])
    redrawn = _redrawn(knockout, draws, seed)
    for e in estimates:
        if e.exposures != knockout.features or e.outcomes != knockout.outcomes:
            raise InputError(
                f"agreement, method {e.method!r}",
                "features or outcomes differ from the knockout's",
                "Hold like against like",
            )
        frame = e.to_frame()[
            ["method", "exposure", "outcome", "estimate", "se", "ci_lower", "ci_upper", "neglog10p", "status"]
        ]
        frame["verdict"] = verdict(e.ci_lower, e.ci_upper, rope[None, :]).ravel()
        frame["knockout"] = knockout.effect.ravel()
        frame["knockout_se"] = knockout.se.ravel()
        frame["knockout_lower"], frame["knockout_upper"] = lower.ravel(), upper.ravel()
        frame["knockout_verdict"] = truth.ravel()
        joined.append(frame)
        for o, outcome in enumerate(e.outcomes):
            pair = agree(e.beta[:, o], e.se[:, o], knockout.effect[:, o], knockout.se[:, o], knockout.df)
            row = {"method": e.method, "label": e.label, "outcome": outcome, **asdict(pair)}
            row["missing"] = len(e.exposures) - pair.n
            summary.append(row | _scored(e, knockout, o, truth[:, o], redrawn, draws, seed, ranked_by))
    table = pd.concat(joined, ignore_index=True)
    misled = table[
        (table["method"] == screen)
        & (table["neglog10p"] > -np.log10(0.05))
        & (table["knockout_verdict"] == "negligible")
    ].reset_index(drop=True)
    meta = {
        "knockout": knockout.kind,
        "knockout_digest": digest,
        "rope": rope.tolist(),
        "screen": screen,
        "screen_significant": int(
            ((table["method"] == screen) & (table["neglog10p"] > -np.log10(0.05))).sum()
        ),
        "draws": draws,
        "seed": seed,
        "ranked_by": ranked_by,
        "resampled": "features" if redrawn is None else "features and knockout families",
    }
    return Agreement(pd.DataFrame(summary), table, misled, meta)


@dataclass(frozen=True, eq=False)
class _Redrawn:
    """Knockout effects with families drawn anew: weighted sums (C, F, O) and weights (C, F) of families."""

    sums: Array
    weights: Array
    effect: Array
    counts: Array

    def of(self, o: int, features: NDArray[np.bool_]) -> Callable[[int, int], Array]:
        """Draws a to b of one outcome's effects on some features, (b - a, features)."""

        def draws(a: int, b: int) -> Array:
            total = self.counts[a:b] @ self.weights[:, features]
            top = self.counts[a:b] @ self.sums[:, features, o]
            # A draw without any family that moved the feature says nothing new of it.
            return np.where(total > 0, top / np.where(total > 0, total, 1.0), self.effect[features, o])

        return draws


def _redrawn(knockout: KnockoutEffects, draws: int, seed: int) -> _Redrawn | None:
    """What redraws families; None where the effect is not the weighted mean of the effects per prompt."""
    codes, names = families_of(knockout.prompts["family"].to_numpy())
    C, each = len(names), knockout.per_prompt
    # Inputs on which nothing was moved weigh nothing.
    weight = np.where(np.isnan(each).all(axis=2), 0.0, knockout.weight)
    top = weight[:, :, None] * np.where(weight[:, :, None] > 0, each, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = top.sum(axis=1) / weight.sum(axis=1)[:, None]
    known = np.isfinite(knockout.effect)
    near = 1e-9 * np.abs(knockout.effect[known]).max(initial=0.0)
    if C < 2 or not np.allclose(mean[known], knockout.effect[known], rtol=1e-6, atol=near):
        return None
    sums, weights = np.zeros((C, *knockout.effect.shape)), np.zeros((C, len(weight)))
    np.add.at(sums, codes, top.transpose(1, 0, 2))
    np.add.at(weights, codes, weight.T)
    counts = np.random.default_rng([seed, 22]).multinomial(C, np.full(C, 1 / C), size=draws).astype(float)
    return _Redrawn(sums, weights, knockout.effect, counts)


def _scored(
    e: Estimates,
    knockout: KnockoutEffects,
    o: int,
    truth: NDArray[np.object_],
    redrawn: _Redrawn | None,
    draws: int,
    seed: int,
    ranked_by: str,
) -> dict[str, Any]:
    """What is added to a row of the summary: scores with bootstrap intervals, and why some are not defined."""
    y, s, x, t = e.beta[:, o], e.se[:, o], knockout.effect[:, o], knockout.se[:, o]
    ok = np.isfinite(y) & np.isfinite(s) & np.isfinite(x) & np.isfinite(t)
    y, s, x, t = y[ok], s[ok], x[ok], t[ok]
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(s > 0, np.abs(y) / s, np.where(y == 0, 0.0, np.inf))
    p = Prediction(
        y,
        s,
        x,
        t,
        np.abs(y - x) <= critical_value(0.95, knockout.df) * np.hypot(s, t),
        (e.ci_lower[ok, o] <= x) & (x <= e.ci_upper[ok, o]),
        truth[ok] == "causal",
        truth[ok] == "negligible",
        np.abs(y) if ranked_by == "effect" else z,
    )
    causal, negligible = int(p.causal.sum()), int(p.negligible.sum())
    row: dict[str, Any] = {
        "knockout_causal": causal,
        "knockout_negligible": negligible,
        "reason": _undefined(p),
    }
    if len(y) < FEWEST:
        point = dict.fromkeys(SCORES, float("nan"))
        ends = dict.fromkeys(SCORES, (float("nan"), float("nan")))
    else:
        point = scores(p)
        ends = bootstrap_scores(p, None if redrawn is None else redrawn.of(o, ok), draws, seed)
    for name in SCORES:
        row[name] = point[name]
        row[f"{name}_boot_lower"], row[f"{name}_boot_upper"] = ends[name]
    row["base_rate"] = causal / (causal + negligible) if causal + negligible else float("nan")
    return row


def _undefined(p: Prediction) -> str:
    """Why some scores are nan, or nothing."""
    n = len(p.predicted)
    if n < FEWEST:
        return f"{n} features with both numbers: at least {FEWEST} are needed"
    reasons = []
    if np.ptp(p.predicted) == 0 or np.ptp(p.observed) == 0:
        who = "estimates" if np.ptp(p.predicted) == 0 else "knockouts"
        reasons.append(f"correlation and slope: all {who} are equal")
    if not p.causal.any() or not p.negligible.any():
        who = "causal" if not p.causal.any() else "negligible"
        reasons.append(f"AUROC and AUPRC: the knockout finds no feature {who}")
    return "; ".join(reasons)


def verdict_table(
    primary: Estimates, knockout: KnockoutEffects, rope: np.ndarray, labels: tuple[str, ...]
) -> pd.DataFrame:
    """The answer: per feature the effect with interval, the knockout, and both verdicts; largest first."""
    frame = primary.to_frame()
    O = len(primary.outcomes)
    lower, upper = knockout.interval()
    out = pd.DataFrame(
        {
            "feature": frame["exposure"],
            "label": np.repeat(np.array(labels, dtype=object), O),
            "outcome": frame["outcome"],
            "effect": frame["estimate"],
            "ci_lower": frame["ci_lower"],
            "ci_upper": frame["ci_upper"],
            "neglog10p": frame["neglog10p"],
            "verdict": verdict(primary.ci_lower, primary.ci_upper, rope[None, :]).ravel(),
            "knockout": knockout.effect.ravel(),
            "knockout_lower": lower.ravel(),
            "knockout_upper": upper.ravel(),
            "knockout_verdict": verdict(lower, upper, rope[None, :]).ravel(),
            "status": frame["status"],
        }
    )
    order = np.argsort(-np.abs(out["effect"].to_numpy()), kind="stable")
    return out.iloc[order].reset_index(drop=True)
