"""The bars that redrawn studies are held against, the page and the figure: used by `redrawn_studies.py`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

WANTED = ["gpt2-a", "gpt2-b", "sae", "compiled", "minilm-1", "minilm-3", "minilm-4"]
NUMERIC = ["smooth", "probability", "sampled"]


@dataclass(frozen=True)
class Bar:
    """A bar, the number that was measured, and whether it was met; ``cells`` that missed it are named."""

    name: str
    wanted: str
    found: str
    met: bool
    missing: tuple[str, ...] = ()


def named(rows: pd.DataFrame, column: str) -> tuple[str, ...]:
    """Cells with a number, in words."""
    return tuple(
        f"{r.network} {r.outcome}, {r.scale}, {r.design}: {getattr(r, column):.3f}" for r in rows.itertuples()
    )


def each_cell(rows: pd.DataFrame, name: str, column: str, wanted: str, met: pd.Series) -> Bar:
    """A bar that every cell has to meet; cells without the number do not count."""
    known = rows[column].notna()
    rows, met = rows[known], met[known]
    found = f"{int(met.sum())} of {len(rows)} cells; worst {_worst(rows[column], wanted)}"
    return Bar(name, wanted, found, bool(met.all()), named(rows[~met], column))


def _worst(values: pd.Series, wanted: str) -> str:
    if not len(values):
        return "none"
    return f"{values.max() if wanted.startswith(('at most', 'no larger')) else values.min():.3f}"


def bars(frame: pd.DataFrame) -> list[Bar]:
    """All bars, on the cells of the contrast: the kind that claims rest on."""
    rows = frame[frame["kind"] == "contrast"]
    return [*coverage_bars(rows), *called_bars(rows), *missed_bars(rows), *width_bars(rows)]


def coverage_bars(rows: pd.DataFrame) -> Iterable[Bar]:
    """How often intervals hold the truth, on average, cell by cell and study by study; slopes."""
    smooth, label = rows[rows["scale"].isin(NUMERIC)], rows[rows["scale"] == "label"]
    column = "coverage_matter"
    yield mean_of(smooth, column, 0.93)
    yield mean_of(smooth, "coverage_all", 0.93)
    name = "coverage of features that matter, cell by cell"
    yield each_cell(smooth, name, column, "at least .93 each", smooth[column] >= 0.93)
    high = smooth[smooth[column] > 0.97]
    narrow = (high["strong_met"] == high["strong"]) & (high["weak_met"] == high["weak"])
    name = "coverage above .97 only where the bar on widths holds"
    yield each_cell(high, name, column, "no larger elsewhere", narrow)
    yield mean_of(label, column, 0.90)
    wanted = "at least .85 each, else listed"
    yield each_cell(label, "labels, cell by cell", column, wanted, label[column] >= 0.85)
    below = rows.assign(excess=rows["below_85"] - rows["alone_below_85"])
    name = "studies below .85, beyond those of knockouts alone"
    yield each_cell(below, name, "excess", "at most .03", ~(below["excess"] > 0.03))
    steady = rows[rows["alone_slope_within"] >= 0.95]
    name = "redraws with a slope within [.9, 1.1], where knockouts alone have .95"
    yield each_cell(steady, name, "slope_within", "at least .95", steady["slope_within"] >= 0.95)


def called_bars(rows: pd.DataFrame) -> Iterable[Bar]:
    """Coverage of features that were chosen by the very numbers that are judged."""
    for name, column in (
        ("coverage of features called causal", "coverage_causal"),
        ("coverage of the ten largest of each study", "coverage_ten"),
    ):
        yield each_cell(rows, name, column, "at least .90", rows[column] >= 0.90)
    name = "misses among features called causal, mean over studies (none called: 0)"
    yield each_cell(rows, name, "false_coverage_rate", "at most .10", rows["false_coverage_rate"] <= 0.10)


def missed_bars(rows: pd.DataFrame) -> Iterable[Bar]:
    """Features that matter under resampling and are called negligible."""
    for name, column in (
        ("features that matter under resampling called negligible, contrast alone", "missed"),
        ("the same, where resampling of ten families has to show it too", "missed_after_resampling"),
    ):
        yield each_cell(rows, name, column, "at most .01", rows[column] <= 0.01)


def mean_of(rows: pd.DataFrame, column: str, least: float) -> Bar:
    """A bar on the mean over cells."""
    scales = "hard labels" if set(rows["scale"]) == {"label"} else "smooth, probability, sampled"
    mean = rows[column].mean()
    return Bar(
        f"mean {column.replace('_', ', ')} ({scales})",
        f"at least {least:.2f}",
        f"{mean:.3f}",
        bool(mean >= least),
    )


def width_bars(rows: pd.DataFrame) -> Iterable[Bar]:
    """Half the width where the prediction is good, .8 of the possible gain elsewhere: counted in features that matter."""
    for name, wanted, count, column in (
        (
            "features with rho of .95 or more and N/n of 10 or more",
            "at most half the width of knockouts alone",
            "strong",
            "strong_ratio",
        ),
        ("features elsewhere", "at least .8 of the possible gain in variance", "weak", "weak_gain_share"),
    ):
        total, good = int(rows[count].sum()), int(rows[f"{count}_met"].sum())
        missing = rows[rows[f"{count}_met"] < rows[count]]
        yield Bar(name, wanted, f"{good} of {total} features x cells", good == total, named(missing, column))


def report(frame: pd.DataFrame, found: list[Bar], redraws: int) -> str:
    """The page."""
    kinds, there = list(dict.fromkeys(frame["kind"])), list(dict.fromkeys(frame["network"]))
    command = "python benchmarks/effects/redrawn_studies.py" + (
        "" if len(kinds) == 5 else f" --kinds {' '.join(kinds)}"
    )
    lines = [
        "# Studies redrawn from exhaustive knockout tables",
        "",
        f"`{command}`, {redraws} studies a cell. A study knocks out 10 families x 4 prompts or",
        "20 x 2, predicts on N families (half of the table's; five eighths of MiniLM's) and is held against the families",
        "that it never used, their error added. Numbers are of the *contrast*, per natural sd, in units of the ROPE; features",
        "that matter have an effect above a tenth of it. Bars on widths count outcomes that have a prediction: smooth ones",
        f"and probabilities. Tables: {', '.join(there)}.",
        *[f"Not measured: {', '.join(n for n in WANTED if n not in there)}."]
        * (not set(WANTED) <= set(there)),
        "",
        "## Bars",
        "",
        "| bar | wanted | found | |",
        "|---|---|---|---|",
        *(f"| {b.name} | {b.wanted} | {b.found} | {'met' if b.met else '**missed**'} |" for b in found),
        "",
        "## What missed them",
        "",
    ]
    for b in found:
        if b.missing:
            lines += [f"- {b.name} ({len(b.missing)} cells): {'; '.join(b.missing)}."]
    lines += ["", "## Cells of the contrast", "", *cell_table(frame[frame["kind"] == "contrast"])]
    if len(kinds) > 1:
        lines += ["", "## All kinds, mean over cells", "", *kind_table(frame)]
    return "\n".join(lines) + "\n"


def cell_table(rows: pd.DataFrame) -> list[str]:
    """A line per cell."""
    columns = {
        "network": "network",
        "outcome": "outcome",
        "scale": "scale",
        "design": "design",
        "matter": "matter",
        "coverage_all": "all",
        "coverage_matter": "that matter",
        "alone_coverage_matter": "knockouts alone",
        "below_85": "studies < .85",
        "alone_below_85": "alone",
        "coverage_causal": "causal",
        "causal": "called",
        "false_coverage_rate": "misses among them",
        "coverage_causal_each": "called by their interval alone",
        "coverage_ten": "ten largest",
        "slope": "slope",
        "half_width": "half width",
        "alone_half_width": "alone",
        "rho": "rho",
        "missed_after_resampling": "missed",
        "negligible_by_contrast": "negligible by contrast",
        "negligible": "and by resampling",
    }
    return table(rows, columns)


def kind_table(frame: pd.DataFrame) -> list[str]:
    """A line per kind and scale."""
    numbers = [
        "coverage_all",
        "coverage_matter",
        "alone_coverage_matter",
        "half_width",
        "alone_half_width",
        "missed",
    ]
    rows = frame.groupby(["kind", "scale"], sort=False)[numbers].mean().reset_index()
    return table(rows, {c: c.replace("_", " ") for c in rows})


def table(rows: pd.DataFrame, columns: dict[str, str]) -> list[str]:
    """Markdown."""

    def shown(x: object) -> str:
        return f"{x:.3f}" if isinstance(x, float) else str(x)

    body = [f"| {' | '.join(shown(r[c]) for c in columns)} |" for _, r in rows.iterrows()]
    return [f"| {' | '.join(columns.values())} |", "|" + "---|" * len(columns), *body]


def figure(frame: pd.DataFrame, path: Path) -> None:
    """Coverage of rectified contrasts beside knockouts alone, and their widths: a dot per cell."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    rows = frame[frame["kind"] == "contrast"]
    fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5), layout="constrained")
    for scale, part in rows.groupby("scale", sort=False):
        left.plot(part["alone_coverage_matter"], part["coverage_matter"], "o", ms=5, alpha=0.7, label=scale)
        right.loglog(part["alone_half_width"], part["half_width"], "o", ms=5, alpha=0.7, label=scale)
    left.axhline(0.95, color="0.5", lw=1)
    left.axhline(0.90, color="0.8", lw=1)
    left.set(xlabel="coverage, knockouts alone", ylabel="coverage, rectified", title="Features that matter")
    ends = [rows["alone_half_width"].min(), rows["alone_half_width"].max()]
    right.plot(ends, ends, color="0.5", lw=1)
    right.plot(ends, [e / 2 for e in ends], color="0.8", lw=1)
    right.set(
        xlabel="half width in ROPE, knockouts alone", ylabel="rectified", title="Equal, and half the width"
    )
    left.legend(frameon=False)
    fig.savefig(path, dpi=130)
    plt.close(fig)
