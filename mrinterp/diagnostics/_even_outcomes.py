"""Outcomes that are even in a shift: what is linear in the shift does not apply to them."""

from __future__ import annotations

from mrinterp.core.plan_outcome import OutcomeSection
from mrinterp.results._check import Check

__all__ = ["even_outcome_checks"]


def even_outcome_checks(outcomes: tuple[OutcomeSection, ...]) -> list[Check]:
    """A warning for every outcome that has its minimum at the clean run.

    Parameters
    ----------
    outcomes : tuple of OutcomeSection
        Of the plan.
    """
    nan = float("nan")
    return [
        Check(
            name=f"outcome even in the shift: {o.name}",
            null_in_words="the outcome changes in proportion to a feature",
            statistic=nan,
            df=nan,
            neglog10p=nan,
            verdict="warning",
            note=f"{o.name} is 0 at the clean run and rises either way from it: the matched shift's difference"
            " between up and down, the gradient and every slope are near zero by construction, and neither"
            " 'negligible' nor 'causal' follows from them. Read the other kinds of knockout, or take a"
            " signed outcome such as a logit difference.",
        )
        for o in outcomes
        if o.kind == "kl_to_clean"
    ]
