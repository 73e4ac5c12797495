"""Write docs/when_not_to_trust.md from the committed board of the truth benchmark.

    python docs/make_when_not_to_trust.py

A test fails while the page differs from what this writes.
"""

from __future__ import annotations

from pathlib import Path

from mrinterp.report.board_words import when_not_to_trust
from mrinterp.results import Leaderboard

PAGE = Path(__file__).with_name("when_not_to_trust.md")
BOARD = Path(__file__).parents[1] / "benchmarks" / "results" / "leaderboard"


def page() -> str:
    """The page as text."""
    return when_not_to_trust(Leaderboard.load(BOARD), "../benchmarks/results/leaderboard.md")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
