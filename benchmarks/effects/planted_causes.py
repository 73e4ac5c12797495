"""Is the planted cause named and the planted impostor not, over seeds of training?

    python benchmarks/effects/planted_causes.py [--seeds 20] [--tasks graded damped] [--work runs/truth]

Every seed is another network (`mrinterp.worlds.planted_text`) and other sentences, 160 families of 4. Default settings:
`rectified_contrast` on 10 families x 4 prompts, 16 features after the first block, read as means over all tokens and, for
the decoy, at its own word. Beside it the exhaustive contrast of the two on all prompts. Named: the whole 95% interval lies
outside the ROPE of .02 sd of the outcome, per natural sd. Finished seeds are kept in ``planted_causes.csv``, from which
``planted_causes.md`` is written, both in ``benchmarks/results``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from mrinterp import knock_out
from mrinterp.knockouts import Contrast, rectified_contrast
from mrinterp.positions import TokenClass
from mrinterp.stats.tests.equivalence import verdict
from mrinterp.stats.tests.tails import critical_value
from mrinterp.worlds import planted_text

HERE = Path(__file__).parent.parent
NATURAL_SD, ROPE_SD = 2.563, 0.02
PLACES = {"all tokens": None, "the decoy's word": TokenClass(1)}


def one(task: str, seed: int, work: Path, families: int = 160) -> list[dict[str, object]]:
    """Rows of one network: the cue at all tokens, the decoy at all tokens and at its own word."""
    world = planted_text(task, seed, families, folder=work / "networks")
    rows = []
    for place, position in PLACES.items():
        bench = world.bench(position=position, block=240)
        rope = ROPE_SD * bench.clean.std()
        found = rectified_contrast(bench, seed=seed)
        features = ["cue", "decoy"] if position is None else ["decoy"]
        whole = knock_out(bench, Contrast(), features, draws=2)
        for k, feature in enumerate(features):
            f = found.exposures.index(feature)
            effect = whole.mean[k, 0] / NATURAL_SD / rope
            error = whole.mean_se[k, 0] / NATURAL_SD / rope
            ends = found.ci_lower[f, 0] / rope, found.ci_upper[f, 0] / rope
            margin = critical_value(0.95, whole.df) * error
            rows.append(
                {
                    "task": task,
                    "seed": seed,
                    "place": place,
                    "feature": feature,
                    "exhaustive": effect,
                    "exhaustive_half": margin,
                    "estimate": found.beta[f, 0] / rope,
                    "lower": ends[0],
                    "upper": ends[1],
                    "verdict": str(verdict(*ends, 1.0)),
                    # The study's families are among the exhaustive ones, so that this asks a little less than .95.
                    "agrees": bool(ends[0] - margin <= effect <= ends[1] + margin),
                    "correlation_with_log_odds": np.corrcoef(bench.clean[:, 0], world.log_odds)[0, 1],
                }
            )
    return rows


def page(frame: pd.DataFrame) -> str:
    """The page, every bar met or missed."""
    cue, decoy = (frame[frame["feature"] == f] for f in ("cue", "decoy"))
    inside = decoy[decoy["exhaustive"].abs() + decoy["exhaustive_half"] < 1]
    outside = decoy[decoy["exhaustive"].abs() - decoy["exhaustive_half"] > 1]
    half = decoy[decoy["exhaustive"].abs() < 0.5].groupby(["task", "seed"]).size()
    networks = frame.groupby(["task", "seed"]).ngroups
    named = int((cue["verdict"] == "causal").sum())
    wrong = int((inside["verdict"] == "causal").sum())
    agree = int(outside["agrees"].sum())
    bars = [
        ("the cause is named", f"{named} of {len(cue)}", named == len(cue)),
        (
            "the impostor is not named where its exhaustive contrast lies inside the ROPE",
            f"named in {wrong} of {len(inside)}",
            not wrong,
        ),
        (
            "networks with a place where it lies inside half a ROPE",
            f"{len(half)} of {networks}",
            len(half) == networks,
        ),
        (
            "elsewhere its size agrees with the exhaustive contrast, at 95% intervals in 95% at least",
            f"{agree} of {len(outside)}",
            agree >= 0.95 * len(outside),
        ),
    ]
    seeds = ", ".join(f"{t}: {n}" for t, n in frame.groupby("task")["seed"].nunique().items())
    lines = [
        "# Planted causes and impostors, over seeds of training",
        "",
        f"`python benchmarks/effects/planted_causes.py`. Seeds of training: {seeds} (20 of each were asked for). Effects per",
        "natural sd, in units of the ROPE.",
        "",
        "| bar | found | |",
        "|---|---|---|",
        *(f"| {name} | {found} | {'met' if met else '**missed**'} |" for name, found, met in bars),
        "",
        "| task | place | feature | exhaustive, median (range) | verdicts | agrees |",
        "|---|---|---|---|---|---|",
    ]
    for (task, place, feature), rows in frame.groupby(["task", "place", "feature"], sort=False):
        words = ", ".join(f"{w} {n}" for w, n in rows["verdict"].value_counts().items())
        x = rows["exhaustive"]
        size = f"{x.median():.2f} ({x.min():.2f} to {x.max():.2f})"
        lines.append(
            f"| {task} | {place} | {feature} | {size} | {words} | {int(rows['agrees'].sum())} of {len(rows)} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the seeds that are not done, then write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--tasks", nargs="+", default=["graded", "damped"])
    parser.add_argument("--work", type=Path, default=Path("runs/truth"))
    parser.add_argument("--out", type=Path, default=HERE / "results")
    given = parser.parse_args()
    torch.set_num_threads(1)
    path = given.out / "planted_causes.csv"
    frame = pd.read_csv(path) if path.is_file() else pd.DataFrame({"task": [], "seed": []})
    for seed in range(given.seeds):
        for task in given.tasks:
            if ((frame["task"] == task) & (frame["seed"] == seed)).any():
                continue
            rows = pd.DataFrame(one(task, seed, given.work))
            frame = rows if frame.empty else pd.concat([frame, rows], ignore_index=True)
            frame.round(4).to_csv(path, index=False)
            (given.out / "planted_causes.md").write_text(page(frame))
    print(page(frame))


if __name__ == "__main__":
    main()
