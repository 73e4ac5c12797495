"""Entries where ours differs on purpose: which, why, and the evidence that a test computes.

Version 1. An entry is (method, cases or all, fields, reason, evidence); the evidence is a function
that returns True where ours is right, computed from the data alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from mr_cases import Case, Entry
from mr_mapping import Values
from scipy import stats

from mrinterp.mr.driver import estimate

VERSION = 1


@dataclass(frozen=True)
class Differs:
    """Fields of one method that are not held against the published number."""

    method_id: str
    fields: tuple[str, ...]
    reason: str
    evidence: Callable[[Case, Entry, Values], bool]
    cases: tuple[str, ...] = ()

    def covers(self, entry: Entry, field: str) -> bool:
        return (
            self.method_id == entry.method_id
            and field in self.fields
            and (not self.cases or entry.case in self.cases)
        )


def _p_on_one_degree_too_many(case: Case, entry: Entry, ours: Values) -> bool:
    """Their p is t on J - K, their interval t on J - K - 1: the regression has K + 1 coefficients."""
    K, _, J = case.data.shape
    t = np.array(entry.results["estimate"]) / np.array(entry.results["se"])
    theirs = np.allclose(2 * stats.t.sf(np.abs(t), J - K), entry.results["p"], rtol=1e-8)
    half = (np.array(entry.results["ci_upper"]) - entry.results["estimate"]) / entry.results["se"]
    return theirs and np.allclose(half, stats.t.ppf(0.975, J - K - 1), rtol=1e-8)


def _zero_effect_is_erased(case: Case, entry: Entry, ours: Values) -> bool:
    """They multiply a whole row by sign(0) = 0: with its numbers set to 0, ours gives theirs."""
    orient = entry.args["orientate"] - 1
    zero = case.data.beta_x[orient] == 0
    if not zero.any():
        return True
    erased = replace(
        case.data, beta_x=np.where(zero, 0.0, case.data.beta_x), beta_y=np.where(zero, 0.0, case.data.beta_y)
    )
    beta = estimate(erased, "mv_egger", orientate=orient + 1).beta[:, 0]
    return bool(np.allclose(beta, entry.results["estimate"], rtol=1e-8))


def _divided_by_a_dimension(case: Case, entry: Entry, ours: Values) -> bool:
    """Theirs is ours / min(1, sigma) with sigma in the outcome's unit: another unit, another z."""
    J = case.data.shape[2]
    sigma = np.sqrt(ours["Q"] / (J - 1))
    explained = np.isclose(entry.results["se"], ours["se"] / min(1.0, sigma), rtol=1e-8)
    x, y = case.data.beta_x[0], case.data.beta_y[0]
    oracle = stats.linregress(np.r_[x, -x], np.r_[y, -y])  # doubling the points makes the line pass through 0
    right = oracle.stderr * np.sqrt((2 * J - 2) / (J - 1))
    return bool(explained and np.isclose(ours["se"], right, rtol=1e-8))


def _exact_q(case: Case, theta: float) -> float:
    """The objective of maximum likelihood, computed here on its own."""
    d = case.data
    e = d.beta_y[0] - theta * d.beta_x[0]
    return float(np.sum(e**2 / (d.se_y[0] ** 2 + theta**2 * d.se_x[0] ** 2)))


def _lower_objective(case: Case, entry: Entry, ours: Values) -> bool:
    """No theta does better than ours, theirs does worse, and the true optimum is listed with the data."""
    q = _exact_q(case, ours["estimate"])
    truth = case.entries["exact.profile_ml"].results
    return (
        q <= _exact_q(case, entry.results["estimate"]) + 1e-9
        and entry.results["Q"] >= ours["Q"] - 1e-6
        and np.isclose(ours["estimate"], truth["estimate"], rtol=1e-5)
        and np.isclose(ours["Q"], truth["Q"], rtol=1e-8)
    )


def _shrunken_fixed_error(case: Case, entry: Entry, ours: Values) -> bool:
    """Their fixed-effect error falls below what the known errors of the instruments allow."""
    chosen, J = entry.results["model"], case.data.shape[2]
    if chosen in "BD":
        return bool(np.isclose(ours["selected"]["SE"], entry.results["selected"]["SE"], rtol=1e-8))
    q = ours["Q"]["Q"][0 if chosen == "A" else 1]
    sigma = np.sqrt(q / (J - (1 if chosen == "A" else 2)))
    least = 1.0 / np.sqrt(np.sum((case.data.beta_x[0] / case.data.se_y[0]) ** 2))
    return bool(
        np.isclose(entry.results["selected"]["SE"], ours["selected"]["SE"] * min(1.0, sigma), rtol=1e-8)
        and ours["selected"]["SE"] >= least * (1 - 1e-12)
    )


EXCEPTIONS: list[Differs] = [
    Differs(
        "tsmr.mr_uwr",
        ("se", "p"),
        "the error is divided by min(1, sigma), sigma in the unit of the outcome: changing the unit changes z",
        _divided_by_a_dimension,
    ),
    Differs(
        "tsmr.mr_two_sample_ml",
        ("estimate", "se", "Q"),
        "Nelder-Mead in n + 1 dimensions stops before the optimum; ours is the optimum (exact.profile_ml)",
        _lower_objective,
    ),
    Differs(
        "mendr.maxlik",
        ("estimate", "se", "Q"),
        "Nelder-Mead in n + 1 dimensions stops before the optimum; ours is the optimum (exact.profile_ml)",
        _lower_objective,
    ),
    Differs(
        "tsmr.mr_rucker",
        ("selected.SE",),
        "the 'fixed-effect' error is shrunk below the known errors when the residual variance is below 1",
        _shrunken_fixed_error,
    ),
    Differs(
        "mendr.mvegger.tdist",
        ("p", "intercept_p"),
        "p from t on J - K degrees of freedom, though the fit has K + 1 coefficients (the interval uses J - K - 1)",
        _p_on_one_degree_too_many,
    ),
    Differs(
        "mendr.mvegger.orient3",
        ("estimate", "se", "p", "ci_lower", "ci_upper", "Q", "Q_p", "intercept", "intercept_se", "intercept_p"),
        "an instrument whose orienting effect is exactly 0 is multiplied by sign(0) = 0 and kept as a row of zeros",
        _zero_effect_is_erased,
        ("mv01_lipids_sbp",),
    ),
]
