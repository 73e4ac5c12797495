"""The verb ``power``: what a design can detect, before anything is run."""

from __future__ import annotations

from dataclasses import asdict
from textwrap import fill

import click

from mrinterp.cli.verbs import answer, answering, example

__all__ = ["power"]


@click.command(
    "power",
    short_help="What a design of runs can detect, and what an effect needs.",
    epilog=example("mrinterp power 0.2 --families 80 --runs 8 --instruments 6 --per-instrument 0.03"),
)
@click.argument("effect", type=float)
@click.option("--families", type=int, required=True, help="Families of prompts.")
@click.option("--runs", type=int, required=True, help="Perturbed runs of each family.")
@click.option("--instruments", type=int, required=True, help="Instruments, dosed independently.")
@click.option(
    "--per-instrument",
    type=float,
    required=True,
    help="Share of the feature's variance within prompts that one instrument explains.",
)
@click.option("--prompts", type=int, default=1, show_default=True, help="Prompts of each family.")
@click.option(
    "--residual-sd",
    type=float,
    default=1.0,
    show_default=True,
    help="Sd of what of the outcome does not go through the feature, in sd of the outcome.",
)
@click.option(
    "--correlation",
    type=float,
    default=0.0,
    show_default=True,
    help="Correlation of dose times residual between runs of a family.",
)
@click.option("--wanted", type=float, default=0.8, show_default=True, help="Probability of detection.")
@click.option("--level", type=float, default=0.95, show_default=True, help="Confidence level.")
@answering
def power(effect: float, **options: float) -> None:
    """Say with what probability EFFECT (sd of the outcome per sd of the feature) is detected, the smallest effect that
    is, and the families, runs or instruments that EFFECT needs.
    """
    from mrinterp.mr import power as calculated

    found = calculated(effect, **options)  # type: ignore[arg-type]
    answer(lambda: fill(str(found), 100), asdict(found))
