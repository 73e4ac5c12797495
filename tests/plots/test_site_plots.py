"""Figures over sites and features, of strength, of flow and of paths: what is drawn is read back from the axes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest

from mrinterp import MRData, plots
from mrinterp.core.errors import InputError
from mrinterp.plots._style import save
from mrinterp.results import Estimates, example
from tests.study.finished_study import study


@pytest.fixture(autouse=True)
def _closed() -> object:
    yield
    plt.close("all")


def estimates(count: int, sites: int = 1, seed: int = 0) -> Estimates:
    """Effects of many features, one of them large."""
    rng = np.random.default_rng(seed)
    beta = rng.normal(0, 1, count)
    beta[0] = 9.0
    return Estimates(
        method="ivw",
        label="made up",
        exposures=tuple(f"layer.{k % sites}:f{k}" for k in range(count)),
        outcomes=("score",),
        beta=beta[:, None],
        se=np.ones((count, 1)),
        status=np.full((count, 1), "ok", dtype=object),
        n_instruments=np.full((count, 1), 9),
    )


def two_exposures(**more: object) -> MRData:
    rng = np.random.default_rng(1)
    first = rng.normal(0, 1, 40)
    beta = np.array([first, first + rng.normal(0, 0.01, 40)])
    se = np.full((2, 40), 0.05)
    outcome = 0.5 * beta[:1] + rng.normal(0, 0.05, (1, 40))
    outcome[0, 3] += 2.0
    names = tuple(f"i{k}" for k in range(40))
    return MRData(
        beta_x=beta,
        se_x=se,
        beta_y=outcome,
        se_y=se[:1],
        exposures=("a", "b"),
        outcomes=("y",),
        instruments=names,
        **more,
    )


def test_volcano_marks_what_lies_beyond_the_region() -> None:
    ax = plots.volcano(estimates(200), rope=0.5)
    assert ax.get_title(loc="left").endswith("of 200 beyond the region")
    assert "f0" in [t.get_text() for t in ax.texts]
    with pytest.raises(InputError, match="not in the result"):
        plots.volcano(estimates(5), "another")


def test_manhattan_goes_site_after_site() -> None:
    made = estimates(90, sites=3)
    ax = plots.manhattan(made)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["layer.0", "layer.1", "layer.2"]
    heights = np.concatenate([c.get_offsets()[:, 1] for c in ax.collections])
    assert np.isclose(np.sort(heights), np.sort(np.asarray(made.neglog10p)[:, 0])).all()


def test_inflation_is_one_without_effects_and_four_with_errors_halved() -> None:
    null = estimates(4000, seed=3)
    title = plots.evidence_quantiles(null).get_title(loc="left")
    assert 0.9 < float(title.rsplit(" ", 1)[1]) < 1.1
    small = replace(null, se=null.se / 2, ci_lower=None, ci_upper=None, neglog10p=None)
    title = plots.evidence_quantiles(small).get_title(loc="left")
    assert 3.6 < float(title.rsplit(" ", 1)[1]) < 4.4


def test_replication_counts_signs() -> None:
    first = estimates(30)
    again = replace(first, beta=-first.beta, ci_lower=None, ci_upper=None)
    assert plots.replication_scatter(first, first).get_title(loc="left") == "30 of 30 with the same sign"
    assert plots.replication_scatter(first, again).get_title(loc="left") == "0 of 30 with the same sign"


def test_without_a_family_the_effect_is_that_of_the_others() -> None:
    shift = study().knockouts["shift"]
    ax = plots.leave_one_family_out(shift, shift.features[0])
    found = dict(zip([t.get_text() for t in ax.get_yticklabels()], ax.lines[-1].get_xdata(), strict=True))
    others = shift.effect_by_input[0, shift.inputs["family"].to_numpy() != 1, 0]
    assert np.isclose(found["without 1"], others.mean())


def test_radial_names_the_outlier_and_conditional_strength_the_twins() -> None:
    ax = plots.mr_radial(two_exposures())
    assert "i3" in [t.get_text() for t in ax.texts]
    assert (
        plots.conditional_strengths(two_exposures()).get_title(loc="left")
        == "2 of 2 exposures are weakly moved"
    )


def test_ld_of_many_instruments_is_shown_in_blocks() -> None:
    ld = np.eye(40)
    ld[2, 7] = ld[7, 2] = -0.8
    ax = plots.ld_heatmap(two_exposures(ld=ld))
    assert ax.get_title(loc="left") == "40 instruments, largest |r| 0.80"
    from mrinterp.plots._coloc.ld_heatmap import _blocks

    assert _blocks(ld, 4)[0, 1] == -0.8
    with pytest.raises(InputError, match="no correlation"):
        plots.ld_heatmap(two_exposures())


def test_flow_counts_families_prompts_and_runs() -> None:
    words = " ".join(t.get_text() for t in plots.study_flow(study().design).texts)
    assert "12 families, 12 prompts" in words
    assert "3 families" in words
    assert "6 noise" in words


def test_the_path_has_the_estimate_on_its_arrow() -> None:
    made = example("Estimates")
    words = [t.get_text() for t in plots.path_diagram(made, made.exposures[1]).texts]
    assert made.exposures[1] in words
    assert any(w.startswith(f"{made.beta[1, 0]:+.3g}") for w in words)


@pytest.mark.parametrize("count", [10, 100_000])
def test_ten_and_a_hundred_thousand_points_are_drawn(count: int, tmp_path: Path) -> None:
    made = estimates(count)
    for k, draw in enumerate((plots.volcano, plots.manhattan, plots.evidence_quantiles)):
        path = save(draw(made), tmp_path / f"{k}.svg")
        assert path.stat().st_size < 600_000


def test_names_with_formulas_and_markup_are_text(tmp_path: Path) -> None:
    hostile = "$\\frac{1}{ <b>&"
    made = replace(estimates(3), exposures=(hostile, "b", "c"), outcomes=(hostile,))
    for draw in (plots.volcano, plots.manhattan, plots.evidence_quantiles, plots.path_diagram):
        assert save(draw(made), tmp_path / "figure.svg").stat().st_size > 1000
