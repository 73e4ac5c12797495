"""A card beside the processor: do both give the same effects, and how long do the scan and the shipped study take?

    python benchmarks/speed/gpu.py [--device cuda:0] [--features 65536] [--demo] [--out benchmarks/results]

*Parity*: effects and errors of 2,048 features x 256 instruments x 2,048 runs, for each kind of errors, one dose at a time and
jointly, in single precision on the card and on the processor, both against the processor's double precision; largest difference
over all pairs, of effects in units of their error, of errors relative to themselves. *Time*: medians of 5 scans of ``--features``
features in memory, products and effects without writing, and one scan into a folder. *The study* (``--demo``): `mrinterp run
minilm_sentiment` with the network on the card and on the processor, in turns (once each), and whether claims differ.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from threadpoolctl import threadpool_limits

import mrinterp
from mrinterp.scan import scan_features
from mrinterp.scan._torch_scanner import TorchScanner
from mrinterp.stats.loops.row_threads import by_rows
from mrinterp.stats.scan.block_scan import Scanned, Scanner, outcome_side
from mrinterp.stats.scan.dose_side import ERRORS, DoseSide, dose_side, within

N, K, SHOWN = 2048, 256, 2048
ROUNDS = 5
ALIKE = 0.01
"""Of an interval's length: effects that differ by less are called alike."""
COMMAND = "from mrinterp.cli import main; main()"
STUDY = Path(mrinterp.__file__).parent / "studies" / "minilm_sentiment.toml"


def runs(features: int) -> dict[str, Any]:
    """Doses of 0 and 1 that move some features, prompts of 8 runs, families of two prompts, two outcomes."""
    rng = np.random.default_rng(0)
    prompt = np.repeat(np.arange(N // 8), 8)
    doses = rng.integers(0, 2, (N, K)).astype(float)
    x = rng.standard_normal((N, features), np.float32)
    x += rng.standard_normal((N // 8, features), np.float32)[prompt]
    x[:, :512] += (doses @ rng.standard_normal((K, 512))).astype(np.float32)
    outcomes = x[:, :2].astype(float) + rng.standard_normal((N, 2))
    return {"doses": doses, "features": x, "outcomes": outcomes, "prompt": prompt, "family": prompt // 2}


def parity(device: str) -> list[str]:
    """A row for each kind of errors."""
    g = runs(SHOWN)
    how, family = within(g["prompt"], g["family"])
    lines = [
        "| errors | doses | effects, card | effects, processor | errors, card | errors, processor | covariances, card |",
        "|---|---|---|---|---|---|---|",
    ]
    for errors in ERRORS:
        for joint in (False, True):
            side = dose_side(g["doses"], how, family, errors, joint)
            outcomes = outcome_side(side, g["outcomes"])
            exact = Scanner(side, outcomes, "float64").block(g["features"], 0, SHOWN)
            single = Scanner(side, outcomes, "float32")
            card = TorchScanner(single, device).block(g["features"], 0, SHOWN)
            here = [_blocks(single, g["features"], 256)]
            cells = [errors, "jointly" if joint else "one at a time"]
            cells += [f"{np.abs((f.beta - exact.beta) / exact.se).max():.1e}" for f in (card, *here)]
            cells += [f"{np.abs(f.se / exact.se - 1).max():.1e}" for f in (card, *here)]
            size = exact.se[None] * np.sqrt(np.abs(exact.cov).max())
            cells.append(f"{np.abs((card.cov - exact.cov) / size).max():.1e}")
            lines.append("| " + " | ".join(cells) + " |")
    return lines


def _blocks(scanner: Any, x: np.ndarray, size: int) -> Scanned:
    """All features, some at once, on the processor's cores where the scanner is numpy's."""
    J = x.shape[1]
    found: list[Any] = [None] * -(-J // size)

    def work(a: int, z: int) -> None:
        for i in range(a, z):
            found[i] = scanner.block(x, i * size, min((i + 1) * size, J))

    if isinstance(scanner, TorchScanner):
        work(0, len(found))
    else:
        with threadpool_limits(1, user_api="blas"):
            by_rows(work, len(found))
    return Scanned(*(np.concatenate([getattr(f, n) for f in found], axis=-1) for n in ("beta", "se", "cov")))


def seconds(work: Callable[[], Any]) -> float:
    """Median of some rounds, after one that is not counted."""
    work()
    taken = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def times(device: str, features: int) -> list[str]:
    """Rows of the scan."""
    g = runs(features)
    how, family = within(g["prompt"], g["family"])
    lines = ["| what | card, s | processor, s | times faster |", "|---|---|---|---|"]

    def row(what: str, card: float, here: float) -> None:
        lines.append(f"| {what} | {card:.2f} | {here:.2f} | {here / card:.1f} |")

    for errors in ("homoskedastic", "CR3"):
        side: DoseSide = dose_side(g["doses"], how, family, errors)
        scanner = Scanner(side)
        card = TorchScanner(scanner, device)
        width = min(card.width, features)
        a = seconds(lambda c=card, w=width: _blocks(c, g["features"], w))
        b = seconds(
            lambda s=scanner, e=errors: _blocks(s, g["features"], 1024 if e == "homoskedastic" else 256)
        )
        row(f"{features:,} features, {errors}, into memory ({width:,} at once on the card)", a, b)
    taken = []
    for where in (device, None):
        with tempfile.TemporaryDirectory() as folder:
            start = time.perf_counter()
            scan_features(Path(folder) / "scan", **g, device=where, draws=20)
            taken.append(time.perf_counter() - start)
    row(f"{features:,} features, CR3, into a folder, with 20 draws of the calibration", *taken)
    return lines


def study(device: str) -> list[str]:
    """The shipped study on the card and on the processor."""
    taken, claims = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for where in (device, "cpu"):
            text = STUDY.read_text(encoding="utf-8").replace("[model]\n", f'[model]\ndevice = "{where}"\n', 1)
            for name in [p.name for p in STUDY.parent.glob("*.txt")]:
                (Path(folder) / name).write_text(
                    (STUDY.parent / name).read_text(encoding="utf-8"), encoding="utf-8"
                )
            plan = Path(folder) / f"{where.replace(':', '')}.toml"
            plan.write_text(text, encoding="utf-8")
            out = Path(folder) / plan.stem
            start = time.perf_counter()
            done = subprocess.run(
                [sys.executable, "-c", COMMAND, "run", str(plan), "--out", str(out)],
                check=False,
                capture_output=True,
                text=True,
            )
            taken[where] = time.perf_counter() - start
            if done.returncode:
                return [
                    f"`mrinterp run` on {where} failed:",
                    "",
                    "```",
                    done.stdout[-2000:] + done.stderr[-3000:],
                    "```",
                ]
            claims[where] = pd.read_csv(out / "report" / "claims.csv")
    both = claims[device].merge(claims["cpu"], on=["feature", "outcome"], suffixes=("_a", "_b"))
    gap = (both["effect_a"] - both["effect_b"]).abs() / (both["ci_upper_b"] - both["ci_lower_b"])
    alike = gap < ALIKE
    other = ", ".join(
        f"{r.feature} {r.effect_a:+.4f} and {r.effect_b:+.4f}" for r in both[~alike].itertuples()
    )
    return [
        f"`minilm_sentiment` from start to report: {taken[device]:.0f} s with the network on the card, {taken['cpu']:.0f} s on"
        " the processor (everything but passes through the network is done by the processor in both).",
        f"{alike.sum()} of {len(both)} effects differ by less than {ALIKE:g} of their interval's length (the largest of these by"
        f" {gap[alike].max():.4f}), {(both['verdict_a'] == both['verdict_b']).sum()} verdicts are the same, {(both['grade_a'] == both['grade_b']).sum()} grades.",
        *([f"Others: {other}."] if other else []),
    ]


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--features", type=int, default=65_536)
    parser.add_argument("--demo", action="store_true")
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results")
    given = parser.parse_args()
    card = torch.cuda.get_device_name(given.device) if given.device.startswith("cuda") else given.device
    lines = [
        "# A card beside the processor",
        "",
        f"`python benchmarks/speed/gpu.py{' --demo' if given.demo else ''}`: {card}, torch {torch.__version__}, {len(os.sched_getaffinity(0))} cores"
        f" beside it, load {os.getloadavg()[0]:.1f} before.",
        "",
        "## Parity",
        "",
        f"Largest difference from double precision over {K} x {SHOWN:,} pairs of {N:,} runs: effects and covariances in units of errors, errors relative.",
        "",
        *parity(given.device),
        "",
        "## Time",
        "",
        *times(given.device, given.features),
    ]
    if given.demo:
        lines += ["", "## The shipped study", "", *study(given.device)]
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "gpu.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
