"""What a table waits for: the verb ``mr`` on 30 rows, the weighted median of very many features, joint estimators near their limits.

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
        verb = [sys.executable, "-m", "mrinterp.cli", "mr", str(table)]
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
    lines = [timed("weighted_median", F, J, f"weighted_median, {F:,} features x {J} instruments")]
    for method, sizes in JOINT.items():
        for K, J in sizes[:1] if small else sizes:
            lines.append(timed(method, K, J, f"{method}, {K} exposures jointly, {J} instruments"))
    return lines


def timed(method: str, F: int, J: int, what: str) -> str:
    """CPU seconds of one estimate; what is compiled is compiled beforehand."""
    rng = np.random.default_rng(0)
    x, se = rng.normal(0, 0.1, (F, J)), np.full((F, J), 0.01)
    y = rng.normal(0, 0.01, J) + (0.3 * x[0] if method != "weighted_median" else 0.0)
    data = mrinterp.tables.summary_from_arrays(x, se, y, np.full(J, 0.01))
    if method == "weighted_median":
        mrinterp.run_mr(data.select(data.exposures[:100]), [method])
    start = time.process_time()
    mrinterp.run_mr(data, [method])
    return row(what, time.process_time() - start, "")


def row(what: str, seconds: float, bar: str) -> str:
    """One line of the table."""
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
