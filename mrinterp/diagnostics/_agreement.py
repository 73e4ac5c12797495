"""Estimates compared with knockouts, after the knockouts' digest is frozen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from mrinterp.core.checks import checked_draws, checked_seed
from mrinterp.core.errors import InputError
from mrinterp.effects._verdict import estimate_verdicts, verdicts
from mrinterp.results._agreement import Agreement
from mrinterp.results._estimates import Estimates
from mrinterp.results._knockout_effects import KnockoutEffects
from mrinterp.stats.agreement.agreement import FEWEST, agree
from mrinterp.stats.agreement.agreement_bootstrap import SCORES, Prediction, bootstrap_scores, scores
from mrinterp.stats.clustered.least_squares import families_of
from mrinterp.stats.tests.tails import critical_value

__all__ = ["agreement"]

Array = NDArray[np.float64]

NO_SLOPE = "the outcome is least or largest at the clean run: it has no slope there to agree on"


def agreement(
    estimates: list[Estimates],
    knockout: KnockoutEffects,
    rope: ArrayLike,
    screen: str = "",
    digest: str = "",
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
    rope : float, or array (O,)
        Region of practical equivalence, in outcome units per feature unit.
    screen : str, optional
        The univariable method whose significant features are checked against the knockout.
    digest : str, optional
        Hash of the knockouts, frozen before this call (`KnockoutEffects.digest_of` a saved folder): what
        shows later that no estimate was in sight when they were run.
    draws, seed : int
        Of the bootstrap: features, and with them the knockout's families where its effect is the
        weighted mean of the effects per prompt that it keeps (``meta["resampled"]`` says which).
    ranked_by : {"effect", "z"}
        What ranks features for AUROC and AUPRC: the size of the estimate, or its size in standard
        errors. Positive are features that the knockout finds causal, negative those that it finds
        negligible (co-activated: candidates without an effect); indeterminate ones are left out.

    Returns
    -------
    Agreement
        Scores of every method against the knockout with bootstrap intervals, and the features that the screen misjudged.

    Raises
    ------
    InputError
        For no estimates, other features or outcomes than the knockout's, a region of another shape, fewer
        than two draws, or another ranking.

    Notes
    -----
    Not valid as a test of the estimates where the knockouts were chosen after the estimates were seen, or
    where they are of another estimand than the estimates (a knockout to zero against a slope).

    Examples
    --------
    >>> from dataclasses import replace
    >>> from mrinterp.diagnostics import agreement
    >>> from mrinterp.results import example
    >>> knockout = example("KnockoutEffects")
    >>> estimates = replace(example("Estimates"), exposures=knockout.features, outcomes=knockout.outcomes)
    >>> type(agreement([estimates], knockout, rope=0.1, draws=50)).__name__
    'Agreement'
    """
    if ranked_by not in ("effect", "z"):
        raise InputError("ranked_by", repr(ranked_by), "Rank features by 'effect' or by 'z'")
    if not estimates:
        raise InputError("estimates", "none given", "Give the estimates of at least one method")
    checked_draws(draws), checked_seed(seed)
    rope = _region(rope, len(knockout.outcomes))
    summary, joined = [], []
    truth = verdicts(*knockout.interval(), rope, knockout)
    redrawn = _redrawn(knockout, draws, seed)
    for e in estimates:
        _check_same(e, knockout)
        joined.append(_joined(e, knockout, rope, truth))
        for o, outcome in enumerate(e.outcomes):
            pair = agree(e.beta[:, o], e.se[:, o], knockout.effect[:, o], knockout.se[:, o], knockout.df)
            known = np.isfinite(knockout.effect[:, o]) & np.isfinite(knockout.se[:, o])
            row = {"method": e.method, "label": e.label, "outcome": outcome, **asdict(pair)}
            row |= {"missing": len(e.exposures) - pair.n, "no_knockout": int((~known).sum())}
            summary.append(row | _scored(e, knockout, o, truth[:, o], redrawn, draws, seed, ranked_by))
    table = pd.concat(joined, ignore_index=True)
    significant = (table["method"] == screen) & (table["neglog10p"] > -np.log10(0.05))
    misled = table[significant & (table["knockout_verdict"] == "negligible")].reset_index(drop=True)
    meta = {
        "knockout": knockout.kind,
        "knockout_digest": digest,
        "knockout_planned": knockout.meta.get("planned", "not recorded"),
        "rope": rope.tolist(),
        "screen": screen,
        "screen_significant": int(significant.sum()),
        "draws": draws,
        "seed": seed,
        "ranked_by": ranked_by,
        "resampled": "features" if redrawn is None else "features and knockout families",
    }
    return Agreement(scores=pd.DataFrame(summary), joined=table, misled=misled, meta=meta)


def _region(rope: ArrayLike, outcomes: int) -> Array:
    """Half widths (O,) of the region of practical equivalence."""
    given = np.asarray(rope, dtype=float)
    if given.shape not in ((), (1,), (outcomes,)) or not (given >= 0).all():
        found = f"{given.tolist()} for {outcomes} outcomes"
        raise InputError("rope", found, "Give one width of at least 0 for all outcomes, or one for each")
    return np.array(np.broadcast_to(given, (outcomes,)))


def _check_same(e: Estimates, knockout: KnockoutEffects) -> None:
    """Refuse estimates of other features or outcomes, or of the same in another order."""
    for what, mine, theirs in (
        ("features", e.exposures, knockout.features),
        ("outcomes", e.outcomes, knockout.outcomes),
    ):
        if mine == theirs:
            continue
        lacking = [name for name in mine if name not in theirs] or [n for n in theirs if n not in mine]
        found = (
            f"{what} differ from the knockout's: {len(mine)} against {len(theirs)}, {lacking[0]!r} in one only"
            if lacking
            else f"{what} differ from the knockout's in their order"
        )
        raise InputError(f"agreement, method {e.method!r}", found, "Give both the same names in one order")


def _joined(e: Estimates, knockout: KnockoutEffects, rope: Array, truth: NDArray[np.object_]) -> pd.DataFrame:
    """Estimate and knockout side by side, one row per (feature, outcome)."""
    lower, upper = knockout.interval()
    frame = e.to_frame()[
        ["method", "exposure", "outcome", "estimate", "se", "ci_lower", "ci_upper", "neglog10p", "status"]
    ]
    return frame.assign(
        verdict=estimate_verdicts(e, rope, knockout).ravel(),
        knockout=knockout.effect.ravel(),
        knockout_se=knockout.se.ravel(),
        knockout_lower=lower.ravel(),
        knockout_upper=upper.ravel(),
        knockout_verdict=truth.ravel(),
    )


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
    codes, names = families_of(knockout.inputs["family"].to_numpy())
    C, each = len(names), knockout.effect_by_input
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
        "reason": NO_SLOPE if knockout.extremal_at_clean[o] else _undefined(p),
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
