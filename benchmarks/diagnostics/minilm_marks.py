"""Which of MR's numbers are marked, and which does the knockout contradict? And would the bypass rank better be chosen by stability?

    python benchmarks/diagnostics/minilm_marks.py [RUN_DIR ...]

Reads finished runs (default: the study of MiniLM that ships with the package, run now: some 10 minutes). A mark of the *run* is a
failed test of MR's equation, which bears on every feature; a mark of the *feature* is MR's slope off the gradient's by more than
both errors. Disagreement: MR's slope off the matched shift, which neither has seen, by more than both errors. The path over
bypass ranks is that of the run. Beside it, worlds whose causes are known, their bypass ordered and its rank chosen on half of their
families, as a study does, and followed on the other half. Writes benchmarks/results/diagnostics_minilm_marks.md and a figure.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

import mrinterp
from mrinterp import Study
from mrinterp.mr import rank_path, sign_changes, stable_rank
from mrinterp.scan._bypass import choose_rank, nested_order

Array = NDArray[np.float64]
RESULTS = Path(__file__).parents[1] / "results"
WORLDS, GRID = 5, (0, 1, 2, 5, 10, 25, 40)
FAMILIES = (
    "bypass (runs)",
    "co-activation (runs)",
    "inseparable impostor",
    "left-out cause",
    "one position",
    "twins",
)


def beyond(a: Array, a_se: Array, b: Array, b_se: Array, df: Array) -> NDArray[np.bool_]:
    """Whether two estimates differ by more than both errors."""
    return np.abs(a - b) > stats.t.ppf(0.975, df) * np.hypot(a_se, b_se)


def marks(study: Study) -> pd.DataFrame:
    """One row per feature and outcome: marked by a test of the run, by the gradient, and whether the knockout disagrees."""
    within, gradient, shift = (
        study.estimates["within"],
        study.estimates.get("gradient"),
        study.knockouts["shift"],
    )
    failed = [c for c in study.checks if c["verdict"] == "failed" and "within" in (c.get("rungs") or ())]
    run = np.zeros(within.beta.shape, bool)
    for check in failed:
        named = set(check.get("features") or within.exposures)
        for o, outcome in enumerate(within.outcomes):
            if check.get("outcome", "") in ("", outcome):
                run[:, o] |= [f in named for f in within.exposures]
    own = np.zeros(run.shape, bool)
    if gradient is not None:
        df = np.minimum(within.df, gradient.df)
        own = beyond(within.beta, within.se, gradient.beta, gradient.se, df)
    known = np.isfinite(within.beta + within.se + shift.effect + shift.se)
    wrong = beyond(within.beta, within.se, shift.effect, shift.se, within.df)
    return pd.DataFrame({"run": run[known], "feature": own[known], "disagrees": wrong[known]})


def _row(name: str, table: pd.DataFrame, mark: str) -> str:
    m, d = table[mark], table["disagrees"]
    cells = [int((m & d).sum()), int((m & ~d).sum()), int((~m & d).sum()), int((~m & ~d).sum())]
    return f"| {name} | of the {mark} | {m.mean():.2f} | {d.mean():.2f} | {' | '.join(map(str, cells))} |"


def ranks(study: Study) -> tuple[list[str], str]:
    """By rank: error against the matched shifts, coverage, half width; and which rank each rule chooses."""
    shift, within, path = study.knockouts["shift"], study.estimates["within"], study.rank_path
    rope = float(study.rope[0])
    rows = []
    for rank, one in path.groupby("rank"):
        at = one.set_index("exposure").loc[list(within.exposures)]
        b, se = at["estimate"].to_numpy(), at["se"].to_numpy()
        off = beyond(b, se, shift.effect[:, 0], shift.se[:, 0], within.df[:, 0])
        error = np.sqrt(np.nanmean((b - shift.effect[:, 0]) ** 2)) / rope
        half = float(np.nanmedian((at["ci_upper"] - at["ci_lower"]) / 2)) / rope
        rows.append(f"| {rank} | {error:.2f} | {1 - off.mean():.3f} | {half:.2f} |")
    chosen = stable_rank(path)["rank"].item()
    said = (
        f"Double selection on discovery took {study.basis.rank}, `stable_rank` takes {chosen}; features whose path changes its sign"
        f" within its intervals: {len(sign_changes(path))}."
    )
    return rows, said


def world_ranks() -> list[str]:
    """Both rules on worlds with a bypass, paired: the same bases and the same runs."""
    rows = []
    for name in FAMILIES:
        family = mrinterp.worlds.world_families()[name]
        found = [r for seed in range(WORLDS) if (r := _one_world(family.make(seed))) is not None]
        if not found:
            continue
        a = np.array(found)
        wins = int((a[:, 1] < a[:, 4] - 1e-12).sum()), int((a[:, 1] > a[:, 4] + 1e-12).sum())
        means = a.mean(axis=0)
        rows.append(
            f"| {name} | {len(a)} | {np.median(a[:, 0]):.0f} | {means[1]:.3g} | {means[2]:.3f} | {np.median(a[:, 3]):.0f} |"
            f" {means[4]:.3g} | {means[5]:.3f} | {wins[1]} to {wins[0]} |"
        )
        print(rows[-1], flush=True)
    return rows


def _slopes(world: mrinterp.worlds.World) -> Array | None:
    """Exact effects (F,) per unit of each feature; None where there are none."""
    effects = world.truth.effects
    found = effects.get("slope", effects.get("shift"))
    return None if found is None else np.asarray(found[:, 0] / world.truth.feature_sd)


def _one_world(world: mrinterp.worlds.World) -> tuple[float, ...] | None:
    """Rank, error and coverage by double selection, then by stability."""
    panel = world.panel
    assert panel is not None
    family = pd.factorize(panel.runs["family"])[0]
    one, two = (panel._take(np.flatnonzero(family % 2 == half)) for half in (0, 1))
    change = one.changes()
    order = nested_order(change.features, change.bypass, change.outcomes)
    most = min(change.bypass.shape[1], max(GRID))
    by_rule, _ = choose_rank(change.features, change.bypass[:, order], change.outcomes, change.family, most)
    ordered = replace(two, bypass=np.asarray(two.bypass)[:, order])
    path = rank_path(ordered, sorted({*(g for g in GRID if g <= most), by_rule, most}))
    stable = int(stable_rank(path)["rank"].iloc[0])
    truth = _slopes(world)
    assert truth is not None
    out: list[float] = []
    for rank in (by_rule, stable):
        at = path[path["rank"] == rank].set_index("exposure").loc[list(world.truth.features)]
        known = np.isfinite(at["estimate"].to_numpy())
        if not known.any():
            return None
        b = at["estimate"].to_numpy()
        inside = (at["ci_lower"].to_numpy() <= truth) & (truth <= at["ci_upper"].to_numpy())
        out += [rank, float(np.sqrt(np.mean((b - truth)[known] ** 2))), float(inside[known].mean())]
    return tuple(out)


def main(folders: list[str]) -> None:
    """Read or run, and write the page."""
    with tempfile.TemporaryDirectory() as folder:
        if folders:
            studies = [Study.open(f) for f in folders]
        else:
            studies = [Study.from_toml("minilm_sentiment", out=Path(folder) / "minilm").run()]
        tables = [(s.plan.title, marks(s)) for s in studies]
        if len(tables) > 1:
            tables.append(("all", pd.concat([t for _, t in tables])))
        lines = [
            "# Marks on MR's numbers, and its bypass rank, against knockouts",
            "",
            "`python benchmarks/diagnostics/minilm_marks.py`. A mark that is on everything says nothing.",
            "",
            "| run | mark | share marked | share that disagrees | marked, disagrees | marked, agrees | unmarked, disagrees |"
            " unmarked, agrees |",
            "|---|---|---|---|---|---|---|---|",
            *(_row(name, table, mark) for name, table in tables for mark in ("run", "feature")),
            "",
        ]
        rows, said = ranks(studies[0])
        lines += [
            f"## The bypass rank: {studies[0].plan.title}",
            "",
            "Against the matched shifts, in units of the region of practical equivalence.",
            "",
            "| rank | root mean square error | coverage | median half width |",
            "|---|---|---|---|",
            *rows,
            "",
            said,
            "",
            "![path](diagnostics_rank_path.svg)",
            "",
        ]
        largest = studies[0].results["feature"].iloc[0]
        mrinterp.plots.rank_path(studies[0].rank_path, largest).figure.savefig(
            RESULTS / "diagnostics_rank_path.svg"
        )
        lines += [
            "## Both rules on worlds whose causes are known",
            "",
            f"{WORLDS} worlds a family, half of the families for each part. *Smaller error*: worlds in which stability, and in which"
            " double selection, has the smaller root mean square error.",
            "",
            "| worlds | n | rank by double selection | error | coverage | rank by stability | error | coverage | smaller error:"
            " stability to double selection |",
            "|---|---|---|---|---|---|---|---|---|",
            *world_ranks(),
        ]
    (RESULTS / "diagnostics_minilm_marks.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines))


if __name__ == "__main__":
    main(sys.argv[1:])
