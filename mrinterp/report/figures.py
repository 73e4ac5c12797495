"""The figures of a run folder, as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mrinterp.plots._diagnostics.read_back import read_back_matrix
from mrinterp.plots._study.against_random import against_random
from mrinterp.plots._study.claim_ladder import claim_ladder
from mrinterp.plots._study.coverage_and_cost import coverage_and_cost
from mrinterp.plots._study.kinds_side_by_side import kinds_side_by_side
from mrinterp.plots._study.predicted_vs_knockout import predicted_vs_knockout_grid
from mrinterp.plots._style import save
from mrinterp.report.claims import ropes
from mrinterp.report.finished import FinishedStudy, drawn_methods, primary_and_screen
from mrinterp.results._against_random import AgainstRandom
from mrinterp.results._read_back import ReadBack

__all__ = ["write_figures"]


def write_figures(study: FinishedStudy, folder: Path) -> None:
    """Ladder, kinds of knockout, predictions against knockouts, ranks among random directions, read-back of latents; SVG and PNG.

    Each is drawn once and saved twice. The page draws its own, under names that fit into it.
    """
    dictionary = study.basis.dictionary
    labels = dict(zip(dictionary.names, dictionary.labels, strict=True))
    methods, kinds, random = drawn_methods(study), study.kinds, study.against_random
    first = next(iter(ropes(study)))
    of_first = study.results[study.results["outcome"] == first]
    _, screen = primary_and_screen(study)

    def keep(ax: Any, name: str) -> None:
        save(ax, folder / f"{name}.svg", folder / f"{name}.png")

    keep(coverage_and_cost(study.rungs), "coverage_and_cost")
    keep(claim_ladder(of_first, ropes(study)[first], labels, screen=screen), "effect_ladder")
    if methods:
        keep(predicted_vs_knockout_grid(study.agreement, methods), "predicted_vs_knockout")
    if kinds is not None:
        keep(kinds_side_by_side(kinds, labels=labels), "kinds_side_by_side")
    if isinstance(random, AgainstRandom):
        keep(against_random(random), "against_random")
    if dictionary.read is None:
        keep(read_back_matrix(ReadBack.of(dictionary)), "read_back")
