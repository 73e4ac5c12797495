"""SuSiE against susieR 0.16.5 and 0.14.2: the fixed point to 1e-6, default tolerances as they stopped."""

from __future__ import annotations

import numpy as np
import pytest

from mrinterp.coloc._finemap import SusieOptions, finemap_individual, finemap_sufficient, finemap_summary
from mrinterp.results._fine_mapping import FineMapping
from mrinterp.stats.sparse.ld_mismatch import inconsistency, spectrum
from tests.coloc.coloc_cases import CLASSIC_SUSIE, SIMULATED_SUSIE, Case, load_case

NAMES = SIMULATED_SUSIE + CLASSIC_SUSIE

FIXED_PRIOR = {"prior_variance": "fixed"}

# entry, form of the input, options
FITS = [
    ("susie.individual.tight", "individual", {"tol": 1e-9}),
    ("susie.rss.z.tight", "z", {"tol": 1e-9}),
    ("susie.rss.z.fixedV.tight", "z", {"tol": 1e-10, "max_effects": 5, **FIXED_PRIOR}),
    ("susie.individual", "individual", {}),
    ("susie.individual.fixedV", "individual", {"estimate_residual_variance": False, **FIXED_PRIOR}),
    ("susie.individual.L1", "individual", {"max_effects": 1}),
    ("susie.suff_stat", "sufficient", {}),
    ("susie.rss.z", "z", {}),
    ("susie.rss.z.L3", "z", {"max_effects": 3}),
    ("susie.rss.z.fixedV", "z", {"max_effects": 5, **FIXED_PRIOR}),
    ("susie.rss.z.no_n", "z without n", {}),
    ("susie.rss.z.null_weight", "z", {"null_weight": 0.1}),
    ("susie.rss.z.EM", "z", {"prior_variance": "em"}),
    ("susie.rss.z.cov90.purity0.8", "z", {"coverage": 0.9, "min_abs_corr": 0.8}),
    ("susie.rss.bhat", "effects", {"estimate_residual_variance": True}),
]
# the older version treats a null weight differently, and its EM sets variances to 0 between two steps
DIFFERENT = {"susie.rss.z.null_weight", "susie.rss.z.EM"}
# it also stops at a change of 1e-3 where the newer stops at 1e-4
FITS += [(f"{e}.v0142", form, {"tol": 1e-3, **options}) for e, form, options in FITS if e not in DIFFERENT]


def fit(case: Case, form: str, options: dict) -> FineMapping:
    chosen = SusieOptions(**{"max_iter": 5000, **options})
    if form in ("individual", "sufficient"):
        xy = case.frame("xy.csv").to_numpy()
        y, x = xy[:, 0], xy[:, 1:]
        if form == "individual":
            return finemap_individual(x, y, options=chosen)
        x, y = x - x.mean(0), y - y.mean()
        return finemap_sufficient(x.T @ x, x.T @ y, y @ y, len(y), options=chosen)
    stats, ld = case.frame("sumstats.csv"), case.frame("ld.csv").to_numpy()
    if form == "z without n":
        return finemap_summary(stats.z, ld, options=chosen)
    n = case.meta["n"]
    if form == "effects":
        y = case.frame("xy.csv")["y"]
        z = stats.bhat / stats.shat
        return finemap_summary(z, ld, n, se=stats.shat, variance_y=np.var(y, ddof=1), options=chosen)
    return finemap_summary(stats.z, ld, n, options=chosen)


@pytest.mark.parametrize(("entry", "form", "options"), FITS, ids=[f[0] for f in FITS])
@pytest.mark.parametrize("name", NAMES)
def test_fit(name: str, entry: str, form: str, options: dict) -> None:
    case = load_case(name)
    expected = case.results(entry)
    result = fit(case, form, options)
    assert result.converged[0] == expected["converged"]
    # credible sets in the order and with the purity of the package
    theirs = (
        [tuple(np.atleast_1d(s)) for s in expected["cs"]]
        if isinstance(expected["cs"], list)
        else [(expected["cs"],)]
    )
    assert [tuple(np.array(s.positions) + 1) for s in result.sets[0]] == theirs
    np.testing.assert_allclose(result.pip[0], expected["pip"], atol=1e-6)
    np.testing.assert_allclose(result.prior_variance[0], np.atleast_1d(expected["V"]), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(result.sigma2[0], expected["sigma2"], rtol=1e-6)
    if theirs:
        purity = [s.min_abs_corr for s in result.sets[0]]
        np.testing.assert_allclose(purity, np.atleast_1d(expected["cs_min_abs_corr"]), rtol=1e-6)
        if not entry.endswith(
            ".v0142"
        ):  # the older version prints a coverage other than the sum of its weights
            coverage = [s.coverage for s in result.sets[0]]
            np.testing.assert_allclose(coverage, np.atleast_1d(expected["cs_coverage"]), atol=1e-6)
    if "lbf_variable" in expected:
        np.testing.assert_allclose(
            result.log_bf_variable[0], np.atleast_2d(expected["lbf_variable"]), rtol=1e-5, atol=1e-6
        )
    if "alpha" in expected:
        np.testing.assert_allclose(result.alpha[0], np.atleast_2d(expected["alpha"]), atol=1e-6)
    if "coef" in expected and form != "z":
        np.testing.assert_allclose(result.coef[0], expected["coef"], atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_every_entry_is_compared_or_explained(name: str) -> None:
    explained = {f"{entry}.v0142" for entry in DIFFERENT}
    explained |= {"susie.estimate_s_rss", "susie.estimate_s_rss.v0142"}  # compared below
    assert set(load_case(name).entries) <= {f[0] for f in FITS} | explained


@pytest.mark.parametrize("name", NAMES)
def test_inconsistency_of_own_ld_is_nil(name: str) -> None:
    case = load_case(name)
    stats, n = case.frame("sumstats.csv"), case.meta["n"]
    z = stats.z.to_numpy()
    z = z * np.sqrt((n - 1) / (z * z + n - 2))
    s = inconsistency(z[None], spectrum(case.frame("ld.csv").to_numpy()))[0]
    for entry in ("susie.estimate_s_rss", "susie.estimate_s_rss.v0142"):
        assert abs(s - case.results(entry)["s"]) < 1e-6
