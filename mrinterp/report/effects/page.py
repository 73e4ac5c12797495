"""The page of estimated effects, the files of cards beside it, and its twin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mrinterp.core.storage import whole_file
from mrinterp.report.effects.cards import EffectCards
from mrinterp.report.effects.figures import drawn_figures, figures_left_out
from mrinterp.report.effects.source import ALPHA, EXCLUDES, INCLUDES, NO_ESTIMATE, EffectsSource
from mrinterp.report.effects.table import effects_table, rows_as_text, short_name
from mrinterp.report.effects.twin import effects_document, effects_table_file
from mrinterp.report.effects.words import (
    cautions,
    closing,
    methods_words,
    references_used,
    resting_words,
    told_settings,
)
from mrinterp.report.explorer import A_FILE, FOLDER, LEADING, MOST_IN_FILES, SAMPLED, Explorer
from mrinterp.report.numbers import plain, significant
from mrinterp.report.packed import packed_json, shown_text
from mrinterp.report.page import rendered
from mrinterp.report.twin.files import write_files
from mrinterp.report.twin.methods_text import bibtex_of

__all__ = ["pairs_with_card", "write_effects"]

SHOWN, SHOWN_CLAIMS = 300, 10
"""Rows that stand in the page as text, and effects in the answer."""
MOST_CELLS = 60_000
"""Instruments in all cards of a page together, beyond which fewer cards stand in it."""
TWIN = (
    "report.json",
    "report.schema.json",
    "claims.csv",
    "summary.md",
    "methods.md",
    "references.bib",
    "strobe_mr.md",
)
DROPPED = 200
"""Dropped instruments that the page lists."""


def write_effects(source: EffectsSource, folder: Path) -> Path:
    """Write ``report.html``, files of cards where the page does not hold all, and ``report`` beside it.

    Parameters
    ----------
    source : EffectsSource
    folder : Path

    Returns
    -------
    Path
        The page. The same source gives the same bytes.
    """
    write_files(effects_document(source), effects_table_file(source), bibtex_of(references_used(source)), folder / "report")  # fmt: skip
    page = folder / "report.html"
    with whole_file(page) as partial:
        partial.write_bytes(_page(source).encode("utf-8", "replace"))
    for name, content in _card_pages(source):
        with whole_file(folder / name) as partial:
            text = rendered("cards.html.j2", title=source.title, page=f"../{page.name}", all_features=content, noun=source.noun)  # fmt: skip
            partial.write_bytes(text.encode("utf-8", "replace"))
    return page


def pairs_with_card(table: pd.DataFrame, instruments: int) -> list[tuple[str, str]]:
    """Rows whose card stands in the page: the strongest evidence, and a random sample of the others."""
    room = max(50, MOST_CELLS // max(instruments, 1))
    count = min(LEADING, room)
    rest = np.arange(count, len(table))
    if len(rest) > SAMPLED:
        rest = np.sort(np.random.default_rng(len(table)).choice(rest, min(SAMPLED, room), replace=False))
    part = table.iloc[[*range(min(count, len(table))), *rest]]
    return list(zip(part["feature"], part["outcome"], strict=True))


def _explorer(source: EffectsSource) -> Explorer:
    table, pairs = source.table, pairs_with_card(source.table, len(source.data.instruments))
    packed = effects_table(source, table, table.head(SHOWN))
    cards = EffectCards(source, packed).of(pairs)
    files = len(pairs) < len(table) <= MOST_IN_FILES
    cards["elsewhere"] = {"folder": FOLDER, "each": A_FILE} if files else None
    slugs = {pair: packed.slugs[k] for pair, k in packed.place.items() if k in packed.slugs}
    return Explorer(
        packed.data,
        packed_json(cards),
        packed.display,
        slugs,
        source.grades.by_pair,
        len(table),
        len(pairs),
        -(-len(table) // A_FILE) if files else 0,
    )


def _card_pages(source: EffectsSource) -> Iterator[tuple[str, Explorer]]:
    table = source.table
    if not len(pairs_with_card(table, len(source.data.instruments))) < len(table) <= MOST_IN_FILES:
        return
    whole = effects_table(source, table, table.head(0))
    at = np.array([whole.place[p] for p in zip(table["feature"], table["outcome"], strict=True)])
    for k, start in enumerate(range(0, len(table), A_FILE)):
        part = table[(at >= start) & (at < start + A_FILE)]
        packed = effects_table(source, part, part)
        pairs = list(zip(part["feature"], part["outcome"], strict=True))
        cards = EffectCards(source, packed).of(pairs) | {"elsewhere": None}
        yield (
            f"{FOLDER}/{k:04d}.html",
            Explorer(packed.data, packed_json(cards), packed.display, {}, {}, len(part), len(part)),
        )


def _page(source: EffectsSource) -> str:
    table, held = source.table, _explorer(source)
    whole, pairs = drawn_figures(source)
    verdicts = table["verdict"].value_counts()
    standing = table[(table["q"] < ALPHA) & (table["verdict"] == EXCLUDES)]
    return rendered(
        "effects.html.j2",
        title=source.title,
        source=source,
        noun=source.noun,
        several=len(source.primary.outcomes) > 1,
        all_features=held,
        rows=rows_as_text(source, table.head(SHOWN), held.display),
        closing=closing(source),
        resting=resting_words(source),
        tiles=[
            ("effects tested", len(table)),
            ("intervals that exclude 0", int(verdicts.get(EXCLUDES, 0))),
            (f"of them at a false discovery rate of {ALPHA:.0%}", len(standing)),
            ("intervals that include 0", int(verdicts.get(INCLUDES, 0))),
            ("without an estimate", int(verdicts.get(NO_ESTIMATE, 0))),
        ],
        claims=[_claim(source, row) for row in table[table["verdict"] == EXCLUDES].head(SHOWN_CLAIMS).to_dict("records")],
        more_claims=max(int(verdicts.get(EXCLUDES, 0)) - SHOWN_CLAIMS, 0),
        cautions=cautions(source),
        figures=whole,
        pairs=pairs,
        left_out=[*figures_left_out(source), *((k, v) for k, v in source.left_out.items() if k != "Leave-one-out")],
        strengths=_strengths(source),
        dropped=source.data.dropped.head(DROPPED).to_dict("records"),
        more_dropped=max(len(source.data.dropped) - DROPPED, 0),
        methods=methods_words(source),
        references=references_used(source),
        assumptions=[(r.label, r.assumes, r.reference) for r in source.results],
        settings=told_settings(source),
        files=TWIN,
    )  # fmt: skip


def _claim(source: EffectsSource, row: dict[Any, Any]) -> dict[str, Any]:
    p = row["neglog10p"]
    return {
        "pair": (row["feature"], row["outcome"]),
        "grade": source.grades.by_pair[row["feature"], row["outcome"]],
        "short": short_name(row["feature"]),
        "label": shown_text(row["label"], 80),
        "outcome": shown_text(row["outcome"], 80),
        "value": significant(row["effect"]),
        "interval": f"{significant(row['ci_lower']).removeprefix('+')} to {significant(row['ci_upper']).removeprefix('+')}",
        "p": f"p = {10 ** -p:.2g}" if p < 300 else f"p = 1e-{p:.0f}",
        "q": f"q = {row['q']:.2g}" if row["q"] > 0 else "q < 1e-300",
        "against": row["against"],
        "contradiction": row["contradiction"],
        "weak": row["strength"] < 10,
        "status": "" if row["status"] == "ok" else shown_text(row["status"]),
    }  # fmt: skip


def _strengths(source: EffectsSource) -> list[tuple[str, str, int]]:
    """Mean F of exposures, the weakest first, and how many instruments each has."""
    known = np.isfinite(source.data.beta_x) & np.isfinite(source.data.se_x)
    order = np.argsort(np.nan_to_num(source.strength, nan=-1.0), kind="stable")[:SHOWN]
    return [
        (short_name(source.data.exposures[k]), plain(source.strength[k], ".1f"), int(known[k].sum()))
        for k in order
    ]
