"""Two-stage least squares on the doses, beside the within regression."""

from __future__ import annotations

import numpy as np

from mrinterp.core.errors import InputError
from mrinterp.core.estimates import Estimates
from mrinterp.core.panel import Panel
from mrinterp.mr.within import aliased_sets

__all__ = ["tsls"]

INSTRUMENTS_PER_COLUMN = 3


def tsls(panel: Panel, rank: int | None = None) -> Estimates:
    """Effects of all features jointly, instrumented by the doses; bypass components are exposures too.

    Parameters
    ----------
    panel : Panel
    rank : int, optional
        Bypass components; never more than leave ``INSTRUMENTS_PER_COLUMN`` doses for every exposure
        (with 715 components on 768 doses the correlation with knockouts fell from .95 to .42).

    Raises
    ------
    InputError
        With fewer instruments than features and five.

    Notes
    -----
    Through ``linearmodels.IV2SLS`` on within-prompt changes, errors clustered by family. Not valid
    with weak instruments: read it beside the within regression. Placebo instruments stay out.

    Source: Angrist & Imbens 1995, 10.1080/01621459.1995.10476535.
    """
    from linearmodels.iv import IV2SLS

    change = panel.changes()
    real = ~panel.instruments["placebo"].to_numpy(dtype=bool)
    doses = change.doses[:, real]
    doses = doses[:, (doses != 0).any(axis=0)]
    sets = aliased_sets(change.features)
    keep = [s[0] for s in sets]
    J = int(np.linalg.matrix_rank(doses.T @ doses))
    if J < len(keep) + 5:
        raise InputError("instruments", f"{J} that vary for {len(keep)} features", f"Two-stage least squares needs at least {len(keep) + 5}; add instruments or list fewer features")
    carried = max(J // INSTRUMENTS_PER_COLUMN - len(keep), 0)
    r = min(panel.rank if rank is None else rank, carried, change.bypass.shape[1])
    asked = panel.rank if rank is None else rank
    status = "ok" if r == min(asked, change.bypass.shape[1]) else (
        f"bypass rank lowered from {asked} to {r}, so that every column has {INSTRUMENTS_PER_COLUMN} doses"
    )
    X = np.concatenate([change.features[:, keep], change.bypass[:, :r]], axis=1)
    scale = np.sqrt((X**2).mean(axis=0))
    scale[scale == 0] = 1.0
    _, family = np.unique(change.family, return_inverse=True)
    names = [panel.feature_names[k] for k in keep]
    F, O = len(panel.feature_names), len(panel.outcome_names)
    beta, se = np.full((F, O), np.nan), np.full((F, O), np.nan)
    C, N, d = len(np.unique(family)), len(X), X.shape[1]
    small = C / (C - 1) * (N - 1) / max(N - d - change.absorbed, 1)
    for o in range(O):
        result = IV2SLS(change.outcomes[:, o], None, X / scale, doses).fit(cov_type="clustered", clusters=family)
        theta = np.asarray(result.params)[: len(names)] / scale[: len(names)]
        error = np.sqrt(np.diag(np.asarray(result.cov))[: len(names)] * small) / scale[: len(names)]
        for s, t, e in zip(sets, theta, error, strict=True):
            beta[s, o], se[s, o] = t, e
    return Estimates(
        "tsls",
        f"two-stage least squares on {J} doses, bypass rank {r}",
        panel.feature_names,
        panel.outcome_names,
        beta,
        se,
        np.full((F, O), status, dtype=object),
        np.full((F, O), J),
        df=np.full((F, O), float(C - 1)),
        assumes=(
            "the doses act on the outcome only through the features and the bypass components listed",
            "the instruments are jointly strong",
        ),
        reference="Angrist & Imbens 1995, 10.1080/01621459.1995.10476535",
        unit=f"{panel.units['outcome']} per {panel.units['feature']}",
        meta={"rank": r, "instruments": J, "covariance": "CR1"},
    )
