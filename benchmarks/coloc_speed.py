"""ABF colocalization per pair: against tensorQTL's torch code (in turn with ours) and R's coloc.abf (recorded).

    python benchmarks/coloc_speed.py --peer-python PATH [--timings timings.json] [--out benchmarks/results]

The peer runs in an environment of its own (``pip install torch tensorqtl``) on the same arrays, with the same
number of threads (OMP_NUM_THREADS); both are timed in CPU seconds, which other work on the machine does not
stretch. Writes ``coloc_speed.csv``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from paired_runs import Peer, arguments, cpu_seconds, in_turn, recorded_seconds, write_table

from mrinterp.coloc._abf import colocalize
from mrinterp.coloc._priors import Priors
from mrinterp.coloc._runs import colocalize_runs, screen_runs
from mrinterp.core.mrdata import MRData

RUNS, J = 500, 500


def simulate(
    rng: np.random.Generator, features: int, outcomes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Doses and traits; a third of the traits share one cause."""
    x = rng.binomial(2, 0.3, (RUNS, J)).astype(float)
    traits = rng.standard_normal((RUNS, features + outcomes))
    traits[:, ::3] += 0.4 * x[:, [7]]
    return x, traits[:, :features], traits[:, features:]


def against_peer(python: str, features: int, outcomes: int) -> list[dict[str, object]]:
    """Raw data of ``features`` times ``outcomes`` pairs, both programs."""
    x, first, second = simulate(np.random.default_rng(1), features, outcomes)
    arrays = {"doses": x, "features": first, "outcomes": second}
    peer = Peer(python, "tensorqtl_coloc.py", 3, arrays, "peer_coloc")
    calls = {
        "five hypotheses": lambda: screen_runs(x, first, second),
        "with signs, tops and sensitivity": lambda: colocalize_runs(
            x, first, second, priors=Priors(), check_misfit=False
        ),
        "and LD and misfit check": lambda: colocalize_runs(x, first, second, priors=Priors()),
    }
    timed = in_turn(peer.seconds, [lambda call=call: cpu_seconds(call) for call in calls.values()])
    theirs = peer.answer().reshape(features, outcomes, 5)
    gap = float(np.nanmax(np.abs(screen_runs(x, first, second) - theirs)))
    pairs = features * outcomes
    return [
        {
            "work": f"raw data, {features} x {outcomes} pairs, {J} instruments: {name}",
            "peer": "tensorQTL coloc",
            "us_per_pair": 1e6 * row.pop("seconds") / pairs,
            "peer_us_per_pair": 1e6 * row.pop("peer_seconds") / pairs,
            **row,
            "largest_posterior_gap": gap,
        }
        for name, row in zip(calls, timed, strict=True)
    ]


def against_r(timings: Path) -> dict[str, object]:
    """Summary statistics of 10^4 pairs with 1,000 instruments against the recorded time of one pair in R."""
    recorded = recorded_seconds(timings, "coloc.abf.1000")
    rng, side, count = np.random.default_rng(2), 100, 1000
    beta, se = 0.1 * rng.standard_normal((2, side, count)), np.full((side, count), 0.05)
    names = [tuple(f"{p}{i}" for i in range(n)) for p, n in (("x", side), ("y", side), ("i", count))]
    data = MRData(
        beta_x=beta[0],
        se_x=se,
        beta_y=beta[1],
        se_y=se,
        exposures=names[0],
        outcomes=names[1],
        instruments=names[2],
    )
    options = {"sd_x": 1.0, "sd_y": 1.0, "priors": Priors(), "check_misfit": False}
    seconds = cpu_seconds(lambda: colocalize(data, **options)) / side**2
    return {
        "work": f"summary statistics, {side} x {side} pairs, {count} instruments, all outputs",
        "peer": "R coloc.abf 6.0.1 (recorded, other machine)",
        "us_per_pair": 1e6 * seconds,
        "peer_us_per_pair": 1e6 * recorded,
        "ratio": recorded / seconds,
    }


def main() -> None:
    given = arguments(__doc__)
    rows = []
    for shape in ((100, 100), (1000, 10)):
        rows += against_peer(given.peer_python, *shape)
    if given.timings is not None:
        rows.append(against_r(given.timings))
    write_table(rows, given.out / "coloc_speed.csv")


if __name__ == "__main__":
    main()
