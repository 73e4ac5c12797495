"""Which rungs failed checks make doubtful, and which claims rest on such a rung."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from mrinterp.effects._ceiling import CEILINGS, DOUBTED
from mrinterp.results._designs.paths_to_outcome import NO_PATH
from mrinterp.results._knockout_effects import KnockoutEffects

__all__ = ["doubted_rungs", "with_doubts", "without_path", "without_sign"]

Checks = Iterable[Mapping[str, Any]]


def _failed(checks: Checks) -> list[tuple[str, Mapping[str, Any]]]:
    """The failed checks that bear on rungs, each with the name of what was asked."""
    found = [c for c in checks if c["verdict"] == "failed" and c.get("rungs")]
    return [(c["name"].split(":")[0], c) for c in found]


def _about(check: Mapping[str, Any], rung: str, outcome: str) -> bool:
    return rung in check["rungs"] and check.get("outcome", "") in ("", outcome)


def doubted_rungs(checks: Checks, outcomes: Iterable[str]) -> dict[tuple[str, str], str]:
    """The failed checks of every rung and outcome.

    Parameters
    ----------
    checks : iterable of dict
        `Check.to_dict` of each; those without ``rungs`` bear on none by itself.
    outcomes : iterable of str
        Names of the outcomes.

    Returns
    -------
    dict of (rung, outcome) to str
        Names of the checks that failed, with commas between, and how many features they are about where not all; no entry
        where none did.
    """
    found: dict[tuple[str, str], list[str]] = {}
    failed = _failed(checks)
    for outcome in outcomes:
        for name, check in failed:
            for rung in check["rungs"] if _about(check, check["rungs"][0], outcome) else ():
                few = f" ({len(check['features'])} of the features)" if check.get("features") else ""
                found.setdefault((rung, outcome), []).append(name + few)
    return {where: ", ".join(dict.fromkeys(names)) for where, names in found.items()}


def with_doubts(table: pd.DataFrame, checks: Checks) -> pd.DataFrame:
    """The answer of a study with the doubts on what each claim rests on.

    Parameters
    ----------
    table : DataFrame
        `claim_table`'s.
    checks : iterable of dict
        Of the study.

    Returns
    -------
    DataFrame
        The column ``doubted`` names the failed checks of the rung that a claim rests on ("" where there is none), and such
        claims reach D at most. MR that is calibrated by measured bias is as wide as it was wrong, and not doubted; where
        its bias is borrowed or unmeasured the doubts on ``within`` are its own.
    """
    failed = [(name, check, set(check.get("features", ()))) for name, check in _failed(checks)]
    doubts = []
    for feature, outcome, rests_on, bias in table[["feature", "outcome", "rests_on", "bias"]].to_numpy():
        rung = "within" if rests_on == "within_calibrated" and bias != "measured" else rests_on
        bearing = [
            n for n, c, about in failed if _about(c, rung, outcome) and (not about or feature in about)
        ]
        doubts.append(", ".join(dict.fromkeys(bearing)))
    out = table.assign(doubted=pd.Series(doubts, index=table.index, dtype=object))
    order = list(CEILINGS)
    worse = [
        bool(d) and order.index(w) < order.index(DOUBTED)
        for d, w in zip(doubts, out["ceiling_why"], strict=True)
    ]
    out.loc[worse, ["ceiling", "ceiling_why"]] = CEILINGS[DOUBTED], DOUBTED
    return out


PATH = "path to the outcome"


def without_path(table: pd.DataFrame, checks: Checks, contrast: KnockoutEffects) -> pd.DataFrame:
    """The answer with what is known of features from which no path leads to the outcome: they are never causal.

    Parameters
    ----------
    table : DataFrame
        `with_doubts`'s.
    checks : iterable of dict
        Of the study.
    contrast : KnockoutEffects
        The study's own: on more families than the edits, so that one that changes a computed outcome shows a path all the same.

    Returns
    -------
    DataFrame
        Their verdict is negligible and their status `NO_PATH`; the estimate stays as it is.
    """
    none = {(f, c["outcome"]) for name, c in _failed(checks) if name == PATH for f in c["features"]}
    drawn = set(contrast.meta.get("sampled_outcomes", []))
    moved = np.argwhere(np.abs(contrast.effect) > contrast.noise_floor)
    pairs = {(contrast.features[k], contrast.outcomes[m]) for k, m in moved}
    seen = {(f, o) for f, o in pairs if o not in drawn}
    cells = zip(table["feature"], table["outcome"], strict=True)
    here = pd.Series([cell in none - seen for cell in cells], index=table.index, dtype=bool)
    out = table.copy()
    out.loc[here, ["verdict", "status"]] = "negligible", NO_PATH
    out.loc[here, ["confirmed", "replicated"]] = ""
    return out


SIGN = "sign over bypass ranks"
NO_SIGN = "no point estimate: its sign changes with the bypass rank, beyond its intervals"
"""What is said of an estimate by instruments whose path over bypass ranks contradicts itself."""


def without_sign(table: pd.DataFrame, checks: Checks) -> pd.DataFrame:
    """The answer without a number where a claim rests on instruments and the path over bypass ranks changes its sign.

    Parameters
    ----------
    table : DataFrame
        `with_doubts`'s.
    checks : iterable of dict
        Of the study, `rank_checks` among them.
    """
    none = {(f, c["outcome"]) for name, c in _failed(checks) if name == SIGN for f in c["features"]}
    unmeasured = (table["rests_on"] == "within_calibrated") & (table["bias"] != "measured")
    rests = ((table["rests_on"] == "within") | unmeasured).to_numpy()
    cells = zip(table["feature"], table["outcome"], strict=True)
    here = np.array([cell in none for cell in cells], dtype=bool) & rests
    out = table.copy()
    out.loc[here, ["effect", "ci_lower", "ci_upper"]] = np.nan
    out.loc[here, ["verdict", "status"]] = "indeterminate", NO_SIGN
    out.loc[here, ["confirmed", "replicated"]] = ""
    return out
