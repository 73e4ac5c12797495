"""Tails on the log scale, against exact arithmetic."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest

from mrinterp.stats.tests.tails import critical_value, neglog10p_chi2, neglog10p_normal, neglog10p_t


@pytest.mark.parametrize("z", [0.0, 0.5, 1.96, 8.0, 40.0, 300.0])
def test_normal(z: float) -> None:
    mp.mp.dps = 60
    exact = float(-mp.log10(mp.erfc(mp.mpf(z) / mp.sqrt(2))))
    np.testing.assert_allclose(neglog10p_normal(z), exact, rtol=1e-12, atol=1e-15)
    assert neglog10p_normal(-z) == neglog10p_normal(z)


@pytest.mark.parametrize("df", [3, 10, 49, 999])
@pytest.mark.parametrize("t", [0.3, 2.0, 12.0, 80.0, 1e4])
def test_t(t: float, df: int) -> None:
    mp.mp.dps = 60
    x = mp.mpf(df) / (df + mp.mpf(t) ** 2)
    exact = float(-mp.log10(mp.betainc(mp.mpf(df) / 2, mp.mpf(1) / 2, 0, x, regularized=True)))
    np.testing.assert_allclose(neglog10p_t(t, df), exact, rtol=1e-8)


def test_t_with_infinite_df_is_normal() -> None:
    np.testing.assert_array_equal(neglog10p_t([1.0, 40.0], np.inf), neglog10p_normal([1.0, 40.0]))


@pytest.mark.parametrize(("q", "df"), [(3.84, 1), (99.5, 27), (5e3, 10), (4e4, 100)])
def test_chi2(q: float, df: int) -> None:
    mp.mp.dps = 80
    exact = float(-mp.log10(mp.gammainc(mp.mpf(df) / 2, mp.mpf(q) / 2, regularized=True)))
    np.testing.assert_allclose(neglog10p_chi2(q, df), exact, rtol=1e-3)


def test_critical_values() -> None:
    np.testing.assert_allclose(critical_value(0.95), 1.959963984540054)
    np.testing.assert_allclose(critical_value(0.95, [27, np.inf]), [2.0518305164802833, 1.959963984540054])
