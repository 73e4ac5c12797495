"""Which rungs failed checks make doubtful, and which claims rest on such a rung."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from mrinterp.effects._ceiling import CEILINGS, DOUBTED

__all__ = ["doubted_rungs", "with_doubts"]

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
