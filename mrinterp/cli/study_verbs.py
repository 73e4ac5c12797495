"""The verbs of a study file: run it, and repeat a finished run."""

from __future__ import annotations

import sys

import click

from mrinterp.cli.verbs import say

__all__ = ["rerun", "run"]


@click.command("run", short_help="Carry out a study file; an unfinished run goes on.")
@click.argument("study")
@click.option(
    "--out", "-o", help="Run folder; default runs/<name of the study file>. An unfinished run there goes on."
)
@click.option(
    "--top", type=click.IntRange(1), default=16, show_default=True, help="Features printed at the end."
)
@click.option("--dry-run", is_flag=True, help="Print forward passes, time and memory; run nothing.")
def run(study: str, out: str | None, top: int, dry_run: bool) -> None:
    """Carry out a STUDY file: features, blind knockouts, scan, estimates, agreement, figures, page.

    STUDY is a TOML file, or the name of one that ships with the package (minilm_sentiment).
    """
    from mrinterp.report.terminal import cost_text, summary_text
    from mrinterp.study import Study

    opened = Study.from_toml(study, out)
    say(cost_text(opened.cost()) if dry_run else summary_text(opened.run(), top))


@click.command("rerun", short_help="Repeat a finished run and compare claim by claim.")
@click.argument("run_dir")
@click.option("--out", "-o", help="Folder of the repetition; default RUN_DIR-rerun.")
def rerun(run_dir: str, out: str | None) -> None:
    """Repeat a finished run from its provenance and compare claim by claim.

    Exit code 0 if every claim came out again, 1 if one did not.
    """
    from mrinterp.report.terminal import rerun_text
    from mrinterp.study import Study

    study = Study.open(run_dir)
    claims = study.rerun(out or f"{run_dir.rstrip('/')}-rerun")
    say(rerun_text(claims, study.header["provenance"]["versions"]))
    if not claims["same"].isin(["identical", "agrees"]).all():
        sys.exit(1)
