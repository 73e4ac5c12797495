"""Estimates held against knockouts, after the knockouts' digest is frozen."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pandas as pd

from mrinterp.core.agreement import Agreement
from mrinterp.core.errors import InputError
from mrinterp.core.estimates import Estimates
from mrinterp.core.knockout_effects import KnockoutEffects
from mrinterp.stats.agreement import agree
from mrinterp.stats.equivalence import verdict

__all__ = ["agreement", "verdict_table"]


def agreement(
    estimates: list[Estimates], knockout: KnockoutEffects, rope: np.ndarray, screen: str, digest: str
) -> Agreement:
    """Correlation, slope with errors in both and coverage per method; who was misled.

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
    """
    summary, joined = [], []
    lower, upper = knockout.interval()
    truth = verdict(lower, upper, rope[None, :])
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
            summary.append(row)
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
    }
    return Agreement(pd.DataFrame(summary), table, misled, meta)


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
