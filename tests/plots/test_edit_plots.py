"""Figures of attribution methods, vestigial features and pruning show the numbers that they are given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mrinterp.attribution._all_methods import all_methods
from mrinterp.attribution._beside_knockout import beside_knockout
from mrinterp.core.errors import InputError
from mrinterp.edits._pruning import measure_pruning, prune
from mrinterp.edits._vestigial_features import vestigial_features
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.outcomes._projection_and_callable import CallableOutcome
from mrinterp.plots._edits.pruning import pruning as pruning_figure
from mrinterp.plots._edits.vestigial_features import vestigial_features as vestigial_figure
from mrinterp.plots._study.attribution_vs_knockout import attribution_vs_knockout
from mrinterp.plots._style import save
from mrinterp.worlds._gated import gated_world
from tests.attribution.attribution_bench import bench_of
from tests.edits.test_vestigial import FAINT, UNREAD, _bench


def test_every_method_has_its_points_and_its_words(tmp_path: Path) -> None:
    world = gated_world()
    bench = Bench(world.adapter, world.site, world.view, world.inputs, world.outcome, family=world.family)
    held = beside_knockout(all_methods(bench, target="zero"), knock_out(bench, "zero", draws=20))
    ax = attribution_vs_knockout(held)
    lines = {str(line.get_label()).split(":")[0]: line for line in ax.lines}
    for method in held.methods:
        np.testing.assert_array_equal(lines[method].get_xdata(), held.table["knockout"])
        np.testing.assert_array_equal(lines[method].get_ydata(), held.table[method])
    said = [t.get_text() for t in ax.get_legend().get_texts()]
    r = held.scores.set_index("method").loc["correlation", "correlation"]
    assert any(words.startswith(f"correlation: r {r:.2f}") for words in said)
    assert save(ax, tmp_path / "c.png").stat().st_size > 5000


def test_a_method_that_does_not_apply_says_why() -> None:
    bench = bench_of(outcome=CallableOutcome("label", lambda out, _m: out[:, 0].argmax(-1)))
    held = beside_knockout(all_methods(bench), knock_out(bench, "mean", draws=20))
    said = {
        t.get_text().split(": ")[0]: t.get_text()
        for t in attribution_vs_knockout(held).get_legend().get_texts()
    }
    assert held.scores.set_index("method").loc["gradient", "status"][:20] in said["gradient"].replace(
        "\n", " "
    )
    with pytest.raises(InputError, match="outcome"):
        attribution_vs_knockout(held, "lable")


def test_vestigial_features_by_size(tmp_path: Path) -> None:
    bench = _bench()
    result = vestigial_features([knock_out(bench, "mean", draws=20)])
    ax = vestigial_figure(result)
    counted = {str(line.get_label()): len(line.get_xdata()) for line in ax.lines}
    assert counted == {
        f"shown to do nothing ({len(UNREAD) + len(FAINT)})": 5,
        "dead on these inputs (1)": 1,
        "not shown (6)": 6,
    }
    share = np.sort((result.table["effect"].abs() / result.table["rope"]).fillna(0.0).to_numpy())
    drawn = sorted(float(y) for line in ax.lines for y in line.get_ydata())
    np.testing.assert_allclose(drawn, share)
    assert save(ax, tmp_path / "v.png").stat().st_size > 5000
    nothing = replace(result, table=result.table.assign(effect=np.nan, status="no test"))
    with pytest.raises(InputError, match="none could be tested"):
        vestigial_figure(nothing)


def test_pruning_by_outcome(tmp_path: Path) -> None:
    bench = _bench()
    cost = measure_pruning(_bench(seed=9), prune(bench, ["0", "6"]), 2)
    ax = pruning_figure(cost)
    points = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "o"]
    np.testing.assert_allclose(points, cost.table["change"] / cost.table["rope"])
    assert [t.get_text().split("\n")[0] for t in ax.get_yticklabels()] == list(cost.table["outcome"])
    assert "98 parameters to" in ax.get_title(loc="left")
    assert save(ax, tmp_path / "p.png").stat().st_size > 5000
