"""Runs killed without warning at random moments, and two writers in one folder: do they end in the same bytes?

python benchmarks/kills.py --kills 100
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["TQDM_DISABLE"] = "1"
sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.study.killed_runs import kill_at_random, two_writers
from tests.tiny import save_tiny_encoder, write_tiny_study


def main() -> None:
    """Kill, go on, compare; then let two processes race for one folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--races", type=int, default=3)
    options = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        study = write_tiny_study(folder, save_tiny_encoder(folder / "encoder"))
        kills, stages, ended = kill_at_random(study, folder, options.kills)
        print(
            f"{kills} kills in {len(stages)} stages; {ended} runs went on to their end, all with the same bytes"
        )
        for race in range(options.races):
            finished, refused = two_writers(study, folder / f"race{race}", folder / "whole")
            print(f"two writers: {finished} finished with the same bytes, {refused} refused and told by whom")
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
