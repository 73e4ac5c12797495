"""What was asked of an estimate's assumptions, and its identification card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import ndtri

from mrinterp.report.effects.grades import WEAK
from mrinterp.report.effects.source import EXCLUDES, EffectsSource
from mrinterp.report.numbers import significant
from mrinterp.results._check import Check, NotApplicable

__all__ = ["checks_of", "identification"]

DOUBT = 0.05

Found = tuple[str, str, str, str]
"""Assumption, color, name of the check, and what came out."""


def checks_of(source: EffectsSource, row: Mapping[Any, Any]) -> list[Found]:
    """Every check of one effect, those that do not apply with the reason."""
    return [
        _strength(row),
        *_exclusion(row),
        _single_instruments(source, row),
        _agreement(row, len(source.alike)),
        _direction(source, row),
        _exchangeability(source),
        *_of_runs(source, row["outcome"]),
    ]


def _strength(row: Mapping[Any, Any]) -> Found:
    f = row["strength"]
    if not np.isfinite(f):
        return "relevance", "grey", "strength of the instruments", "No instrument has an effect and an error."
    weak = f < WEAK
    said = f"Mean F of its instruments, one at a time: {f:.3g}" + (
        f"; below {WEAK:g} they are weak and estimates biased." if weak else "."
    )
    return "relevance", "amber" if weak else "green", "strength of the instruments", said


def _exclusion(row: Mapping[Any, Any]) -> list[Found]:
    found: list[Found] = []
    for name, key, bad, good in (
        ("heterogeneity (Q)", "q_p", "instruments disagree beyond their errors: some act around the exposure", "instruments agree within errors"),
        ("intercept (MR-Egger)", "intercept_p", "effects around the exposure do not average to zero", "no directional pleiotropy is seen"),
    ):  # fmt: skip
        p = row[key]
        if not np.isfinite(p):
            found.append(("exclusion", "grey", name, "No method that was used tests it, or there are too few instruments."))  # fmt: skip
            continue
        said = f"p = {p:.2g}: {bad if p < DOUBT else good}."
        if key == "q_p" and np.isfinite(row["i2"]):
            said += f" I\N{SUPERSCRIPT TWO} is {100 * row['i2']:.0f}%."
        found.append(("exclusion", "amber" if p < DOUBT else "green", name, said))
    return found


def _single_instruments(source: EffectsSource, row: Mapping[Any, Any]) -> Found:
    name = "no single instrument carries it"
    if source.without_each is None:
        why = source.left_out.get("Leave-one-out", "not computed")
        return "exclusion", "grey", name, f"Not computed: {why}."
    f, o = source.place(source.data, row["feature"], row["outcome"])
    beta, se = (a[f, o] for a in source.without_each)
    known = np.isfinite(beta) & np.isfinite(se)
    if known.sum() < 3:
        return "exclusion", "grey", name, "It takes three instruments or more."
    z = np.abs(beta[known] / se[known])
    weakest = float(z.min())
    low, high = float(beta[known].min()), float(beta[known].max())
    said = f"Inverse-variance weighted without one instrument: from {significant(low)} to {significant(high)}"
    bar = float(ndtri(0.5 + source.level / 2))
    whole = source.single[0]
    at = source.place(whole, row["feature"], row["outcome"])
    held = whole.ci_lower[at] > 0 or whole.ci_upper[at] < 0
    lost = bool(held and weakest < bar)
    return (
        "exclusion",
        "amber" if lost else "green",
        name,
        said + ("; without one of them the interval includes 0." if lost else "."),
    )


def _agreement(row: Mapping[Any, Any], others: int) -> Found:
    name = "other methods"
    if not others:
        return "exclusion", "grey", name, "No other method of the same estimand was used."
    if row["contradiction"]:
        return "exclusion", "red", name, f"{row['contradiction']}."
    if row["verdict"] != EXCLUDES:
        return "exclusion", "grey", name, "The interval includes 0: there is nothing to agree with."
    colour = "green" if row["against"] == "all others agree" else "amber"
    return "exclusion", colour, name, f"{str(row['against']).capitalize()}: the same sign, and 0 outside the interval."  # fmt: skip


def _direction(source: EffectsSource, row: Mapping[Any, Any]) -> Found:
    name = "direction (Steiger)"
    if source.source == "runs":
        return "direction", "green", name, "Structural: the doses were given before the features were read."
    held = source.direction.get((row["feature"], row["outcome"]))
    if isinstance(held, Check):
        return "direction", {"passed": "green", "warning": "amber"}.get(held.verdict, "red"), name, held.note
    if isinstance(held, NotApplicable):
        return "direction", "grey", name, f"Does not apply: {held.reason}."
    return (
        "direction",
        "grey",
        name,
        "Not made for this effect: it was made for those with the strongest evidence.",
    )


def _exchangeability(source: EffectsSource) -> Found:
    if source.source == "runs":
        said = "Effects are read within prompts. That doses were drawn at random is what you say of the runs."
    else:
        said = "A table cannot show whether instruments and outcome share a cause: it is assumed."
    return "exchangeability", "grey", "random assignment", said


def _of_runs(source: EffectsSource, outcome: str) -> list[Found]:
    """Checks of all runs together that bear on an outcome."""
    found: list[Found] = []
    for assumption, check in source.checks:
        if isinstance(check, NotApplicable):
            found.append((assumption, "grey", check.name, f"Does not apply: {check.reason}."))
        elif check.outcome in ("", outcome):
            colour = {"passed": "green", "warning": "amber"}.get(check.verdict, "red")
            found.append((assumption, colour, check.name, check.note))
    return found


def identification(source: EffectsSource, row: Mapping[Any, Any]) -> dict[str, str]:
    """Five answers of one effect: claim, strategy, assumptions, stress, consequence."""
    first, what = source.primary, f"{row['feature']} on {row['outcome']}"
    attacked = "; ".join(f"{check}: {said.rstrip('.')}" for _, colour, check, said in checks_of(source, row) if colour != "grey")  # fmt: skip
    count = f"{int(row['n'])} {first.meta.get('counted', 'instruments')}"
    assumed = "; ".join(first.assumes) or "nothing stated"
    return {
        "claim": f"An effect of {what}: a local slope, {source.unit}. Causal only as far as the assumptions below hold.",
        "strategy": f"{first.label}, {count}."
        + (
            " Instruments are the doses that were given to runs."
            if source.source == "runs"
            else " Instruments are the rows of a table."
        ),
        "assumptions": f"{assumed}. Attacked by: {attacked or 'nothing that applies'}.",
        "stress": _stress(source, row),
        "consequence": "The effect would be of the instruments by another path, or smaller than it is said to be: no longer"
        " a claim about this exposure. Knockouts in the network itself would settle it.",
    }


def _stress(source: EffectsSource, row: Mapping[Any, Any]) -> str:
    """How much pleiotropy would bring the univariable interval to 0."""
    held = source.sensitivity
    if held is None:
        return "Not computed: there is no univariable estimate of it."
    f, o = source.place(held, row["feature"], row["outcome"])
    if not np.isfinite(held.distance[f, o]):
        return "There is no univariable estimate of it."
    if held.distance[f, o] == 0:
        return "None needs to: the univariable interval includes 0 as it is."
    _, y = source.place(source.data, row["feature"], row["outcome"])
    typical = float(np.nanmedian(np.abs(source.data.beta_y[y])))
    share = held.breakdown[f, o]
    said = (
        f"For the univariable estimate: effects around the exposure of {held.directional[f, o]:.3g} on average per instrument,"
        f" all towards the claim (the median instrument moves the outcome by {typical:.3g}), would bring its interval to 0"
    )
    return said + (f"; so would taking {share:.0%} of the instruments out." if share < 1 else ".")
