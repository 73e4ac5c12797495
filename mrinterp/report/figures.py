"""The figures of a run folder, as files."""

from __future__ import annotations

from pathlib import Path

from mrinterp.plots._study.against_random import against_random
from mrinterp.plots._study.claim_ladder import claim_ladder
from mrinterp.plots._study.coverage_and_cost import coverage_and_cost
from mrinterp.plots._study.kinds_side_by_side import kinds_side_by_side
from mrinterp.plots._study.predicted_vs_knockout import predicted_vs_knockout_grid
from mrinterp.plots._style import save
from mrinterp.report.claims import ropes
from mrinterp.report.finished import FinishedStudy, drawn_methods, primary_and_screen
from mrinterp.results._against_random import AgainstRandom

__all__ = ["write_figures"]


def write_figures(study: FinishedStudy, folder: Path) -> None:
    """Ladder, kinds of knockout, predictions against knockouts and ranks among random directions, SVG and PNG."""
    dictionary = study.basis.dictionary
    labels = dict(zip(dictionary.names, dictionary.labels, strict=True))
    methods = drawn_methods(study)
    for suffix in ("svg", "png"):
        first = next(iter(ropes(study)))
        of_first = study.results[study.results["outcome"] == first]
        _, screen = primary_and_screen(study)
        save(coverage_and_cost(study.rungs), folder / f"coverage_and_cost.{suffix}")
        save(
            claim_ladder(of_first, ropes(study)[first], labels, screen=screen),
            folder / f"effect_ladder.{suffix}",
        )
        if methods:
            predicted = predicted_vs_knockout_grid(study.agreement, methods)
            save(predicted, folder / f"predicted_vs_knockout.{suffix}")
        if study.kinds is not None:
            save(kinds_side_by_side(study.kinds, labels=labels), folder / f"kinds_side_by_side.{suffix}")
        if isinstance(study.against_random, AgainstRandom):
            save(against_random(study.against_random), folder / f"against_random.{suffix}")
