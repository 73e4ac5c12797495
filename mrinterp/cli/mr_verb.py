"""The verb ``mr``: causal effects from a table of summary statistics."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mrinterp.cli.mr_options import summary_options
from mrinterp.cli.verbs import answer, answering, example, say, tell, voice
from mrinterp.core.errors import InputError

if TYPE_CHECKING:
    from mrinterp.core.mrdata import MRData
    from mrinterp.results._estimates import Estimates

__all__ = ["mr"]


@click.command(
    "mr",
    short_help="Causal effects from a table of summary statistics.",
    epilog=example("mrinterp mr table.csv --method ivw --method egger"),
)
@click.argument("table")
@summary_options
@click.option(
    "--leave-one-out", is_flag=True, help="Repeat the first method without each instrument in turn."
)
@click.option(
    "--plot",
    metavar="DIR",
    help="Write scatter, forest, funnel and leave-one-out figures here (SVG and PNG).",
)
@answering
def mr(
    table: str,
    methods: tuple[str, ...],
    exposures: tuple[str, ...],
    outcomes: tuple[str, ...],
    ld: str | None,
    error_corr: str | None,
    options: tuple[str, ...],
    level: float,
    unit: str,
    leave_one_out: bool,
    plot: str | None,
    **selection: Any,
) -> None:
    """Estimate causal effects from a TABLE of summary statistics; needs no model.

    TABLE (CSV, TSV or Parquet) has the columns SNP or instrument, beta_exposure, se_exposure,
    beta_outcome, se_outcome; several exposures as beta_x1, se_x1, ... With --outcome FILE, TABLE
    is the exposure's table and both are harmonized by allele; every instrument that is lost is
    printed with its reason (with --json, to standard error). Exit code 2 where nothing that was asked
    for could be estimated.
    """
    from mrinterp.cli.mr_words import lost_sentences, methods_for, nothing_estimated, parse_options
    from mrinterp.mr._engine.driver import run_mr
    from mrinterp.mr._engine.leave_one_out import leave_one_out as without_each
    from mrinterp.tables._read import read

    data = read(
        table, exposure=exposures, outcome=outcomes, ld=ld, error_corr=error_corr, unit=unit, **selection
    )
    names = methods_for(table, data, methods)
    chosen = parse_options(options, names)
    results = run_mr(data, names, chosen, level=level)
    repeats = (
        list(without_each(data, names[0], level=level, **chosen.get(names[0], {}))) if leave_one_out else []
    )
    if plot is not None:
        _write_figures(plot, data, results, repeats)
    if voice().as_json:
        _print_json(data, results, repeats, lost_sentences(data))
    else:
        _print_sentences(table, unit, data, results, repeats, lost_sentences(data))
    failed = nothing_estimated(results)
    if failed:
        say(f"mrinterp: {failed}", err=True)
        sys.exit(2)


def _print_json(
    data: MRData, results: list[Estimates], repeats: list[tuple[str, Estimates]], lost: list[str]
) -> None:
    """One list of objects on standard output; what was converted or lost on standard error."""
    from mrinterp.cli.mr_words import records
    from mrinterp.tables._harmonize import NOT_HARMONIZED

    for line in [*data.meta.get("notes", []), *lost]:
        tell(line)
    more = (
        {"alleles": "not compared (--no-alleles)"}
        if data.meta.get("notes", [""])[:1] == [NOT_HARMONIZED]
        else {}
    )
    rows = records(results, **more) + [r for out, e in repeats for r in records([e], left_out=out, **more)]
    answer("", rows)


def _print_sentences(
    table: str,
    unit: str,
    data: MRData,
    results: list[Estimates],
    repeats: list[tuple[str, Estimates]],
    lost: list[str],
) -> None:
    """What the table holds, how strong it is, what was lost; then a sentence per effect."""
    from mrinterp.cli.mr_words import sentences, strength_sentences
    from mrinterp.tables._harmonize import NOT_HARMONIZED

    F, O, J = data.shape
    notes = list(data.meta.get("notes", []))
    first = [notes.pop(0)] if notes[:1] == [NOT_HARMONIZED] else []
    lines = [
        *first,
        f"{table}: {J} instrument{'s' * (J > 1)}, {F} exposure{'s' * (F > 1)}, {O} outcome{'s' * (O > 1)}.",
        f"Effects are in {unit or 'the unit of the outcome'} per unit of the exposure, as in the table.",
        *notes,
        *strength_sentences(data),
        *lost,
    ]
    found = [
        *(f"\n{line}" for line in sentences(results)),
        *(f"\nWithout {out}: {line}" for out, e in repeats for line in sentences([e])),
    ]
    say("\n".join(found if voice().quiet else [*lines, *found]).lstrip("\n"))


def _write_figures(
    folder: str, data: MRData, results: list[Estimates], repeats: list[tuple[str, Estimates]]
) -> None:
    """Figures of the univariable methods; leave-one-out of the first of them, computed where not at hand."""
    from mrinterp.mr._engine.driver import estimate
    from mrinterp.mr._engine.leave_one_out import leave_one_out
    from mrinterp.mr._engine.registry import find
    from mrinterp.plots._mr.figures import MOST_PAIRS, write_mr_figures

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
    tell(f"{len(written)} figures in {folder}{hidden}")
