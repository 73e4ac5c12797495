"""The page of a run: one HTML file with everything in it, that asks nothing of the network."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mrinterp.core.storage import whole_file
from mrinterp.plots._diagnostics.read_back import read_back_matrix
from mrinterp.plots._inline_svg import inline_svg
from mrinterp.plots._study.against_random import against_random
from mrinterp.plots._study.claim_ladder import claim_ladder
from mrinterp.plots._study.coverage_and_cost import coverage_and_cost
from mrinterp.plots._study.kinds_side_by_side import kinds_side_by_side
from mrinterp.plots._study.predicted_vs_knockout import predicted_vs_knockout
from mrinterp.plots._study.rank_path import rank_path
from mrinterp.report.claims import Feature, answer, features, ropes
from mrinterp.report.controls import control_words, failed_controls, null_in_words
from mrinterp.report.explorer import card_pages, explorer
from mrinterp.report.finished import FinishedStudy, drawn_methods, primary_and_screen
from mrinterp.report.flow import flow
from mrinterp.report.kinds import kinds_section, whole_sentences
from mrinterp.report.methods import agreement_rows, assumptions, cross_table, misled, ranked_classes
from mrinterp.report.order import blind, order_in_words, recorded_order
from mrinterp.report.provenance import provenance
from mrinterp.report.scripts import page_script, policy
from mrinterp.results._against_random import AgainstRandom
from mrinterp.results._read_back import ReadBack

__all__ = ["rendered", "write_page"]

RANK_PATHS = 8
SHOWN = 300
"""Rows of the table of all features that stand in the page as text, beside all of them as data."""
_LABEL_LENGTH = 36


def write_page(study: FinishedStudy, path: str | Path) -> Path:
    """Write the report of a finished study as one self-contained HTML file, whole or not at all.

    Parameters
    ----------
    study : Study
        A finished one.
    path : path
        The file to write.

    Notes
    -----
    The same run gives the same bytes: the page holds no clock, no path and no random id.
    """
    path = Path(path)
    with whole_file(path) as partial:
        partial.write_bytes(page_html(study).encode("utf-8", "replace"))
    title = study.header["plan"]["title"]
    for name, content in card_pages(study):
        with whole_file(path.parent / name) as partial:
            text = rendered(
                "cards.html.j2", title=title, page=f"../{path.name}", all_features=content, noun="features"
            )
            partial.write_bytes(text.encode("utf-8", "replace"))
    return path


def page_html(study: FinishedStudy) -> str:
    """The page as text."""
    table = _shown_rows(study)
    rows = features(study, table)
    return rendered(
        "page.html.j2",
        title=study.header["plan"]["title"],
        noun="features",
        order={
            "blind": blind(study),
            "sentence": order_in_words(study),
            "candidates_first": recorded_order(study).candidates_first,
        },
        outcomes=list(ropes(study)),
        answer=answer(study, rows),
        controls={
            "failed": failed_controls(study),
            "null": null_in_words(study),
            "words": control_words(study),
        },
        features=rows,
        all_features=explorer(study, table),
        wholes=whole_sentences(study),
        has_gradient="gradient" in study.estimates,
        several_outcomes=len(ropes(study)) > 1,
        agreement=agreement_rows(study),
        ranked=ranked_classes(study),
        cross=cross_table(study),
        misled=misled(study, rows),
        kinds=kinds_section(study, rows),
        figures=_figures(study, rows),
        flow=flow(study),
        assumptions=assumptions(study),
        provenance=provenance(study),
    )


def rendered(template: str, **content: Any) -> str:
    """A template with the page's script and style, and the policy that allows only these."""
    environment = _environment()
    script, style = page_script(), environment.get_template("style.css.j2").render()
    return environment.get_template(template).render(
        script=script, style=style, policy=policy(script, style), **content
    )


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )


def _shown_rows(study: FinishedStudy) -> pd.DataFrame:
    """Rows that stand in the page as text, for print and for browsers without script: claims and the largest effects."""
    results = study.results
    kept = (results["verdict"] == "causal").to_numpy() & (np.cumsum(results["verdict"] == "causal") <= SHOWN)
    kept[:SHOWN] = True
    return results[kept]


@dataclass(frozen=True)
class _Figures:
    """SVG elements, already safe to stand in the page."""

    rungs: str
    ladder: str
    scatter: list[str]
    rank_paths: list[str]
    kinds: str
    random: str
    read_back: str
    outcome: str


def _figures(study: FinishedStudy, rows: list[Feature]) -> _Figures:
    outcome = rows[0].outcome if len(ropes(study)) == 1 else next(iter(ropes(study)))
    of_outcome = [r for r in rows if r.outcome == outcome]
    shown = {r.name for r in of_outcome}
    names = _drawn_names({r.name: r.short for r in of_outcome})
    labels = {names[r.name]: _shortened(r.label) for r in of_outcome}
    kept = (study.results["outcome"] == outcome) & study.results["feature"].isin(shown)
    drawn = study.results[kept].assign(outcome=_shortened(outcome))
    drawn = drawn.assign(feature=drawn["feature"].map(names))
    _, screen = primary_and_screen(study)
    ladder = inline_svg(
        lambda: claim_ladder(drawn, ropes(study)[outcome], labels, screen=screen),
        "ladder",
        "Effects with 95% intervals by every rung on one scale, for the features with the largest effects",
    )
    rungs = study.rungs[study.rungs["outcome"] == outcome].assign(outcome=_shortened(outcome))
    coverage = inline_svg(
        lambda: coverage_and_cost(rungs.assign(label=rungs["label"].map(_shortened))),
        "rungs",
        "Share of features whose knockout every rung's interval allows, and the passes that the rung took",
    )
    return _Figures(
        coverage,
        ladder,
        _scatter(study),
        _rank_paths(study, of_outcome, outcome),
        _kinds(study, outcome, names, labels),
        _random(study, outcome, names),
        _read_back(study),
        outcome,
    )


def _scatter(study: FinishedStudy) -> list[str]:
    """One panel a method: what it predicted against what the knockout did."""

    def panel(method: str) -> str:
        return inline_svg(
            lambda: predicted_vs_knockout(study.agreement, method),
            f"scatter-{method.replace('_', '-')}",
            f"Effects predicted by {method} against effects of the matched knockout, with 95% intervals",
        )

    return [panel(m) for m in drawn_methods(study)]


def _rank_paths(study: FinishedStudy, rows: list[Feature], outcome: str) -> list[str]:
    """One panel a feature: estimate and interval over bypass ranks."""
    path, rope = study.rank_path, ropes(study)[outcome]
    shift = study.knockouts["shift"]
    slopes = shift.effect[:, shift.outcomes.index(outcome)].tolist()
    knockouts = dict(zip(shift.features, slopes, strict=True))
    known = set(path.loc[path["outcome"] == outcome, "exposure"])

    def panel(number: int, row: Feature) -> str:
        title = f"{_shortened(row.short, 26)}  {labels[row.name]}".strip()
        return inline_svg(
            lambda: rank_path(path, row.name, outcome, study.basis.rank, rope, knockouts[row.name], title),
            f"rank-{number}",
            f"Estimate of {row.short} with 95% interval over bypass ranks",
        )

    labels = {r.name: _shortened(r.label, 26) for r in rows}
    return [panel(k, r) for k, r in enumerate([r for r in rows if r.name in known][:RANK_PATHS])]


def _kinds(study: FinishedStudy, outcome: str, names: dict[str, str], labels: dict[str, str]) -> str:
    """Effects by every kind of knockout; nothing where one kind was run."""
    made = study.kinds
    if made is None or outcome not in made.outcomes:
        return ""
    features, outcomes = tuple(names.get(n, n) for n in made.features), tuple(map(_shortened, made.outcomes))
    drawn, shown = replace(made, features=features, outcomes=outcomes), made.outcomes.index(outcome)
    return inline_svg(
        lambda: kinds_side_by_side(drawn, outcomes[shown], labels=labels),
        "kinds",
        "Effects with 95% intervals by every kind of knockout, for the features with the largest effects",
    )


def _random(study: FinishedStudy, outcome: str, names: dict[str, str]) -> str:
    """Effects compared with random directions; nothing where the study has none, or none with a number."""
    held = study.against_random
    if not isinstance(held, AgainstRandom) or outcome not in held.outcomes:
        return ""
    features, outcomes = tuple(names.get(n, n) for n in held.features), tuple(map(_shortened, held.outcomes))
    drawn, shown = replace(held, features=features, outcomes=outcomes), held.outcomes.index(outcome)
    return inline_svg(
        lambda: against_random(drawn, outcomes[shown]),
        "random",
        "Knockout effects of the features with 95% intervals, and of random directions",
    )


def _read_back(study: FinishedStudy) -> str:
    """What writing every feature moves; nothing where writes are dual to reads, and move nothing else."""
    if study.basis.dictionary.read is not None:
        return ""
    made = ReadBack.of(study.basis.dictionary)
    return inline_svg(
        lambda: read_back_matrix(made),
        "read-back",
        "Change of every feature's reading when one unit of each feature is written",
    )


def _drawn_names(names: dict[str, str]) -> dict[str, str]:
    """Full name to what a figure can hold of the short one; full names where those would not be distinct."""
    drawn = {name: _shortened(short) for name, short in names.items()}
    return drawn if len(set(drawn.values())) == len(drawn) else {name: name for name in names}


def _shortened(label: str, length: int = _LABEL_LENGTH) -> str:
    label = " ".join(label.split())
    return label if len(label) <= length else f"{label[: length - 1]}…"
