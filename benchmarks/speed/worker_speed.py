"""Two processes of one thread against one process of two threads, and whether a study's shards are the same bytes.

    python benchmarks/speed/worker_speed.py [--features 16384] [--study STUDY_FILE]

The scan: 2,048 runs x 256 instruments, features in one memory-mapped file, errors clustered (CR3), no calibration; in turns. The
study: the one given, or one of a tiny network on a table, to its end by one process, then with two workers, and which files of
panels, knockouts and estimates differ. Seconds of the machine; what else ran on it is said by the load.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from scan_speed import N, design, row

from mrinterp.scan import scan_features
from mrinterp.scan._cluster import opened_workers

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.inputs.input_nets import write_input_study

RESULTS = Path(__file__).parents[1] / "results" / "worker_speed.md"
TINY = {
    "features": {"units": [0, 1]},
    "knockouts": {"families": 10, "prompts_per_family": 1, "random_controls": 0},
}
"""What of the small study is smaller still."""


def scan_rows(features: int, rounds: int = 3) -> list[str]:
    """Seconds of a scan by threads and by processes, those kept open; and of opening them."""
    folder = Path(tempfile.mkdtemp())
    d, rng = design(), np.random.default_rng(1)
    x = rng.standard_normal((N, features), dtype=np.float32)
    np.save(folder / "x.npy", x)
    given = {**d, "features": folder / "x.npy", "outcomes": x[:, :1], "draws": 0}
    start = time.perf_counter()
    taken: dict[str, list[float]] = {"threads": [], "processes": []}
    try:
        with opened_workers(2) as two:
            opened = time.perf_counter() - start
            address = two.client.scheduler.address
            for turn in range(rounds + 1):  # the first is not counted
                for name, more in (("threads", {}), ("processes", {"scheduler": address})):
                    out = folder / f"{name}{turn}"
                    start = time.perf_counter()
                    scan_features(out, **given, **more)
                    taken[name] += [time.perf_counter() - start] if turn else []
                    shutil.rmtree(out)
    finally:
        shutil.rmtree(folder)
    said = f"scan, {features:,} features"
    return [
        row(f"{said}, one process of two threads: seconds", float(np.median(taken["threads"])), ""),
        row(f"{said}, two processes of one thread: seconds", float(np.median(taken["processes"])), ""),
        row("opening two processes: seconds", opened, ""),
    ]


def study_rows(given: Path | None) -> list[str]:
    """Seconds of a whole study with and without workers, and how many stored files differ."""
    folder, taken = Path(tempfile.mkdtemp()), {}
    try:
        study = given or write_input_study(folder, "table", **TINY)
        for name, threads, more in (("one", "1", ()), ("two", "1", ("--workers", "2")), ("threads", "2", ())):
            program = [
                sys.executable,
                "-m",
                "mrinterp",
                "run",
                str(study),
                "-q",
                "--allow-code",
                "-o",
                str(folder / name),
            ]
            start = time.perf_counter()
            subprocess.run([*program, *more], check=True, env={**os.environ, "OMP_NUM_THREADS": threads})
            taken[name] = time.perf_counter() - start
        differ, many = compared(folder / "one", folder / "two")
    finally:
        shutil.rmtree(folder)
    said = f"study {given.stem}" if given else "study of a table"
    return [
        row(f"{said}, one process of one thread: seconds", taken["one"], ""),
        row(f"{said}, one process of two threads: seconds", taken["threads"], ""),
        row(f"{said}, and two workers of one thread: seconds", taken["two"], ""),
        row(f"of {many} files of panels, knockouts and estimates, differ", differ, "at most 0"),
    ]


def compared(a: Path, b: Path) -> tuple[int, int]:
    """Files of panels, knockouts and estimates whose bytes differ, and how many there are."""
    differ = many = 0
    for part in ("panel", "knockouts", "estimates"):
        for path in sorted((a / part).rglob("*")):
            if path.is_file():
                many += 1
                other = b / path.relative_to(a)
                sums = [hashlib.sha256(p.read_bytes()).digest() for p in (path, other) if p.exists()]
                differ += len(sums) < 2 or sums[0] != sums[1]
    return differ, many


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--features", type=int, default=16_384)
    asked.add_argument("--rounds", type=int, default=3)
    asked.add_argument("--study", type=Path)
    given = asked.parse_args()
    load = os.getloadavg()[0]
    lines = scan_rows(given.features, given.rounds) + study_rows(given.study)
    head = (
        f"{os.cpu_count()} cores, load {load:.1f} before and {os.getloadavg()[0]:.1f} after (a load above the number of cores slows"
        f" processes and threads alike, and by chance).\n`python benchmarks/speed/worker_speed.py {' '.join(sys.argv[1:])}`,"
        f" medians of {given.rounds} rounds in turns.\n\n"
    )
    table = "| what | measured | bar | met |\n|---|---|---|---|\n"
    RESULTS.write_text("# Workers against threads\n\n" + head + table + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
