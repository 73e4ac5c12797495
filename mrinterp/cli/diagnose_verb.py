"""The verb ``diagnose``: which assumptions of a finished run's claims were checked, and which failed."""

from __future__ import annotations

from textwrap import fill
from typing import TYPE_CHECKING

import click

from mrinterp.cli.grade_verb import full_name, opened_run
from mrinterp.cli.verbs import answer, answering, example, voice
from mrinterp.results._check import NotApplicable

if TYPE_CHECKING:
    import pandas as pd

    from mrinterp.results._diagnosis import Diagnosis

__all__ = ["diagnose"]

BESIDE = ("correlation", "probe", "top_inputs", "knockoffs")
"""Methods that read the inputs as they are, as columns of `Study.beside`."""

SHOWN = 12
"""Claims in the short answer; ``--verbose`` lists all."""

NOT_TESTED = "      not tested: this run holds nothing that a check of it could be made from"


@click.command(
    "diagnose",
    short_help="Which assumptions of a finished run's claims were checked, and which failed.",
    epilog=example("mrinterp diagnose runs/a"),
)
@click.argument("run_dir")
@click.option(
    "--feature", "-f", "features", multiple=True, help="Feature, by its name or short name (repeatable)."
)
@click.option("--figure", help="File for the figure of all cards (.svg, .png or .pdf).")
@answering
def diagnose(run_dir: str, features: tuple[str, ...], figure: str | None) -> None:
    """Print an assumption card for every claim of a finished run: green, amber or red, with reasons and what to do.

    First whether negative controls stayed silent. A claim is colored by the checks of what it rests on; failed checks of other rungs
    are listed. Beside it: what a correlation ranking, a probe, the inputs that move a feature most, and knockoffs would have
    concluded.
    """
    from mrinterp.report.controls import control_checks, failed_controls, null_in_words

    study = opened_run(run_dir)
    names = study.results["feature"].unique().tolist()
    found = study.diagnosis if not features else study.diagnosis.only([full_name(f, names) for f in features])
    if figure:
        from mrinterp.plots import plot

        plot(found, figure)
    failed, null = failed_controls(study), null_in_words(study)
    first = f"{failed or null}\n"
    beside = _chosen(study.beside, found)
    answer(
        lambda: f"{first}{_cards(found) if features else _table(found)}\n\n{_beside(beside)}",
        {
            "negative_controls": {"failed": failed, "null": null, "checks": control_checks(study)},
            "cards": found.to_frame().to_dict("records"),
            "findings": found.findings.to_dict("records"),
            "beside": beside.reason if isinstance(beside, NotApplicable) else beside.to_dict("records"),
        },
    )


def _chosen(beside: pd.DataFrame | NotApplicable, found: Diagnosis) -> pd.DataFrame | NotApplicable:
    """The rows of the features that were asked for."""
    if isinstance(beside, NotApplicable):
        return beside
    return beside[beside["feature"].isin(found.findings["feature"])]


def _beside(beside: pd.DataFrame | NotApplicable) -> str:
    """What other methods would have concluded from the same inputs, and whose effect each feature shows there."""
    head = "Beside it, what other methods would have concluded from the inputs as they are"
    if isinstance(beside, NotApplicable):
        return f"{head}: does not apply, {beside.reason}."
    marks = {"drives it": "yes", "does not": "no"}
    some = beside if voice().verbose else beside.head(SHOWN)
    lines = [f"{head} (does it drive the outcome?):"]
    for row in some.to_dict("records"):
        said = ", ".join(f"{m.replace('_', ' ')} {marks.get(row[f'{m}_says'], '-')}" for m in BESIDE)
        lines.append(f"  {row['feature']} on {row['outcome']}: {said}; claim: {row['verdict']}")
        if row["company"]:
            near = f" It moves with {row['moves_with']}, all others held fixed." * bool(row["moves_with"])
            lines.append(
                fill(f"{row['taken_apart']}.{near}", 100, initial_indent="    ", subsequent_indent="      ")
            )
    if len(some) < len(beside):
        lines.append(f"  and {len(beside) - len(some)} more (--verbose lists all)")
    return "\n".join(lines)


def _table(found: Diagnosis) -> str:
    """Claims with their colors, those that need attention first, and each reason once."""
    cards = found.to_frame()
    order = {"red": 0, "amber": 1, "grey": 2, "green": 3}
    cards = cards.iloc[cards["colour"].map(order).argsort(kind="stable")]
    some = cards if voice().verbose else cards.head(SHOWN)
    lines = [f"{found.summary[0].upper()}{found.summary[1:]}."]
    bad = found.findings[found.findings["colour"].isin(["amber", "red"])]
    bearing = bad[bad["bears"].astype(bool)].groupby(["feature", "outcome"])["assumption"].unique()
    for row in some.to_dict("records"):
        doubtful = bearing.get((row["feature"], row["outcome"]), ())
        said = f"  {row['colour']:<6} {row['feature']} on {row['outcome']}"
        lines.append(said + (f": {', '.join(doubtful)}" if len(doubtful) else ""))
    if len(some) < len(cards):
        lines.append(f"  and {len(cards) - len(some)} more (--verbose lists all)")
    for words, bears in (("Of what claims rest on:", True), ("Of other rungs of the ladder:", False)):
        part = bad[bad["bears"].astype(bool) == bears].drop_duplicates("check")
        if len(part):
            lines += ["", words, *(_reason(r) for r in part.to_dict("records"))]
    return "\n".join(lines)


def _reason(row: dict) -> str:
    step = f" {row['next_step']}." if row["next_step"] else ""
    return fill(
        f"{row['colour']}: {row['check']}. {row['reason']}{step}",
        100,
        initial_indent="  ",
        subsequent_indent="    ",
    )


def _cards(found: Diagnosis) -> str:
    """The whole card of every chosen claim."""
    lines: list[str] = []
    for (feature, outcome), rows in found.findings.groupby(["feature", "outcome"], sort=False):
        lines.append(f"{feature} on {outcome}")
        for assumption in found.assumptions:
            asked = rows[rows["assumption"] == assumption]
            lines.append(f"  {assumption}: {found.assumptions[assumption]}")
            lines += [f"  {_reason(r)}" for r in asked.to_dict("records")] or [NOT_TESTED]
    return "\n".join(lines)
