"""SuSiE with credible sets per trait, 100 traits sharing LD: against tensorQTL (in turn) and susieR (recorded).

    python benchmarks/finemap_speed.py --peer-python PATH [--timings timings.json] [--out benchmarks/results]

The peer runs in an environment of its own on the same arrays and threads; both are timed in CPU seconds, which
other work on the machine does not stretch. Writes ``finemap_speed.csv``. ``median_pip_gap`` is not zero where
weak effects are spread over many instruments: the peer leaves their prior variance at 0; its maximum likelihood
is small, but above 0 (as susieR's is in the reference cases).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from paired_runs import Peer, arguments, cpu_seconds, in_turn, recorded_seconds, write_table

from mrinterp.coloc._finemap import SusieOptions, finemap_individual, finemap_summary

TRAITS, PEER_TRAITS = 100, 10


def simulate(rng: np.random.Generator, runs: int, instruments: int) -> tuple[np.ndarray, np.ndarray]:
    """Correlated doses, traits with two causes."""
    x = rng.standard_normal((runs, instruments))
    for j in range(1, instruments):
        x[:, j] = 0.9 * x[:, j - 1] + np.sqrt(1 - 0.81) * x[:, j]
    y = rng.standard_normal((runs, TRAITS))
    for t in range(TRAITS):
        y[:, t] += 0.35 * x[:, rng.choice(instruments, 2, replace=False)].sum(1)
    return x, y


def against_peer(python: str, runs: int, instruments: int) -> dict[str, object]:
    """Individual data, L 10, credible sets, the peer's tolerance of 1e-3 on both sides."""
    x, y = simulate(np.random.default_rng(instruments), runs, instruments)
    peer = Peer(python, "tensorqtl_susie.py", PEER_TRAITS, {"doses": x, "traits": y}, "peer_pip")
    options = SusieOptions(tol=1e-3)
    per_trait = [lambda: cpu_seconds(lambda: finemap_individual(x, y, options=options)) / TRAITS]
    row = in_turn(peer.seconds, per_trait)[0]
    fit = finemap_individual(x, y, options=options)
    return {
        "work": f"individual data, {runs} runs, {instruments} instruments, L 10, {TRAITS} traits, tol 1e-3",
        "peer": "tensorQTL susie",
        "ms_per_trait": 1e3 * row.pop("seconds"),
        "peer_ms_per_trait": 1e3 * row.pop("peer_seconds"),
        **row,
        "median_pip_gap": float(np.median(np.abs(fit.pip[:PEER_TRAITS] - peer.answer()).max(1))),
        "converged": float(fit.converged.mean()),
    }


def against_r(timings: Path) -> dict[str, object]:
    """z-scores with LD of 500 instruments against the recorded time of one trait in R."""
    recorded = recorded_seconds(timings, "susie_rss.500.L10")
    x, y = simulate(np.random.default_rng(7), runs := 500, 500)
    x, y = (a - a.mean(0) for a in (x, y))
    r = (y / np.linalg.norm(y, axis=0)).T @ (x / np.linalg.norm(x, axis=0))
    z, ld = r * np.sqrt((runs - 2) / (1 - r * r)), np.corrcoef(x.T)
    seconds = cpu_seconds(lambda: finemap_summary(z, ld, runs)) / TRAITS
    return {
        "work": f"z-scores and LD, 500 instruments, L 10, {TRAITS} traits, tol 1e-4, LD checks",
        "peer": "susieR 0.16.5 susie_rss (recorded, other machine)",
        "ms_per_trait": 1e3 * seconds,
        "peer_ms_per_trait": 1e3 * recorded,
        "ratio": recorded / seconds,
        "converged": float(finemap_summary(z, ld, runs).converged.mean()),
    }


def main() -> None:
    given = arguments(__doc__)
    sizes = [(runs, instruments) for runs in (500, 1000, 2000) for instruments in (200, 500)]
    rows = [against_peer(given.peer_python, *size) for size in sizes]
    if given.timings is not None:
        rows.append(against_r(given.timings))
    write_table(rows, given.out / "finemap_speed.csv")


if __name__ == "__main__":
    main()
