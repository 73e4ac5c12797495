"""Attribution methods and the knockout that they stand in for, in one table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd

from mrinterp.core.errors import InputError
from mrinterp.results._attribution_scores import AttributionScores
from mrinterp.results._attribution_table import AttributionTable
from mrinterp.results._check import NotApplicable
from mrinterp.results._estimates import Estimates
from mrinterp.results._knockout_effects import KnockoutEffects
from mrinterp.stats.agreement.agreement import FEWEST, agree

__all__ = ["beside_knockout"]

NO_SLOPE = "the outcome is least or largest at the clean run: the knockout has no effect per unit"


def beside_knockout(
    scores: AttributionScores | Mapping[str, Estimates | NotApplicable], knockout: KnockoutEffects
) -> AttributionTable:
    """Hold what attribution methods found against a knockout of the same features, per unit.

    Parameters
    ----------
    scores : AttributionScores, or mapping of method to Estimates or NotApplicable
        What `all_methods` returns, or several methods by name.
    knockout : KnockoutEffects
        Of all or some of the features. Best the kind that the methods predict: a knockout to zero or
        to the mean for patching towards it, the shift for the gradient.

    Returns
    -------
    AttributionTable
        Knockout and methods side by side per feature and outcome, and how well each method agrees.

    Raises
    ------
    InputError
        For no methods, or a feature or an outcome of the knockout that a method does not have.

    Notes
    -----
    Agreement is over features: it is not valid as a score of single features, and needs at least four of them.

    Examples
    --------
    >>> from mrinterp.attribution import beside_knockout, gradient
    >>> from mrinterp.knockouts import knock_out
    >>> from mrinterp.worlds import gated_world
    >>> bench = gated_world().bench()
    >>> held = beside_knockout({"gradient": gradient(bench)}, knock_out(bench, "zero", draws=20))
    >>> saturated = held.table.set_index("feature").loc["saturated"]
    >>> saturated["gradient"].item(), saturated["knockout"].item() > 0.6
    (0.0, True)
    """
    if not len(scores):
        raise InputError("scores", "no attribution methods", "Give what all_methods(bench) returns")
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
    agreements: list[dict[str, Any]] = []
    for method, e in scores.items():
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
            agreements.append(
                {"method": method, "outcome": outcome, "features": row.pop("n"), **row, "status": status}
            )
    return AttributionTable(
        knockout=knockout.kind,
        methods=tuple(scores),
        table=table,
        scores=pd.DataFrame(agreements),
        meta={"label": knockout.label},
    )


def _places(known: tuple[str, ...], wanted: tuple[str, ...], method: str) -> list[int]:
    """Numbers of the wanted names among the known ones."""
    missing = [name for name in wanted if name not in known]
    if missing:
        raise InputError(
            f"attribution method {method!r}",
            f"nothing about {missing[0]!r}, which the knockout has",
            "Run the method on the bench of the knockout, on at least the same features and outcomes",
        )
    return [known.index(name) for name in wanted]
