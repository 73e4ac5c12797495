"""Speed of the estimators from summary statistics, as ratios within one run: memory, a sort, statsmodels, genal, R (recorded).

    python benchmarks/mr_speed.py --peer-python PATH [--timings timings.json] [--out benchmarks/results]

``PATH`` is an interpreter with genal (``pip install genal-python``) in an environment of its own. Rows against
memory, a sort or a bar in seconds are wall seconds on all cores, the others CPU seconds; both sides of a row are
timed in turn and the ratio is the median of the pairs. Ratios with R are between machines. Run it on an idle
machine: the load average when each row was done stands in the table. Writes ``mr_speed.csv`` and ``mr_speed.md``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import statsmodels.api as sm
from paired_runs import Peer, arguments, cpu_seconds, in_turn, recorded_seconds

from mrinterp.core.mrdata import MRData
from mrinterp.mr._engine.driver import estimate
from mrinterp.mr._engine.effects import Effects
from mrinterp.mr._engine.registry import find, registered
from mrinterp.stats.loops.fused_sums import egger_sums, ivw_sums
from mrinterp.stats.loops.row_threads import row_threads

FEATURES, J = 100_000, 200
Row = dict[str, object]


def simulate(features: int, instruments: int) -> tuple[np.ndarray, ...]:
    """x, sx (F, J), y, sy (1, J): the first feature has an effect."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 0.1, (features, instruments))
    sx, sy = rng.uniform(0.005, 0.01, x.shape), rng.uniform(0.01, 0.02, (1, instruments))
    return x, sx, 0.3 * x[:1] + sy * rng.normal(size=(1, instruments)), sy


def wall(call: Callable[[], object]) -> Callable[[], float]:
    """Wall seconds of one call; called once before, to compile and warm up."""
    call()

    def seconds() -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    return seconds


def row(work: str, against: str, bar: str, ours: float, theirs: float, ratio: float | None = None) -> Row:
    return {
        "work": work,
        "against": against,
        "bar": bar,
        "seconds": ours,
        "against_seconds": theirs,
        "ratio": theirs / ours if ratio is None else ratio,
        "load": os.getloadavg()[0],
    }


def pair(
    work: str,
    against: str,
    bar: str,
    theirs: Callable[[], object],
    ours: Callable[[], object],
    rounds: int = 15,
) -> Row:
    """Both timed in turn, wall seconds; medians."""
    timed = in_turn(wall(theirs), [wall(ours)], rounds)[0]
    return row(work, against, bar, timed["seconds"], timed["peer_seconds"], timed["ratio"])


def against_memory() -> list[Row]:
    x, sx, y, sy = simulate(FEATURES, J)
    size = f"{FEATURES:,} features x {J} instruments"
    reading, third = "reading both arrays once", "at least 1/3"
    w, ratio = 1.0 / (sy * sy), y / x
    kernel = {m: find(m).kernel for m in ("ivw", "egger", "simple_median", "weighted_median")}

    def read() -> object:
        return x.sum(), sx.sum()

    def sums() -> object:
        return ivw_sums(x, sx, w, w * y), egger_sums(x, sx, w, w * y, sy)

    def both() -> object:
        return [kernel[m](x, sx, y, sy) for m in ("ivw", "egger")]

    rows = [
        pair(f"ivw and egger kernels, {size}", reading, third, read, both),
        pair(f"their sums alone, without tails, {size}", reading, third, read, sums),
    ]
    for method, bar in (("weighted_median", "1.4"), ("simple_median", "")):
        rows.append(
            pair(f"{method} without errors, {size}", "numpy sort of the ratios", bar,
                 lambda: np.sort(ratio, axis=-1), lambda m=method: kernel[m](x, sx, y, sy, draws=0))
        )  # fmt: skip
    names = tuple(map(str, range(FEATURES))), ("y",), tuple(map(str, range(J)))
    data = MRData(
        beta_x=x, se_x=sx, beta_y=y, se_y=sy, exposures=names[0], outcomes=names[1], instruments=names[2]
    )
    for method in ("ivw", "egger"):
        through = pair(
            f"{method} through the driver, {size}", reading, "", read, lambda m=method: estimate(data, m), 5
        )
        rows.append(through)
    return rows


def loop_over_statsmodels(x: np.ndarray, y: np.ndarray, sy: np.ndarray) -> np.ndarray:
    """IVW and MR-Egger, one weighted regression each."""
    found = []
    for b in x:
        sign, w = np.where(b < 0, -1.0, 1.0), sy[0] ** -2.0
        found.append([sm.WLS(y[0], b, weights=w).fit().params[0],
                      sm.WLS(y[0] * sign, sm.add_constant(b * sign), weights=w).fit().params[1]])  # fmt: skip
    return np.array(found)


def against_packages(python: str) -> list[Row]:
    x, sx, y, sy = simulate(300, J)
    kernels = [find(m).kernel for m in ("ivw", "egger")]
    ours = cpu_seconds(lambda: [k(x, sx, y, sy) for k in kernels]) / len(x)
    loop = cpu_seconds(lambda: loop_over_statsmodels(x, y, sy), 1) / len(x)
    mine = np.stack([k(x, sx, y, sy).beta[:, 0] for k in kernels], axis=1)
    np.testing.assert_allclose(mine, loop_over_statsmodels(x, y, sy), rtol=1e-8)
    rows = [row("ivw and egger, per feature", "statsmodels WLS in a loop", "", ours, loop)]
    arrays = {"x": x, "sx": sx, "y": y[0], "sy": sy[0]}
    median = find("weighted_median").kernel
    draws = 100_000

    def per_draw() -> float:
        return cpu_seconds(lambda: median(x[:1], sx[:1], y, sy, draws=draws), 1) / draws

    calls = [lambda: cpu_seconds(lambda: [k(x, sx, y, sy) for k in kernels]) / len(x), per_draw]
    works = [("ivw and egger, per feature", ""), ("bootstrap error of the weighted median, per draw", "10")]
    for task, (call, (work, bar)) in enumerate(zip(calls, works, strict=True)):
        peer = Peer(python, "genal_mr.py", task, arrays, "peer_mr")
        timed = in_turn(peer.seconds, [call])[0]
        rows.append(row(work, "genal", bar, timed["seconds"], timed["peer_seconds"], timed["ratio"]))
        if task == 0:
            np.testing.assert_allclose(mine, peer.answer()[:, [0, 2]], rtol=1e-8)
    return rows


def panel() -> list[Row]:
    """Every univariable method on 1,000 features of 100 instruments, and PRESSO with 10^4 draws."""
    x, sx, y, sy = simulate(1000, 100)
    names = tuple(map(str, range(1000))), ("y",), tuple(map(str, range(100)))
    data = MRData(
        beta_x=x,
        se_x=sx,
        beta_y=y,
        se_y=sy,
        exposures=names[0],
        outcomes=names[1],
        instruments=names[2],
        ld=np.eye(100),
    )
    options: dict[str, Row] = {"cml": {"n": 50_000}}
    rows, total = [], 0.0
    for method in sorted(registered("univariable")):
        more = options.get(method, {})
        estimate(data.select(names[0][:2]), method, **more)
        start = time.perf_counter()
        estimate(data, method, **more)
        seconds = time.perf_counter() - start
        total += seconds
        if seconds > 0.5:
            rows.append(row(f"{method}, 1,000 features x 100 instruments", "", "", seconds, np.nan))
    return [
        row("all univariable methods, 1,000 features x 100 instruments", "a minute", "1", total, 60.0),
        *rows,
    ]


def many_outcomes() -> list[Row]:
    """50 exposures jointly on 5,000 outcomes that share their weights up to a factor."""
    rng = np.random.default_rng(0)
    exposures, instruments, outcomes = 50, 150, 5000
    x, sx = rng.normal(0, 0.1, (exposures, instruments)), np.full((exposures, instruments), 0.01)
    sy = rng.uniform(0.5, 2.0, (outcomes, 1)) * rng.uniform(0.01, 0.02, instruments)
    y = rng.normal(0, 0.1, (outcomes, exposures)) @ x + sy * rng.normal(size=sy.shape)
    kernel = find("mrbee").kernel
    ours = wall(lambda: kernel(Effects(x, sx, y, sy)))
    seconds = float(np.median([ours() for _ in range(9)]))
    work = f"mrbee, {outcomes:,} outcomes, {exposures} exposures, {instruments} instruments"
    return [row(work, "0.2 seconds", "1", seconds, 0.2)]


def against_r(timings: Path) -> list[Row]:
    x, sx, y, sy = simulate(1, J)

    def ours(method: str, **options: object) -> float:
        return cpu_seconds(lambda: find(method).kernel(Effects(x, sx, y, sy), **options))

    peer = "R, recorded on another machine: "
    presso = recorded_seconds(timings, "mr_presso.200.nb250") * 40
    return [
        row("presso, 200 instruments, 10,000 draws", peer + "MRPRESSO with 250 draws, x 40", "", ours("presso", draws=10_000), presso),
        row("weighted_median, 200 instruments, 1,000 draws", peer + "TwoSampleMR", "", ours("weighted_median"),
            recorded_seconds(timings, "tsmr.mr_weighted_median.200")),
        row("weighted_mode, 200 instruments, 1,000 draws", peer + "TwoSampleMR (five modes)", "", ours("weighted_mode"),
            recorded_seconds(timings, "tsmr.mr_weighted_mode.200")),
        row("ivw, 200 instruments, one feature", peer + "TwoSampleMR", "", ours("ivw"),
            recorded_seconds(timings, "tsmr.mr_ivw.x100.200") / 100),
    ]  # fmt: skip


def main() -> None:
    given = arguments(__doc__)
    rows = [*against_memory(), *many_outcomes(), *panel(), *against_packages(given.peer_python)]
    if given.timings is not None:
        rows += against_r(given.timings)
    frame = pd.DataFrame(rows)
    frame["threads"] = row_threads()
    given.out.mkdir(parents=True, exist_ok=True)
    frame.to_csv(given.out / "mr_speed.csv", index=False, float_format="%.4g")
    lines = ["| work | against | seconds | ratio | bar | load |", "|---|---|---|---|---|---|"]
    for r in frame.to_dict("records"):
        ratio = "" if np.isnan(r["ratio"]) else f"{r['ratio']:.3g}"
        lines.append(
            f"| {r['work']} | {r['against']} | {r['seconds']:.3g} | {ratio} | {r['bar']} | {r['load']:.1f} |"
        )
    head = (
        "# Speed of the univariable and multivariable estimators\n\nRatio: time of what it is held against over ours"
        f" (above 1: ours is faster). {row_threads()} cores; load: the machine's average over the last minute,"
        " our own work included.\n\n"
    )
    (given.out / "mr_speed.md").write_text(head + "\n".join(lines) + "\n")
    print((given.out / "mr_speed.md").read_text())


if __name__ == "__main__":
    main()
