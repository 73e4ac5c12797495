"""The sum of single effects, term by term, against the published updates written out without any of its shortcuts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mrinterp.stats.sparse.susie import pip, sum_of_single_effects

J, L, ROUNDS = 7, 3, 4


def made_up() -> dict[str, Any]:
    """Two traits of unequal size and variance, correlated instruments, unequal prior weights."""
    rng = np.random.default_rng(3)
    x = rng.standard_normal((60, J)) + 0.8 * rng.standard_normal((60, 1))
    ld = np.corrcoef(x.T)
    n = np.array([60.0, 400.0])
    beta = np.zeros((2, J))
    beta[0, [1, 4]], beta[1, [0, 5]] = (0.9, -0.5), (0.4, 0.3)
    xty = (n - 1)[:, None] * (beta @ ld) + np.sqrt(n - 1)[:, None] * rng.standard_normal((2, J))
    prior = np.array([1.0, 2.0, 1.0, 0.5, 1.0, 3.0, 1.0])
    return {"xty": xty, "yty": np.array([120.0, 500.0]), "n": n, "ld": ld, "prior": prior}


def written_out(
    t: int, null: float, em: bool, residual: bool, scale: float, data: dict[str, Any]
) -> dict[str, Any]:
    """Wang et al. 2020, with explicit sums: ``ROUNDS`` rounds of coordinate ascent on one trait."""
    xty, yty, n = data["xty"][t], data["yty"][t], data["n"][t]
    d, R = n - 1, (n - 1) * data["ld"]
    p = data["prior"] / data["prior"].sum() * (1 - null)
    sigma2 = yty / d
    V = np.full(L, scale * sigma2)
    alpha, mu, second = np.zeros((L, J)), np.zeros((L, J)), np.zeros((L, J))
    log_bf, kl, by_instrument = np.zeros(L), np.zeros(L), np.zeros((L, J))
    for round_ in range(ROUNDS):
        for e in range(L):
            others = sum((alpha[f] * mu[f] for f in range(L) if f != e), np.zeros(J))
            r = xty - R @ others
            noise = sigma2 / d
            lbf = 0.5 * np.log(noise / (noise + V[e])) + 0.5 * (r / d) ** 2 / noise * V[e] / (V[e] + noise)
            total = null + (p * np.exp(lbf)).sum()
            alpha[e] = p * np.exp(lbf) / total
            mu[e] = V[e] / (V[e] + noise) * r / d
            second[e] = alpha[e] * (mu[e] ** 2 + V[e] * noise / (V[e] + noise))
            log_bf[e], by_instrument[e] = np.log(total), lbf
            square = d * second[e].sum()
            kl[e] = -log_bf[e] + (2 * (alpha[e] * mu[e] * r).sum() - square) / (2 * sigma2)
            if em:
                V[e] = second[e].sum() / (alpha[e].sum() if null else 1.0)
        b = alpha * mu
        rss = yty - 2 * b.sum(0) @ xty + b.sum(0) @ R @ b.sum(0)
        rss += sum(d * second[e].sum() - b[e] @ R @ b[e] for e in range(L))
        elbo = -n / 2 * np.log(2 * np.pi * sigma2) - rss / (2 * sigma2) - kl.sum()
        if residual and round_ < ROUNDS - 1:
            sigma2 = rss / n
    return {
        "alpha": alpha, "mu": mu, "log_bf": log_bf, "log_bf_variable": by_instrument, "prior_variance": V,
        "sigma2": sigma2, "elbo": elbo, "pip": 1 - np.prod(1 - alpha, axis=0),
    }  # fmt: skip


@pytest.mark.parametrize("null", [0.0, 0.3])
@pytest.mark.parametrize("em", [False, True])
@pytest.mark.parametrize("residual", [False, True])
def test_every_update_is_the_published_one(null: float, em: bool, residual: bool) -> None:
    data = made_up()
    fit = sum_of_single_effects(
        data["xty"],
        data["yty"],
        data["n"],
        data["ld"],
        max_effects=L,
        prior_weights=data["prior"],
        null_weight=null,
        scaled_prior_variance=0.15,
        prior_variance="em" if em else "fixed",
        estimate_residual_variance=residual,
        tol=1e-300,
        max_iter=ROUNDS,
    )
    for t in range(2):
        wanted = written_out(t, null, em, residual, 0.15, data)
        found = {name: getattr(fit, name)[t] for name in wanted if name != "pip"}
        found["pip"] = pip(fit.alpha, fit.prior_variance)[t]
        for name, value in wanted.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-9, atol=1e-12, err_msg=name)
