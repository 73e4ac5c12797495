"""What attribution methods share: values per prompt, values to put in, gradients, and their `Estimates`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.core.array_checks import checked_values
from mrinterp.core.errors import InputError
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._bench_gradient import DRAWN
from mrinterp.knockouts._clean_values import written_tokens
from mrinterp.knockouts._kinds.kind import Kind
from mrinterp.knockouts._kinds.mean import Mean
from mrinterp.knockouts._kinds.replacement import replacement_values
from mrinterp.results._estimates import Estimates
from mrinterp.stats.clustered.least_squares import clustered_mean
from mrinterp.stats.clustered.through_origin import through_origin

__all__ = [
    "FLAT",
    "Target",
    "attribution_estimates",
    "per_unit",
    "target_values",
    "token_mean",
    "varying",
]

Array = NDArray[np.float64]
Target = str | Kind | ArrayLike | ModelInputs
"""``"mean"``, ``"zero"``, another kind of knockout with one value per prompt, values, or inputs paired with
the bench's, whose values are taken."""

FLAT = (
    "the gradient is zero on every prompt: a step, a saturated unit or no path to the outcome;"
    " only a knockout tells which"
)
NO_ERROR = "no standard error: the change comes from fewer than two families"
UNMOVED = "the value put in equals the clean one on every prompt: choose another target"


def token_mean(bench: Bench, values: Array) -> Array:
    """One value per prompt and feature, (P, F), of values (P, F) or (P, T, F): the mean over own tokens."""
    if not bench.each:
        return values
    own = written_tokens(bench)
    return np.asarray((values * own[:, :, None]).sum(axis=1) / own.sum(axis=1)[:, None])


def varying(values: Array) -> NDArray[np.bool_]:
    """Features (F,) of values (P, F) that differ between prompts by more than float32 rounds them."""
    # About eight steps of float32: sums taken in another order differ by no more than that.
    return np.asarray(np.ptp(values, axis=0) > 1e-6 * np.abs(values).max(axis=0))


def target_values(bench: Bench, target: Target) -> Array:
    """Values to be put in, shaped as the bench's.

    Parameters
    ----------
    target : "mean", "zero", Kind, array or ModelInputs
        The mean over prompts (as `Mean` writes it), zero, what a kind of knockout with one value per
        prompt writes, values that broadcast to the bench's, or one counterfactual input per prompt.

    Raises
    ------
    InputError
        For another word, a shape that does not fit, values that are not finite, or another number of
        counterfactual inputs.
    """
    shape = bench.values.shape
    if isinstance(target, ModelInputs):
        if len(target) != bench.prompts:
            raise InputError(
                "counterfactual inputs",
                f"{len(target)} for {bench.prompts} prompts",
                "Give one per prompt, in the same order",
            )
        found = bench.read(target)
        if found.shape != shape:
            raise InputError(
                "counterfactual inputs", f"values {found.shape}, prompts' {shape}", "Pad to the same length"
            )
        return found
    if isinstance(target, str):
        if target not in ("mean", "zero"):
            raise InputError("target", repr(target), "Give 'mean', 'zero', values or paired inputs")
        return np.zeros(shape) if target == "zero" else _of_kind(bench, Mean())
    if isinstance(target, Kind):
        return _of_kind(bench, target)
    return checked_values(target, "target", shape)


def _of_kind(bench: Bench, kind: Kind) -> Array:
    """What a kind of knockout writes, shaped as the bench's values; where it leaves them, the clean ones."""
    values = np.moveaxis(replacement_values(bench, np.arange(bench.features), kind), 0, -1)
    return np.where(np.isnan(values), bench.values, values)


def per_unit(bench: Bench, moved: Array, predicted: Array) -> dict[str, Any]:
    """Effect per unit from predicted outcome changes, with the mean change beside it.

    Parameters
    ----------
    moved : ndarray, shaped as the bench's values
        Value put in minus clean value.
    predicted : ndarray (P, F, O)
        Outcome change that the method predicts for each feature moved alone.

    Returns
    -------
    dict
        ``beta, se, df`` (least squares through the origin over the prompts, as knockouts have it), ``details``
        with ``change, change_se``, the mean predicted outcome change, and ``status``.
    """
    change = token_mean(bench, moved)
    beta, se, df = through_origin(change, predicted, bench.family)
    mean, mean_se, _ = clustered_mean(predicted.reshape(len(predicted), -1), bench.family)
    status = np.full(beta.shape, "ok", dtype=object)
    status[(predicted == 0).all(axis=0)] = FLAT
    status[~(change != 0).any(axis=0)] = UNMOVED
    return {
        "beta": beta,
        "se": se,
        "df": df,
        "status": status,
        "details": {"change": mean.reshape(beta.shape), "change_se": mean_se.reshape(beta.shape)},
    }


def attribution_estimates(
    bench: Bench,
    numbers: NDArray[np.int_],
    *,
    method: str,
    label: str,
    beta: Array,
    se: Array,
    df: Array | float,
    status: NDArray[Any],
    assumes: tuple[str, ...],
    reference: str = "",
    details: Mapping[str, Array] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> Estimates:
    """A method's numbers (F, O) as `Estimates` of the chosen features, per unit, intervals over families."""
    status = status.copy()
    sampled = np.isin(bench.outcome.names, bench.outcome.sampled_names)
    status[(status == "ok") & np.isnan(beta) & sampled] = DRAWN
    status[(status == "ok") & np.isfinite(beta) & ~np.isfinite(se)] = NO_ERROR
    names = bench.view.names
    return Estimates(
        method=method,
        label=label,
        exposures=tuple(names[f] for f in numbers),
        outcomes=bench.outcome.names,
        beta=beta[numbers],
        se=se[numbers],
        status=status[numbers],
        n_instruments=np.full((len(numbers), beta.shape[1]), bench.prompts),
        df=np.broadcast_to(np.reshape(df, (-1, 1)), beta.shape)[numbers],
        details={name: value[numbers] for name, value in (details or {}).items()},
        assumes=assumes,
        reference=reference,
        unit="outcome units per unit of the feature",
        meta={"counted": "prompts", "families": len(np.unique(bench.family)), **(meta or {})},
    )
