"""The options by which a table of summary statistics is read and estimated, shared by the verbs ``mr`` and ``report``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from mrinterp.cli.verbs import say

__all__ = ["summary_options"]

_FROM_TABLE = ("ld", "level", "n", "n_x", "n_y", "rho", "sigma", "sigma_xx", "sigma_xy")
"""Options that come from the table and from other flags."""


def _list_methods(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    """Print every estimator of tables with its options, and leave."""
    from mrinterp.mr._engine.registry import registered

    if not asked or ctx.resilient_parsing:
        return
    for kind, words in (
        ("univariable", "One exposure at a time:"),
        ("multivariable", "\nSeveral exposures jointly:"),
    ):
        say(words)
        for name, e in registered(kind).items():
            given = ", ".join(o for o in e.options if o not in _FROM_TABLE)
            options = f"  [{given}]" if given else ""
            say(f"  {name:<26}{e.label}{options}")
    ctx.exit()


OPTIONS: tuple[Callable[..., Any], ...] = (
    click.option(
        "--list-methods",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_list_methods,
        help="Print every estimator with its options, and exit.",
    ),
    click.option(
        "--method",
        "-m",
        "methods",
        multiple=True,
        help="Estimator to use (repeatable); by default a panel that suits the table.",
    ),
    click.option(
        "--exposure",
        "-x",
        "exposures",
        multiple=True,
        help="Exposure: a trait of TABLE, or a file to harmonize (repeatable).",
    ),
    click.option(
        "--outcome",
        "-y",
        "outcomes",
        multiple=True,
        help="Outcome: a trait of TABLE, or a file to harmonize with it (repeatable).",
    ),
    click.option("--ld", help="File with the correlation between the instruments."),
    click.option(
        "--error-corr", help="Correlation of the errors of exposure and outcome: a number, or a file."
    ),
    click.option(
        "--action",
        type=click.IntRange(1, 3),
        default=2,
        show_default=True,
        help="Palindromic alleles: 1 forward strand, 2 infer from frequencies, 3 drop.",
    ),
    click.option(
        "--no-alleles",
        is_flag=True,
        help="Match instruments by name alone: effects of the other allele keep the wrong sign.",
    ),
    click.option(
        "--p-threshold",
        type=click.FloatRange(0, 1, min_open=True),
        help="Only instruments associated with an exposure at a smaller p, such as 5e-8.",
    ),
    click.option(
        "--clump",
        is_flag=True,
        help="Of correlated instruments keep the strongest: by --ld, else by the columns chromosome and position.",
    ),
    click.option(
        "--clump-r2",
        type=click.FloatRange(0, 1, max_open=True),
        default=0.001,
        show_default=True,
        help="With --ld: squared correlation above which the weaker one goes.",
    ),
    click.option(
        "--clump-kb",
        type=click.FloatRange(0),
        default=10_000.0,
        show_default=True,
        help="Without --ld: kilobases within which the weaker one goes.",
    ),
    click.option(
        "--option",
        "options",
        multiple=True,
        help="method.option=value, for example egger.distribution=normal.",
    ),
    click.option(
        "--level",
        type=click.FloatRange(0.5, 0.9999),
        default=0.95,
        show_default=True,
        help="Confidence level.",
    ),
    click.option("--unit", default="", help="Unit of the outcome, printed with effects."),
)


def summary_options(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb the options of tables: methods, traits, harmonizing, which instruments, level, unit."""
    for option in reversed(OPTIONS):
        verb = option(verb)
    return verb
