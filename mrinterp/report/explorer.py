"""The part of a page that is turned over: all tested features as data, and the cards of some of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mrinterp.report.cards import Cards
from mrinterp.report.claims import ropes, short_names, unit, with_ladder
from mrinterp.report.columns import FeatureTable, feature_table
from mrinterp.report.finished import FinishedStudy, primary_and_screen
from mrinterp.report.packed import packed_json

__all__ = ["A_FILE", "FOLDER", "LEADING", "MOST_IN_FILES", "SAMPLED", "Explorer", "card_pages", "explorer"]

LEADING, SAMPLED = 300, 100
"""Cards in the page beside those of all claims: of the largest effects, and of a random sample of the others."""
A_FILE, MOST_IN_FILES = 500, 20_000
"""Cards of a file beside the page, and rows up to which all cards are written."""
FOLDER = "report_cards"


@dataclass(frozen=True)
class Explorer:
    """What the template writes: packed rows, packed cards, columns of the table, fragment of every claim."""

    data: str
    cards: str
    display: list[dict[str, Any]]
    slugs: dict[tuple[str, str], str]
    grades: Mapping[tuple[str, str], str]
    rows: int
    with_card: int
    files: int = 0


def explorer(study: FinishedStudy, shown: pd.DataFrame) -> Explorer:
    """All features of a study, with the cards of claims, of the largest effects and of a sample.

    Parameters
    ----------
    study : Study
        A finished one.
    shown : DataFrame
        Rows of the results that the page writes out; each is linked by a fragment of its own.
    """
    table = _table(study, study.results, shown)
    pairs = _with_card(study)
    cards = Cards(study, table.place, table.features, short_names(study)).of(pairs)
    files = len(pairs) < len(study.results) <= MOST_IN_FILES
    cards["elsewhere"] = {"folder": FOLDER, "each": A_FILE} if files else None
    slugs = {pair: table.slugs[k] for pair, k in table.place.items() if k in table.slugs}
    return Explorer(
        table.data,
        packed_json(cards),
        table.display,
        slugs,
        _grades(study),
        len(table.place),
        len(pairs),
        -(-len(table.place) // A_FILE) if files else 0,
    )


def card_pages(study: FinishedStudy) -> Iterator[tuple[str, Explorer]]:
    """Files beside the page, by name, that hold the cards of all features; none where the page holds them."""
    results = study.results
    if not len(_with_card(study)) < len(results) <= MOST_IN_FILES:
        return
    whole = _table(study, results, results.head(0))
    at = np.array([whole.place[p] for p in zip(results["feature"], results["outcome"], strict=True)])
    short = short_names(study)
    for k, start in enumerate(range(0, len(results), A_FILE)):
        part = results[(at >= start) & (at < start + A_FILE)]
        table = _table(study, part, part)
        pairs = list(zip(part["feature"], part["outcome"], strict=True))
        cards = Cards(study, table.place, table.features, short).of(pairs) | {"elsewhere": None}
        yield (
            f"{FOLDER}/{k:04d}.html",
            Explorer(table.data, packed_json(cards), table.display, {}, {}, len(part), len(part)),
        )


def _table(study: FinishedStudy, results: pd.DataFrame, linked: pd.DataFrame) -> FeatureTable:
    _, screen = primary_and_screen(study)
    held = ropes(study)
    tested = set(study.results["feature"])
    return feature_table(
        with_ladder(study, results),
        held,
        dict.fromkeys(held, unit(study)),
        short=short_names(study),
        screen=screen,
        order=[n for n in study.basis.dictionary.names if n in tested],
        linked=list(zip(linked["feature"], linked["outcome"], strict=True)),
        grades=_grades(study),
    )


def _grades(study: FinishedStudy) -> Mapping[tuple[str, str], str]:
    """Grades by feature and outcome."""
    table = study.claims.claims
    return dict(
        zip(zip(table["feature"], table["outcome"], strict=True), table["grade"].astype(str), strict=True)
    )


def _with_card(study: FinishedStudy) -> list[tuple[str, str]]:
    """Rows whose card stands in the page, largest effect first."""
    results = study.results
    kept = (results["verdict"] == "causal").to_numpy().copy()
    kept[:LEADING] = True
    rest = np.flatnonzero(~kept)
    if len(rest) > SAMPLED:
        seed = int(str(study.header["rules_hash"])[:8], 16)
        rest = np.random.default_rng(seed).choice(rest, SAMPLED, replace=False)
    kept[rest] = True
    part = results[kept]
    return list(zip(part["feature"], part["outcome"], strict=True))
