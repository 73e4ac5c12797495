"""Commit to the evaluation families: their recipes under one hash, from which their seeds follow.

    python benchmarks/truth/commit_evaluation.py           # writes benchmarks/evaluation_commitment.json
    python benchmarks/truth/commit_evaluation.py --check   # makes it again from the source, and compares

It may be written again while the evaluation has not been run (``evaluation_log.jsonl`` does not exist), never after.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mrinterp.bench import commitment
from mrinterp.bench._evaluation import checked_commitment

FILE = Path(__file__).parents[1] / "evaluation_commitment.json"


def main() -> None:
    """Write the commitment, or check it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    made = checked_commitment(FILE) if parser.parse_args().check else commitment(FILE)
    print(f"{made['commitment']}  {len(made['families'])} evaluation families: {', '.join(made['families'])}")


if __name__ == "__main__":
    main()
