"""What a table waits for: the verb ``mr`` on 30 rows, the weighted median of very many features, fine-mapping with the LD of
5,000 instruments, joint estimators near their limits.

    python benchmarks/speed/table_speed.py [--small] [--verb]

CPU seconds of whole processes of one thread (user and system, best of three for the verb), which other work on the machine lengthens
less than wall time. The verb is held against the import of pandas and scipy.special, which it cannot do without. Writes
``benchmarks/results/table_speed.md``.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

import mrinterp

RESULTS = Path(__file__).parents[1] / "results" / "table_speed.md"
JOINT = {
    "grapple": [(50, 200), (100, 300), (200, 500)],
    "mv_median": [(50, 200), (100, 300)],
    "mv_cml": [(20, 200), (50, 200)],
    "anderson_rubin_set": [(10, 100), (20, 100)],
    "clr_set": [(10, 100), (20, 100)],
    "mrbee": [(200, 500), (400, 1000)],
}
"""(exposures, instruments) of each joint method."""


def cpu(program: list[str], **more: str) -> float:
    """CPU seconds of one process of one thread."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        program, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1", **more}
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def verb_rows() -> list[str]:
    """The standard panel of a table of one exposure, with what was compiled before and without."""
    rng, J = np.random.default_rng(0), 30
    x = rng.normal(0, 0.1, J)
    columns = {"beta_exposure": x, "se_exposure": 0.01, "beta_outcome": 0.5 * x + rng.normal(0, 0.02, J)}
    with tempfile.TemporaryDirectory() as folder:
        table = Path(folder) / "table.csv"
        pd.DataFrame({"SNP": [f"rs{j}" for j in range(J)], **columns, "se_outcome": 0.02}).to_csv(
            table, index=False
        )
        verb = [sys.executable, "-m", "mrinterp", "mr", str(table)]
        cpu(verb)
        warm = min(cpu(verb) for _ in range(3))
        empty = cpu(verb, NUMBA_CACHE_DIR=str(Path(folder) / "compiled"))
    bare = min(cpu([sys.executable, "-c", "import pandas, scipy.special"]) for _ in range(3))
    return [
        row("`mrinterp mr`, 30 rows, standard methods", warm, "1"),
        row("the same with an empty compile cache", empty, "3"),
        row("import of pandas and scipy.special alone", bare, ""),
    ]


def estimate_rows(small: bool) -> list[str]:
    """The weighted median of very many features without effects, and joint methods, in this process."""
    F, J = (10_001, 200) if small else (100_000, 200)
    lines = [timed("weighted_median", F, J, f"weighted_median, {F:,} features x {J} instruments", "60")]
    lines += susie_rows(1000 if small else 5000)
    for method, sizes in JOINT.items():
        for K, J in sizes[:1] if small else sizes:
            lines.append(timed(method, K, J, f"{method}, {K} exposures jointly, {J} instruments"))
    return lines


SUSIE = """
import resource, sys, time
import numpy as np
from scipy.linalg import toeplitz
from mrinterp import coloc
J = int(sys.argv[1])
rng, z = np.random.default_rng(0), np.empty(J)
z[0] = rng.standard_normal()
for j in range(1, J):
    z[j] = 0.9 * z[j - 1] + np.sqrt(1 - 0.81) * rng.standard_normal()
for cause in (J // 5, J // 2, 4 * J // 5):
    z += 12 * 0.9 ** np.abs(np.arange(J) - cause)
ld = toeplitz(0.9 ** np.arange(J))
coloc.finemap_summary(z[:300], ld[:300, :300], 8000)
held = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
start = time.process_time()
found = coloc.finemap_summary(z, ld, 8000)
taken = time.process_time() - start
assert len(found["trait"]) == 3, found["trait"]
more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - held
print(taken, 1 + more / ld.nbytes)
"""
"""A locus of three causes: CPU seconds, and memory in matrices, the given one among them."""


def susie_rows(J: int) -> list[str]:
    """SuSiE of one trait with LD, in a process of its own."""
    program = [sys.executable, "-c", SUSIE, str(J)]
    own = {**os.environ, "OMP_NUM_THREADS": "1"}
    said = subprocess.run(program, check=True, capture_output=True, text=True, env=own).stdout.split()
    what = f"SuSiE with LD, {J:,} instruments"
    return [
        row(what, float(said[0]), "60"),
        row(f"the same: memory in matrices of {8 * J * J / 1e6:.0f} MB", float(said[1]), "3"),
    ]


def timed(method: str, F: int, J: int, what: str, bar: str = "") -> str:
    """CPU seconds of one estimate; what is compiled is compiled beforehand."""
    rng = np.random.default_rng(0)
    x, se = rng.normal(0, 0.1, (F, J)), np.full((F, J), 0.01)
    y = rng.normal(0, 0.01, J) + (0.3 * x[0] if method != "weighted_median" else 0.0)
    data = mrinterp.tables.summary_from_arrays(x, se, y, np.full(J, 0.01))
    if method == "weighted_median":
        mrinterp.run_mr(data.select(data.exposures[:100]), [method])
    start = time.process_time()
    mrinterp.run_mr(data, [method])
    return row(what, time.process_time() - start, bar)


def row(what: str, seconds: float, bar: str) -> str:
    """One line of the table: seconds, or what it says."""
    met = "" if not bar else "yes" if seconds <= float(bar) else "**no**"
    print(f"{what:<70} {seconds:8.2f} {met}", flush=True)
    return f"| {what} | {seconds:.2f} | {bar and f'at most {bar}'} | {met} |"


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument(
        "--small", action="store_true", help="a tenth of the features, the smallest joint sizes"
    )
    asked.add_argument("--verb", action="store_true", help="the verb alone")
    given = asked.parse_args()
    load = os.getloadavg()[0]
    lines = verb_rows() + ([] if given.verb else estimate_rows(given.small))
    head = (
        f"CPU seconds of one thread; load {load:.1f} before and {os.getloadavg()[0]:.1f} after on {os.cpu_count()} cores (a load above"
        " the number of cores lengthens CPU time too).\n"
        f"`OMP_NUM_THREADS=1 python benchmarks/speed/table_speed.py {' '.join(sys.argv[1:])}`\n\n"
        "| what | CPU seconds | bar | met |\n|---|---|---|---|\n"
    )
    RESULTS.write_text("# What a table waits for\n\n" + head + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
