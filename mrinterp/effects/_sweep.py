"""Answers of several studies as one table, in which every effect that was tested counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from statsmodels.stats.multitest import multipletests

from mrinterp.core.errors import InputError
from mrinterp.results._sweep_results import SweepResults

__all__ = ["over_all_studies"]

PLACE = ("study", "site", "position", "dictionary")


def over_all_studies(
    studies: Sequence[Mapping[str, Any]],
    results: Mapping[str, pd.DataFrame],
    ropes: Mapping[str, Mapping[str, float]],
    alpha: float = 0.05,
    meta: Mapping[str, Any] | None = None,
) -> SweepResults:
    """The claims of all studies, with the false discovery rate at which each is found among all that were tested.

    Parameters
    ----------
    studies : sequence of mapping
        One per study: ``study`` (its name), ``site, position, dictionary, status``.
    results : mapping of str to DataFrame
        `Study.results` by name of the study, of those that are finished.
    ropes : mapping of str to mapping of str to float
        Half width of the region of practical equivalence by name of the study and outcome.
    alpha : float
        False discovery rate at which a causal effect stands.
    meta : mapping, optional
        Title and whatever else a report needs.

    Returns
    -------
    SweepResults

    Raises
    ------
    InputError
        Where no study has results, or ``alpha`` is no share.

    Notes
    -----
    An effect without a p value (its status says why) is tested none the less: it counts as one that was not found.

    Source: Benjamini & Hochberg 1995, 10.1111/j.2517-6161.1995.tb02031.x.

    Examples
    --------
    >>> import pandas as pd
    >>> from mrinterp.effects import over_all_studies
    >>> one = pd.DataFrame({"feature": ["a", "b"], "outcome": "y", "effect": [0.5, 0.0], "neglog10p": [9.0, 0.1]})
    >>> one["verdict"] = ["causal", "negligible"]
    >>> where = {"study": "s", "site": "h.0", "position": "last", "dictionary": "units", "status": "finished"}
    >>> over_all_studies([where], {"s": one}, {"s": {"y": 0.1}}).claims["stands"].tolist()
    [True, False]
    """
    if not 0 < alpha < 1:
        raise InputError("alpha", f"{alpha:g}", "Give a share between 0 and 1")
    done = [s for s in studies if s["study"] in results]
    if not done:
        raise InputError(
            "studies", "none is finished", "Finish at least one; the status of each says what it lacks"
        )
    parts = []
    for study in done:
        name = study["study"]
        table = results[name]
        half = table["outcome"].map(ropes[name]).to_numpy(dtype=float)
        place = {key: study[key] for key in PLACE}
        own = table.assign(**place, in_ropes=table["effect"].to_numpy(dtype=float) / half)
        parts.append(own[[*PLACE, *(c for c in own if c not in PLACE)]])
    claims = pd.concat(parts, ignore_index=True)
    p = np.nan_to_num(10.0 ** -claims["neglog10p"].to_numpy(dtype=float), nan=1.0)
    claims["q"] = multipletests(p, alpha=alpha, method="fdr_bh")[1]
    claims["stands"] = (claims["verdict"] == "causal") & (claims["q"] < alpha)
    order = np.lexsort((-claims["in_ropes"].abs().fillna(-1.0), ~claims["stands"].to_numpy()))
    return SweepResults(
        claims=claims.iloc[order].reset_index(drop=True),
        studies=pd.DataFrame([{k: s[k] for k in (*PLACE, "status")} for s in studies]),
        alpha=alpha,
        meta=dict(meta or {}),
    )
