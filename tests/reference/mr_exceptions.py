"""Numbers where ours differs on purpose: which, why, and the evidence that a test computes.

``mr_exceptions.csv`` lists every such number by kind, method, case and fields; `KINDS` gives each kind its
reason and its evidence, a function that returns True where ours is right, computed from the data alone.
A test fails where a listed number agrees after all, so that the list is never wider than the difference.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.reference import mr_evidence as evidence
from tests.reference import mr_evidence_direction as direction
from tests.reference.mr_cases import Case, Entry
from tests.reference.mr_evidence_modes import one_step_of_their_grid
from tests.reference.mr_fits import Values

Evidence = Callable[[Case, Entry, Values], bool]

KINDS: dict[str, tuple[str, Evidence]] = {
    "inflation_multiplied": (
        "p multiplies the drop in likelihood by phi^2, the interval divides",
        evidence.interval_and_p_agree,
    ),
    "overdispersion_not_solved": (
        "takes a scalar max where an elementwise one belongs, so tau^2 does not solve the published equation",
        evidence.solves_the_paper,
    ),
    "local_optimum": (
        "a start at 0 (or ten random ones) stops at a local optimum for some number of invalid instruments",
        evidence.never_a_worse_likelihood,
    ),
    "heavy_tails": (
        "three weak instruments: the perturbed estimates are heavy-tailed and have no stable standard deviation",
        evidence.not_even_themselves,
    ),
    "mixture_not_fitted": (
        "its EM stops before the optimum at each theta, so that another theta has the largest estimated share",
        evidence.their_mixture_is_not_fitted,
    ),
    "too_few": (
        "theta, pi0 and sigma^2 from three residuals: ours asks for five instruments",
        evidence.refused,
    ),
    "descent_stopped": ("coordinate descent stops before the optimum", evidence.lower_lasso_objective),
    "divided_by_a_dimension": (
        "the error is divided by min(1, sigma), sigma in the unit of the outcome: changing the unit changes z",
        evidence.divided_by_a_dimension,
    ),
    "simplex_stopped": (
        "Nelder-Mead in n + 1 dimensions stops before the optimum; ours is the optimum (exact.profile_ml)",
        evidence.lower_objective,
    ),
    "simplex_stopped_correlated": (
        "Nelder-Mead in n + 1 dimensions stops before the optimum of e' Omega(theta)^-1 e; ours has the lower value",
        evidence.lower_correlated_objective,
    ),
    "search_left_least_squares": (
        "delta is searched for, from least squares, towards the least F of any direction, and the search stops on"
        " the way for some exposures; ours keeps delta at least squares, as conditional F is defined",
        evidence.between_least_squares_and_minimum,
    ),
    "shrunken_fixed_error": (
        "the 'fixed-effect' error is shrunk below the known errors when the residual variance is below 1",
        evidence.shrunken_fixed_error,
    ),
    "degrees_of_freedom": (
        "p from t on J - K degrees of freedom, though the fit has K + 1 coefficients (the interval uses J - K - 1)",
        evidence.p_on_one_degree_too_many,
    ),
    "zero_erased": (
        "an instrument whose orienting effect is exactly 0 is multiplied by sign(0) = 0 and kept as a row of zeros",
        evidence.zero_effect_is_erased,
    ),
    "density_approximated": (
        "the density is approximated (binned, then by fast Fourier transform), which decides between two"
        " neighbouring points of the grid; ours is the sum of the kernels",
        one_step_of_their_grid,
    ),
    "quantile_df": (
        "the quantile that turns p into F is on n - 1 degrees of freedom where the slope has n - 2",
        direction.quantile_on_one_degree_too_many,
    ),
    "p_underflows": (
        "an instrument whose p is below the smallest double has no correlation and is left out of the sum",
        direction.strongest_is_lost,
    ),
    "explains_more_than_all": (
        "the instruments explain more than 100% of a trait (effects of a toy example): the volumes are taken"
        " all the same, ours says that the test does not apply",
        direction.does_not_apply,
    ),
}


@dataclass(frozen=True)
class Differs:
    """Fields of one entry that are not compared with the published number."""

    kind: str
    method_id: str
    case: str
    fields: tuple[str, ...]

    @property
    def reason(self) -> str:
        return KINDS[self.kind][0]

    @property
    def evidence(self) -> Evidence:
        return KINDS[self.kind][1]

    def covers(self, entry: Entry, field: str) -> bool:
        return self.method_id == entry.method_id and self.case == entry.case and field in self.fields


def _read() -> list[Differs]:
    with (Path(__file__).parent / "mr_exceptions.csv").open(newline="") as lines:
        return [
            Differs(row["kind"], row["method_id"], row["case"], tuple(row["fields"].split()))
            for row in csv.DictReader(lines)
        ]


EXCEPTIONS: list[Differs] = _read()
