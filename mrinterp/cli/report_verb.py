"""The verb ``report``: the page of a finished run and its twin for machines, written anew."""

from __future__ import annotations

from pathlib import Path

import click

from mrinterp.cli.grade_verb import opened_run
from mrinterp.cli.verbs import answer, answering, example

__all__ = ["report"]


@click.command(
    "report",
    short_help="Write the page of a finished run anew, and the same for machines.",
    epilog=example("mrinterp report runs/a"),
)
@click.argument("run_dir")
@answering
def report(run_dir: str) -> None:
    """Write report.html of a finished run, and beside it report/: report.json with its schema, claims.csv, summary.md,
    methods.md, references.bib and strobe_mr.md. Nothing is estimated anew.
    """
    study = opened_run(run_dir)
    study.write_report()
    page, twin = Path(run_dir) / "report.html", Path(run_dir) / "report"
    files = sorted(p.name for p in twin.iterdir())
    words = [
        f"The page to read is {page}.",
        f"For machines and for writing up: {', '.join(files)} in {twin}.",
    ]
    answer("\n".join(words), {"page": page, "folder": twin, "files": files})
