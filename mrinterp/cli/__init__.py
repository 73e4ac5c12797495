"""The command line: every verb calls one function of the library and loads only what it needs."""

from __future__ import annotations

import sys

import click

from mrinterp.cli.bench_verb import bench
from mrinterp.cli.coloc_verb import coloc
from mrinterp.cli.compare_verb import compare
from mrinterp.cli.completion_verb import completion
from mrinterp.cli.describe_verb import describe
from mrinterp.cli.diagnose_verb import diagnose
from mrinterp.cli.doctor_verb import doctor
from mrinterp.cli.finemap_verb import finemap
from mrinterp.cli.grade_verb import grade
from mrinterp.cli.init_verb import init
from mrinterp.cli.list_verb import list_
from mrinterp.cli.mr_verb import mr
from mrinterp.cli.power_verb import power
from mrinterp.cli.report_verb import report
from mrinterp.cli.scan_verb import scan
from mrinterp.cli.study_verbs import rerun, run
from mrinterp.cli.verbs import Verbs

__all__ = ["cli", "main"]


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="mrinterp")
def cli() -> None:
    """Mendelian randomization, colocalization and knockouts for the features of neural networks."""


for _verb in (
    describe,
    init,
    run,
    rerun,
    grade,
    compare,
    report,
    diagnose,
    mr,
    coloc,
    finemap,
    scan,
    power,
    bench,
    list_,
    doctor,
    completion,
):
    cli.add_command(_verb)


def main() -> None:
    """Entry point of the ``mrinterp`` command."""
    try:
        cli()
    except BrokenPipeError:
        sys.exit(141)
