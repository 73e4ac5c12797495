"""Runs killed without warning at random moments, and two writers in one folder: do they end in the same bytes?

    python benchmarks/kills.py --kills 100 [--minutes 20 --place FOLDER] [--out FILE]

With a place to work in, a second call goes on where the first one stopped.
"""

from __future__ import annotations

import argparse
import math
import os
import shutil
import sys
import tempfile
import time
from contextlib import nullcontext
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
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=math.inf, help="after which no other kill is begun")
    parser.add_argument(
        "--place", type=Path, help="folder to work in, which is kept: more kills go on from there"
    )
    parser.add_argument("--out", type=Path, help="where to write the counts (Markdown)")
    options = parser.parse_args()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() if options.place is None else nullcontext(options.place) as place:
        folder = Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        study = folder / "tiny.toml"
        if not study.exists():
            study = write_tiny_study(folder, save_tiny_encoder(folder / "encoder"))
        kills, stages, ended = kill_at_random(study, folder, options.kills, options.seed, options.minutes)
        said = [
            f"{kills} kills, which left {len(stages)} different states of the folder behind; {ended} runs went on to their end,"
            " all with the same bytes"
        ]
        print(said[0])
        for race in range(options.races):
            shutil.rmtree(folder / f"race{race}", ignore_errors=True)
            finished, refused = two_writers(study, folder / f"race{race}", folder / "whole")
            said += [
                f"two writers: {finished} finished with the same bytes, {refused} refused and told by whom"
            ]
            print(said[-1])
    print(f"{time.perf_counter() - start:.0f} s")
    if options.out:
        lines = "".join(f"- {line}\n" for line in said)
        options.out.write_text(
            f"# Killed runs\n\n`python benchmarks/kills.py`, seed {options.seed}\n\n{lines}"
        )


if __name__ == "__main__":
    main()
