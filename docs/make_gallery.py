"""Write docs/gallery.md and its pictures: the figures that results have, of small made-up results, to be looked at.

python docs/make_gallery.py [--out FOLDER]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

import mrinterp
from mrinterp import MRData, mr, plots
from mrinterp.plots._plot import FIGURES
from mrinterp.plots._style import save
from mrinterp.results import Estimates, example

OTHER = ("Design", "MRData", "Panel", "SumStats")
"""Types with a figure that are no results with an example; drawn below from data made here."""


def many(count: int = 600, sites: int = 4, seed: int = 0) -> Estimates:
    """Effects of features of several sites, a few of them not null."""
    rng = np.random.default_rng(seed)
    beta = np.random.default_rng(1).normal(0, 0.01, count)
    beta[:: count // 12] += 0.12
    se = np.full(count, 0.02)
    return Estimates(
        method="within",
        label="within regression",
        exposures=tuple(f"layer.{k * sites // count}:f{k}" for k in range(count)),
        outcomes=("sentiment",),
        beta=(beta + rng.normal(0, se))[:, None],
        se=se[:, None],
        status=np.full((count, 1), "ok", dtype=object),
        n_instruments=np.full((count, 1), 90),
        unit="points per sd",
    )


def table(count: int = 30) -> MRData:
    """Summary data with two exposures, an outlier and correlated instruments."""
    rng = np.random.default_rng(2)
    beta = rng.normal(0, 0.3, (2, count)) + np.array([[0.4], [0.1]])
    se = np.full((2, count), 0.05)
    outcome = 0.5 * beta[:1] + rng.normal(0, 0.05, (1, count))
    outcome[0, 5] += 0.5
    place = np.arange(count)
    return MRData(
        beta_x=beta,
        se_x=se,
        beta_y=outcome,
        se_y=se[:1],
        exposures=("size", "depth"),
        outcomes=("loss",),
        instruments=tuple(f"i{k}" for k in range(count)),
        ld=0.6 ** np.abs(place[:, None] - place),
    )


def figures() -> dict[str, object]:
    """Name of every figure, and its axes."""
    rope = 0.03
    found = {
        "volcano": plots.volcano(many(), rope=rope),
        "manhattan": plots.manhattan(many()),
        "evidence_quantiles": plots.evidence_quantiles(many()),
        "replication_scatter": plots.replication_scatter(many(60), many(60, seed=5), rope=rope),
        "leave_one_family_out": plots.leave_one_family_out(example("KnockoutEffects", size=6)),
        "path_diagram": plots.path_diagram(many()),
        "mr_scatter": plots.mr_scatter(table()),
        "mr_forest": plots.mr_forest(table()),
        "mr_funnel": plots.mr_funnel(table()),
        "mr_radial": plots.mr_radial(table()),
        "conditional_strengths": plots.conditional_strengths(table()),
        "ld_heatmap": plots.ld_heatmap(table()),
        "mr_leave_one_out": plots.mr_leave_one_out(
            mr.run_mr(table(), "ivw")[0], list(mr.leave_one_out(table(), "ivw"))
        ),
    }
    for name, place in sorted(FIGURES.items()):
        if name not in OTHER:
            found[place.rpartition(".")[2]] = mrinterp.plot(example(name, size=6))
    return found


def main() -> None:
    """Draw everything, and write the page."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--out", type=Path, default=Path(__file__).parent)
    out = asked.parse_args().out
    lines = [
        "# Gallery",
        "",
        "Figures of made-up results, as `mrinterp.plot(result)` and `mrinterp.plots` draw them; this page is written by",
        "`python docs/make_gallery.py`.",
        "",
    ]
    for name, ax in figures().items():
        picture = save(ax, out / "gallery" / f"{name}.png")
        with Image.open(picture) as drawn:  # fewer colors: half the size
            drawn.convert("RGB").quantize(128).save(picture, optimize=True)
        lines += [f"## {name}", "", f"![{name}](gallery/{name}.png)", ""]
    (out / "gallery.md").write_text("\n".join(lines))


if __name__ == "__main__":
    main()
