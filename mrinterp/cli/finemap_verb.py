"""The verb ``finemap``: which instruments carry a trait's signal?"""

from __future__ import annotations

import sys

import click

from mrinterp.cli.verbs import answer, answering, example, say, voice

__all__ = ["finemap"]


@click.command(
    "finemap",
    short_help="Which instruments carry a trait's signal?",
    epilog=example("mrinterp finemap sumstats.csv --ld ld.csv --n 500"),
)
@click.argument("table")
@click.option(
    "--ld",
    required=True,
    help="Correlation of the instruments, matched by the names in its header (rs1, rs1_A_G).",
)
@click.option(
    "--n",
    type=click.FloatRange(2, 1e50, min_open=True),
    help="Sample size (number of runs, or of families); large effects need it.",
)
@click.option(
    "--var-y",
    type=click.FloatRange(1e-50, 1e50),
    help="Variance of the trait: effects come out in the units of bhat.",
)
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
@answering
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
) -> None:
    """Which instruments carry a trait's signal? Reads TABLE with the columns snp and z, or bhat and
    shat, and prints credible sets.
    """
    from mrinterp.coloc._finemap import SusieOptions, finemap_summary
    from mrinterp.tables._locus import read_finemap_table

    locus = read_finemap_table(table, ld=ld)
    for note in locus.notes:
        if not voice().quiet:
            say(note, err=voice().as_json)
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
        locus.z,
        locus.ld,
        n,
        se=locus.se,
        variance_y=var_y,
        instruments=locus.instruments,
        options=options,
    )
    answer(str(result), result.to_dict(result.traits[0]))
    if result.status[0] != "ok" and not result.sets[0]:
        sys.exit(2)  # what was asked for is withheld; the status says why
