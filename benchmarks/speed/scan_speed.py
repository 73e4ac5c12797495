"""Time of the scan at scale, as ratios to a product of matrices of the same shape, measured in turns with it.

    python benchmarks/speed/scan_speed.py [--large] [--rounds 5]

Rows: errors alike and clustered, 2,048 runs x 256 instruments x 16,384 and 65,536 features; growth with each of the three;
sparse features of density .003; sparse latents end to end through IVW. `calculate_corr` is tensorQTL's association mapper
(residualize, scale to unit length, one product), written anew in torch from its published description (Taylor-Weiner et al. 2019,
10.1186/s13059-019-1836-7) for its time alone: the package is not installed beside this one.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse
from threadpoolctl import threadpool_limits

import mrinterp
from mrinterp.scan import ScanFolder, scan_features
from mrinterp.stats.loops.row_threads import by_rows
from mrinterp.stats.scan.block_scan import Scanned, Scanner
from mrinterp.stats.scan.dose_side import dose_side, within
from mrinterp.stats.scan.sparse_scan import SparseScanner

N, K = 2048, 256
RESULTS = Path(__file__).parents[1] / "results" / "scan_speed.md"
BLOCKS = {"homoskedastic": 1024, "CR3": 256}
PAUSE = 0.2
"""Seconds before each task."""


def design(n: int = N, k: int = K) -> dict[str, Any]:
    """Doses of 0 and 1, prompts of 8 runs, families of two prompts."""
    rng = np.random.default_rng(0)
    prompt = np.repeat(np.arange(n // 8), 8)
    return {"doses": rng.integers(0, 2, (n, k)).astype(float), "prompt": prompt, "family": prompt // 2}


class Dense:
    """One scan into arrays that are made beforehand."""

    def __init__(self, d: dict[str, Any], x: np.ndarray, errors: str) -> None:
        how, family = within(d["prompt"], d["family"])
        self.scanner, self.x, self.size = (
            Scanner(dose_side(d["doses"], how, family, errors)),
            x,
            BLOCKS[errors],
        )
        k = d["doses"].shape[1]
        self.out = Scanned(
            *(np.empty((k, x.shape[1]), np.float32) for _ in "be"), np.empty((0, k, x.shape[1]))
        )

    def __call__(self) -> None:
        J, size, out = self.x.shape[1], self.size, self.out

        def work(a: int, z: int) -> None:
            for i in range(a, z):
                at = slice(i * size, min((i + 1) * size, J))
                into = Scanned(out.beta[:, at], out.se[:, at], out.cov[:, :, at])
                self.scanner.block(self.x, at.start, at.stop, into)

        with threadpool_limits(1, user_api="blas"):
            by_rows(work, -(-J // size))


def calculate_corr(z: np.ndarray, x: np.ndarray, basis: np.ndarray) -> Callable[[], Any]:
    """Correlation of every dose with every trait after projecting out a basis (runs, q): what the mapper computes."""
    z_t, x_t, q = (torch.as_tensor(np.ascontiguousarray(a, np.float32)) for a in (z.T, x.T, basis))

    def residual(m: torch.Tensor) -> torch.Tensor:
        m = m - m.mean(1, keepdim=True)
        return m - (m @ q) @ q.T

    def work() -> torch.Tensor:
        a, b = residual(z_t), residual(x_t)
        a, b = (m / (m * m).sum(1, keepdim=True).sqrt() for m in (a, b))
        return (a @ b.T).pow(2)

    return work


def in_turns(tasks: dict[str, Callable[[], Any]], rounds: int) -> dict[str, np.ndarray]:
    """Seconds of each task, one after the other in every round, after one round that is not counted.

    Each begins after a pause: threads of a product that has just ended wait busily for the next one, on the cores that the
    following task needs.
    """
    taken: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(rounds + 1):
        for name, task in tasks.items():
            time.sleep(PAUSE)
            start = time.perf_counter()
            task()
            if turn:
                taken[name].append(time.perf_counter() - start)
    return {name: np.array(values) for name, values in taken.items()}


def ratio(found: dict[str, np.ndarray], name: str, to: str = "product") -> float:
    """Median of the ratios within rounds."""
    return float(np.median(found[name] / found[to]))


def product_of(z: np.ndarray, x: np.ndarray) -> Callable[[], Any]:
    """The product of single-precision matrices that everything is compared with."""
    z_t, out = np.ascontiguousarray(z.T, np.float32), np.empty((z.shape[1], x.shape[1]), np.float32)
    return lambda: np.matmul(z_t, x, out=out)


def dense_rows(sizes: list[int], rounds: int) -> list[str]:
    """Errors alike and clustered against the product and the mapper."""
    lines, d = [], design()
    groups = np.repeat(np.arange(N // 8), 8)
    basis = np.linalg.qr(np.eye(N // 8)[groups] - 8 / N)[0][:, : N // 8 - 1]
    for J in sizes:
        x = np.random.default_rng(1).standard_normal((N, J), dtype=np.float32)
        tasks = {
            "product": product_of(d["doses"], x),
            "alike": Dense(d, x, "homoskedastic"),
            "clustered": Dense(d, x, "CR3"),
            "corr": calculate_corr(d["doses"], x, basis[:, :20]),
        }
        found = in_turns(tasks, rounds)
        seconds = float(np.median(found["product"]))
        alike, clustered = ratio(found, "alike"), ratio(found, "clustered")
        faster = ratio(found, "corr", "alike")
        for what, value, bar in (
            (f"errors alike, {J:,} features: products", alike, "at most 1.4"),
            (f"errors clustered (CR3), {J:,} features: products", clustered, "at most 4"),
            (f"times faster than calculate_corr (20 covariates), {J:,} features", faster, "at least 2.1"),
        ):
            lines.append(row(what, value, bar))
        lines.append(row(f"one product, {J:,} features: seconds", seconds, ""))
    return lines


def growth_rows(rounds: int) -> list[str]:
    """Exponent of time over two decades of runs, instruments and features, from small sizes that still fill a block."""
    lines = []
    axes = {
        "runs": [(n, 64, 2048) for n in (256, 25_600)],
        "instruments": [(N, k, 2048) for k in (16, 1600)],
        "features": [(N, 64, j) for j in (512, 51_200)],
    }
    for axis, (small, large) in axes.items():
        tasks = {}
        for name, (n, k, j) in (("small", small), ("large", large)):
            x = np.random.default_rng(1).standard_normal((n, j), dtype=np.float32)
            tasks[name] = Dense(design(n, k), x, "CR3")
        found = in_turns(tasks, rounds)
        times = np.prod(large) / np.prod(small)
        power = float(np.log(np.median(found["large"] / found["small"])) / np.log(times))
        lines.append(row(f"growth with {axis} ({times:.0f} times): exponent, CR3", power, "at most 1.1"))
    return lines


def sparse_rows(rounds: int, J: int = 16_384) -> list[str]:
    """Sparse features against the dense product, and scipy's sparse product against it."""
    d, lines, rng = design(), [], np.random.default_rng(2)
    x = rng.standard_normal((N, J), dtype=np.float32)
    few = sparse.random_array((N, J), density=0.003, format="csc", rng=rng, dtype=np.float32)
    turned, z = sparse.csr_array(few.T), d["doses"].astype(np.float32)
    how, family = within(d["prompt"], d["family"])
    tasks: dict[str, Callable[[], Any]] = {"product": product_of(d["doses"], x), "scipy": lambda: turned @ z}
    for errors in ("homoskedastic", "CR3"):
        scanner = SparseScanner(Scanner(dose_side(d["doses"], how, family, errors)), N, again=True)

        def work(scanner: SparseScanner = scanner) -> None:
            by_rows(
                lambda a, b: [scanner.block(few, i * 2048, (i + 1) * 2048) for i in range(a, b)], J // 2048
            )

        tasks[errors] = work
    found = in_turns(tasks, rounds)
    words = {
        "homoskedastic": "errors alike",
        "CR3": "errors clustered",
        "scipy": "scipy's product alone, one thread",
    }
    for name, said in words.items():
        bar = "at least 20" if name != "scipy" else ""
        value = 1 / ratio(found, name)
        lines.append(
            row(f"sparse (.003), {said}, {J:,} features: times faster than the dense product", value, bar)
        )
    return lines


def sparse_cpu_rows(rounds: int, J: int = 16_384) -> list[str]:
    """The same in CPU seconds of one thread, which waiting for a busy processor does not lengthen: the least of all rounds."""
    d, rng = design(), np.random.default_rng(2)
    x = rng.standard_normal((N, J), dtype=np.float32)
    few = sparse.random_array((N, J), density=0.003, format="csc", rng=rng, dtype=np.float32)
    turned, z = sparse.csr_array(few.T), d["doses"].astype(np.float32)
    how, family = within(d["prompt"], d["family"])
    tasks: dict[str, Callable[[], Any]] = {"product": product_of(d["doses"], x), "scipy": lambda: turned @ z}
    for errors in ("homoskedastic", "CR3"):
        scanner = SparseScanner(Scanner(dose_side(d["doses"], how, family, errors)), N, again=True)

        def work(scanner: SparseScanner = scanner) -> None:
            for first in range(0, J, 2048):
                scanner.block(few, first, first + 2048)

        tasks[errors] = work
    taken: dict[str, list[float]] = {name: [] for name in tasks}
    with threadpool_limits(1, user_api="blas"):
        for _ in range(rounds + 1):  # what is compiled is compiled in the first
            for name, task in tasks.items():
                start = time.thread_time()
                task()
                taken[name].append(time.thread_time() - start)
    least = {name: min(values[1:]) for name, values in taken.items()}
    said = {"homoskedastic": "errors alike", "CR3": "errors clustered", "scipy": "scipy's product alone"}
    lines = [
        row(
            f"sparse (.003), {words}, {J:,} features, CPU of one thread: times faster than the dense product",
            least["product"] / least[name],
            "" if name == "scipy" else "at least 20",
        )
        for name, words in said.items()
    ]
    speed = 2e-9 * N * K * J / least["product"]
    return [*lines, row("the dense product then: billion operations per second, one thread", speed, "")]


MEMORY = """
import sys, tempfile, threading, time
import numpy as np
import scan_speed
from mrinterp.scan import scan_features, scan_memory
J, folder = int(sys.argv[1]), tempfile.mkdtemp()
d, rng = scan_speed.design(), np.random.default_rng(1)
y, seen, done = rng.standard_normal((scan_speed.N, 1)), [], threading.Event()

def own():
    return int(next(l for l in open("/proc/self/status") if l.startswith("RssAnon")).split()[1]) * 1024

def watch():
    while not done.is_set():
        seen.append(own())
        time.sleep(0.002)

for j in (512, J):
    made = np.lib.format.open_memmap(f"{folder}/{j}.npy", "w+", np.float32, (scan_speed.N, j))
    for first in range(0, j, 512):
        made[:, first : first + 512] = rng.standard_normal((scan_speed.N, 512), dtype=np.float32)
    made.flush()
    del made
    held = own()
    if j == J:
        threading.Thread(target=watch, daemon=True).start()
    scan_features(f"{folder}/scan{j}", features=f"{folder}/{j}.npy", outcomes=y, draws=2, **d)
done.set()
print((max(seen) - held) / scan_memory(scan_speed.N, scan_speed.K, J))
"""
"""A scan of features in a file: the peak of its own memory beside what the process held before, over what the dry run tells."""


def memory_rows(J: int = 65_536) -> list[str]:
    """Peak memory against what was told beforehand, in a process of its own."""
    own = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    said = subprocess.run(
        [sys.executable, "-c", MEMORY, str(J)], check=True, capture_output=True, text=True, env=own
    )
    what = f"peak memory, {J:,} features in a file, over what the dry run tells"
    return [row(what, float(said.stdout.split()[-1]), "at most 1.2")]


def end_to_end(J: int, instruments: int, runs: int = 4096) -> list[str]:
    """Sparse latents of which a tenth fire in at least 5 families: scan into shards, then IVW of those."""
    rng = np.random.default_rng(3)
    d, firing = design(runs, instruments), J // 10
    often = sparse.random_array((runs, firing), density=0.01, format="csc", rng=rng, dtype=np.float32)
    rare = sparse.csc_array((runs, J - firing), dtype=np.float32)
    x = sparse.hstack([often, rare], format="csc")
    y = rng.standard_normal((runs, 1))
    folder = Path(tempfile.mkdtemp())
    try:
        start = time.perf_counter()
        pairs = {n: d[n] for n in ("doses", "prompt", "family")}
        families = np.zeros(J, int)
        of = d["family"][x.indices]
        column = np.repeat(np.arange(J), np.diff(x.indptr))
        np.add.at(families, np.unique(np.stack([column, of]), axis=1)[0], 1)
        live = np.flatnonzero(families >= 5)
        scan_features(folder / "scan", features=x[:, live], outcomes=y, draws=0, **pairs)
        scanned = time.perf_counter() - start
        estimates = 0
        for block in ScanFolder.open(folder / "scan").blocks():
            found = mrinterp.run_mr(block.to_mrdata(with_errors=False), ["ivw"])[0]
            estimates += int(np.isfinite(found.beta).sum())
        whole = time.perf_counter() - start
    finally:
        shutil.rmtree(folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    said = f"{J:,} sparse latents ({len(live):,} fire in 5 families) x {instruments:,} instruments, {runs:,} runs"
    return [
        row(f"{said}: scan, seconds", scanned, ""),
        row(f"{said}: and IVW of {estimates:,}, seconds", whole, "900 for 10^6 x 10^3"),
        row("peak memory of this whole benchmark: GiB", peak, "at most 4"),
    ]


def row(what: str, value: float, bar: str) -> str:
    """One line of the table."""
    number = bar.split()[-1] if bar.startswith("at ") else ""
    met = ""
    if number:
        met = "yes" if (value <= float(number)) == bar.startswith("at most") else "**no**"
    print(f"{what:<96} {value:8.2f}  {bar} {met}", flush=True)
    return f"| {what} | {value:.2f} | {bar} | {met} |"


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--large", action="store_true", help="also 65,536 features, and 10^6 latents by 10^3")
    asked.add_argument("--rounds", type=int, default=5)
    given = asked.parse_args()
    load = os.getloadavg()[0]
    # Memory that other rows have used before slows the dense ones.
    lines = dense_rows([16_384, 65_536] if given.large else [16_384], given.rounds)
    lines += (
        sparse_rows(given.rounds)
        + sparse_cpu_rows(given.rounds)
        + memory_rows()
        + growth_rows(min(given.rounds, 3))
    )
    lines += end_to_end(1_000_000, 1000) if given.large else end_to_end(100_000, 200)
    after = os.getloadavg()[0]
    head = (
        f"Medians of {given.rounds} rounds in turns, each task after a pause of {PAUSE:g} s, {os.cpu_count()} cores, load {load:.1f} before and {after:.1f} after"
        " (a load above the number of cores slows rows of two threads most).\n"
        f"`python benchmarks/speed/scan_speed.py{' --large' if given.large else ''}`; {N:,} runs x {K} instruments unless said.\n\n"
        "| what | measured | bar | met |\n|---|---|---|---|\n"
    )
    RESULTS.write_text("# Speed of the scan at scale\n\n" + head + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
