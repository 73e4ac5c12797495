"""The board of the truth benchmark as it is committed: every method on every development family of worlds.

    python benchmarks/truth/truth_board.py [--trained] [--size quick] [--seeds 20] [--without "sparse codes"]
        [--methods default,gradient] [--jobs 2] [--work runs/bench] [--evaluation]

Runs ``mrinterp bench`` into ``--work`` (it goes on from what is there), puts the board into ``benchmarks/results`` (text, tables,
page, and the folder ``leaderboard`` with the result itself), and writes docs/when_not_to_trust.md from it. With ``--trained``
families whose networks are trained first, or real, which take minutes each: a board of its own, ``leaderboard_trained``. Worlds
of full size are a board of their own as well, ``leaderboard_full``. With ``--evaluation`` the committed families in place of the
development ones, in boards of theirs; every such run is logged (``benchmarks/evaluation_log.jsonl``), and is meant to be the only one.
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
COMMITTED = ROOT / "benchmarks" / "evaluation_commitment.json"
KEPT = ("leaderboard.md", "leaderboard.csv", "leaderboard_paired.csv", "leaderboard.html")


def chosen_families(part: str, trained: bool, left_out: list[str]) -> list[str]:
    """Families of the board."""
    usual = [f for f in world_families().values() if f.part == part and f.name not in left_out]
    return [f.name for f in usual if f.trained == trained]


def main() -> None:
    """Run, write, and copy."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trained", action="store_true")
    parser.add_argument("--evaluation", action="store_true", help="The committed families: once, at the end.")
    parser.add_argument("--size", default="quick", choices=["quick", "full"])
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--without", default="", help="Families that are left out, with commas between.")
    parser.add_argument("--methods", default="", help="Names, with commas between; default all.")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("runs/bench"))
    given = parser.parse_args()
    left_out = [name.strip() for name in given.without.split(",") if name.strip()]
    families = chosen_families("evaluation" if given.evaluation else "development", given.trained, left_out)
    methods = [name.strip() for name in given.methods.split(",") if name.strip()] or None
    board = run_bench(
        methods,
        families,
        given.size,
        seeds=given.seeds,
        jobs=given.jobs,
        out=given.work,
        evaluation=COMMITTED if given.evaluation else None,
    )
    told = {
        "size": given.size if given.size != "quick" else None,
        "seeds": given.seeds,
        "methods": given.methods or None,
    }
    options = [" --evaluation"] * given.evaluation + [" --trained"] * given.trained
    options += [f" --{k} {v}" for k, v in told.items() if v is not None]
    options += [f' --without "{given.without}"'] if left_out else []
    write_board(board, given.work, f"python benchmarks/truth/truth_board.py{''.join(options)}")
    stem = f"leaderboard{'_evaluation' * given.evaluation}{'_trained' * given.trained}{'_full' * (given.size == 'full')}"
    for name in KEPT:
        shutil.copy(given.work / name, RESULTS / name.replace("leaderboard", stem))
    board.save(RESULTS / stem)
    if stem == "leaderboard":
        runpy.run_path(str(ROOT / "docs" / "make_when_not_to_trust.py"), run_name="__main__")
    print(board)


if __name__ == "__main__":
    main()
