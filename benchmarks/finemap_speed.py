"""SuSiE with credible sets per trait, 100 traits sharing LD: against tensorQTL (one run) and susieR (recorded).

    python benchmarks/finemap_speed.py --peer-python PATH [--timings timings.json] [--out benchmarks/results]

The peer runs in an environment of its own on the same arrays and threads; both are timed in CPU seconds, which
other work on the machine does not stretch. Writes ``finemap_speed.csv``.
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

from mrinterp.coloc.finemap import SusieOptions, finemap_individual, finemap_summary

TRAITS, PEER_TRAITS, REPEATS = 100, 10, 5


def simulate(rng: np.random.Generator, runs: int, instruments: int) -> tuple[np.ndarray, np.ndarray]:
    """Correlated doses, traits with two causes."""
    x = rng.standard_normal((runs, instruments))
    for j in range(1, instruments):
        x[:, j] = 0.9 * x[:, j - 1] + np.sqrt(1 - 0.81) * x[:, j]
    y = rng.standard_normal((runs, TRAITS))
    for t in range(TRAITS):
        y[:, t] += 0.35 * x[:, rng.choice(instruments, 2, replace=False)].sum(1)
    return x, y


def timed(call: Callable[[], object]) -> float:
    """Median CPU seconds after one call to warm up."""
    call()
    seconds = []
    for _ in range(REPEATS):
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
    return float(np.median(seconds))


def against_peer(python: str, runs: int, instruments: int) -> dict[str, object]:
    """Individual data, L 10, credible sets, the peer's tolerance of 1e-3 on both sides."""
    x, y = simulate(np.random.default_rng(instruments), runs, instruments)
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "doses.npy", x)
        np.save(Path(folder) / "traits.npy", y)
        script = Path(__file__).parent / "peers" / "tensorqtl_susie.py"
        command = [python, str(script), folder, str(PEER_TRAITS)]
        out = subprocess.run(command, capture_output=True, text=True, check=True)
        peer = float(out.stdout.split()[-1])
        theirs = np.load(Path(folder) / "peer_pip.npy")
    options = SusieOptions(tol=1e-3)
    seconds = timed(lambda: finemap_individual(x, y, options=options)) / TRAITS
    fit = finemap_individual(x, y, options=options)
    return {
        "work": f"individual data, {runs} runs, {instruments} instruments, L 10, {TRAITS} traits, tol 1e-3",
        "peer": "tensorQTL susie",
        "ms_per_trait": 1e3 * seconds,
        "peer_ms_per_trait": 1e3 * peer,
        "ratio": peer / seconds,
        "median_pip_gap": float(np.median(np.abs(fit.pip[:PEER_TRAITS] - theirs).max(1))),
        "converged": float(fit.converged.mean()),
    }


def against_r(timings: Path) -> dict[str, object]:
    """z-scores with LD of 500 instruments against the recorded time of one trait in R, CPU seconds."""
    recorded = {t["id"]: t for t in json.loads(timings.read_text())["timings"]}["susie_rss.500.L10"][
        "cpu_s_median"
    ]
    x, y = simulate(np.random.default_rng(7), runs := 500, 500)
    x, y = (a - a.mean(0) for a in (x, y))
    r = (y / np.linalg.norm(y, axis=0)).T @ (x / np.linalg.norm(x, axis=0))
    z, ld = r * np.sqrt((runs - 2) / (1 - r * r)), np.corrcoef(x.T)
    seconds = timed(lambda: finemap_summary(z, ld, runs)) / TRAITS
    fit = finemap_summary(z, ld, runs)
    return {
        "work": f"z-scores and LD, 500 instruments, L 10, {TRAITS} traits, tol 1e-4, LD checks (CPU seconds)",
        "peer": "susieR 0.16.5 susie_rss (recorded, other machine)",
        "ms_per_trait": 1e3 * seconds,
        "peer_ms_per_trait": 1e3 * recorded,
        "ratio": recorded / seconds,
        "median_pip_gap": np.nan,
        "converged": float(fit.converged.mean()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer-python", required=True)
    parser.add_argument("--timings", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    sizes = [(runs, instruments) for runs in (500, 1000, 2000) for instruments in (200, 500)]
    rows = [against_peer(arguments.peer_python, *size) for size in sizes]
    if arguments.timings is not None:
        rows.append(against_r(arguments.timings))
    frame = pd.DataFrame(rows)
    frame["threads"] = os.environ.get("OMP_NUM_THREADS", "default")
    arguments.out.mkdir(parents=True, exist_ok=True)
    frame.to_csv(arguments.out / "finemap_speed.csv", index=False, float_format="%.4g")
    print(frame.to_string(index=False))


if __name__ == "__main__":
    main()
