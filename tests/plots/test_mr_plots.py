"""Figures of a two-sample analysis: what they draw, and the files that the command line writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mrinterp.core.errors import InputError
from mrinterp.mr._engine.driver import estimate, run_mr
from mrinterp.mr._engine.leave_one_out import leave_one_out
from mrinterp.plots._mr.figures import write_mr_figures
from mrinterp.plots._mr.forest import mr_forest
from mrinterp.plots._mr.funnel import mr_funnel
from mrinterp.plots._mr.leave_one_out import mr_leave_one_out
from mrinterp.plots._mr.scatter import mr_scatter
from mrinterp.plots._style import axes, save
from mrinterp.tables._summary import read_summary
from tests.warm_cli import command

CASES = Path(__file__).parents[1] / "reference" / "cases"
PAIR = ("exposure", "outcome")


def test_scatter_draws_each_estimate_and_orients_instruments() -> None:
    data = read_summary(CASES / "valid" / "data.csv")
    results = run_mr(data, ["ivw", "egger"])
    ax = mr_scatter(data, results, *PAIR)
    lines = {line.get_label(): line for line in ax.get_lines()}
    for result in results:
        x, y = (np.asarray(v) for v in lines[result.label.split(" (")[0]].get_data())
        assert np.diff(y)[0] / np.diff(x)[0] == pytest.approx(result.beta[0, 0])
    assert lines["MR-Egger"].get_ydata()[0] == pytest.approx(results[1].details["intercept"][0, 0])
    points = next(line for line in ax.get_lines() if len(np.asarray(line.get_xdata())) == 40)
    np.testing.assert_allclose(points.get_xdata(), np.abs(data.beta_x[0]))


def test_forest_and_leave_one_out_have_a_row_each() -> None:
    data = read_summary(CASES / "outliers30" / "data.csv")
    results = run_mr(data, ["ivw", "egger"])
    assert len(mr_forest(data, results, *PAIR).get_yticklabels()) == 52
    shorter = mr_forest(data, results, *PAIR, most=10)
    assert len(shorter.get_yticklabels()) == 12
    assert "10 of 50" in shorter.get_title(loc="left")
    repeats = list(leave_one_out(data, "ivw"))
    ax = mr_leave_one_out(results[0], repeats, *PAIR)
    assert len(ax.get_yticklabels()) == 51
    drawn = next(
        np.asarray(line.get_xdata()) for line in ax.get_lines() if len(np.asarray(line.get_xdata())) == 50
    )
    np.testing.assert_allclose(drawn, sorted(float(e.beta[0, 0]) for _, e in repeats))


def test_figures_take_axes_and_bear_cells_without_numbers() -> None:
    data = read_summary(CASES / "three_snps" / "data.csv")
    empty = estimate(data, "presso")
    assert not np.isfinite(empty.beta[0, 0])
    for figure in (mr_scatter, mr_forest, mr_funnel):
        given = axes(None, 3.0, 3.0)
        assert figure(data, [empty], *PAIR, ax=given) is given


def test_files_are_repeatable_and_named_by_pair(tmp_path: Path) -> None:
    data = read_summary(CASES / "mv4_valid" / "data.csv").select(["x1", "x2"])
    results = run_mr(data, ["ivw"])
    written = write_mr_figures(tmp_path, data, results)
    assert [p.name for p in written][:2] == ["scatter_x1_outcome.svg", "forest_x1_outcome.svg"]
    assert len(written) == 12
    for suffix in (".svg", ".png"):
        again = save(mr_funnel(data, results, "x1", "outcome"), tmp_path / f"again{suffix}")
        assert again.read_bytes() == (tmp_path / f"funnel_x1_outcome{suffix}").read_bytes()


def test_files_of_others_are_not_written_over(tmp_path: Path) -> None:
    data = read_summary(CASES / "valid" / "data.csv")
    write_mr_figures(tmp_path, data, [])
    write_mr_figures(tmp_path, data, [])  # its own again
    other = tmp_path / "funnel.png"
    other.write_bytes(b"a figure of somebody")
    (tmp_path / "scatter.svg").unlink()
    with pytest.raises(InputError, match=r"funnel.png: a file that mrinterp did not write"):
        write_mr_figures(tmp_path, data, [])
    assert other.read_bytes() == b"a figure of somebody"
    assert not (tmp_path / "scatter.svg").exists()


def test_command_line_writes_figures(tmp_path: Path) -> None:
    done = command("mr", CASES / "valid" / "data.csv", "--json", "--plot", tmp_path)
    assert done.returncode == 0, done.stderr
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == sorted(
        f"{n}.{e}" for n in ("scatter", "forest", "funnel", "leave_one_out") for e in ("svg", "png")
    )
    assert done.stdout.startswith("[")
    assert "8 figures" in done.stderr
