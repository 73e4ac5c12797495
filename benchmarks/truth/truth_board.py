"""The board of the truth benchmark as it is committed: every method on every development family of worlds.

    python benchmarks/truth/truth_board.py [--size quick] [--seeds 20] [--without "sparse codes"] [--jobs 2]
        [--work runs/bench]

Runs ``mrinterp bench`` into ``--work`` (it goes on from what is there), puts the board into ``benchmarks/results`` (text, tables,
page, and the folder ``leaderboard`` with the result itself), and writes docs/when_not_to_trust.md from it.
"""

from __future__ import annotations

import argparse
import runpy
import shutil
from pathlib import Path

from mrinterp.bench import run_bench
from mrinterp.report.board_page import write_board
from mrinterp.worlds import world_families

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"
KEPT = ("leaderboard.md", "leaderboard.csv", "leaderboard_paired.csv", "leaderboard.html")


def main() -> None:
    """Run, write, and copy."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="quick", choices=["quick", "full"])
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--without", default="", help="Families that are left out, with commas between.")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("runs/bench"))
    given = parser.parse_args()
    left_out = [name.strip() for name in given.without.split(",") if name.strip()]
    families = None
    if left_out:
        usual = [f for f in world_families().values() if f.part == "development"]
        families = [
            f.name for f in usual if f.name not in left_out and (given.size == "full" or not f.trained)
        ]
    board = run_bench(families=families, size=given.size, seeds=given.seeds, jobs=given.jobs, out=given.work)
    told = {"size": given.size if given.size != "quick" else None, "seeds": given.seeds}
    options = [f" --{k} {v}" for k, v in told.items() if v is not None]
    options += [f' --without "{given.without}"'] if left_out else []
    write_board(board, given.work, f"python benchmarks/truth/truth_board.py{''.join(options)}")
    for name in KEPT:
        shutil.copy(given.work / name, RESULTS / name)
    board.save(RESULTS / "leaderboard")
    runpy.run_path(str(ROOT / "docs" / "make_when_not_to_trust.py"), run_name="__main__")
    print(board)


if __name__ == "__main__":
    main()
