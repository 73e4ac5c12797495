"""The benchmark of redrawn studies, on a small made-up table whose coverage is known; and its scores by hand."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import need

ROOT = Path(__file__).parents[2]
PROMPTS, FAMILIES, FEATURES = 4, 120, 8


@pytest.fixture(scope="module")
def modules() -> Any:
    """``redrawn_studies`` and ``truth_tables``; importing them needs transformers, as the tables do."""
    need("transformers")
    sys.path.insert(0, str(ROOT / "benchmarks" / "effects"))
    try:
        import redrawn_studies
        import truth_tables
    finally:
        sys.path.remove(str(ROOT / "benchmarks" / "effects"))
    return redrawn_studies, truth_tables


@pytest.fixture(scope="module")
def table(modules: Any) -> Any:
    """Families with effects of their own on a linear network: the prediction knows all of it but a little noise."""
    rng = np.random.default_rng(0)
    family = np.repeat(np.arange(FAMILIES), PROMPTS)
    P = len(family)
    mean = np.linspace(-0.5, 0.5, FEATURES)
    effect = (
        mean
        + 0.3 * rng.standard_normal((FAMILIES, FEATURES))[family]
        + 0.1 * rng.standard_normal((P, FEATURES))
    )
    predicted = effect + 0.05 * rng.standard_normal((P, FEATURES))
    arms = ("contrast high", "contrast low", "resample 0", "mean")
    change, guess = (np.stack([e / 2, -e / 2, -e, -e]).swapaxes(1, 2)[..., None] for e in (effect, predicted))
    moved = np.broadcast_to(np.array([1.0, -1.0, 1.0, 1.0])[:, None, None], change.shape[:3])
    return modules[1].TruthTable(
        arms,
        tuple(f"f{k}" for k in range(FEATURES)),
        ("y",),
        change,
        guess,
        moved,
        rng.standard_normal((P, 1)),
        family,
        np.zeros((len(arms), FEATURES)),
        {},
    )


def test_intervals_of_redrawn_studies_cover_what_they_say(modules: Any, table: Any) -> None:
    redrawn = modules[0]
    rows = {
        r["scale"]: r for r in redrawn.cells(table, "made up", 200, ("contrast",)) if r["design"] == "10 x 4"
    }
    smooth = rows["smooth"]
    assert smooth["features"] == FEATURES
    assert smooth["rho"] > 0.95
    # Some 8 x 200 intervals, but families in common: one table is worth about two in a hundred.
    assert 0.92 < smooth["coverage_all"] < 0.98
    assert 0.92 < smooth["alone_coverage_matter"] < 0.98
    assert smooth["half_width"] < 0.6 * smooth["alone_half_width"]
    assert abs(smooth["slope"] - 1) < 0.05
    assert smooth["missed"] == 0


def test_intervals_that_are_too_narrow_are_seen(modules: Any, table: Any) -> None:
    redrawn = modules[0]
    found = redrawn.redraws(redrawn.runs_of(table, 0, "contrast"), (10, 4), 150, seed=1)
    smooth = {k: v[..., 0] for k, v in found.items()}
    narrow = redrawn.covered(
        smooth["alone"], smooth["alone_half"] / 2.262, smooth["truth"], smooth["truth_half"] / 2.0
    )
    # One standard error of t on 9 degrees of freedom holds .657, less what the truth's own error adds.
    assert 0.62 < narrow.mean() < 0.74
    biased = redrawn.covered(
        smooth["alone"] + 2 * smooth["alone_half"], smooth["alone_half"], smooth["truth"], 0
    )
    assert biased.mean() < 0.1


def test_truth_and_study_share_no_family(modules: Any, table: Any) -> None:
    redrawn = modules[0]
    rows = redrawn.rows_of(table.family)
    made = redrawn.draw(np.random.default_rng(0), rows, (20, 2), 30)
    for own, used, unused in zip(made.knocked, made.families, made.unused, strict=True):
        assert len(used) == redrawn.all_families(FAMILIES) == 75
        assert not set(used) & set(unused)
        assert (table.family[own] == used[:20, None]).all()
        assert len(np.unique(own)) == 40


def test_scores_by_hand(modules: Any) -> None:
    redrawn = modules[0]
    hit = redrawn.covered(
        np.array([0.0, 1.0, np.nan]),
        np.array([3.0, 0.3, 1.0]),
        np.array([5.0, 1.49, 0.0]),
        np.array([4.0, 0.4, 1.0]),
    )
    np.testing.assert_array_equal(hit, [1, 1, np.nan])  # 5 within hypot(3, 4), .49 within .5
    assert redrawn.covered(np.array([1.0]), np.array([0.3]), np.array([1.51]), np.array([0.4]))[0] == 0
    assert redrawn.share_below(np.array([0.8, 0.85, 0.9, np.nan])) == pytest.approx(1 / 3)
    assert redrawn.slope_of(np.array([2.0, 4.0, np.nan]), np.array([1.0, 2.0, 9.0])) == 2
    each = np.array([1.0, 1.0, 1.0, 1.0]).reshape(4, 1, 1)
    assert [b[0, 0] for b in redrawn.root_bounds(each)] == [1, 1]
    hit = np.array([[1.0, 0.0, 0.0], [1.0, 1.0, 0.0]])
    called = np.array([[True, True, False], [False, False, False]])
    assert redrawn.false_coverage_rate(hit, called) == 0.25


def test_draws_and_labels_have_the_intervals_of_their_knockouts_alone(modules: Any, table: Any) -> None:
    redrawn = modules[0]
    found = redrawn.redraws(redrawn.runs_of(table, 0, "contrast"), (10, 4), 20, seed=2)
    same = [np.allclose(found["rectified"][..., s], found["alone"][..., s]) for s in range(4)]
    assert same == [s not in redrawn.PREDICTED for s in redrawn.SCALES]
    drawn = redrawn.SCALES.index("sampled")
    np.testing.assert_allclose(found["rectified_half"][..., drawn], found["alone_half"][..., drawn])


def test_after_selection_only_what_stands_out_among_all_is_called(modules: Any) -> None:
    redrawn = modules[0]
    t, K = 2.262, 20
    shape = np.zeros((1, K))
    one = {"rectified": shape.copy(), "rectified_half": shape + t, "df": shape + 9.0}
    one["rectified"][0, 0] = 1.0 + 2.5
    # 2.5 standard errors beyond the region: an interval by itself says causal, one of twenty does not.
    assert (one["rectified"] - one["rectified_half"])[0, 0] > 1
    assert not redrawn.stand_out(one).any()
    one["rectified"][0, 0] = 1.0 + 6.0
    assert redrawn.stand_out(one).ravel().tolist() == [True] + [False] * (K - 1)


def test_effects_per_natural_sd_in_ropes(modules: Any, table: Any) -> None:
    redrawn = modules[0]
    runs = redrawn.runs_of(table, 0, "contrast")
    difference = (table.change[0] - table.change[1])[..., 0].T
    np.testing.assert_allclose(
        runs.effect[..., 0], difference / 2.563 / (0.02 * table.clean.std()), rtol=1e-6
    )
    label = runs.effect[..., redrawn.SCALES.index("label")]
    sizes = np.unique(np.abs(label).round(6))
    assert len(sizes) == 2
    assert sizes[0] == 0
    assert redrawn.largest_label(runs) == pytest.approx(sizes[1])


def test_tables_are_read_as_they_were_written_and_refused_where_changed(
    modules: Any, table: Any, tmp_path: Path
) -> None:
    tables = modules[1]
    path = tmp_path / "made_up.npz"
    tables.write(table, path)
    again = tables.read(path)
    assert (again.arms, again.features, again.outcomes) == (table.arms, table.features, table.outcomes)
    np.testing.assert_array_equal(again.change, table.change)
    with np.load(path) as file:
        held = dict(file)
    held["clean"] = held["clean"] + 1e-9
    np.savez(path, **held)
    with pytest.raises(SystemExit, match="not those it was written with"):
        tables.read(path)


def test_arms_of_a_real_bench(modules: Any) -> None:
    """The table of the hand-written transformer says what its formula says."""
    tables = modules[1]
    from truth_networks import TruthNetwork

    from mrinterp.worlds import compiled_text

    world = compiled_text(families=12)
    made = tables.table_of(TruthNetwork(world.bench(), 1, "small"), ("contrast", "zero"))
    zero = made.change[made.arm("zero"), :, :, 0]
    for k, name in enumerate(made.features):
        np.testing.assert_allclose(zero[k], world.answer(**{name: 0.0}) - world.answer(), atol=1e-6)
    plain = made.features.index("plain")
    np.testing.assert_allclose(made.predicted[:, plain], made.change[:, plain], atol=1e-6)
