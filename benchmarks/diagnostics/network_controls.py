"""Do claims hold against a permuted dictionary and the same network with weights drawn anew? Two networks, a whole study of each.

    python benchmarks/diagnostics/network_controls.py

The cows on grass (a trained network of development, of a seed that the page of its own does not use), and the same network with
random weights from the start, about which nothing was learned that weights drawn anew could lack. Writes
benchmarks/results/diagnostics_network_controls.md.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from cow_on_grass import FAMILIES, Pictures, as_pictures

from mrinterp import Study
from mrinterp.knockouts import Bench
from mrinterp.models._redrawn import redrawn_module
from mrinterp.report.controls import failed_controls
from mrinterp.results import Check, NegativeControls
from mrinterp.worlds._trained_vision import PER_FAMILY, TOGETHER, cow_on_grass
from mrinterp.worlds._trained_vision import _meadow as meadow

RESULTS = Path(__file__).parents[1] / "results" / "diagnostics_network_controls.md"
SEED, PERMUTED = 100, 12


def studied(bench: Bench, network: torch.nn.Module, out: Path) -> Study:
    """A study with both controls, of eight features of the patches' site."""
    patches, _ = meadow(
        SEED, np.random.default_rng([SEED, 17]), FAMILIES * PER_FAMILY, 0.9, TOGETHER, PER_FAMILY
    )
    return Study.from_model(
        Pictures(network).eval(),
        None,
        {
            "inputs": as_pictures(patches),
            "family": [f"meadow {n // PER_FAMILY}" for n in range(len(patches))],
        },
        site="network.patches",
        features=bench.view,
        outcome=lambda output, _mask: output[:, 0],
        out=out,
        seed=SEED,
        knockouts={"permuted_controls": PERMUTED, "redrawn_network": True},
    ).run()


def rows(name: str, study: Study) -> list[str]:
    """What both controls say."""
    checks = {c.name.partition(":")[0]: c for c in study.claim_checks if isinstance(c, Check)}
    out = []
    for what, key in (("permuted dictionary", "permuted"), ("network drawn anew", "redrawn")):
        null, check, made = study.controls[what], checks.get(what), study.knockouts[key]
        assert isinstance(null, NegativeControls)
        rope = float(study.rope[0])
        own = np.abs(study.knockouts["shift"].effect[:, 0])
        evidence = null.calibrated_neglog10p[:, 0]
        out.append(
            f"| {name} | {what} | {len(made.features)} | {np.median(np.abs(made.effect[:, 0])):.3g} | {np.median(own):.3g} |"
            f" {(np.abs(made.effect[:, 0]) > rope).mean():.2f} | {(own > rope).mean():.2f} | {null.sd:.2f} |"
            f" {int((evidence > -np.log10(0.05)).sum())} of {len(own)} | {'none' if check is None else check.verdict} |"
        )
    return out


def write(lines: list[str], said: list[str]) -> None:
    """The page of the networks that are studied so far."""
    head = [
        "# Permuted dictionary and network drawn anew, as controls of a study",
        "",
        f"Written by `python benchmarks/diagnostics/network_controls.py`: cows on grass, seed {SEED}, eight features; its network as"
        " trained, and with random weights. Sizes of matched shifts, in logits per natural sd; *beyond*: share outside the region of"
        " practical equivalence. Both controls act, so that their spread (*sd of z*) is a baseline, not a null of theory; *kept*:"
        " features whose shift stands out from it (p below .05). That the network drawn anew fails by rank *and* size was chosen after a"
        " first run on these two, where Pearson's correlation alone (+.89, carried by two features) failed the trained one.",
        "",
        "| network | control | controls | median size | features' median | beyond | features beyond | sd of z | kept | verdict |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    RESULTS.write_text("\n".join([*head, *lines, "", *said]) + "\n")


def main() -> None:
    """Study both, and write."""
    bench = cow_on_grass(SEED, False)
    trained = bench.adapter.module
    lines, said = [], []
    with tempfile.TemporaryDirectory() as folder:
        for name, network in (("trained", trained), ("random weights", redrawn_module(trained, 7))):
            study = studied(bench, network, Path(folder) / name.replace(" ", "_"))
            lines += rows(name, study)
            said += [
                f"- *{name}*, {c.name}: {c.note}"
                for c in study.claim_checks
                if c.name.startswith(("permuted dictionary", "network drawn anew")) and isinstance(c, Check)
            ]
            said.append(
                f"- *{name}*, first line where a control failed: {failed_controls(study) or 'none failed'}"
            )
            write(lines, said)


if __name__ == "__main__":
    main()
