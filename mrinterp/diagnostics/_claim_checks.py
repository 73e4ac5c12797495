"""Checks of the claims themselves: do other families confirm them, and was MR right about the local slopes?"""

from __future__ import annotations

import numpy as np
import pandas as pd

from mrinterp.core.shown import listed
from mrinterp.mr._runs.stable_rank import sign_changes, stable_rank
from mrinterp.results._agreement import Agreement
from mrinterp.results._check import Check, NotApplicable
from mrinterp.stats.tests.tails import critical_value

__all__ = ["claim_checks", "rank_checks", "slope_checks"]

RANKS = "sign over bypass ranks"
DISAGREE = ("contradicted", "size disagrees")
MR_PRIMARY = "within"
NOMINAL = 0.95
FEWEST_CLAIMS = 3
LEAST_LEFT = 0.9
"""Share of the effects that must be left, by the upper end of its interval."""


def claim_checks(results: pd.DataFrame, agreement: Agreement) -> list[Check | NotApplicable]:
    """Whether claims are confirmed in sign and size, and whether the intervals of MR hold.

    Parameters
    ----------
    results : DataFrame
        `Study.results`.
    agreement : Agreement
        Of the local slopes with the matched shifts.

    Returns
    -------
    list of Check or NotApplicable
        ``claims on other families`` fails where a causal claim is contradicted, or found of another size; it warns where
        fewer than half are confirmed. ``MR against matched shifts`` fails where the coverage of the within regression,
        both errors counted, is below 95% by its own interval: its rung is then doubted, no claim rests on it.

    Examples
    --------
    >>> import pandas as pd
    >>> from mrinterp.diagnostics import claim_checks
    >>> from mrinterp.results import example
    >>> claims = pd.DataFrame({"verdict": ["causal"], "confirmed": ["confirmed"], "feature": ["a"], "outcome": ["y"]})
    >>> claims = claims.assign(rests_on="rectified", effect=0.2, knockout=0.19)
    >>> claim_checks(claims, example("Agreement"))[0].verdict
    'passed'
    """
    return [_confirmed(results), *slope_checks(agreement), *_shrinkage(results)]


def _confirmed(results: pd.DataFrame) -> Check | NotApplicable:
    claims = results[results["verdict"] == "causal"]
    if claims.empty:
        return NotApplicable("no effect is called causal", "claims on other families")
    counts = claims["confirmed"].value_counts()
    wrong = claims[claims["confirmed"].isin(DISAGREE)]
    right = int(counts.get("confirmed", 0))
    verdict = "failed" if len(wrong) else "passed" if 2 * right >= len(claims) else "warning"
    named = ", ".join(f"{f} on {o}" for f, o in wrong[["feature", "outcome"]].head(4).to_numpy())
    words = ", ".join(f"{n} {w}" for w, n in counts.items() if w)
    return Check(
        name="claims on other families",
        null_in_words="every causal claim has the same sign and size on other families",
        statistic=right / len(claims),
        df=float(len(claims)),
        neglog10p=float("nan"),
        verdict=verdict,
        note=f"Of {len(claims)} causal claims: {words}." + (f" Do not rely on {named}." if named else ""),
    )


def _shrinkage(results: pd.DataFrame) -> list[Check | NotApplicable]:
    """Per outcome, how much of the effects of causal claims is left on families that did not choose them."""
    found: list[Check | NotApplicable] = []
    for outcome, rows in results.groupby("outcome", sort=False):
        chosen = rows[(rows["verdict"] == "causal") & rows["knockout"].notna()]
        name = f"shrinkage on other families: {outcome}"
        if len(chosen) < FEWEST_CLAIMS:
            why = f"{len(chosen)} causal claims with knockouts on other families; {FEWEST_CLAIMS} are needed"
            found.append(NotApplicable(why, name))
            continue
        first, again = (chosen[c].to_numpy(dtype=float) for c in ("effect", "knockout"))
        own = first * again, first**2
        left = own[0].sum() / own[1].sum()
        without = (own[0].sum() - own[0]) / (own[1].sum() - own[1])
        n = len(chosen)
        se = float(np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum()))
        low, high = (float(left + sign * critical_value(NOMINAL, n - 1.0) * se) for sign in (-1, 1))
        found.append(
            Check(
                name=name,
                outcome=str(outcome),
                rungs=tuple(rows["rests_on"].unique()),
                null_in_words="effects that were called causal are as large on families that did not choose them",
                statistic=float(left),
                df=n - 1.0,
                neglog10p=float("nan"),
                verdict="warning" if high < LEAST_LEFT else "passed",
                note=f"{left:.0%} of the effects of {n} causal claims is left on other families ({low:.0%} to {high:.0%}).",
                next_step="Take the size from the other families: the largest of many were partly lucky",
            )
        )
    return found


def rank_checks(path: pd.DataFrame) -> list[Check | NotApplicable]:
    """Whether the path of MR's estimates over bypass ranks keeps its sign, and which rank its estimates agree on, by outcome."""
    changes, found = sign_changes(path), list[Check | NotApplicable]()
    for row in stable_rank(path).to_dict("records"):
        outcome = str(row["outcome"])
        if row["tried"] < 2:
            found.append(NotApplicable("one rank alone: there is no path", f"{RANKS}: {outcome}"))
            continue
        own = changes[changes["outcome"] == outcome]
        named = [
            f"{c['exposure']} ({c['up']:+.2g} at {c['rank_up']}, {c['down']:+.2g} at {c['rank_down']})"
            for c in own.to_dict("records")
        ]
        agreed = f"estimates agree from rank {row['rank']} on, of {row['tried']} ranks tried"
        found.append(
            Check(
                name=f"{RANKS}: {outcome}",
                outcome=outcome,
                rungs=(MR_PRIMARY,),
                features=tuple(own["exposure"]),
                null_in_words="no estimate has one sign at one bypass rank and the other at another, beyond its intervals",
                statistic=float(len(own)),
                df=float(row["tried"]),
                neglog10p=float("nan"),
                verdict="failed" if named else "passed",
                note=(f"{len(named)} features change their sign: {listed(named)}; " if named else "")
                + f"{agreed}.",
                next_step="No number of MR can be given for these: rest the claim on knockouts",
            )
        )
    return found


def slope_checks(agreement: Agreement) -> list[Check | NotApplicable]:
    """Whether the intervals of MR cover the matched shifts of the same features, outcome by outcome."""
    found: list[Check | NotApplicable] = []
    scores = agreement.scores
    for s in scores[scores["method"] == MR_PRIMARY].to_dict("records"):
        name = f"MR against matched shifts: {s['outcome']}"
        if s["coverage"] != s["coverage"]:
            found.append(NotApplicable(f"too few features with both numbers ({s['n']})", name))
            continue
        short = s["coverage_upper"] < NOMINAL
        found.append(
            Check(
                name=name,
                outcome=str(s["outcome"]),
                rungs=(MR_PRIMARY,),
                null_in_words="95% intervals of MR and matched shift together cover 95% of features",
                statistic=float(s["coverage"]),
                df=float(s["n"]),
                neglog10p=float("nan"),
                verdict="failed" if short else "passed",
                note=f"{s['coverage']:.0%} of {s['n']} features covered ({s['coverage_lower']:.0%} to"
                f" {s['coverage_upper']:.0%})"
                + (
                    "; the MR rung is doubted, and no claim rests on it unless the plan says so."
                    if short
                    else "."
                ),
            )
        )
    return found
