"""How much of the shipped study's time is the network, and how much is everything else.

    python benchmarks/speed/demo_speed.py [--out benchmarks/results]

Runs `mrinterp run minilm_sentiment` in this process, with every embedding, layer and pooler of the network timed inside its own
``forward`` (what hooks read and write is outside of it), and every backward pass. The sum is the bare time of the passes that the
study needs; the bar is 1.05 times that and 20 s. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from click.testing import CliRunner
from transformers.models.bert import modeling_bert

from mrinterp.cli import cli

PARTS = ("BertEmbeddings", "BertLayer", "BertPooler")


class Clock:
    """Seconds spent in what it wraps, and how often that was called."""

    def __init__(self) -> None:
        self.seconds, self.calls, self.inside = 0.0, 0, False

    def timed(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same, timed; calls from inside another timed one are part of that."""

        def carried_out(*args: Any, **options: Any) -> Any:
            if self.inside:
                return work(*args, **options)
            self.inside, start = True, time.perf_counter()
            try:
                return work(*args, **options)
            finally:
                self.seconds += time.perf_counter() - start
                self.calls += 1
                self.inside = False

        return carried_out


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "results")
    given = parser.parse_args()
    clock = Clock()
    for name in PARTS:
        part = getattr(modeling_bert, name)
        part.forward = clock.timed(part.forward)
    torch.autograd.grad = clock.timed(torch.autograd.grad)
    torch.autograd.backward = clock.timed(torch.autograd.backward)
    load, start = os.getloadavg()[0], time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        done = CliRunner().invoke(cli, ["run", "minilm_sentiment", "--out", f"{folder}/demo"])
    if done.exit_code:
        raise SystemExit(done.output[-3000:])
    whole = time.perf_counter() - start
    bar = 1.05 * clock.seconds + 20.0
    lines = [
        "# The shipped study's time",
        "",
        f"`python benchmarks/speed/demo_speed.py`: {torch.get_num_threads()} threads, load {load:.1f} before and {os.getloadavg()[0]:.1f} after.",
        "",
        "| what | s |",
        "|---|---|",
        f"| the study, from start to report | {whole:.0f} |",
        f"| of it inside the network ({clock.calls:,} calls of layers and backward passes) | {clock.seconds:.0f} |",
        f"| bar: 1.05 times that and 20 s | {bar:.0f} ({'met' if whole <= bar else '**missed**'}: the rest takes {whole - clock.seconds:.0f}) |",
    ]
    (given.out / "demo_speed.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
