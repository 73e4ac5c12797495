"""Estimates from instruments, widened by the bias that matched shifts of a few features showed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrinterp.core.checks import checked_count, checked_seed, checked_type
from mrinterp.core.errors import InputError
from mrinterp.results._estimates import Estimates, Undecided
from mrinterp.results._knockout_effects import EXTREMAL, KnockoutEffects
from mrinterp.stats.clustered.calibrated import (
    DRAWN,
    FEWEST,
    OWN,
    REST,
    Calibrated,
    calibrated,
    calibration_roles,
)
from mrinterp.stats.tests.tails import critical_value, neglog10p_t

__all__ = ["CalibrationPlan", "calibrated_estimates", "calibration_plan"]

Array = NDArray[np.float64]

MEASURED, BORROWED, UNMEASURED = "measured", "borrowed", "unmeasured"
"""What is known of the bias of an estimate, in ``meta["bias"]``; of several outcomes the least."""

NOT_FOR_THE_LARGEST = "local slope, calibrated on average over features, not for the largest"
LARGEST_SHIFTED = "local slope; the features largest on discovery rest on their own shifts, the others are calibrated on average"
ALL_SHIFTED = "local slope; every feature rests on its own shift"
BORROWED_TAU = "local slope, its bias borrowed from other estimates: on average as large here as there"
NOT_MEASURED = "local slope, its bias not measured: the interval holds only if there is none"
NO_SHIFT = "no estimate: the feature rests on its own shift, which has no effect with an error"
REFERENCE = "moment equation: DerSimonian & Kacker 2007, 10.1016/j.cct.2006.04.004"

UNEQUAL = 1.5
"""Ratio of features' standard deviations from which on one bias in units of the outcome is not one per sd."""


@dataclass(frozen=True)
class CalibrationPlan:
    """Which features are shifted by hand to calibrate an estimate, and what for.

    Parameters
    ----------
    features : tuple of str
        All features.
    roles : tuple of str
        ``own``: rests on its own shift; ``drawn``: drawn at random to calibrate; ``rest``: calibrated.
    seed : int
        Of the draw.

    Examples
    --------
    >>> from mrinterp.effects import CalibrationPlan
    >>> CalibrationPlan(("a", "b", "c"), ("own", "rest", "drawn"), 0).to_shift
    ('a', 'c')
    """

    features: tuple[str, ...]
    roles: tuple[str, ...]
    seed: int

    @property
    def to_shift(self) -> tuple[str, ...]:
        """Features whose matched shifts are to be run, in their order."""
        return tuple(f for f, role in zip(self.features, self.roles, strict=True) if role != REST)

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for JSON."""
        return {"features": list(self.features), "roles": list(self.roles), "seed": self.seed}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> CalibrationPlan:
        """The plan that `to_dict` gave."""
        return cls(tuple(stored["features"]), tuple(stored["roles"]), stored["seed"])


def calibration_plan(discovery: Estimates, drawn: int = 10, seed: int = 0) -> CalibrationPlan:
    """Which features to shift, from nothing but how large they look on discovery.

    Parameters
    ----------
    discovery : Estimates
        Effects per standard deviation of each feature, from families that no estimate uses later. A feature is as large
        as on the outcome where it is largest, over the typical (median) size on that outcome.
    drawn : int
        Features drawn at random to calibrate (m): 10, or 20 for a slope.
    seed : int
        Of the draw.

    Returns
    -------
    CalibrationPlan
        The min(20, K/4) largest rest on their own shifts, ``drawn`` of the others calibrate. Where there are fewer than
        twice as many others, all rest on their own.

    Raises
    ------
    InputError
        For fewer than five features to be drawn, or what is no `Estimates`.

    Notes
    -----
    Not valid where discovery families are among those of the estimate: what is large by chance is then not shifted
    blindly. Plan and shifts come before the estimate.

    Examples
    --------
    >>> from mrinterp.effects import calibration_plan
    >>> from mrinterp.results import example
    >>> calibration_plan(example("Estimates")).roles
    ('own', 'own', 'own')
    """
    checked_type(discovery, "discovery", Estimates, "estimates of the discovery split")
    drawn, seed = checked_count(drawn, "drawn", FEWEST, unit="features"), checked_seed(seed)
    size = np.abs(discovery.beta)
    known = np.isfinite(size)
    typical = np.array([np.median(s[k]) if k.any() else 1.0 for s, k in zip(size.T, known.T, strict=True)])
    standing = np.where(known, size / np.where(typical > 0, typical, 1.0), -1.0).max(axis=1, initial=-1.0)
    roles = calibration_roles(np.maximum(standing, 0.0), drawn, seed)
    return CalibrationPlan(discovery.exposures, tuple(map(str, roles)), seed)


def calibrated_estimates(
    estimates: Estimates,
    shifts: KnockoutEffects | None = None,
    plan: CalibrationPlan | None = None,
    *,
    tau: ArrayLike | None = None,
    tau_from: int | None = None,
    feature_sd: ArrayLike | None = None,
) -> Estimates:
    """An estimate from instruments with intervals that allow for its bias, as matched shifts showed it.

    Parameters
    ----------
    estimates : Estimates
        Local slopes of all features, such as `mrinterp.mr.within`'s.
    shifts : KnockoutEffects, optional
        Shifts of the features to be shifted (``plan.to_shift``), per unit of the same reading, on families that the
        estimate did not use, run before it was seen.
    plan : CalibrationPlan, optional
        From `calibration_plan`. Without one every feature with a shift counts as drawn at random.
    tau : float or array (O,), optional
        Without shifts: the spread of the bias that other estimates showed (``meta["calibration"]`` of a sibling
        network's), in units of the outcome per sd of the feature. It is borrowed, and said to be.
    tau_from : int, optional
        Features that ``tau`` was measured on.
    feature_sd : array (F,), optional
        Natural standard deviation of every feature: the bias is shared on the scale of these. None: effects are per
        standard deviation already.

    Returns
    -------
    Estimates
        On the same units. ``meta["bias"]``: ``measured``, ``borrowed`` or ``unmeasured``; ``meta["calibration"]``: of
        every outcome ``bias, tau, slope, slope_se, drawn, reason``; ``meta["roles"]``. ``details``: ``tau`` (per unit;
        nan for features on their own shifts) and the ``uncalibrated`` estimate with its error. Outcomes whose bias is
        unmeasured keep their intervals.

    Raises
    ------
    InputError
        For shifts of other features or outcomes, of another kind than ``shift``, or on features of unlike spread without
        ``feature_sd``; for a plan of other features; for both shifts and ``tau``.

    Notes
    -----
    A local slope stays one: calibration says nothing of a natural contrast, and an interval near 0 is no ground for
    absence. Not valid where the shifted features were picked by hand, or after the estimate was seen. It holds on average
    over features and studies; a borrowed ``tau`` covered .95 on average and .81 in the worst of several networks, one
    borrowed from another outcome .71.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from mrinterp.effects import calibrated_estimates
    >>> from mrinterp.results import example
    >>> found = calibrated_estimates(example("Estimates"), tau=0.1)
    >>> found.meta["bias"]
    'borrowed'
    """
    checked_type(estimates, "estimates", Estimates, "what run_mr or within returns")
    scale = _scale(estimates, shifts, feature_sd)
    if shifts is None:
        if plan is not None:
            raise InputError(
                "plan", "given without shifts", "Give the shifts of plan.to_shift, or leave the plan out"
            )
        return _unmeasured(estimates) if tau is None else _borrowed(estimates, tau, tau_from, scale)
    if tau is not None:
        raise InputError("tau", "given beside shifts", "Give one of the two: shifts measure it")
    roles, shift, error, df = _joined(estimates, shifts, plan)
    sd = scale[:, None]
    made = calibrated(
        estimates.beta * sd,
        estimates.se * sd,
        shift * sd,
        error * sd,
        roles,
        shift_df=df,
        level=estimates.level,
    )
    return _result(estimates, shifts, made, roles, sd)


def _scale(estimates: Estimates, shifts: KnockoutEffects | None, feature_sd: ArrayLike | None) -> Array:
    """Natural sd (F,) of the features."""
    F = len(estimates.exposures)
    if feature_sd is not None:
        sd = np.asarray(feature_sd, dtype=float)
        if sd.shape != (F,) or not (np.isfinite(sd) & (sd > 0)).all():
            raise InputError(
                "feature_sd", f"shape {sd.shape}", f"Give {F} numbers above 0, one for each feature"
            )
        return sd
    known = (
        np.zeros(0)
        if shifts is None
        else shifts.feature_sd[np.isfinite(shifts.feature_sd) & (shifts.feature_sd > 0)]
    )
    if len(known) and known.max() > UNEQUAL * known.min():
        found = f"not given, and shifted features have sd from {known.min():.3g} to {known.max():.3g}"
        raise InputError(
            "feature_sd", found, "Give the natural sd of all features: the bias is shared per sd"
        )
    return np.ones(F)


def _joined(
    estimates: Estimates, shifts: KnockoutEffects, plan: CalibrationPlan | None
) -> tuple[NDArray[np.object_], Array, Array, Array]:
    """Roles (F,), and shifts, their errors and degrees of freedom (F, O) in the order of the estimates; nan without."""
    checked_type(shifts, "shifts", KnockoutEffects, "what knock_out returns for a shift")
    if shifts.kind != "shift":
        raise InputError(
            "shifts", f"of kind {shifts.kind!r}", "Give matched shifts: an estimate is a local slope"
        )
    if shifts.outcomes != estimates.outcomes:
        found = f"{', '.join(shifts.outcomes)} against {', '.join(estimates.outcomes)}"
        raise InputError("shifts.outcomes", found, "Give both the same outcomes in one order")
    unknown = [f for f in shifts.features if f not in estimates.exposures]
    if unknown:
        raise InputError(
            "shifts.features", f"{unknown[0]!r} has no estimate", "Give shifts of the estimate's features"
        )
    if plan is not None and plan.features != estimates.exposures:
        found = f"{len(plan.features)} features against {len(estimates.exposures)}, or in another order"
        raise InputError("plan", found, "Give the plan of the same features")
    F, O = estimates.beta.shape
    rows = [estimates.exposures.index(f) for f in shifts.features]
    shift, error, df = (np.full((F, O), np.nan) for _ in range(3))
    shift[rows], error[rows], df[rows] = shifts.effect, shifts.se, shifts.effect_df[:, None]
    if plan is None:
        roles = np.full(F, REST, dtype=object)
        roles[rows] = DRAWN
    else:
        roles = np.array(plan.roles, dtype=object)
        lacking = [f for f in plan.to_shift if f not in shifts.features]
        if lacking:
            found = f"{len(lacking)} of the plan's features are not shifted, the first {lacking[0]!r}"
            raise InputError("shifts.features", found, "Run the shifts of all of plan.to_shift")
    return roles, shift, error, df


def _result(
    estimates: Estimates, shifts: KnockoutEffects, made: Calibrated, roles: NDArray[np.object_], sd: Array
) -> Estimates:
    """What the shifts make of the estimates; outcomes whose bias is not measured keep theirs."""
    own, all_own = (roles == OWN)[:, None], bool((roles == OWN).all())
    usable = (made.measured | all_own) & ~shifts.extremal_at_clean
    # A feature on its own shift has that one or none; the estimate's failure is no failure of the shift.
    take = usable & (own | np.isfinite(made.beta))
    status = np.where(take & own, np.where(np.isfinite(made.beta), "ok", NO_SHIFT), estimates.status)
    calibration = []
    for o, outcome in enumerate(estimates.outcomes):
        few = f"{made.drawn[o]} drawn features with estimate and shift: {FEWEST} are needed"
        why = EXTREMAL if shifts.extremal_at_clean[o] else "" if usable[o] else few
        tau, slope, slope_se = (float(x[o]) for x in (made.tau, made.slope, made.slope_se))
        of = {"tau": tau, "slope": slope, "slope_se": slope_se, "drawn": int(made.drawn[o])}
        bias = MEASURED if usable[o] else UNMEASURED
        calibration.append({"outcome": outcome, "bias": bias, "reason": why, **of})
    if all_own:
        words, label = ALL_SHIFTED, "shifts of all features in place of"
    else:
        words = LARGEST_SHIFTED if own.any() else NOT_FOR_THE_LARGEST
        label = f"calibrated by shifts of {int((roles == DRAWN).sum())} random features:"
    assumes = (words, *([] if usable.all() else [NOT_MEASURED]), *([] if all_own else estimates.assumes))
    numbers = (made.beta / sd, made.se / sd, made.df)
    return _with(
        estimates, numbers, take, made.tau_by_feature / sd, label, assumes, calibration, roles, status
    )


def _borrowed(estimates: Estimates, tau: ArrayLike, tau_from: int | None, scale: Array) -> Estimates:
    """Every interval widened by a bias that was measured elsewhere."""
    F, O = estimates.beta.shape
    given = np.asarray(tau, dtype=float)
    if given.shape not in ((), (O,)) or not (np.isfinite(given) & (given >= 0)).all():
        raise InputError(
            "tau", f"{given.tolist()}", f"Give a number of at least 0, or one for each of {O} outcomes"
        )
    m = None if tau_from is None else checked_count(tau_from, "tau_from", 2, unit="features")
    wide = np.broadcast_to(given, (O,)) / scale[:, None]
    df = estimates.df if m is None else np.minimum(estimates.df, m - 1.0)
    calibration = [
        {
            "outcome": o,
            "bias": BORROWED,
            "reason": "",
            "tau": float(t),
            "slope": 1.0,
            "slope_se": 0.0,
            "drawn": m or 0,
        }
        for o, t in zip(estimates.outcomes, np.broadcast_to(given, (O,)), strict=True)
    ]
    numbers = (estimates.beta, np.sqrt(estimates.se**2 + wide**2), np.asarray(df))
    roles, take = np.full(F, REST, dtype=object), np.isfinite(estimates.beta) & np.isfinite(estimates.se)
    assumes, label = (BORROWED_TAU, NOT_FOR_THE_LARGEST, *estimates.assumes), "widened by a borrowed bias:"
    return _with(estimates, numbers, take, wide, label, assumes, calibration, roles, estimates.status)


def _unmeasured(estimates: Estimates) -> Estimates:
    """The estimates as they are, with the word that nothing is known of their bias."""
    none = {
        "bias": UNMEASURED,
        "reason": "no shifts",
        "tau": float("nan"),
        "slope": 1.0,
        "slope_se": 0.0,
        "drawn": 0,
    }
    meta = {"bias": UNMEASURED, "calibration": [{"outcome": o, **none} for o in estimates.outcomes]}
    return replace(estimates, assumes=(NOT_MEASURED, *estimates.assumes), meta=estimates.meta | meta)


def _with(
    estimates: Estimates,
    numbers: tuple[Array, Array, Array],
    take: NDArray[np.bool_],
    tau: Array,
    label: str,
    assumes: Sequence[str],
    calibration: list[dict[str, Any]],
    roles: NDArray[np.object_],
    status: NDArray[Any],
) -> Estimates:
    """Estimates with new effects, errors and degrees of freedom where they are to be taken."""
    beta, se, df = (
        np.where(take, new, old)
        for new, old in zip(numbers, (estimates.beta, estimates.se, estimates.df), strict=True)
    )
    half = critical_value(estimates.level, df) * se
    with np.errstate(divide="ignore", invalid="ignore"):
        strength = neglog10p_t(beta / se, df)
    words = [c["bias"] for c in calibration]
    details = {
        "tau": np.where(take, tau, np.nan),
        "uncalibrated": estimates.beta,
        "uncalibrated_se": estimates.se,
    }
    if (
        "undecided" in estimates.details
    ):  # what was said of the estimate does not bear on a shift in its place
        own = take & (roles == OWN)[:, None]
        details["undecided"] = np.where(own, Undecided.DECIDED, estimates.details["undecided"])
    return replace(
        estimates,
        method=f"{estimates.method}_calibrated",
        label=f"{label} {estimates.label}",
        beta=beta,
        se=se,
        df=df,
        ci_lower=np.where(take, beta - half, estimates.ci_lower),
        ci_upper=np.where(take, beta + half, estimates.ci_upper),
        neglog10p=np.where(take, strength, estimates.neglog10p),
        status=status,
        details=estimates.details | details,
        assumes=tuple(assumes),
        reference="; ".join(filter(None, (estimates.reference, REFERENCE))),
        meta=estimates.meta
        | _sets_left(estimates, roles)
        | {
            "bias": next(w for w in (UNMEASURED, BORROWED, MEASURED) if w in words),
            "calibration": calibration,
            "roles": roles.tolist(),
            "estimand": "local slope",
        },
    )


def _sets_left(estimates: Estimates, roles: NDArray[np.object_]) -> dict[str, Any]:
    """Sets of dependent features with a member that does not rest on its own shift; nothing calibrated their effect
    together."""
    role = dict(zip(estimates.exposures, roles, strict=True))
    together = ("beta", "se", "ci_lower", "ci_upper")
    left = [
        {k: v for k, v in one.items() if k not in together} | {"verdict": "no estimate"}
        for one in estimates.meta.get("dependent_sets", [])
        if any(role[m] != OWN for m in one["members"])
    ]
    return {"dependent_sets": left} if "dependent_sets" in estimates.meta else {}
