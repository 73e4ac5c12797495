"""Colocalization per pair: against tensorQTL from raw data (one run), against R's coloc.abf from summaries.

    python benchmarks/coloc_speed.py --peer-python PATH [--timings timings.json] [--out benchmarks/results]

The peer runs in an environment of its own (it needs torch and tensorqtl) on the same arrays, passed as .npy
files, with the same number of threads (OMP_NUM_THREADS); both are timed in CPU seconds, which other work on
the machine does not stretch. Writes ``coloc_speed.csv``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from mrinterp.coloc.abf import colocalize
from mrinterp.coloc.priors import Priors
from mrinterp.coloc.runs import colocalize_runs, screen_runs
from mrinterp.core.mrdata import MRData

RUNS, J, REPEATS = 500, 500, 7


def simulate(
    rng: np.random.Generator, features: int, outcomes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Doses and traits; a third of the traits share one cause."""
    x = rng.binomial(2, 0.3, (RUNS, J)).astype(float)
    traits = rng.standard_normal((RUNS, features + outcomes))
    traits[:, ::3] += 0.4 * x[:, [7]]
    return x, traits[:, :features], traits[:, features:]


def timed(call: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median CPU seconds after one call to warm up."""
    call()
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
    return float(np.median(seconds))


def against_peer(python: str, features: int, outcomes: int) -> list[dict[str, object]]:
    """Raw data of ``features`` times ``outcomes`` pairs, both programs."""
    x, first, second = simulate(np.random.default_rng(1), features, outcomes)
    with tempfile.TemporaryDirectory() as folder:
        for name, array in (("doses", x), ("features", first), ("outcomes", second)):
            np.save(Path(folder) / f"{name}.npy", array)
        script = Path(__file__).parent / "peers" / "tensorqtl_coloc.py"
        out = subprocess.run([python, str(script), folder, "4"], capture_output=True, text=True, check=True)
        peer = float(np.median([float(s) for s in out.stdout.split()[-3:]]))
        theirs = np.load(Path(folder) / "peer_coloc.npy").reshape(features, outcomes, 5)
    ours = screen_runs(x, first, second)
    gap = float(np.nanmax(np.abs(ours - theirs)))
    pairs = features * outcomes
    options = {"priors": Priors(), "check_misfit": False}
    rows = {
        "five hypotheses": lambda: screen_runs(x, first, second),
        "with signs, tops and sensitivity": lambda: colocalize_runs(x, first, second, **options),
        "and LD and misfit check": lambda: colocalize_runs(x, first, second, priors=Priors()),
    }
    return [
        {
            "work": f"raw data, {features} x {outcomes} pairs, {J} instruments: {name}",
            "peer": "tensorQTL coloc",
            "us_per_pair": 1e6 * (seconds := timed(call)) / pairs,
            "peer_us_per_pair": 1e6 * peer / pairs,
            "ratio": peer / seconds,
            "largest_posterior_gap": gap,
        }
        for name, call in rows.items()
    ]


def against_r(timings: Path) -> dict[str, object]:
    """Summary statistics of 10^4 pairs with 1,000 instruments against the recorded time of one pair in R."""
    recorded = {t["id"]: t for t in json.loads(timings.read_text())["timings"]}["coloc.abf.1000"][
        "cpu_s_median"
    ]
    rng, side, count = np.random.default_rng(2), 100, 1000
    beta, se = 0.1 * rng.standard_normal((2, side, count)), np.full((side, count), 0.05)
    names = [tuple(f"{p}{i}" for i in range(n)) for p, n in (("x", side), ("y", side), ("i", count))]
    data = MRData(beta[0], se, beta[1], se, *names)
    options = {"sd_x": 1.0, "sd_y": 1.0, "priors": Priors(), "check_misfit": False}
    start = time.process_time()
    colocalize(data, **options)
    seconds = (time.process_time() - start) / side**2
    return {
        "work": f"summary statistics, {side} x {side} pairs, {count} instruments, all outputs (CPU seconds)",
        "peer": "R coloc.abf 6.0.1 (recorded, other machine)",
        "us_per_pair": 1e6 * seconds,
        "peer_us_per_pair": 1e6 * recorded,
        "ratio": recorded / seconds,
        "largest_posterior_gap": np.nan,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", required=True)
    parser.add_argument("--timings", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    rows = []
    for shape in ((100, 100), (1000, 10)):
        rows += against_peer(arguments.peer_python, *shape)
    if arguments.timings is not None:
        rows.append(against_r(arguments.timings))
    frame = pd.DataFrame(rows)
    frame["threads"] = os.environ.get("OMP_NUM_THREADS", "default")
    arguments.out.mkdir(parents=True, exist_ok=True)
    frame.to_csv(arguments.out / "coloc_speed.csv", index=False, float_format="%.4g")
    print(frame.to_string(index=False))


if __name__ == "__main__":
    main()
