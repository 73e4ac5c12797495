"""Two processes of one thread against one process of two threads, and whether a study's shards are the same bytes.

    python benchmarks/speed/worker_speed.py [--features 16384] [--study STUDY_FILE]

The scan: 2,048 runs x 256 instruments, features in one memory-mapped file, errors clustered (CR3), no calibration; in turns. The
study, where one is given: all of it by this process, then with two workers, and which files of panel and knockouts differ.
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

RESULTS = Path(__file__).parents[1] / "results" / "worker_speed.md"


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


def study_rows(study: Path) -> list[str]:
    """Seconds of a whole study with and without workers, and how many stored arrays differ."""
    folder, taken = Path(tempfile.mkdtemp()), {}
    try:
        for name, threads, more in (("one", "1", ()), ("two", "1", ("--workers", "2")), ("threads", "2", ())):
            program = [
                sys.executable,
                "-m",
                "mrinterp.cli",
                "run",
                str(study),
                "-q",
                "-o",
                str(folder / name),
            ]
            start = time.perf_counter()
            subprocess.run([*program, *more], check=True, env={**os.environ, "OMP_NUM_THREADS": threads})
            taken[name] = time.perf_counter() - start
        differ, many = compared(folder / "one", folder / "two")
    finally:
        shutil.rmtree(folder)
    said = f"study {study.stem}"
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
    asked.add_argument("--study", type=Path)
    given = asked.parse_args()
    load = os.getloadavg()[0]
    lines = scan_rows(given.features) + (study_rows(given.study) if given.study else [])
    head = f"{os.cpu_count()} cores, load {load:.1f} before and {os.getloadavg()[0]:.1f} after. `python benchmarks/speed/worker_speed.py`\n\n"
    table = "| what | measured | bar | met |\n|---|---|---|---|\n"
    RESULTS.write_text("# Workers against threads\n\n" + head + table + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
