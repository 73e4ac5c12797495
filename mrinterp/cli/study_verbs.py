"""The verbs of a study file: run it, and repeat a finished run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from mrinterp.cli.verbs import answer, answering, example, voice

if TYPE_CHECKING:
    from pathlib import Path

    from mrinterp.core.plan import Plan

__all__ = ["agree", "allow_code_option", "at_a_terminal", "rerun", "run"]

allow_code_option: Any = click.option(
    "--allow-code", is_flag=True, help="Import the functions that the study names, without asking."
)


@click.command(
    "run",
    short_help="Carry out a study file; an unfinished run goes on.",
    epilog=example("mrinterp run study.toml --dry-run"),
)
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
@click.option(
    "--workers", type=click.IntRange(1), help="Processes of this machine that share the network's passes."
)
@click.option("--scheduler", help="Address of a scheduler of dask whose workers share them instead.")
@allow_code_option
@answering
def run(
    study: str,
    out: str | None,
    top: int,
    dry_run: bool,
    workers: int | None,
    scheduler: str | None,
    allow_code: bool,
) -> None:
    """Carry out a STUDY file: features, blind knockouts, scan, estimates, agreement, figures, page.

    STUDY is a TOML file, or the name of one that ships with the package (minilm_sentiment).
    """
    from mrinterp.core.plan import read_study_file, study_path
    from mrinterp.report.terminal import cost_text, precision_text, summary_record, summary_text
    from mrinterp.results._check import NotApplicable
    from mrinterp.study import Study
    from mrinterp.study._sweep_plan import is_sweep

    if is_sweep(read_study_file(study_path(study))):
        _run_sweep(study, out, dry_run, allow_code, workers, scheduler)
        return
    opened = Study.from_toml(study, out, allow_code=allow_code)
    opened.allow_code = agree(opened.plan, opened.source, study, opened.allow_code)
    if not dry_run:
        done = opened.run(workers, scheduler)
        most = len(done.results) if voice().verbose else top
        answer(lambda: summary_text(done, most), summary_record(done) if voice().as_json else None)
        return
    cost, prompts, precise = opened.cost(), opened.prompts_in_words(), opened.expected_precision()
    words = [cost_text(cost), *prompts, precision_text(precise, opened.plan.estimation.rope)]
    expected = (
        {"reason": precise.reason} if isinstance(precise, NotApplicable) else precise.to_dict("records")
    )
    found = {
        "title": opened.plan.title,
        "prompts": prompts,
        "cost": cost,
        "expected_precision": expected,
    }
    answer("\n".join(words[:1] if voice().quiet else words), found)


def _run_sweep(
    study: str,
    out: str | None,
    dry_run: bool,
    allow_code: bool,
    workers: int | None,
    scheduler: str | None,
) -> None:
    """Carry out a file that names several sites, dictionaries or positions."""
    from mrinterp.report.terminal import sweep_cost_text
    from mrinterp.study import Sweep

    sweep = Sweep.from_toml(study, out, allow_code=allow_code)
    sweep.allow_code = agree(sweep.plan, sweep.source, study, sweep.allow_code)
    if dry_run:
        cost = sweep.cost()
        answer(sweep_cost_text(cost), {"cost": cost.to_dict("records")})
        return
    results, page = sweep.run(workers, scheduler).results, sweep.out / "sweep.html"
    found = {"folder": sweep.out, "page": page, "results": results.to_frame().to_dict("records")}
    answer(f"{results}\nThe map and every study's page: {page}", found)


@click.command(
    "rerun",
    short_help="Repeat a finished run and compare claim by claim.",
    epilog=example("mrinterp rerun runs/a"),
)
@click.argument("run_dir")
@click.option("--out", "-o", help="Folder of the repetition; default RUN_DIR-rerun, or RUN_DIR-differently.")
@click.option(
    "--differently", is_flag=True, help="With the next seed (other families, other draws) and half the noise."
)
@allow_code_option
@answering
def rerun(run_dir: str, out: str | None, differently: bool, allow_code: bool) -> None:
    """Repeat a finished run from its provenance and compare claim by claim.

    The same specification repeated repeats its bias: only --differently asks whether claims survive. Exit code 0 if every claim
    came out again (--differently: none does not survive), 1 if one did not.
    """
    from mrinterp.cli.compare_verb import survival_text
    from mrinterp.report.terminal import rerun_text
    from mrinterp.study import Study

    study = Study.open(run_dir, allow_code=allow_code)
    study.allow_code = agree(study.plan, study.source, run_dir, study.allow_code)
    if differently:
        found = study.rerun(out or f"{run_dir.rstrip('/')}-differently", differently=True)
        answer(lambda: survival_text(found, run_dir), {"claims": found.to_dict("records")})
        sys.exit(int((found["survived"] == "does not survive").any()))
    claims = study.rerun(out or f"{run_dir.rstrip('/')}-rerun")
    then = study.header["provenance"]["versions"]
    answer(lambda: rerun_text(claims, then), {"claims": claims.to_dict("records"), "versions": then})
    if not claims["same"].isin(["identical", "agrees"]).all():
        sys.exit(1)


def agree(plan: Plan, source: Path, place: str, allowed: bool) -> bool:
    """Show the Python that a plan names and ask for it, where nobody has agreed to it yet; what is agreed to is kept.

    Parameters
    ----------
    source : Path
        Folder that the plan's relative paths start from.
    place : str
        The study file or run folder, for messages.
    allowed : bool
        Whether it was agreed to on the command line.

    Returns
    -------
    bool
        Whether the code may be imported without asking again.
    """
    from mrinterp.core.errors import InputError
    from mrinterp.core.named_code import check_agreed, named_code, remember

    code = named_code(plan, source)
    if not allowed:
        try:
            check_agreed(code, source, place)
            return allowed
        except InputError as e:
            if not at_a_terminal():
                raise
            click.echo(
                "\n  ".join(["The study would import and run this Python:", *map(str, code)]), err=True
            )
            if not click.confirm("Do you trust it, and everything that it does?", default=False, err=True):
                raise InputError(e.where, "its Python was not agreed to", "Nothing was run") from None
    if code and not remember(code, source):
        click.echo("mrinterp: what you agreed to could not be kept; you will be asked again", err=True)
    return True


def at_a_terminal() -> bool:
    """Whether a person can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()
