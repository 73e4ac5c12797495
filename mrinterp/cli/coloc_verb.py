"""The verb ``coloc``: do two traits of a locus share their cause?"""

from __future__ import annotations

import sys

import click
import numpy as np

from mrinterp.cli.verbs import answer, answering, example, say, voice

__all__ = ["coloc"]


@click.command(
    "coloc",
    short_help="Do two traits of a locus share their cause?",
    epilog=example("mrinterp coloc locus.csv --type-1 quant --type-2 quant --sd-1 1 --sd-2 1"),
)
@click.argument("table")
@click.option(
    "--ld", help="Correlation of the instruments, matched by the names in its header (rs1, rs1_A_G)."
)
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
@answering
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
) -> None:
    """Do two traits of a locus share their cause? Reads TABLE with the columns snp, beta_1,
    varbeta_1, beta_2, varbeta_2 (variances, or se_1, se_2), optionally maf_1, maf_2 and locus.
    """
    from mrinterp.coloc._pair_report import report_pair
    from mrinterp.coloc._priors import Priors
    from mrinterp.tables._locus import read_coloc_table, read_ld

    locus = read_coloc_table(
        table,
        ld=ld,
        n=(n_1, n_2),
        sd=(sd_1, sd_2),
        case_fraction=(case_fraction_1, case_fraction_2),
    )
    report = report_pair(
        locus.to_mrdata(),
        type_x=type_1,
        type_y=type_2,
        sd_x=locus.sd[0],
        sd_y=locus.sd[1],
        prior="estimated" if estimate_prior else "assumed",
        priors=Priors(p1, p2, p12),
        ld_y=None if ld_2 is None else read_ld(ld_2, locus.instruments, locus.alleles),
    )
    for note in locus.notes:
        if not voice().quiet:
            say(note, err=voice().as_json)
    answer(str(report), report.to_dict())
    if all(n == 1 for n in np.bincount(report.coloc.locus)):
        sys.exit(2)  # nothing that was asked for exists
