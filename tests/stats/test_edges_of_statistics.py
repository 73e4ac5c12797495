"""Edges that a formula's ordinary data do not reach: one family, a column of zeros, ties, few rows, padding."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from mrinterp.core.errors import InputError
from mrinterp.knockouts._clean_values import spread
from mrinterp.mr._engine.driver import estimate, run_mr
from mrinterp.stats.clustered.dependence import changes_beyond_rounding, rounding_of
from mrinterp.stats.clustered.joint_effects import jackknifed_mean
from mrinterp.stats.clustered.least_squares import share_left
from mrinterp.stats.clustered.ratio import clustered_ratio
from mrinterp.stats.loops.row_threads import by_rows
from mrinterp.stats.robust.bisquare_scale import _least_squares
from mrinterp.stats.robust.kernel_modes import kernel_modes
from mrinterp.stats.robust.mode_bootstrap import bootstrap_mode_mad
from mrinterp.stats.sparse.sparsity import greedy_clumps
from tests.mr.test_mr_bad_cells import data


def test_one_family_has_a_mean_and_no_error() -> None:
    values = np.arange(6.0).reshape(3, 2)
    one = jackknifed_mean(values, np.zeros(3, dtype=int))
    assert np.isnan(one.se).all()
    np.testing.assert_allclose(one.value, values.mean(axis=0))
    two = jackknifed_mean(values, np.array([0, 0, 1]))
    assert np.isfinite(two.se).all()


def test_a_column_of_zeros_leaves_the_others_their_shares() -> None:
    rng = np.random.default_rng(0)
    Z = np.c_[rng.standard_normal((20, 2)), np.zeros(20)]
    left = share_left(Z)
    a, b = Z[:, 0], Z[:, 1]
    np.testing.assert_allclose(left[0], 1 - (a @ b) ** 2 / (a @ a) / (b @ b), rtol=1e-9)
    assert np.isfinite(left[:2]).all()


@pytest.mark.parametrize(("rows", "least"), [(0, 1), (1, 1), (1, 10), (7, 3), (100, 1)])
def test_rows_are_covered_once_however_few(rows: int, least: int) -> None:
    seen = np.zeros(rows, dtype=int)

    def work(first: int, last: int) -> None:
        seen[first:last] += 1

    by_rows(work, rows, least)
    assert (seen == 1).all()


@pytest.mark.parametrize("p", [1, 2, 3])
def test_small_weighted_least_squares(p: int) -> None:
    rng = np.random.default_rng(p)
    X, y, w = rng.standard_normal((p, 15)), rng.standard_normal(15), rng.uniform(0.2, 2.0, 15)
    beta = np.empty(p)
    _least_squares(X, y, w, np.empty((p, p)), np.empty(p), beta)
    want = np.linalg.lstsq((X * np.sqrt(w)).T, y * np.sqrt(w), rcond=None)[0]
    np.testing.assert_allclose(beta, want, rtol=1e-9)


def test_of_equal_modes_the_first_is_taken() -> None:
    out = np.empty(1)
    values = np.array([[3.0, -3.0, 3.1, -3.1]])
    kernel_modes(values, np.ones((1, 4)), np.array([0.2]), out)
    np.testing.assert_allclose(out, -3.05, atol=1e-6)


def test_the_spread_of_modes_is_about_their_median() -> None:
    """Far from 0, deviations from the median and from its negative are worlds apart."""
    ratio, sd = np.array([[50.0, 50.1, 49.9, 50.05]]), np.full((1, 4), 0.1)
    args = np.ones((1, 4)), ratio.view(np.uint64), 1.0, -1.0, 200, np.uint64(3)
    found = bootstrap_mode_mad(ratio, sd, *args)[0]
    assert 0.01 < found < 0.2
    assert bootstrap_mode_mad(ratio, 2 * sd, *args)[0] == pytest.approx(2 * found, rel=0.5)


def test_natural_spread_leaves_padding_out_and_rounding_is_none() -> None:
    values = np.array([[1.0, 2.0, np.nan, 4.0], [0.1, 0.1, 0.1 + 1e-17, np.nan]])
    np.testing.assert_allclose(spread(values), [np.std([1.0, 2.0, 4.0]), 0.0])


def test_one_draw_has_no_error() -> None:
    for draws, finite in ((0, False), (1, False), (2, True)):
        try:
            found = estimate(data(), "weighted_median", draws=draws)
        except InputError as refused:
            assert draws == 1, "draws of 0 leave the error out"
            assert "draws" in str(refused)
            continue
        assert np.isfinite(found.se).all() == finite


def test_a_grid_that_cuts_the_interval_is_said() -> None:
    """The estimate lies near .4: a grid that ends there cannot hold the interval."""
    whole = estimate(data(), "conmix", lower=-2.0, upper=2.0, step=0.005)
    cut = estimate(data(), "conmix", lower=-2.0, upper=float(whole.beta[0, 0]), step=0.005)
    assert whole.status[0, 0] == "ok"
    assert "reaches the end of the grid" in cut.status[0, 0]


def test_a_normal_tail_far_out() -> None:
    """The series and the fraction of the tail of t meet the library's where it still has digits."""
    from mrinterp.stats.tests.t_tail import two_sided_t

    t = np.array([0.3, 1.0, 2.5, 6.0, 20.0])
    for df in (1.0, 4.0, 33.0):
        np.testing.assert_allclose(two_sided_t(t, df), 2 * stats.t.sf(t, df), rtol=1e-9)


def test_a_ratio_over_nothing_is_no_number() -> None:
    rng = np.random.default_rng(1)
    numerator, denominator = rng.standard_normal((12, 2)) + 1.0, np.zeros((12, 2))
    denominator[:, 1] = rng.standard_normal(12) - 1.0
    found = clustered_ratio(numerator, denominator, np.arange(12) // 2)
    assert np.isnan(found.ratio[0])
    np.testing.assert_allclose(found.ratio[1], numerator[:, 1].mean() / denominator[:, 1].mean())
    one = clustered_ratio(np.full((12, 1), 2.0), np.full((12, 1), -1.0), np.arange(12) // 2)
    np.testing.assert_allclose(one.ratio, -2.0)


def test_a_member_of_the_first_clump_leads_no_other() -> None:
    ld = np.eye(4)
    ld[0, 1] = ld[1, 0] = 0.9
    leaders, clump = greedy_clumps(np.array([9.0, 8.0, 7.0, 1.0]), ld, 2.0, 0.5)
    assert leaders.tolist() == [0, 2]
    assert clump.tolist() == [0, 0, 1, -1]


def test_rounding_is_that_of_the_numbers_not_of_their_type() -> None:
    rng = np.random.default_rng(2)
    fine = rng.standard_normal((50, 1))
    coarse = fine.astype(np.float32).astype(np.float64)
    mixed = np.where(np.arange(50)[:, None] == 49, fine, coarse)
    found = rounding_of(np.hstack([fine, coarse, mixed]))
    few, many = np.finfo(np.float64).eps, np.finfo(np.float32).eps
    assert found.tolist() == [few, many, few]


@pytest.mark.parametrize("options", [["ivw"], {"egger": "normal"}, {"egger": 3}])
def test_options_are_by_method(options: Any) -> None:
    with pytest.raises(InputError, match=r"options: .*Give them by method"):
        run_mr(data(), ["ivw"], options)


def test_rounding_goes_by_the_size_of_negative_values_too() -> None:
    changes = np.full((4, 1), 1e-14)
    assert not changes_beyond_rounding(changes, np.full((3, 1), 100.0)).any()
    assert not changes_beyond_rounding(changes, np.full((3, 1), -100.0)).any()
    assert changes_beyond_rounding(changes, np.full((3, 1), -1e-3)).all()
