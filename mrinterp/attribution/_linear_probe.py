"""A linear probe of the outcome on all features together, judged on families it has not seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold

from mrinterp.attribution._method import attribution_estimates, token_mean, varying
from mrinterp.core.errors import InputError
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._feature_numbers import Features, feature_numbers
from mrinterp.results._estimates import Estimates
from mrinterp.stats.clustered.least_squares import families_of
from mrinterp.stats.clustered.probe import PENALTIES, jackknifed_probe

__all__ = ["linear_probe"]

Array = NDArray[np.float64]


def linear_probe(
    bench: Bench,
    features: Features | str | int | None = None,
    *,
    folds: int = 10,
    penalties: Sequence[float] = PENALTIES,
) -> Estimates:
    """Ridge regression of each outcome on all features; logistic where the outcome has two values.

    Parameters
    ----------
    bench : Bench
        P prompts, a view of F features at one site, and outcomes.
    features : names or numbers, optional
        Of which features results are returned; default all of the view. The probe is fitted on all features of
        the view, whichever are returned.
    folds : int
        Groups of families left out in turn (fewer where there are fewer families).
    penalties : sequence of float
        Grid of squared-length penalties on standardized coefficients, chosen by families held out
        from the fit.

    Returns
    -------
    Estimates
        Coefficient per unit of the feature in outcome units (logistic: average marginal effect).
        ``details["held_out"]``: R^2 on families held out, the penalty chosen without them.
        Errors: delete-a-group jackknife over the groups of families, t on groups minus one. An outcome for which
        no probe can be fitted has nan and the reason as its status.

    Raises
    ------
    InputError
        For a feature that the view does not have, fewer than two folds, or a penalty that is not positive.

    Notes
    -----
    Not valid as an effect. The interval is that of the shrunken coefficient under resampled families. It says
    how well the probe reads, not what the network uses: with correlated features the penalty splits the cause's
    coefficient among those that accompany it.

    Where every token has a value of its own, the mean over an input's own tokens stands for it.

    Source: Alain & Bengio 2016, arXiv:1610.01644.

    Examples
    --------
    >>> from mrinterp.attribution import linear_probe
    >>> from mrinterp.worlds import gated_world
    >>> found = linear_probe(gated_world(families=10).bench(), "linear")
    >>> round(found["linear", "output"].beta, 2), found.details["held_out"].item() > 0.99
    (1.0, True)
    """
    numbers = feature_numbers(bench, features)
    if folds < 2 or not penalties or min(penalties) <= 0:
        found = f"{folds} folds, penalties {penalties}"
        raise InputError("linear probe", found, "Give at least 2 folds, and penalties above 0")
    x, y = token_mean(bench, bench.values), bench.clean
    codes, names = families_of(bench.family)
    G, (F, O) = min(folds, len(names)), (x.shape[1], y.shape[1])
    spread, varies = x.std(axis=0), varying(x)
    beta, se, held = np.full((F, O), np.nan), np.full((F, O), np.nan), np.full((F, O), np.nan)
    status = np.full((F, O), "ok", dtype=object)
    for o in range(O):
        why = "fewer than three families: none can be held out" if G < 3 else ""
        why = why or _unfit(y[:, o], codes, G)
        if why or not varies.any():
            status[:, o] = why
            continue
        b, e, r2 = jackknifed_probe(x[:, varies] / spread[varies], y[:, o], codes, G, penalties)
        beta[varies, o], se[varies, o] = b / spread[varies], e / spread[varies]
        held[:, o] = r2
    status[~varies] = "the feature does not vary over these prompts"
    return attribution_estimates(
        bench,
        numbers,
        method="linear_probe",
        label="linear probe",
        beta=beta,
        se=se,
        df=float(G - 1),
        status=status,
        assumes=("features that read the outcome well also drive it (they need not)",),
        reference="Alain & Bengio 2016, arXiv:1610.01644",
        details={"held_out": held},
        meta={"folds": G},
    )


def _unfit(y: Array, codes: NDArray[np.int_], groups: int) -> str:
    """Why no probe can be fitted, or nothing."""
    classes = np.unique(y)
    if len(classes) < 2:
        return "the outcome does not vary over these prompts"
    if len(classes) == 2:
        for train, _ in GroupKFold(groups).split(codes, groups=codes):
            inner = [train[i] for i, _ in GroupKFold(2).split(train, groups=codes[train])]
            if any(len(np.unique(y[part])) < 2 for part in (train, *inner)):
                return "one class is found in too few families to be held out"
    return ""
