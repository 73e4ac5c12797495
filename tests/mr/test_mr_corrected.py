"""Estimators that correct for the errors of exposures (MRBEE, SRIVW, GRAPPLE, SuSiE): formulas, and what they are for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mrinterp.cli.mr_words import records, sentences
from mrinterp.core.mrdata import MRData
from mrinterp.mr._engine.driver import estimate
from mrinterp.stats.profile.strength import lambda_str
from tests.mr.joint_cases import (
    changed,
    close,
    draw,
)


def test_mrbee_with_shared_weights_equals_the_general_path() -> None:
    data = draw(O=3)
    same = changed(data, se_y=data.se_y[:1] * np.array([[1.0], [3.0], [0.5]]))
    nearly = changed(
        same, se_y=same.se_y * (1 + 1e-7 * np.random.default_rng(0).standard_normal(same.se_y.shape))
    )
    for small_sample in ("leverage", "factor"):
        a, b = (estimate(d, "mrbee", small_sample=small_sample) for d in (same, nearly))
        close(b.beta, a.beta, 1e-5, 1e-8)
        close(b.se, a.se, 1e-5)
    independent = changed(same, error_corr=None)
    zero = changed(same, error_corr=np.eye(7))
    close(estimate(zero, "mrbee").se, estimate(independent, "mrbee").se, 1e-12)


@pytest.mark.parametrize("loss", ["l2", "huber", "tukey"])
@pytest.mark.parametrize("overdispersion", [False, True])
def test_grapple_with_one_exposure_is_raps(loss: str, overdispersion: bool) -> None:
    data = changed(draw(F=1, O=3), error_corr=None)
    ours = estimate(data, "grapple", loss=loss, overdispersion=overdispersion)
    raps = estimate(data, "raps", loss=loss, overdispersion=overdispersion)
    close(ours.beta, raps.beta, 1e-6)
    close(ours.se, raps.se, 1e-6)
    empirical = estimate(data, "grapple", loss=loss, overdispersion=overdispersion, errors="empirical")
    close(empirical.beta, ours.beta, 1e-12)
    if overdispersion:  # without it the model's error is too small here: there is pleiotropy
        close(np.log(empirical.se / ours.se), np.zeros((1, 3)), 0, 0.35)


def test_srivw_without_regularization_is_mrbee() -> None:
    data = draw()
    ours = estimate(data, "srivw")
    assert (ours.details["phi"] == 0).all()
    close(ours.beta, estimate(data, "mrbee").beta, 1e-9)
    close(ours.se, estimate(data, "mrbee", small_sample="factor").se, 1e-9)


def explicit_moments(data: MRData, o: int = 0) -> tuple[Any, Any, list[Any]]:
    """H and c of one outcome, and per instrument (w, b, g, Sxx, sxy, syy)."""
    F, _, J = data.shape
    sigma = data.error_covariance()
    rows = []
    for j in range(J):
        xx, xy = sigma[j, :F, :F], sigma[j, :F, F + o]
        rows.append(
            (1 / data.se_y[o, j] ** 2, data.beta_x[:, j], data.beta_y[o, j], xx, xy, data.se_y[o, j] ** 2)
        )
    h = sum(w * (np.outer(b, b) - xx) for w, b, g, xx, xy, yy in rows)
    c = sum(w * (b * g - xy) for w, b, g, xx, xy, yy in rows)
    return h, c, rows


def test_mrbee_is_its_formula() -> None:
    data = draw(se=0.4, overlap=0.6)
    ours = estimate(data, "mrbee", small_sample="factor")
    leverage = estimate(data, "mrbee")
    for o in range(2):
        h, c, rows = explicit_moments(data, o)
        theta = np.linalg.solve(h, c)
        gram = sum(w * np.outer(b, b) for w, b, *_ in rows)
        meat, adjusted = np.zeros((4, 4)), np.zeros((4, 4))
        for w, b, g, xx, xy, _ in rows:
            e, lever = g - b @ theta, w * b @ np.linalg.solve(gram, b)
            for total, residual in ((meat, e), (adjusted, e / max(1 - lever, 0.25))):
                score = w * (b * residual + xx @ theta - xy)
                total += np.outer(score, score)
        inverse = np.linalg.inv(h)
        close(ours.beta[:, o], theta, 1e-9)
        close(ours.se[:, o], np.sqrt(np.diag(inverse @ meat @ inverse) * 90 / 86), 1e-9)
        close(leverage.se[:, o], np.sqrt(np.diag(inverse @ adjusted @ inverse)), 1e-9)


def test_srivw_is_its_formula_where_it_regularizes() -> None:
    found = 0
    for seed in range(6):
        data = changed(draw(seed=seed, se=1.0, overlap=0.3, O=1))
        ux, uy = np.median(data.se_x, axis=1), np.median(data.se_y, axis=1)
        unit = changed(
            data,
            beta_x=data.beta_x / ux[:, None],
            se_x=data.se_x / ux[:, None],
            beta_y=data.beta_y / uy,
            se_y=data.se_y / uy,
        )
        h, c, rows = explicit_moments(unit)
        sigma = unit.error_covariance()
        strength = lambda_str(unit.beta_x, unit.se_x, sigma[:, :4, :4])

        def solve(phi: float, h: Any = h, c: Any = c) -> Any:
            values, vectors = np.linalg.eigh(h)
            return vectors @ ((vectors.T @ c) / (values + phi / values))

        def errors(theta: Any, rows: Any = rows) -> tuple[Any, Any]:
            e = np.array([g - b @ theta for _, b, g, *_ in rows])
            return e, np.array([yy + theta @ xx @ theta - 2 * theta @ xy for *_, xx, xy, yy in rows])

        w = np.array([r[0] for r in rows])
        e, v = errors(solve(0.0))
        tau2 = max(0.0, float((w * (e * e - v)).sum() / w.sum()))
        grid = [0.0, *np.exp(np.arange(0, 17.5, 0.5) - strength)]
        losses = [float(np.mean(e**2 / (v + tau2))) for e, v in (errors(solve(p)) for p in grid)]
        best = grid[int(np.argmin(losses))]
        ours = estimate(data, "srivw")
        found += best > 0
        close(ours.details["phi"][0, 0], best, 1e-9)
        close(ours.beta[:, 0], solve(best) * uy / ux, 1e-8)
    assert found, "no case regularized"


def test_overlap_is_corrected_when_instruments_are_weak() -> None:
    """One exposure without effect, mean F of 3, errors correlated .7: IVW's mean is far off, the corrected ones' is not."""
    rng = np.random.default_rng(0)
    J, draws = 300, 60
    corr = np.array([[1.0, 0.7], [0.7, 1.0]])
    found: dict[str, list[float]] = {
        m: [] for m in ("mv_ivw", "mrbee", "srivw", "grapple", "mv_ivw_me", "mv_gmm")
    }
    excluded = dict.fromkeys(found, 0)
    for _ in range(draws):
        errors = np.linalg.cholesky(corr) @ rng.standard_normal((2, J))
        x = np.sqrt(2.0) * rng.standard_normal((1, J)) + errors[:1]
        one = np.ones((1, J))
        data = MRData(
            beta_x=x,
            se_x=one,
            beta_y=errors[1:],
            se_y=one,
            exposures=("x",),
            outcomes=("y",),
            instruments=tuple(map(str, range(J))),
            error_corr=corr,
        )
        for method in found:
            fit = estimate(data, method)
            found[method].append(fit.beta[0, 0])
            excluded[method] += bool(fit.ci_lower[0, 0] > 0 or fit.ci_upper[0, 0] < 0)  # type: ignore[index]
    for method, estimates in found.items():
        error = np.std(estimates) / np.sqrt(draws)
        if method == "mv_ivw":
            assert np.mean(estimates) > 0.15
            assert excluded[method] > 0.5 * draws
        else:
            assert abs(np.mean(estimates)) < 4 * error, method
            assert excluded[method] <= 9, method  # binomial(60, .05) exceeds 9 once in 1,000


def test_direct_path_fine_mapping_does_not_attenuate() -> None:
    rng = np.random.default_rng(0)
    J, se = 400, 0.5
    corr = np.full((4, 4), 0.5) + 0.5 * np.eye(4)
    errors = np.linalg.cholesky(corr) @ rng.standard_normal((4, J)) * se
    b = rng.standard_normal((3, J))
    y = 0.5 * b[:1] + errors[3:] * 0.2
    data = MRData(
        beta_x=b + errors[:3],
        se_x=np.full((3, J), se),
        beta_y=y,
        se_y=np.full((1, J), 0.1),
        exposures=("x0", "x1", "x2"),
        outcomes=("y",),
        instruments=tuple(map(str, range(J))),
        error_corr=corr,
    )
    for method in ("susie_mv", "susie_direct"):
        fit = estimate(data, method)
        assert abs(fit.beta[0, 0] - 0.5) < 0.04, method
        assert np.abs(fit.beta[1:, 0]).max() < 0.03, method


def test_outliers_are_removed_and_the_bootstrap_repeats_it() -> None:
    data = draw(O=1)
    shifted = data.beta_y.copy()
    shifted[0, :6] += 8.0
    far = changed(data, beta_y=shifted)
    plain, robust = estimate(far, "mrbee"), estimate(far, "mrbee", outliers="remove", draws=100)
    assert robust.details["n_outliers"][0, 0] >= 6
    assert (
        np.abs(robust.beta - estimate(data, "mrbee").beta).max()
        < 0.1
        < np.abs(plain.beta - robust.beta).max()
    )
    again = estimate(far, "mrbee", outliers="remove", draws=100)
    close(again.se, robust.se, 0.0)
    assert (estimate(far, "mrbee", outliers="remove", draws=100, seed=1).se != robust.se).any()


def test_two_pathways_are_two_modes() -> None:
    rng = np.random.default_rng(0)
    b = rng.standard_normal((1, 80)) + 2.0
    g = np.where(np.arange(80) < 45, 0.2, 0.9) * b + 0.02 * rng.standard_normal((1, 80))
    data = MRData(
        beta_x=b,
        se_x=np.full_like(b, 0.02),
        beta_y=g,
        se_y=np.full_like(b, 0.02),
        exposures=("x",),
        outcomes=("y",),
        instruments=tuple(map(str, range(80))),
    )
    ours = estimate(data, "grapple", starts=20)
    found = [m["effects"][0] for m in ours.meta["modes"][0]["modes"]]
    assert min(abs(f - 0.2) for f in found) < 0.02
    assert min(abs(f - 0.9) for f in found) < 0.02
    assert "modes" in ours.status[0, 0]


def test_findings_carry_names_whatever_is_missing() -> None:
    """Outcomes with instruments of their own are fitted apart; both keep their modes, under their names."""
    rng = np.random.default_rng(0)
    names = tuple(f"i{j}" for j in range(80))
    b = rng.standard_normal((1, 80)) + 2.0
    g = np.where(np.arange(80) < 45, 0.2, 0.9) * b + 0.02 * rng.standard_normal((2, 80))
    g[1, :5] = np.nan
    data = MRData(
        beta_x=b,
        se_x=np.full_like(b, 0.02),
        beta_y=g,
        se_y=np.full_like(g, 0.02),
        exposures=("x",),
        outcomes=("y", "z"),
        instruments=names,
    )
    ours = estimate(data, "grapple", starts=20)
    assert {m["outcome"] for m in ours.meta["modes"]} == {"y", "z"}
    for row in records([ours]):
        support = {round(m["effects"][0], 1): set(m["instruments"]) for m in row["modes"]}
        low = names[5:45] if row["outcome"] == "z" else names[:45]
        assert len(support[0.2] & set(low)) > 0.8 * len(low)
        assert len(support[0.9] & set(names[45:])) > 0.8 * 35
        assert not support[0.2] & set(names[45:]) & support[0.9]
    assert list(sentences([ours]))[1].count("Mode at") == 2


def test_fine_mapping_finds_opposite_effects_of_coactivated_exposures() -> None:
    data = draw(seed=2, F=8, J=150, O=1, overlap=0.0)
    rng = np.random.default_rng(4)
    root = np.linalg.cholesky(np.full((8, 8), 0.85) + 0.15 * np.eye(8))
    b = root @ rng.standard_normal((8, 150))
    x = b + 0.15 * rng.standard_normal(b.shape)
    y = 0.3 * b[:1] - 0.3 * b[4:5] + 0.1 * rng.standard_normal((1, 150))
    y[0, :4] += 1.5
    data = MRData(
        beta_x=x,
        se_x=np.full_like(x, 0.15),
        beta_y=y,
        se_y=np.full_like(y, 0.1),
        exposures=data.exposures,
        outcomes=("y",),
        instruments=data.instruments,
    )
    direct = estimate(data, "susie_direct")
    assert [s["exposures"] for s in direct.meta["credible_sets"] if s["exposures"]] in (
        [["x0"], ["x4"]],
        [["x4"], ["x0"]],
    )
    assert set(direct.meta["direct"][0][2]) == {"g0", "g1", "g2", "g3"}
    clean = changed(data, beta_y=np.where(np.arange(150) < 4, data.beta_y - 1.5, data.beta_y))
    sets = estimate(clean, "susie_mv").meta["credible_sets"]
    assert sorted(s["exposures"] for s in sets) == [["x0"], ["x4"]]
    inclusion = estimate(clean, "mr_bma").details["inclusion"][:, 0]
    assert set(np.flatnonzero(inclusion > 0.5)) == {0, 4}
    grown = estimate(clean, "mr_bma", max_models=40).details["inclusion"][:, 0]
    close(grown, inclusion, 0, 0.02)
