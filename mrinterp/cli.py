"""The command line: every verb calls one function of the library and loads only what it needs."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mrinterp.core.errors import InputError

if TYPE_CHECKING:
    from mrinterp.core.estimates import Estimates
    from mrinterp.core.mrdata import MRData

__all__ = ["main"]


class _Verbs(click.Group):
    """A group whose verbs report bad input as one message and exit code 2."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except InputError as e:
            click.echo(f"mrinterp: {e}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            click.echo(
                "\nmrinterp: interrupted; what is finished is kept, the same command goes on from there",
                err=True,
            )
            ctx.exit(130)


@click.group(cls=_Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="mrinterp")
def cli() -> None:
    """Mendelian randomization, colocalization and knockouts for the features of neural networks."""


@cli.command("run")
@click.argument("study")
@click.option(
    "--out", "-o", help="Run folder; default runs/<name of the study file>. An unfinished run there goes on."
)
@click.option(
    "--top", type=click.IntRange(1), default=16, show_default=True, help="Features printed at the end."
)
@click.option("--dry-run", is_flag=True, help="Print forward passes, time and memory; run nothing.")
def run(study: str, out: str | None, top: int, dry_run: bool) -> None:
    """Carry out a STUDY file: scan, estimates, blind knockouts, agreement, figures, page.

    STUDY is a TOML file, or the name of one that ships with the package (minilm_sentiment).
    """
    from mrinterp.report.terminal import cost_text, summary_text
    from mrinterp.study import Study

    opened = Study.from_toml(study, out)
    click.echo(cost_text(opened.cost()) if dry_run else summary_text(opened.run(), top))


@cli.command("rerun")
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
    click.echo(rerun_text(claims, study.header["provenance"]["versions"]))
    if not claims["same"].isin(["identical", "agrees"]).all():
        sys.exit(1)


@cli.command("mr")
@click.argument("table")
@click.option(
    "--method",
    "-m",
    "methods",
    multiple=True,
    help="Estimator to use (repeatable); by default a panel that suits the table.",
)
@click.option(
    "--exposure",
    "-x",
    "exposures",
    multiple=True,
    help="Exposure: a trait of TABLE, or a file to harmonize (repeatable).",
)
@click.option(
    "--outcome",
    "-y",
    "outcomes",
    multiple=True,
    help="Outcome: a trait of TABLE, or a file to harmonize with it (repeatable).",
)
@click.option("--ld", help="File with the correlation between the instruments.")
@click.option("--error-corr", help="Correlation of the errors of exposure and outcome: a number, or a file.")
@click.option(
    "--action",
    type=click.IntRange(1, 3),
    default=2,
    show_default=True,
    help="Palindromic alleles: 1 forward strand, 2 infer from frequencies, 3 drop.",
)
@click.option(
    "--option", "options", multiple=True, help="method.option=value, for example egger.distribution=normal."
)
@click.option(
    "--level", type=click.FloatRange(0.5, 0.9999), default=0.95, show_default=True, help="Confidence level."
)
@click.option("--unit", default="", help="Unit of the outcome, printed with effects.")
@click.option(
    "--leave-one-out", is_flag=True, help="Repeat the first method without each instrument in turn."
)
@click.option(
    "--plot",
    metavar="DIR",
    help="Write scatter, forest, funnel and leave-one-out figures here (SVG and PNG).",
)
@click.option("--json", "as_json", is_flag=True, help="Print a list of objects for machines.")
def mr(
    table: str,
    methods: tuple[str, ...],
    exposures: tuple[str, ...],
    outcomes: tuple[str, ...],
    ld: str | None,
    error_corr: str | None,
    action: int,
    options: tuple[str, ...],
    level: float,
    unit: str,
    leave_one_out: bool,
    plot: str | None,
    as_json: bool,
) -> None:
    """Estimate causal effects from a TABLE of summary statistics; needs no model.

    TABLE (CSV, TSV or Parquet) has the columns SNP or instrument, beta_exposure, se_exposure,
    beta_outcome, se_outcome; several exposures as beta_x1, se_x1, ... With --outcome FILE, TABLE
    is the exposure's table and both are harmonized by allele; every instrument that is lost is
    printed with its reason (with --json, to standard error).
    """
    import json

    from mrinterp.mr.driver import run_mr
    from mrinterp.mr.panel import leave_one_out as without_each
    from mrinterp.mr.panel import (
        methods_for,
        parse_options,
        records,
        sentences,
        set_aside_sentences,
        strength_sentences,
    )
    from mrinterp.tables.load import load

    data = load(
        table, exposures=exposures, outcomes=outcomes, ld=ld, error_corr=error_corr, action=action, unit=unit
    )
    names = methods_for(table, data, methods)
    chosen = parse_options(options, names)
    results = run_mr(data, names, chosen, level=level)
    repeats = (
        list(without_each(data, names[0], level=level, **chosen.get(names[0], {}))) if leave_one_out else []
    )
    if plot is not None:
        _mr_figures(plot, data, results, repeats)
    lost = [f"Dropped {row.instrument}: {row.reason}." for row in data.dropped.itertuples(index=False)]
    lost += set_aside_sentences(data)
    if as_json:
        for line in lost:
            click.echo(line, err=True)
        rows = records(results) + [r for out, e in repeats for r in records([e], left_out=out)]
        click.echo(json.dumps(rows, indent=1, allow_nan=False))
        return
    F, O, J = data.shape
    click.echo(
        f"{table}: {J} instrument{'s' * (J > 1)}, {F} exposure{'s' * (F > 1)}, {O} outcome{'s' * (O > 1)}."
    )
    click.echo(
        f"Effects are in {unit or 'the unit of the outcome'} per unit of the exposure, as in the table."
    )
    for line in strength_sentences(data):
        click.echo(line)
    for line in lost:
        click.echo(line)
    for line in sentences(results):
        click.echo(f"\n{line}")
    for out, e in repeats:
        for line in sentences([e]):
            click.echo(f"\nWithout {out}: {line}")


def _mr_figures(
    folder: str, data: MRData, results: list[Estimates], repeats: list[tuple[str, Estimates]]
) -> None:
    """Figures of the univariable methods; leave-one-out of the first of them, computed where not at hand."""
    from mrinterp.mr.driver import estimate
    from mrinterp.mr.panel import leave_one_out
    from mrinterp.mr.registry import find
    from mrinterp.plots.mr_figures import MOST_PAIRS, write_mr_figures

    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
    except OSError as e:
        raise InputError(f"--plot {folder}", str(e.strerror), "Name a folder that can be written") from e
    effects = [r for r in results if r.meta.get("scale") != "concordance"]
    single = [r for r in effects if find(r.method).kind == "univariable"] or [estimate(data, "ivw")]
    first = single[0]
    if not repeats or repeats[0][1].method != first.method:
        repeats = list(leave_one_out(data, first.method, level=first.level, **first.meta["options"]))
    written = write_mr_figures(Path(folder), data, single, repeats, first)
    pairs = len(data.exposures) * len(data.outcomes)
    hidden = f" (the first {MOST_PAIRS} of {pairs} pairs)" if pairs > MOST_PAIRS else ""
    click.echo(f"{len(written)} figures in {folder}{hidden}", err=True)


@cli.command("coloc")
@click.argument("table")
@click.option("--ld", help="Correlation of the instruments: header row of names, rows in the order of TABLE.")
@click.option("--ld-2", help="The same in the data of trait 2, where it differs.")
@click.option(
    "--type-1",
    type=click.Choice(["quant", "cc"]),
    default="quant",
    show_default=True,
    help="Kind of trait 1.",
)
@click.option(
    "--type-2",
    type=click.Choice(["quant", "cc"]),
    default="quant",
    show_default=True,
    help="Kind of trait 2.",
)
@click.option(
    "--sd-1", type=float, help="Standard deviation of trait 1 (from --n-1 and maf where not given)."
)
@click.option("--sd-2", type=float, help="Standard deviation of trait 2.")
@click.option(
    "--case-fraction-1",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Case fraction of trait 1.",
)
@click.option(
    "--case-fraction-2",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Case fraction of trait 2.",
)
@click.option(
    "--n-1", type=float, help="Sample size of trait 1; with --ld and --n-2, signals are compared one by one."
)
@click.option("--n-2", type=float, help="Sample size of trait 2.")
@click.option(
    "--p1", type=float, default=1e-4, show_default=True, help="Prior of an instrument acting on trait 1 only."
)
@click.option(
    "--p2", type=float, default=1e-4, show_default=True, help="Prior of an instrument acting on trait 2 only."
)
@click.option(
    "--p12", type=float, default=1e-5, show_default=True, help="Prior of an instrument acting on both."
)
@click.option("--estimate-prior", is_flag=True, help="Estimate the size of effects instead of assuming it.")
@click.option("--json", "as_json", is_flag=True, help="Print one object for machines.")
def coloc(
    table: str,
    ld: str | None,
    ld_2: str | None,
    type_1: str,
    type_2: str,
    sd_1: float | None,
    sd_2: float | None,
    case_fraction_1: float | None,
    case_fraction_2: float | None,
    n_1: float | None,
    n_2: float | None,
    p1: float,
    p2: float,
    p12: float,
    estimate_prior: bool,
    as_json: bool,
) -> None:
    """Do two traits of a locus share their cause? Reads TABLE with the columns snp, beta_1,
    varbeta_1, beta_2, varbeta_2 (variances, or se_1, se_2), optionally maf_1, maf_2 and locus.
    """
    import json

    from mrinterp.coloc.priors import Priors
    from mrinterp.coloc.table import report_pair
    from mrinterp.core.storage import to_plain
    from mrinterp.tables.locus import read_coloc_table, read_ld

    n = (n_1, n_2)
    data = read_coloc_table(table, n, (case_fraction_1, case_fraction_2))
    matrix, matrix_2 = (read_ld(path, data.instruments) if path else None for path in (ld, ld_2))
    report = report_pair(
        data.to_mrdata(matrix),
        types=(type_1, type_2),
        sd=(data.trait_sd(0, sd_1, n_1), data.trait_sd(1, sd_2, n_2)),
        n=n,
        ld_y=matrix_2,
        priors=Priors(p1, p2, p12),
        prior="estimated" if estimate_prior else "assumed",
    )
    if as_json:
        click.echo(json.dumps(to_plain(report.to_dict()), indent=1, allow_nan=False))
        return
    for line in report.sentences():
        click.echo(line)


@cli.command("finemap")
@click.argument("table")
@click.option(
    "--ld",
    required=True,
    help="Correlation of the instruments: header row of names, rows in the order of TABLE.",
)
@click.option("--n", type=float, help="Sample size (number of runs, or of families).")
@click.option("--var-y", type=float, help="Variance of the trait: effects come out in the units of bhat.")
@click.option("--max-effects", type=int, default=10, show_default=True, help="Largest number of causes.")
@click.option(
    "--coverage", type=float, default=0.95, show_default=True, help="Probability a credible set must hold."
)
@click.option(
    "--min-abs-corr", type=float, default=0.5, show_default=True, help="Purity below which a set is dropped."
)
@click.option(
    "--tol",
    type=float,
    default=1e-4,
    show_default=True,
    help="Rise of the evidence bound that counts as converged.",
)
@click.option(
    "--max-iter", type=int, default=100, show_default=True, help="Iterations after which to give up."
)
@click.option(
    "--null-weight",
    type=float,
    default=0.0,
    show_default=True,
    help="Prior probability of an effect being nowhere.",
)
@click.option(
    "--estimate-residual-variance",
    is_flag=True,
    help="Estimate the residual variance (LD of the same data only).",
)
@click.option("--refine", is_flag=True, help="Try to leave local optima.")
@click.option("--json", "as_json", is_flag=True, help="Print one object for machines.")
def finemap(
    table: str,
    ld: str,
    n: float | None,
    var_y: float | None,
    max_effects: int,
    coverage: float,
    min_abs_corr: float,
    tol: float,
    max_iter: int,
    null_weight: float,
    estimate_residual_variance: bool,
    refine: bool,
    as_json: bool,
) -> None:
    """Which instruments carry a trait's signal? Reads TABLE with the columns snp and z, or bhat and
    shat, and prints credible sets.
    """
    import json

    from mrinterp.coloc.finemap import SusieOptions, finemap_summary
    from mrinterp.core.storage import to_plain
    from mrinterp.tables.locus import read_finemap_table, read_ld

    data = read_finemap_table(table)
    options = SusieOptions(
        max_effects=max_effects,
        coverage=coverage,
        min_abs_corr=min_abs_corr,
        tol=tol,
        max_iter=max_iter,
        null_weight=null_weight,
        estimate_residual_variance=estimate_residual_variance,
        refine=refine,
    )
    result = finemap_summary(
        data.z,
        read_ld(ld, data.instruments),
        n,
        se=data.se,
        variance_y=var_y,
        instruments=data.instruments,
        options=options,
    )
    if as_json:
        click.echo(json.dumps(to_plain(result.to_dict(result.traits[0])), indent=1, allow_nan=False))
        return
    click.echo(str(result))


def main() -> None:
    """Entry point of the ``mrinterp`` command."""
    try:
        cli()
    except BrokenPipeError:
        sys.exit(141)


if __name__ == "__main__":
    main()
