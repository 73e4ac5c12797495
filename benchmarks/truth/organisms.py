"""One hundred organisms: is the set of fields that a method calls causal exactly the set that the hidden rule asks?

    python benchmarks/truth/organisms.py [--organisms 100] [--work runs/organisms]

Networks trained on a decision tree of depth 1 or 2 over ten fields, each field of the rule with a decoy that correlates .9 with
it (family "organisms of depth 1 and 2"; depths 3 and 4 are an evaluation family and are not run here). Every method answers on the same
worlds, and once more on either half of the families. Writes ``benchmarks/results/organisms.md``; every finished organism's rows are kept in
``organisms_called.csv`` beside it, so that the same command goes on from there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from statsmodels.stats.proportion import proportion_confint

from mrinterp.bench import Answer, bench_methods
from mrinterp.bench._access import halves
from mrinterp.core.errors import InputError
from mrinterp.core.shown import counted
from mrinterp.worlds import World, world_families

RESULTS = Path(__file__).parents[1] / "results"
FAMILY = "organisms of depth 1 and 2"
METHODS = (
    "default",
    "gradient",
    "integrated_gradients",
    "relp",
    "attribution_patching",
    "probe",
    "correlation",
    "knockoffs",
    "within",
    "exhaustive",
)


def called(name: str, world: World, seed: int) -> np.ndarray | None:
    """What a method calls causal (F,); None where it does not apply."""
    try:
        found = bench_methods()[name].run(world, seed)
    except InputError:
        return None
    return found.causal[:, 0] if isinstance(found, Answer) else None


def rows_of(seed: int, work: Path) -> list[dict[str, object]]:
    """One row a method."""
    world = world_families()[FAMILY].make(seed, True, work)
    parts, rule = halves(world, seed), world.truth.causal[:, 0]
    decoys = (world.truth.borrows_from >= 0) & ~rule
    rows = []
    for name in METHODS:
        found = called(name, world, seed)
        if found is None:
            rows.append({"seed": seed, "rule": world.name, "method": name, "applies": False})
            continue
        first, second = (called(name, part, seed + k) for k, part in enumerate(parts, start=1))
        either = (first | second).sum() if first is not None and second is not None else 0
        rows.append(
            {
                "seed": seed,
                "rule": world.name,
                "method": name,
                "applies": True,
                "exact": bool((found == rule).all()),
                "fields": int(rule.sum()),
                "found": int((found & rule).sum()),
                "decoys": int(decoys.sum()),
                "decoys_called": int((found & decoys).sum()),
                "others_called": int((found & ~rule & ~decoys).sum()),
                "jaccard": float((first & second).sum() / either) if either else np.nan,
            }
        )
    return rows


def share(hits: float, count: float) -> str:
    """A share with its exact 95% interval."""
    if not count:
        return "none"
    low, high = proportion_confint(int(hits), int(count), method="beta")
    return f"{hits / count:.2f} ({low:.2f} to {high:.2f})"


def written(table: pd.DataFrame) -> str:
    """The table over organisms."""
    lines = [
        "# One hundred organisms",
        "",
        f"`python benchmarks/truth/organisms.py --organisms {table['seed'].nunique()}`. Exact: the set called causal is the set of fields that the"
        " rule asks;",
        "decoys: share of them called causal. Shares with exact 95% intervals; Jaccard: mean over organisms of what is called on one half of",
        "the families and on the other, those left out in which neither half calls anything.",
        "",
        "| method | organisms | exact set | fields found | decoys called | others called | Jaccard |",
        "|---|---|---|---|---|---|---|",
    ]
    for name in METHODS:
        rows = table[(table["method"] == name) & table["applies"].astype(bool)]
        if not len(rows):
            lines.append(f"| `{name}` | 0: does not apply | | | | | |")
            continue
        sums = (
            rows[["exact", "found", "fields", "decoys_called", "decoys", "others_called"]].astype(float).sum()
        )
        others = 10 * len(rows) - sums["fields"] - sums["decoys"]
        lines.append(
            f"| `{name}` | {len(rows)} | {share(sums['exact'], len(rows))} | {share(sums['found'], sums['fields'])} |"
            f" {share(sums['decoys_called'], sums['decoys'])} | {share(sums['others_called'], others)} | {rows['jaccard'].mean():.2f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run what is not there yet, and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--organisms", type=int, default=100)
    parser.add_argument("--work", type=Path, default=Path("runs/organisms"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    path = RESULTS / "organisms_called.csv"
    table = pd.read_csv(path) if path.is_file() else pd.DataFrame(columns=["seed"])
    left = [seed for seed in range(given.organisms) if not (table["seed"] == seed).any()]
    for seed in counted(left, "organisms", "organism"):
        table = pd.concat([table, pd.DataFrame(rows_of(seed, given.work))], ignore_index=True)
        table.to_csv(path, index=False)
    text = written(table[table["seed"] < given.organisms])
    (RESULTS / "organisms.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
