"""A ridge or logistic probe on plain arrays, its penalty chosen by families held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss, mean_squared_error
from sklearn.model_selection import GroupKFold

__all__ = ["PENALTIES", "jackknifed_probe"]

Array = NDArray[np.float64]

PENALTIES = tuple(10.0**k for k in range(-3, 5))
"""From next to no shrinkage to nearly all of it, on standardized features: the best one is chosen within."""

MOST_INNER_FOLDS = 5
"""Folds by which a penalty is chosen; two where there are fewer than `FAMILIES_FOR_FIVE`."""

FAMILIES_FOR_FIVE = 10
"""With fewer families a fifth of them would hold a single one."""


def jackknifed_probe(
    x: Array, y: Array, codes: NDArray[np.int_], groups: int, penalties: Sequence[float]
) -> tuple[Array, Array, float]:
    """Coefficients per standard deviation, their error, and R^2 on the families left out."""
    fits, error, around = [], 0.0, 0.0
    for train, test in GroupKFold(groups).split(x, groups=codes):
        coefficient, predict = fitted_probe(x[train], y[train], codes[train], penalties)
        fits.append(coefficient)
        error += float(((y[test] - predict(x[test])) ** 2).sum())
        around += float(((y[test] - y[train].mean()) ** 2).sum())
    left_out = np.array(fits)
    se = np.sqrt((groups - 1) / groups * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))
    return fitted_probe(x, y, codes, penalties)[0], se, 1 - error / around if around > 0 else float("nan")


def fitted_probe(
    x: Array, y: Array, codes: NDArray[np.int_], penalties: Sequence[float]
) -> tuple[Array, Callable[[Array], Array]]:
    """Coefficients in outcome units, and what predicts outcomes; penalty chosen by held-out families."""
    classes = np.unique(y)
    centre = x.mean(axis=0)
    x = x - centre
    if len(classes) == 2:
        low, high = classes
        label = (y == high).astype(int)

        def made(penalty: float) -> LogisticRegression:
            return LogisticRegression(C=1 / penalty, max_iter=1000)

        penalty = chosen_penalty(
            made, lambda m, a, b: log_loss(b, m.predict_proba(a), labels=[0, 1]), x, label, codes, penalties
        )
        model = made(penalty).fit(x, label)
        chance = model.predict_proba(x)[:, 1]
        slope = model.coef_[0] * float((chance * (1 - chance)).mean()) * (high - low)
        return slope, lambda new: low + (high - low) * model.predict_proba(new - centre)[:, 1]
    penalty = chosen_penalty(
        Ridge, lambda m, a, b: mean_squared_error(b, m.predict(a)), x, y, codes, penalties
    )
    ridge = Ridge(penalty).fit(x, y)
    return ridge.coef_, lambda new: ridge.predict(new - centre)


def chosen_penalty(
    made: Callable[[float], Any],
    loss: Callable[[Any, Array, Array], float],
    x: Array,
    y: Array,
    codes: NDArray[np.int_],
    penalties: Sequence[float],
) -> float:
    """The penalty with the smallest loss on families held out in turn."""
    total = np.zeros(len(penalties))
    count = len(np.unique(codes))
    inner = MOST_INNER_FOLDS if count >= FAMILIES_FOR_FIVE else 2
    folds = list(GroupKFold(inner).split(x, groups=codes))
    for train, test in folds:
        if len(np.unique(y[train])) < 2:
            continue
        for k, penalty in enumerate(penalties):
            total[k] += len(test) * loss(made(penalty).fit(x[train], y[train]), x[test], y[test])
    return penalties[int(np.argmin(total))]
