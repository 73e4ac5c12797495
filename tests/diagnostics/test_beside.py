"""What other methods would have said of the inputs as they are, whose effect a feature shows there, and when nobody is named."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mrinterp
from mrinterp.core.errors import InputError
from mrinterp.diagnostics import beside_it, borrowed_effects, natural_borrowed
from mrinterp.diagnostics._beside import BESIDE
from mrinterp.results import BorrowedEffects, NotApplicable
from mrinterp.stats.sparse.knockoffs import knockoff_filter

sys.path.append(str(Path(__file__).parents[2] / "benchmarks" / "diagnostics"))
from borrowed import named, on_the_runs, shifts


def scene(seed: int, families: int = 60, sun: float = 0.9) -> mrinterp.Panel:
    """Inputs as they are: the network goes by cow and grass; sun comes with the grass, and fence by itself."""
    rng = np.random.default_rng(seed)
    n = families * 4
    cow, grass, fence = rng.standard_normal((3, n))
    grass = 0.6 * cow + 0.8 * grass
    x = np.column_stack([cow, grass, sun * grass + np.sqrt(1 - sun**2) * rng.standard_normal(n), fence])
    y = x @ [1.0, 1.5, 0.0, 0.0] + 0.3 * rng.standard_normal(n)
    return mrinterp.from_arrays(
        doses=np.zeros((n, 1)),
        features=x,
        outcomes=y[:, None],
        prompt=np.arange(n),
        family=np.arange(n) // 4,
        clean=np.ones(n, bool),
        feature_names=["cow", "grass", "sun", "fence"],
        outcome_names=["logit"],
    )


def test_the_cue_is_a_cause_and_the_sun_its_company() -> None:
    panel = scene(0)
    found = natural_borrowed(panel)
    assert isinstance(found, BorrowedEffects)
    x, y = panel.features - panel.features.mean(axis=0), panel.outcomes[:, 0] - panel.outcomes[:, 0].mean()
    np.testing.assert_allclose(found.total[:, 0], x.T @ y / (x**2).sum(axis=0), rtol=1e-10)
    np.testing.assert_allclose(found.own + found.borrowed.sum(axis=1) + found.left, found.total, rtol=1e-9)
    np.testing.assert_allclose(found.own[:, 0], [1.0, 1.5, 0.0, 0.0], atol=0.15)
    assert [found.features[k] for k in np.flatnonzero(found.named.any(axis=1)[:, 0])] == ["sun"]
    assert found["sun", "logit"].source == "grass"


def test_effects_from_knockouts_stand_in_for_the_joint_fit() -> None:
    panel = scene(1)
    known = replace(
        mrinterp.mr.observational(panel),
        beta=np.array([[1.0], [1.5], [0.2], [0.0]]),
        se=np.full((4, 1), 0.05),
    )
    found = natural_borrowed(panel, known)
    assert isinstance(found, BorrowedEffects)
    np.testing.assert_allclose(found.own[:, 0], [1.0, 1.5, 0.2, 0.0], rtol=1e-9)
    slope = np.cov(panel.features.T)[1, 2] / panel.features[:, 2].var(ddof=1)
    np.testing.assert_allclose(found.borrowed[2, 1, 0], 1.5 * slope, rtol=1e-9)
    assert "fit" not in found.meta


def test_each_method_and_the_company_beside_each_other() -> None:
    table = beside_it(scene(2), rate=0.1).set_index("feature")
    says = {m: table[f"{m}_says"] == "drives it" for m in BESIDE}
    assert says["correlation"]["sun"]
    assert says["top_inputs"]["sun"]
    assert says["probe"][["cow", "grass"]].all()
    assert abs(table.loc["sun", "probe"]) < 0.1
    assert not says["correlation"]["fence"]
    assert table["company"].to_dict() == {"cow": "", "grass": "", "sun": "grass", "fence": ""}
    assert table["moves_with"][["grass", "sun"]].tolist() == ["sun", "grass"]
    assert "borrowed from grass" in table.loc["sun", "taken_apart"]


def test_what_does_not_apply_says_why() -> None:
    assert isinstance(beside_it(scene(0, families=6)), NotApplicable)
    panel = scene(3)
    still = replace(panel, features=np.column_stack([np.ones(len(panel.features)), panel.features[:, 1:]]))
    table = beside_it(still).set_index("feature")
    assert table.loc["cow", "correlation_says"] == "it does not vary"
    with pytest.raises(InputError, match="rate"):
        beside_it(panel, rate=2.0)
    with pytest.raises(InputError, match="panel"):
        natural_borrowed([1.0])  # type: ignore[arg-type]


def test_few_features_can_be_selected_by_the_first_knockoff_filter_only() -> None:
    panel = scene(4)
    x, y = np.asarray(panel.features), panel.outcomes[:, 0]
    assert not knockoff_filter(x, y, 0.05, 0).selected.any()
    assert knockoff_filter(x, y, 0.05, 0, offset=0).selected[:2].all()


def test_nobody_is_named_where_the_joint_fit_is_poor() -> None:
    world = mrinterp.worlds.world_families()["gate"].make(0)
    assert world.panel is not None
    assert world.bench is not None
    found = borrowed_effects(world.panel)
    assert isinstance(found, BorrowedEffects)
    silent = found.features.index("silent")
    assert found.main_feature[silent, 0] >= 0
    assert not found.named[silent].any()
    assert found.company("silent", found.outcomes[0]) == ()
    assert found.meta["fit"][0] < 0.9
    assert "of the outcome's changes" in found.why_unnamed[silent, 0]
    assert "cannot be said" in found.short("silent", found.outcomes[0])
    # In these runs it moves with other features than over the inputs as they are.
    assert found.features[on_the_runs(world.panel, world.truth, silent, 0).argmax()] != "plain"
    shift, _ = shifts(world)
    natural = natural_borrowed(world.panel, shift)
    assert isinstance(natural, BorrowedEffects)
    assert named(natural, world.truth, None).tolist() == [1, 0, 0, 0]


def _tied() -> BorrowedEffects:
    """``sum`` shows what ``left`` and ``right`` do, about alike; ``other`` does nothing."""
    tied = scene(5)
    left, right, other = tied.features[:, 0], tied.features[:, 3], tied.features[:, 2]
    features = [left, right, other - 0.7 * left, left + right]
    features[3] = features[3] + 0.5 * np.random.default_rng(0).standard_normal(len(left))
    names = ("left", "right", "other", "sum")
    found = natural_borrowed(
        replace(
            tied,
            features=np.column_stack(features),
            outcomes=(left + right)[:, None],
            feature_names=names,
            labels=names,
        )
    )
    assert isinstance(found, BorrowedEffects)
    return found


def test_sources_that_cannot_be_ranked_are_named_together() -> None:
    found = _tied()
    logit = found.outcomes[0]
    assert set(found.company("sum", logit)) == {"left", "right"}
    assert found.why_unnamed[3, 0] == ""
    assert "together, which cannot be ranked (" in found.short("sum", logit)
    assert str(found["sum", logit]).endswith("together, which cannot be ranked.")
    frame = found.to_frame()
    assert set(frame.loc[frame["named"] & (frame["feature"] == "sum"), "source"]) == {"left", "right"}
    # What acts on its own borrows from nobody, and what moves with one of them from that one alone.
    assert found.company("left", logit) == found.company("right", logit) == ()
    assert found.company("other", logit) == found["other", logit].company == ("left",)


def test_a_group_with_a_member_that_may_lend_nothing_is_not_named() -> None:
    found = _tied()
    wide = found.borrowed_se.copy()
    wide[3, :2] = np.abs(found.borrowed[3, :2])
    unsure = replace(found, borrowed_se=wide)
    assert unsure.company("sum", found.outcomes[0]) == ()
    assert "may lend nothing" in unsure.why_unnamed[3, 0]
    other = found.borrowed.copy()
    other[3, 1] *= -1  # parts that oppose each other
    assert "may lend nothing" in replace(found, borrowed=other).why_unnamed[3, 0]
    rest = replace(found, left=found.left + 2 * found.total)
    assert "together they are" in rest.why_unnamed[3, 0]
    assert "cannot be said" in rest.short("sum", found.outcomes[0])
