"""The board of the truth benchmark as a page and as text files."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from mrinterp.core.storage import whole_file
from mrinterp.plots._inline_svg import inline_svg
from mrinterp.plots._study.leaderboard import leaderboard
from mrinterp.report.board_words import (
    BY_FAMILY,
    SHOWN,
    SIZES,
    board_markdown,
    cell_words,
    defeats,
    log_words,
    missing,
    when_not_to_trust,
)
from mrinterp.results._leaderboard import ALL, SCORES, Leaderboard

__all__ = ["write_board"]


def write_board(board: Leaderboard, folder: str | Path, command: str) -> dict[str, Path]:
    """Write the board into a folder, as text, tables and a page, and what follows from it for use.

    Parameters
    ----------
    board : Leaderboard
    folder : path
    command : str
        What made it, as it stands on the page.

    Returns
    -------
    dict of str to Path
        Files by what they are: ``markdown, csv, paired, html``, and ``warnings``
        (``when_not_to_trust.md``). The folder ``leaderboard`` holds the board itself (`Leaderboard.load`).
    """
    folder = Path(folder)
    texts = {
        "markdown": ("leaderboard.md", board_markdown(board, command)),
        "csv": ("leaderboard.csv", board.scores.round(4).to_csv(index=False)),
        "paired": ("leaderboard_paired.csv", board.paired.round(4).to_csv(index=False)),
        "html": ("leaderboard.html", _html(board, command)),
        "warnings": ("when_not_to_trust.md", when_not_to_trust(board, "leaderboard.md")),
    }
    written = {}
    for what, (name, text) in texts.items():
        with whole_file(folder / name) as partial:
            partial.write_text(text, encoding="utf-8")
        written[what] = folder / name
    board.save(folder / "leaderboard")
    return written


def _html(board: Leaderboard, command: str) -> str:
    """The page: self-contained, no script, the same board the same bytes."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    tables = [("Who is called a cause", ALL, SHOWN, ""), ("Sizes, sets, re-runs, cost", ALL, SIZES, "")]
    tables += [(f["family"], f["family"], BY_FAMILY, f["about"]) for f in board.families.to_dict("records")]
    return environment.get_template("leaderboard.html.j2").render(
        command=command,
        figure=inline_svg(
            lambda: leaderboard(board),
            "board",
            "AUROC and false discovery rate of every method, with 95% intervals",
        ),
        summary=board.summary,
        tables=[_table(board, *t) for t in tables],
        defeats=defeats(board),
        missing=missing(board),
        scores=list(SCORES.values()),
        log=log_words(board),
    )


def _table(
    board: Leaderboard, title: str, family: str, scores: tuple[str, ...], about: str
) -> dict[str, object]:
    """One table: methods down, scores across; an empty cell says why when pointed at."""
    rows = []
    for method in board.order:
        cells = [board.cell(family, method, s) for s in scores]
        if all(c.why for c in cells):
            continue
        rows.append({"method": method, "cells": [{"text": cell_words(c), "why": c.why} for c in cells]})
    return {"title": title, "about": about, "head": [SCORES[s] for s in scores], "rows": rows}
