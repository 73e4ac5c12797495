"""A new user's first studies on inputs that are no texts: token arrays, images, a table.

    python benchmarks/new_user/inputs.py [folder]

For each kind: a tiny network is trained in less than a minute and saved with the function that loads it, the inputs are
saved, and a study file of at most fifteen lines is written: all that a person types. Then ``mrinterp run`` carries it out to
its page. What was found is known beforehand: the outcome depends on one thing that was planted (a token, stripes, a column).
Writes benchmarks/results/new_user_inputs.md.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

HERE = Path(__file__).resolve().parents[1]
FAMILIES, EACH = 160, 3

NETS = '''"""The networks, and the functions that load them."""

import torch
from transformers import GPT2Config, GPT2LMHeadModel


class Stripes(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.features = torch.nn.Sequential(torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(16, 16, 3), torch.nn.ReLU())
        self.out = torch.nn.Linear(16, 2)

    def forward(self, pixel_values):
        return self.out(self.features(pixel_values).mean((2, 3)))


class Rows(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Linear(16, 16), torch.nn.Tanh())
        self.out = torch.nn.Linear(16, 2)

    def forward(self, rows):
        return self.out(self.hidden(rows))


def new(kind):
    torch.manual_seed(0)
    if kind == "tokens":
        return GPT2LMHeadModel(GPT2Config(vocab_size=24, n_positions=12, n_embd=32, n_layer=2, n_head=2, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, bos_token_id=0, eos_token_id=0))
    return Stripes() if kind == "images" else Rows()


def load(kind, weights):
    net = new(kind)
    net.load_state_dict(torch.load(weights, weights_only=True))
    return net.eval()
'''

STUDIES = {
    "tokens": """title = "What makes my token network say 2 and not 3?"
outcome = {name = "two", kind = "logit_difference", target = 2, against = 3}
[model]
kind = "module"
module = "nets:load"
arguments = {kind = "tokens", weights = "WEIGHTS"}
site = "transformer.h.0"
embedding = "transformer.wte"
[inputs]
kind = "tokens"
file = "inputs.npz"
family = "family"
[features]
count = 6
""",
    "images": """title = "What makes my network see upright stripes?"
outcome = {name = "upright", kind = "logit_difference", target = 1, against = 0}
[model]
kind = "module"
module = "nets:load"
arguments = {kind = "images", weights = "WEIGHTS"}
site = "features"
[inputs]
kind = "images"
file = "inputs.npz"
family = "family"
[features]
count = 4
""",
    "table": """title = "What makes my network say yes?"
outcome = {name = "yes", kind = "logit_difference", target = 1, against = 0}
[model]
kind = "module"
module = "nets:load"
arguments = {kind = "table", weights = "WEIGHTS"}
site = "hidden"
[inputs]
kind = "table"
file = "inputs.csv"
family = "ward"
[features]
count = 4
""",
}
"""What a person types."""


def made_inputs(kind: str, rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs, and the class or token that each should give."""
    if kind == "tokens":
        ids = rng.integers(4, 24, (count, 9))
        ids[:, 0], planted = 1, rng.integers(0, 2, count)
        ids[:, 4] = np.where(planted == 1, 10, 11)
        return ids, np.where(planted == 1, 2, 3)
    if kind == "images":
        planted, phase = rng.integers(0, 2, count), rng.uniform(0, 6, count)
        wave = np.sin(1.6 * np.arange(12)[None] + phase[:, None])
        upright = np.broadcast_to(wave[:, None, :], (count, 12, 12))
        flat = np.broadcast_to(wave[:, :, None], (count, 12, 12))
        image = np.where(planted[:, None, None] == 1, upright, flat) * rng.uniform(0.3, 1, (count, 1, 1))
        return (image + 0.4 * rng.standard_normal(image.shape))[:, None].astype(np.float32), planted
    rows = rng.standard_normal((count, 6)).astype(np.float32)
    return rows, (rows[:, 2] + 0.3 * rows[:, 4] * rows[:, 5] > 0).astype(int)


def train(net: Any, kind: str, steps: int) -> float:
    """Train it; returns the share that it then gets right on new inputs."""
    rng, rate = np.random.default_rng(1), torch.optim.Adam(net.parameters(), 3e-3)

    def logits(x: np.ndarray) -> torch.Tensor:
        out = net(torch.from_numpy(x))
        return out.logits[:, -1] if kind == "tokens" else out

    for _ in range(steps):
        x, y = made_inputs(kind, rng, 128)
        loss = torch.nn.functional.cross_entropy(logits(x), torch.from_numpy(y))
        rate.zero_grad()
        loss.backward()
        rate.step()
    x, y = made_inputs(kind, rng, 512)
    with torch.no_grad():
        return float((logits(x).argmax(1).numpy() == y).mean())


def prepare(kind: str, folder: Path, steps: int = 400, families: int = FAMILIES) -> tuple[Path, float]:
    """Network, inputs and study file in a folder; returns the study file and the network's accuracy."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "nets.py").write_text(NETS)
    made: dict[str, Any] = {}
    exec(compile(NETS, "nets.py", "exec"), made)
    new: Callable[[str], Any] = made["new"]
    net = new(kind)
    right = train(net, kind, steps)
    torch.save(net.state_dict(), folder / "weights.pt")
    x, _ = made_inputs(kind, np.random.default_rng(2), families * EACH)
    family = np.repeat([f"f{i:03d}" for i in range(families)], EACH)
    if kind == "table":
        import pandas as pd

        frame = pd.DataFrame(x, columns=["age", "dose", "marker", "weight", "left", "right"])
        frame.assign(ward=family).to_csv(folder / "inputs.csv", index=False)
    else:
        np.savez(
            folder / "inputs.npz",
            **{{"tokens": "input_ids", "images": "pixel_values"}[kind]: x},
            family=family,
        )
    path = folder / "study.toml"
    path.write_text(STUDIES[kind].replace("WEIGHTS", str(folder / "weights.pt")))
    return path, right


def run(kind: str, folder: Path) -> dict[str, Any]:
    """From nothing to a finished page."""
    start = time.perf_counter()
    path, right = prepare(kind, folder)
    trained = time.perf_counter() - start
    command = [sys.executable, "-m", "mrinterp.cli", "run", "study.toml", "--out", "run", "--allow-code"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    results = json.loads((folder / "run" / "results.json").read_text())
    assert (folder / "run" / "report.html").stat().st_size > 100_000
    lines = [line for line in path.read_text().splitlines() if line.strip()]
    return {
        "inputs": kind,
        "lines typed": len(lines),
        "accuracy": f"{right:.2f}",
        "trained in": f"{trained:.0f} s",
        "whole run": f"{time.perf_counter() - start:.0f} s",
        "verdicts": ", ".join(f"{r['verdict']} {r['effect']:+.2f}" for r in results),
        "confirmed": sum(r["confirmed"] == "confirmed" for r in results),
    }


def main() -> None:
    """All three, and the table of what came out."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp())
    rows = [run(kind, folder / kind) for kind in STUDIES]
    table = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    table += ["| " + " | ".join(str(v) for v in row.values()) + " |" for row in rows]
    page = "# First studies on token arrays, images and a table\n\n`python benchmarks/new_user/inputs.py`\n\n"
    page += f"{FAMILIES} families of {EACH} inputs, 400 training steps; effects in logits per natural sd.\n\n"
    (HERE / "results" / "new_user_inputs.md").write_text(page + "\n".join(table) + "\n")
    print("\n".join(table))


if __name__ == "__main__":
    main()
