"""Speed against a peer: both are timed in turn, several times over, and the ratio is the median of the pairs."""

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

PAIRS = 5


def cpu_seconds(call: Callable[[], object], repeats: int = 5) -> float:
    """Median CPU seconds of a call, after one to warm up."""
    call()
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
    return float(np.median(seconds))


def in_turn(
    peer: Callable[[], float], ours: list[Callable[[], float]], pairs: int = PAIRS
) -> list[dict[str, float]]:
    """Seconds of the peer and of each of our calls, timed in turn; medians, and quartiles of the ratio."""
    rounds = np.array([[peer(), *(call() for call in ours)] for _ in range(pairs)])
    rows = []
    for column in rounds.T[1:]:
        low, middle, high = np.quantile(rounds[:, 0] / column, (0.25, 0.5, 0.75))
        seconds = {"seconds": float(np.median(column)), "peer_seconds": float(np.median(rounds[:, 0]))}
        rows.append({**seconds, "ratio": middle, "ratio_low": low, "ratio_high": high})
    return rows


class Peer:
    """A script of ``peers/`` on arrays, run by an interpreter of its own; it prints CPU seconds last."""

    def __init__(
        self, python: str, script: str, argument: int, arrays: dict[str, np.ndarray], result: str
    ) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        for name, array in arrays.items():
            np.save(self.folder / f"{name}.npy", array)
        path = Path(__file__).parent / "peers" / script
        self.command = [python, str(path), str(self.folder), str(argument)]
        self.result = result

    def seconds(self) -> float:
        """Run it once; the median of what it prints."""
        out = subprocess.run(self.command, capture_output=True, text=True, check=True)
        return float(np.median([float(s) for s in out.stdout.split("\n") if _is_number(s)]))

    def answer(self) -> np.ndarray:
        """What the last run wrote."""
        return np.load(self.folder / f"{self.result}.npy")


def _is_number(line: str) -> bool:
    return line.strip().replace(".", "", 1).replace("e-", "", 1).isdigit()


def recorded_seconds(timings: Path, entry: str) -> float:
    """CPU seconds of a recorded timing."""
    return {t["id"]: t for t in json.loads(timings.read_text())["timings"]}[entry]["cpu_s_median"]


def arguments(description: str | None) -> argparse.Namespace:
    """The options of the speed benchmarks."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--peer-python", required=True)
    parser.add_argument("--timings", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    return parser.parse_args()


def write_table(rows: list[dict[str, object]], path: Path) -> None:
    """Write and print the results."""
    frame = pd.DataFrame(rows)
    frame["threads"] = os.environ.get("OMP_NUM_THREADS", "default")
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, index=False, float_format="%.4g")
    print(frame.to_string(index=False))
