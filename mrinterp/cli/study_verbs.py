"""The verbs of a study file: run it, and repeat a finished run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from mrinterp.cli.verbs import say

if TYPE_CHECKING:
    from mrinterp.study import Study, Sweep

__all__ = ["rerun", "run"]

allow_code_option: Any = click.option(
    "--allow-code", is_flag=True, help="Import the functions that the study names, without asking."
)


@click.command("run", short_help="Carry out a study file; an unfinished run goes on.")
@click.argument("study")
@click.option(
    "--out", "-o", help="Run folder; default runs/<name of the study file>. An unfinished run there goes on."
)
@click.option(
    "--top", type=click.IntRange(1), default=16, show_default=True, help="Features printed at the end."
)
@click.option(
    "--dry-run",
    is_flag=True,
    help="Check the study, print passes, time, memory and the intervals to expect; write nothing.",
)
@allow_code_option
def run(study: str, out: str | None, top: int, dry_run: bool, allow_code: bool) -> None:
    """Carry out a STUDY file: features, blind knockouts, scan, estimates, agreement, figures, page.

    STUDY is a TOML file, or the name of one that ships with the package (minilm_sentiment).
    """
    from mrinterp.core.plan import read_study_file, study_path
    from mrinterp.report.terminal import cost_text, precision_text, summary_text
    from mrinterp.study import Study
    from mrinterp.study._sweep_plan import is_sweep

    if is_sweep(read_study_file(study_path(study))):
        _run_sweep(study, out, dry_run, allow_code)
        return
    opened = Study.from_toml(study, out, allow_code=allow_code)
    _agree(opened, study)
    if not dry_run:
        say(summary_text(opened.run(), top))
        return
    say(cost_text(opened.cost()))
    say("\n".join(opened.prompts_in_words()))
    say(precision_text(opened.expected_precision(), opened.plan.estimation.rope))


def _run_sweep(study: str, out: str | None, dry_run: bool, allow_code: bool) -> None:
    """Carry out a file that names several sites, dictionaries or positions."""
    from mrinterp.report.terminal import sweep_cost_text
    from mrinterp.study import Sweep

    sweep = Sweep.from_toml(study, out, allow_code=allow_code)
    _agree(sweep, study)
    if dry_run:
        say(sweep_cost_text(sweep.cost()))
        return
    say(f"{sweep.run().results}\nThe map and every study's page: {sweep.out / 'sweep.html'}")


@click.command("rerun", short_help="Repeat a finished run and compare claim by claim.")
@click.argument("run_dir")
@click.option("--out", "-o", help="Folder of the repetition; default RUN_DIR-rerun.")
@allow_code_option
def rerun(run_dir: str, out: str | None, allow_code: bool) -> None:
    """Repeat a finished run from its provenance and compare claim by claim.

    Exit code 0 if every claim came out again, 1 if one did not.
    """
    from mrinterp.report.terminal import rerun_text
    from mrinterp.study import Study

    study = Study.open(run_dir, allow_code=allow_code)
    _agree(study, run_dir)
    claims = study.rerun(out or f"{run_dir.rstrip('/')}-rerun")
    say(rerun_text(claims, study.header["provenance"]["versions"]))
    if not claims["same"].isin(["identical", "agrees"]).all():
        sys.exit(1)


def _agree(study: Study | Sweep, place: str) -> None:
    """Show the Python that a study names and ask for it, where nobody has agreed to it yet; what is agreed to is kept."""
    from mrinterp.core.errors import InputError
    from mrinterp.core.named_code import check_agreed, named_code, remember

    code = named_code(study.plan, study.source)
    if not study.allow_code:
        try:
            check_agreed(code, study.source, place)
            return
        except InputError as e:
            if not _at_a_terminal():
                raise
            click.echo(
                "\n  ".join(["The study would import and run this Python:", *map(str, code)]), err=True
            )
            if not click.confirm("Do you trust it, and everything that it does?", default=False, err=True):
                raise InputError(e.where, "its Python was not agreed to", "Nothing was run") from None
        study.allow_code = True
    if code and not remember(code, study.source):
        click.echo("mrinterp: what you agreed to could not be kept; you will be asked again", err=True)


def _at_a_terminal() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()
