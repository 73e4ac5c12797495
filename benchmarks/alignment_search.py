"""Does a search find a planted variable, and nothing where none was planted?

    python benchmarks/alignment_search.py [--seeds 5] [--out benchmarks/results]

The task: is (a == b) the same as (c == d)? One small network per seed is trained with `left` and `right` planted
in one hidden direction each (interchange-intervention training), one on the task alone, from the same start and
on the same inputs. Both are searched for the two variables; accuracies are of pairs from families (values of a
and c) that the search has not seen. Writes ``alignment_search.md``, ``.csv`` and ``.png``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd

from mrinterp.abstraction._aligned_variable import AlignedVariable
from mrinterp.abstraction._alignment_search import search_alignment
from mrinterp.abstraction._interchange_pairs import draw_pairs, held_out_families
from mrinterp.abstraction._interchange_training import train_with_interchange
from mrinterp.features._directions import Subspace
from mrinterp.plots._abstraction.interchange_accuracy import interchange_accuracy as figure
from mrinterp.plots._style import save
from mrinterp.results._abstraction.alignment_search import AlignmentSearch
from mrinterp.worlds._hierarchical_equality import equality_task, plain_network

WIDTH, SITE, VARIABLES = 32, "3", ("left", "right")


def one_seed(seed: int, planted: bool) -> tuple[AlignmentSearch, float, dict[str, float]]:
    """The search, the network's accuracy on the task, and each variable's angle to its plant."""
    task = equality_task(3000, seed=seed)
    held = held_out_families(task.family, 0.3, seed=seed)
    rotation = np.linalg.qr(np.random.default_rng([seed, 7]).standard_normal((WIDTH, WIDTH)))[0].T
    plants = [AlignedVariable(v, SITE, Subspace(rotation[i : i + 1])) for i, v in enumerate(VARIABLES)]
    trained = train_with_interchange(
        plain_network(task.symbols, WIDTH, seed), task, plants if planted else [], steps=2000, seed=seed
    )
    base, source = draw_pairs(task.model, task.settings, VARIABLES, 1500, group=held, seed=seed)
    search = search_alignment(
        trained.adapter, task, dict.fromkeys(VARIABLES, 1), SITE, base, source, seed=seed
    )
    angle = {
        v: float(np.degrees(np.arccos(min(abs(float(search.rotation[v][0] @ rotation[i])), 1.0))))
        for i, v in enumerate(VARIABLES)
    }
    return search, trained.task_accuracy, angle


def table_of(frame: pd.DataFrame) -> list[str]:
    """Markdown rows: mean over seeds and range, per network, variable and arm."""
    lines = [
        "| network | variable | arm | accuracy (range over seeds) | on informative pairs | intervals above the majority label |",
        "|---|---|---|---|---|---|",
    ]
    for (network, variable, arm), rows in frame.groupby(["network", "variable", "alignment"], sort=False):
        cells = [
            f"{rows[c].mean():.3f} ({rows[c].min():.3f} to {rows[c].max():.3f})"
            for c in ("accuracy", "informative_accuracy")
        ]
        above = f"{int((rows['lower'] > rows['majority']).sum())} of {len(rows)}"
        lines.append(f"| {network} | {variable} | {arm} | {cells[0]} | {cells[1]} | {above} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    parts, notes = [], []
    for planted in (True, False):
        network = "planted" if planted else "task alone"
        for seed in range(arguments.seeds):
            search, right, angle = one_seed(seed, planted)
            frame = search.to_frame()
            frame.insert(0, "network", network)
            frame.insert(1, "seed", seed)
            majority = frame[frame["alignment"] == "majority label"].set_index("variable")["accuracy"]
            frame["majority"] = frame["variable"].map(majority)
            parts.append(frame)
            notes.append({"network": network, "seed": seed, "task accuracy": right, **angle})
            print(search)
            if planted and seed == 0:
                save(figure(search.held_out["left"]), arguments.out / "alignment_search.png")
    frame, angles = pd.concat(parts, ignore_index=True), pd.DataFrame(notes)
    frame.drop(columns="status").round(4).to_csv(arguments.out / "alignment_search.csv", index=False)
    lines = [
        "# Searching for planted and unplanted variables",
        "",
        (__doc__ or "").split("\n\n")[2].partition(" Writes")[0].strip(),
    ]
    families = int(frame["families"].iloc[0])
    lines += [
        "",
        f"{arguments.seeds} seeds; held-out families per seed: {families}.",
        "",
        *table_of(frame),
        "",
    ]
    lines += ["| network | right on the task | angle to the plant, degrees: left | right |"]
    lines += ["|---|---|---|---|"]
    for network, rows in angles.groupby("network", sort=False):
        cells = [
            f"{rows[c].mean():{f}} ({rows[c].min():{f}} to {rows[c].max():{f}})"
            for c, f in (("task accuracy", ".3f"), ("left", ".1f"), ("right", ".1f"))
        ]
        if network == "task alone":
            cells[1:] = ["nothing planted"] * 2
        lines.append(f"| {network} | {' | '.join(cells)} |")
    text = "\n".join(lines) + "\n"
    (arguments.out / "alignment_search.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
