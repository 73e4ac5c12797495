"""What travels between machines in a scan of a network: parts of the activations, or sums; and what a process holds.

    python benchmarks/speed/part_sizes.py [--latents 65536]

Sizes: one part of 1,024 runs (16 canonical blocks of 64, families of 16 runs), its sums over families as `Scanner.sums` holds them
beside its entries as they are stored. Memory and disk: a study of a tiny decoder with an autoencoder of so many latents, scanned
in a process of its own; the peak, mapped files among it, is counted above that of the same study with an autoencoder of 256 latents.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scan_speed import design, row
from scipy import sparse

from mrinterp.scan._discovery import changes, unmoved
from mrinterp.stats.scan.block_scan import Scanner
from mrinterp.stats.scan.dose_side import dose_side, within

sys.path.insert(0, str(Path(__file__).parents[2]))

from mrinterp.features import SparseAutoencoder, write_sae
from tests.inputs.input_nets import write_input_study

RESULTS = Path(__file__).parents[1] / "results" / "part_sizes.md"
RUNS, ACTIVE = 1024, 50
FEW = 256
MIB = 2**20

SCAN = """
import json, resource, sys
from pathlib import Path
from mrinterp.study._study_scan import StudyScan
file, out = sys.argv[1:]
made = StudyScan.of(file, out, allow_code=True)
sizes = made.sizes("discovery", threads=1)
made.scan("discovery", draws=0, with_outcomes=False)
disk = sum(p.stat().st_size for p in (Path(out) / "features").rglob("*.npy"))
print(json.dumps(sizes | {"peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "stored": disk}))
"""

REPORT = """
import resource, torch
from mrinterp.features import SparseAutoencoder, reconstruction_report
generator = torch.Generator().manual_seed(0)
made = lambda *shape: torch.randn(*shape, generator=generator)
weights = {"W_enc": made(64, 65_536), "b_enc": torch.full((65_536,), -20.0), "W_dec": made(65_536, 64), "b_dec": torch.zeros(64)}
sae, h = SparseAutoencoder("standard", weights), made(5120, 64)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
reconstruction_report(sae, h)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def report_rows() -> list[str]:
    """What judging an autoencoder holds, whose latents of all tokens would be 1,280 MiB in single precision."""
    done = subprocess.run([sys.executable, "-c", REPORT], check=True, capture_output=True, text=True)
    return [row("reconstruction of 5,120 tokens by 65,536 latents: peak, MiB", float(done.stdout), "")]


def size_rows() -> list[str]:
    """Bytes of one part's sums, and of its entries."""
    lines = []
    for instruments in (16, 256, 1000):
        d = design(RUNS, instruments)
        how, family = within(d["prompt"], d["family"])
        scanner = Scanner(dose_side(d["doses"], how, family, "CR3"))
        sums = scanner.sums(np.zeros((scanner.side.rows, FEW), np.float32))
        per_feature = sum(a.nbytes for node in sums.nodes.values() for a in node) / FEW
        lines.append(row(f"sums of a part, {instruments} instruments: bytes a feature", per_feature, ""))
    for latents in (16_384, 1_000_000):
        rng = np.random.default_rng(0)
        where = rng.integers(0, latents, (RUNS, ACTIVE))
        x = sparse.csc_array(
            (np.ones(where.size, np.float32), (np.repeat(np.arange(RUNS), ACTIVE), where.ravel())),
            shape=(RUNS, latents),
        )
        stored = (x.data.nbytes + x.indices.nbytes + x.indptr.nbytes) / latents
        lines.append(row(f"sparse part, {ACTIVE} of {latents:,} latents active: bytes a feature", stored, ""))
    lines.append(row("dense part: bytes a feature", 4.0 * RUNS, ""))
    return lines


def study_of(folder: Path, latents: int) -> Path:
    """A study whose autoencoder has so many latents, few of them active."""
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    weights = {
        "W_enc": torch.randn(24, latents, generator=generator),
        "b_enc": torch.full((latents,), -33.0),
        "W_dec": torch.randn(latents, 24, generator=generator),
        "b_dec": torch.zeros(24),
    }
    write_sae(SparseAutoencoder("standard", weights), folder / "dictionary")
    few = {"noise": {"runs_per_prompt": 32, "directions_per_class": 4}, "placebo": {"count": 1}}
    file = write_input_study(
        folder,
        "tokens",
        model={"block": 16},
        features={"kind": "sae", "folder": "dictionary", "count": 4, "position": "mean"},
        instruments=few,
    )
    file.write_text(file.read_text().replace("units = [0, 1, 2]\n", ""))
    return file


def memory_rows(latents: int) -> list[str]:
    """Peak and disk of a scanned study, against what the dry run says."""
    found: dict[int, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as there:
        for count in (FEW, latents):
            file = study_of(Path(there) / str(count), count)
            program = [sys.executable, "-c", SCAN, str(file), str(Path(there) / f"scan{count}")]
            done = subprocess.run(program, check=True, capture_output=True, text=True)
            found[count] = json.loads(done.stdout.strip().split("\n")[-1])
    small, large = found[FEW], found[latents]
    said = max(large["held_by_a_part"], large["bytes"]) - max(small["held_by_a_part"], small["bytes"])
    beside = 2 * 4 * 24 * latents  # the dictionary itself, in single precision
    what = f"study, {latents:,} latents, {large['runs']:,} runs, {large['entries']:,.0f} active"
    return [
        row(f"{what}: peak above that of {FEW} latents, MiB", (large["peak"] - small["peak"]) / MIB, ""),
        row("said by the dry run, and the dictionary: MiB", (said + beside) / MIB, ""),
        row("features on the disk: MiB", large["stored"] / MIB, ""),
        row("said by the dry run: MiB", large["disk"] / MIB, ""),
        row("the same features of all runs, dense: MiB", 4.0 * large["runs"] * latents / MIB, ""),
    ]


def discovery_rows(runs: int = 10_000, width: int = 4096, classes: int = 5) -> list[str]:
    """What discovery holds of a site at once, and what its steps hold beside it."""
    few = np.random.default_rng(0).standard_normal((1500, classes * width), dtype=np.float32)
    clean, perturbed = np.arange(1500) // 6 * 6, np.arange(1500) % 6 > 0
    peaks = []
    for step in (lambda: unmoved(few, clean), lambda: changes(few, perturbed, clean)):
        tracemalloc.start()
        step()
        peaks.append(tracemalloc.get_traced_memory()[1] / few.nbytes)
        tracemalloc.stop()
    deviations = 4.0 * runs * classes * width
    said = f"discovery, {runs:,} runs of width {width:,}, {classes} classes of tokens"
    return [
        row(f"{said}: GiB of what is read", (8.0 * runs * width + deviations) / 2**30, ""),
        row(
            "class deviations in double precision, while the bypass is found: GiB", 2 * deviations / 2**30, ""
        ),
        row("peak of finding unmoved runs, in arrays of that size", peaks[0], ""),
        row("peak of taking changes (5 of 6 runs), in arrays of that size", peaks[1], ""),
    ]


def main() -> None:
    asked = argparse.ArgumentParser()
    asked.add_argument("--latents", type=int, default=65_536)
    given = asked.parse_args()
    lines = size_rows() + discovery_rows() + report_rows() + memory_rows(given.latents)
    head = f"`python benchmarks/speed/part_sizes.py {' '.join(sys.argv[1:])}`\n\n"
    table = "| what | measured | bar | met |\n|---|---|---|---|\n"
    RESULTS.write_text("# Parts of a scan of a network\n\n" + head + table + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
