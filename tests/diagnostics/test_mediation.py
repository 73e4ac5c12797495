"""Network MR over two sites: exact sums, shares known from the weights, knockouts with the later site held, what does not apply."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import mrinterp
from mrinterp.core.errors import InputError
from mrinterp.mr import mediated_effects
from mrinterp.plots import mediated_paths
from mrinterp.results import MediatedEffects, NotApplicable

sys.path.append(str(Path(__file__).parents[2] / "benchmarks" / "diagnostics"))
from mediation import by_knockouts, by_weights, made


@pytest.fixture(scope="module")
def linear() -> tuple[mrinterp.Panel, mrinterp.Panel, MediatedEffects]:
    early, late, _ = made(1, "linear")
    found = mediated_effects(early, late)
    assert isinstance(found, MediatedEffects)
    return early, late, found


def test_parts_add_up_to_the_within_regressions_effect(
    linear: tuple[mrinterp.Panel, mrinterp.Panel, MediatedEffects],
) -> None:
    early, late, found = linear
    np.testing.assert_allclose(found.direct + found.through.sum(axis=1) + found.rest, found.total, rtol=1e-9)
    np.testing.assert_allclose(found.mediated, found.through.sum(axis=1), rtol=1e-9)
    np.testing.assert_allclose(found.total, mrinterp.mr.within(early, rank=0).beta, rtol=1e-8)
    # Twice the unit of a feature halves nothing but its own effects' size.
    double = replace(early, features=np.asarray(early.features) * [2.0, 1, 1, 1])
    again = mediated_effects(double, late)
    assert isinstance(again, MediatedEffects)
    np.testing.assert_allclose(again.through[0], found.through[0] / 2, rtol=1e-8)
    np.testing.assert_allclose(again.share_se, found.share_se, rtol=1e-6)


def test_the_jackknife_is_the_one_that_leaves_families_out(
    linear: tuple[mrinterp.Panel, mrinterp.Panel, MediatedEffects],
) -> None:
    early, late, found = linear
    again, family = [], early.runs["family"].to_numpy()
    for name in np.unique(family):
        kept = np.flatnonzero(family != name)
        again.append(mediated_effects(early._take(kept), late._take(kept)))
    C = len(again)
    for part in ("direct", "through", "rest"):
        spread = np.sqrt((C - 1) / C * sum((getattr(a, part) - getattr(found, part)) ** 2 for a in again))
        np.testing.assert_allclose(getattr(found, f"{part}_se"), spread, rtol=1e-7)


@pytest.mark.parametrize("kind", ["linear", "listed"])
def test_shares_are_those_of_the_weights_and_of_knockouts_with_the_later_site_held(kind: str) -> None:
    early, late, bench = made(2, kind)
    found = mediated_effects(early, late)
    assert isinstance(found, MediatedEffects)
    total, direct, through = by_weights(bench)
    np.testing.assert_allclose(by_knockouts(bench), (total, direct), atol=1e-9)
    half = 1.5 * found.half  # of 4 x 6 intervals a few would miss at 95%
    assert (np.abs(found.total[:, 0] - total) < half * found.total_se[:, 0]).all()
    assert (np.abs(found.direct[:, 0] - direct) < half * found.direct_se[:, 0]).all()
    assert (np.abs(found.through[:, :, 0] - through) < half * found.through_se[:, :, 0]).all()
    known = np.isfinite(found.share[:, 0])
    off = np.abs(found.share[:, 0] - through.sum(axis=1) / total) / found.share_se[:, 0]
    assert (off[known] < half).all()


def test_what_does_not_apply_says_why(linear: tuple[mrinterp.Panel, mrinterp.Panel, MediatedEffects]) -> None:
    early, late, _ = linear
    alone = mediated_effects(early)
    assert isinstance(alone, NotApplicable)
    assert alone.reason.startswith("one site")
    assert isinstance(mediated_effects(early, early), NotApplicable)  # the same site twice
    few = np.flatnonzero(early.runs["family"].to_numpy() < 5)
    assert "5 families" in mediated_effects(early._take(few), late._take(few)).reason  # type: ignore[union-attr]
    with pytest.raises(InputError, match="other runs"):
        mediated_effects(early, late._take(few))
    with pytest.raises(InputError, match="late"):
        mediated_effects(early, replace(late, outcomes=np.asarray(late.outcomes) + 1.0))


def test_no_share_of_an_effect_that_may_be_nothing() -> None:
    early, late, _ = made(3, "linear")
    rng = np.random.default_rng(0)
    still = replace(
        early, features=np.column_stack([rng.standard_normal(len(early.features)), early.features[:, 1:]])
    )
    found = mediated_effects(still, late)
    assert isinstance(found, MediatedEffects)
    assert np.isnan(found.share[0, 0])
    assert "no mediated share" in found.sentence("early 0", "y0")


def test_the_path_diagram_says_what_the_numbers_say(
    linear: tuple[mrinterp.Panel, mrinterp.Panel, MediatedEffects],
) -> None:
    found = linear[2]
    words = [t.get_text() for t in mediated_paths(found, "early 1").texts]
    assert any(w.startswith(f"past it\n{found.direct[1, 0]:+.2g}") for w in words)
    most = int(np.argmax(np.abs(found.through[1, :, 0])))
    assert any(w.startswith(f"late {most}\n{found.through[1, most, 0]:+.2g}") for w in words)
    with pytest.raises(InputError, match="feature"):
        mediated_paths(found, "nobody")
