"""The verb ``report``: the page of a finished run anew, or the page of effects from a table; and the same for machines."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from mrinterp.cli.grade_verb import opened_run
from mrinterp.cli.mr_options import summary_options
from mrinterp.cli.verbs import answer, answering, example, say, tell
from mrinterp.core.errors import InputError
from mrinterp.results._claims import GRADES

__all__ = ["report"]

_OF_RUNS = ("target", "quiet", "verbose", "as_json")
"""Parameters that mean something for a run folder; the others are of tables."""
_OTHERWISE = ("methods", "options", "level", "title", "out")
"""Parameters that say nothing of how a table is read."""


@click.command(
    "report",
    short_help="The page of a finished run, or of a table of summary statistics, and the same for machines.",
    epilog=example("mrinterp report runs/a"),
)
@click.argument("target", metavar="RUN_DIR|TABLE")
@summary_options
@click.option("--title", default="", help="Heading of a table's page; default its file name.")
@click.option("--out", help="Folder for a table's report; default NAME_report, after the table.")
@answering
def report(
    target: str,
    methods: tuple[str, ...],
    options: tuple[str, ...],
    level: float,
    title: str,
    out: str | None,
    **selection: Any,
) -> None:
    """Write report.html, and beside it report/: report.json with its schema, claims.csv, summary.md, methods.md,
    references.bib and strobe_mr.md.

    Of a finished run in RUN_DIR nothing is estimated anew, and it takes no option of tables. Of a TABLE of summary statistics (CSV,
    TSV or Parquet, as for `mrinterp mr`, with the same options) effects are estimated first: mrinterp report bmi_chd.csv
    """
    if Path(target).is_dir():
        _refuse_options(target)
        opened_run(target).write_report()
        folder = Path(target)
        first: list[str] = []
    else:
        folder = Path(out or f"{Path(target).name.split('.')[0]}_report")
        first = _of_table(target, folder, methods, options, level, title, selection)
    page, twin = folder / "report.html", folder / "report"
    files = sorted(p.name for p in twin.iterdir())
    words = [
        *first,
        f"The page to read is {page}.",
        f"For machines and for writing up: {', '.join(files)} in {twin}.",
    ]
    answer("\n".join(words), {"page": page, "folder": twin, "files": files})


def _refuse_options(target: str) -> None:
    """A run folder has its own methods and level."""
    context = click.get_current_context()
    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) == ParameterSource.COMMANDLINE
        if given and name not in _OF_RUNS:
            fix = "Leave it out: a run folder says how it was estimated. Options like it are for tables"
            raise InputError(parameter.opts[0], "an option of tables, and this is a run folder", fix)


def _of_table(
    table: str,
    folder: Path,
    methods: tuple[str, ...],
    options: tuple[str, ...],
    level: float,
    title: str,
    selection: dict[str, Any],
) -> list[str]:
    """Estimate, write, and say what was found."""
    from mrinterp.cli.mr_words import methods_for, nothing_estimated, parse_options
    from mrinterp.mr._engine.driver import run_mr
    from mrinterp.study._report_effects import report_effects
    from mrinterp.tables._read import read

    data = read(table, **_as_read(selection))
    names = methods_for(table, data, methods)
    results = run_mr(data, names, parse_options(options, names), level=level)
    report_effects(
        data,
        folder,
        results=results,
        level=level,
        title=title or f"Effects from {Path(table).name}",
        settings={"table": Path(table).name, **_said(selection)},
        command=_command(),
    )
    failed = nothing_estimated(results)
    if failed:
        tell(f"The page says why: {folder / 'report.html'}.")
        say(f"mrinterp: {failed}", err=True)
        sys.exit(2)
    found = results[0].to_frame()
    excludes = int(((found["ci_lower"] > 0) | (found["ci_upper"] < 0)).sum())
    grades = json.loads((folder / "report" / "report.json").read_text(encoding="utf-8"))["grades"]
    return [
        f"{results[0].label}: {excludes} of {len(found)} {'effect' if len(found) == 1 else 'effects'} with an interval that excludes 0. A screen, not a finding: no"
        " knockout was run.",
        f"Graded: {', '.join(f'{n} {g} ({GRADES[g]})' for g, n in grades.items())}. D is the best grade without knockouts; the page says what is missing.",
    ]


def _as_read(selection: dict[str, Any]) -> dict[str, Any]:
    """Options under the names that `mrinterp.tables.read` gives them."""
    given = dict(selection)
    return {"exposure": given.pop("exposures"), "outcome": given.pop("outcomes"), **given}


def _said(selection: dict[str, Any]) -> dict[str, Any]:
    """What differs from what is done by default, by name of file rather than by path."""
    context = click.get_current_context()
    asked = {k for k in selection if context.get_parameter_source(k) == ParameterSource.COMMANDLINE}
    return {k.replace("_", " "): _short(selection[k]) for k in sorted(asked)}


def _short(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_short(v) for v in value]
    return Path(value).name if isinstance(value, str) and "/" in value else value


def _command() -> str:
    """The command as it was given, files without their folders, so that the page holds no path."""
    context = click.get_current_context()
    words = ["mrinterp", "report"]
    for parameter in context.command.params:
        name = parameter.name or ""
        if context.get_parameter_source(name) != ParameterSource.COMMANDLINE or name in (
            "quiet",
            "verbose",
            "as_json",
            "out",
        ):
            continue
        value = _short(context.params[name])
        values = value if isinstance(value, list) else [value]
        for one in values:
            words += [
                *([] if isinstance(parameter, click.Argument) else [parameter.opts[0]]),
                *([] if one is True else [str(one)]),
            ]
    return shlex.join(words)
