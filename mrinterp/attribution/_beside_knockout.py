"""Comparators and the knockout that they stand in for, in one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from mrinterp.core.errors import InputError
from mrinterp.results._attribution_table import AttributionTable
from mrinterp.results._check import NotApplicable
from mrinterp.results._estimates import Estimates
from mrinterp.results._knockout_effects import KnockoutEffects
from mrinterp.stats.agreement.agreement import FEWEST, agree

__all__ = ["beside_knockout"]

NO_SLOPE = "the outcome is least or largest at the clean run: the knockout has no effect per unit"


def beside_knockout(
    found: Mapping[str, Estimates | NotApplicable], knockout: KnockoutEffects
) -> AttributionTable:
    """Hold what `comparators` found against a knockout of the same features, per unit.

    Parameters
    ----------
    found : mapping of method to Estimates or NotApplicable
    knockout : KnockoutEffects
        Of all or some of the features. Best the kind that the comparators predict: a knockout to zero or
        to the mean for patching towards it, the shift for the gradient.

    Raises
    ------
    InputError
        For nothing found, or a feature or an outcome of the knockout that the comparators do not have.
    """
    if not found:
        raise InputError("comparators", "none", "Give what comparators(bench) returns")
    lower, upper = knockout.interval()
    F, O = knockout.effect.shape
    table = pd.DataFrame(
        {
            "feature": np.repeat(np.array(knockout.features, dtype=object), O),
            "outcome": np.tile(np.array(knockout.outcomes, dtype=object), F),
            "knockout": knockout.effect.ravel(),
            "knockout_lower": lower.ravel(),
            "knockout_upper": upper.ravel(),
            "flags": np.repeat(np.array(knockout.flags, dtype=object), O),
        }
    )
    scores: list[dict[str, Any]] = []
    for method, e in found.items():
        beta, se = np.full((2, F, O), np.nan)
        why = np.full((F, O), "ok", dtype=object)
        if isinstance(e, Estimates):
            cells = np.ix_(
                _places(e.exposures, knockout.features, method),
                _places(e.outcomes, knockout.outcomes, method),
            )
            beta, se, why = e.beta[cells], e.se[cells], e.status[cells]
        table[method] = beta.ravel()
        for o, outcome in enumerate(knockout.outcomes):
            pair = agree(beta[:, o], se[:, o], knockout.effect[:, o], knockout.se[:, o], knockout.df)
            row = asdict(pair)
            status = (
                "ok" if pair.n >= FEWEST else f"{pair.n} features in common: at least {FEWEST} are needed"
            )
            if not pair.n and len(set(why[:, o])) == 1 and why[0, o] != "ok":
                status = str(why[0, o])
            status = NO_SLOPE if knockout.extremal_at_clean[o] else status
            status = e.reason if isinstance(e, NotApplicable) else status
            scores.append(
                {"method": method, "outcome": outcome, "features": row.pop("n"), **row, "status": status}
            )
    return AttributionTable(
        knockout=knockout.kind,
        methods=tuple(found),
        table=table,
        scores=pd.DataFrame(scores),
        meta={"label": knockout.label},
    )


def _places(known: tuple[str, ...], wanted: tuple[str, ...], method: str) -> list[int]:
    """Numbers of the wanted names among the known ones."""
    missing = [name for name in wanted if name not in known]
    if missing:
        raise InputError(
            f"comparator {method!r}",
            f"{missing[0]!r} is not among what it has",
            "Use the bench of the knockout",
        )
    return [known.index(name) for name in wanted]
