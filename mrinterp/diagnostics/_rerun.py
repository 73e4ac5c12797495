"""A run repeated: do the claims come out again?"""

from __future__ import annotations

import numpy as np
import pandas as pd

__all__ = ["compare_claims"]


def compare_claims(before: pd.DataFrame, after: pd.DataFrame) -> pd.DataFrame:
    """Claim by claim: effect and verdict of a run and of its repetition.

    Parameters
    ----------
    before, after : DataFrame
        Results of the two runs (`Study.results`).

    Returns
    -------
    DataFrame
        ``feature, outcome, effect, effect_again, difference`` (in standard errors of the first),
        ``verdict, verdict_again, knockout, knockout_again`` and ``same``: ``identical`` (same
        numbers), ``agrees`` (same verdicts, effect within a tenth of a standard error),
        ``differs``, or ``missing`` from one of the two.

    Notes
    -----
    The same study file with the same seeds should come out ``identical``. On other families or another seed
    this is no test of replication: both runs have errors, and only the first one's are in ``difference``.

    Examples
    --------
    >>> import pandas as pd
    >>> from mrinterp.diagnostics import compare_claims
    >>> claim = {"feature": "a", "outcome": "y", "effect": 1.0, "ci_lower": 0.8, "ci_upper": 1.2}
    >>> claim |= {"verdict": "causal", "knockout": 1.1, "knockout_verdict": "causal"}
    >>> compare_claims(pd.DataFrame([claim]), pd.DataFrame([claim | {"effect": 1.005}]))["same"].tolist()
    ['agrees']
    """
    keys = ["feature", "outcome"]
    columns = [*keys, "effect", "ci_lower", "ci_upper", "verdict", "knockout", "knockout_verdict"]
    both = before[columns].merge(after[columns], on=keys, how="outer", suffixes=("", "_again"))
    half = (both["ci_upper"] - both["ci_lower"]) / 2 / 1.96
    both["difference"] = (both["effect_again"] - both["effect"]) / half
    numbers = ["effect", "ci_lower", "ci_upper", "knockout"]
    identical = np.all([_equal(both[c], both[f"{c}_again"]) for c in numbers], axis=0)
    verdicts = (both["verdict"] == both["verdict_again"]) & (
        both["knockout_verdict"] == both["knockout_verdict_again"]
    )
    close = verdicts & (both["difference"].abs().fillna(0.0) < 0.1)
    missing = both["verdict"].isna() | both["verdict_again"].isna()
    both["same"] = np.select(
        [missing, identical & verdicts, close], ["missing", "identical", "agrees"], "differs"
    )
    return both.drop(columns=["ci_lower", "ci_upper", "ci_lower_again", "ci_upper_again"])


def _equal(a: pd.Series, b: pd.Series) -> np.ndarray:
    return np.asarray((a == b) | (a.isna() & b.isna()))
