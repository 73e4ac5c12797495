"""The verb ``grade``: how well every claim of a finished run is supported, why, and what is missing."""

from __future__ import annotations

from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import click

from mrinterp.cli.verbs import answer, answering, example, voice
from mrinterp.core.errors import InputError

if TYPE_CHECKING:
    from mrinterp.results._claims import Claims
    from mrinterp.study import Study

__all__ = ["full_name", "grade", "opened_run"]

SHOWN = 16
"""Claims in the short answer; ``--verbose`` lists all."""


@click.command(
    "grade",
    short_help="How well every claim of a finished run is supported, and why.",
    epilog=example("mrinterp grade runs/a"),
)
@click.argument("run_dir")
@click.option(
    "--feature",
    "-f",
    "features",
    multiple=True,
    help="Feature, by its name or short name (repeatable): all reasons.",
)
@click.option(
    "--rules", help="Version of the rules; default the newest. Grades by other versions stay beside these."
)
@answering
def grade(run_dir: str, features: tuple[str, ...], rules: str | None) -> None:
    """Print the grade of every claim of a finished run, what speaks against it, and what is missing for a better one.

    With --feature: the points of every kind of evidence with their reasons, and the identification card. Nothing is estimated
    anew.
    """
    study = opened_run(run_dir)
    found = study.claims if rules is None else study.grade(rules)
    if features:
        found = found.only([full_name(f, found.claims["feature"].unique().tolist()) for f in features])
    document = {
        "rules": found.meta["rules"],
        "tested": found.meta["tested"],
        "grades": found.counts,
        "claims": found.claims.to_dict("records"),
        "domains": found.domains.to_dict("records"),
        "cards": found.cards.to_dict("records"),
    }
    answer(lambda: _cards(found) if features else _table(found), document)


def opened_run(run_dir: str) -> Study:
    """A finished run.

    Raises
    ------
    InputError
        For a folder that is none, or a run that has no results yet.
    """
    from mrinterp.study import Study

    study = Study.open(run_dir)
    if not (Path(run_dir) / "results.parquet").exists():
        fix = f"Go on with it: mrinterp run, or Study.open({run_dir!r}).run()"
        raise InputError(run_dir, "a run that has no results yet", fix)
    return study


def full_name(name: str, names: list[str]) -> str:
    """The feature that a short name stands for."""
    ends = [n for n in names if name in (n, n.rsplit(":", 1)[-1])]
    return ends[0] if len(ends) == 1 else name


def _table(found: Claims) -> str:
    """Claims in the order of their size, each with what is against it and what it lacks."""
    some = found.claims if voice().verbose else found.claims.head(SHOWN)
    lines = [found.summary + ".", found.meta["about"], ""]
    for row in some.to_dict("records"):
        lines.append(row["sentence"])
        lines += [_indented(f"against it: {row['contradiction']}.")] if row["contradiction"] else []
        lines += [_indented(f"missing: {row['lacking']}.")] if row["lacking"] else []
    if len(some) < len(found.claims):
        lines.append(f"and {len(found.claims) - len(some)} more (--verbose lists all)")
    return "\n".join([*lines, "", "Reasons and identification card of a claim: --feature NAME."])


def _indented(text: str) -> str:
    return fill(text, 100, initial_indent="    ", subsequent_indent="      ")


def _cards(found: Claims) -> str:
    """The reasons and the identification card of every chosen claim."""
    keys = found.claims[["feature", "outcome"]].itertuples(index=False, name=None)
    return "\n\n".join("\n".join(_wrapped(line) for line in str(found[key]).split("\n")) for key in keys)


def _wrapped(line: str) -> str:
    indent = len(line) - len(line.lstrip())
    return fill(line.strip(), 100, initial_indent=" " * indent, subsequent_indent=" " * (indent + 2))
