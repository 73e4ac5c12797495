"""Evidence, computed from the data alone, that ours is right where it differs from a published number."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import optimize, stats

from mrinterp.mr._engine.driver import estimate
from mrinterp.mr._univariable.cml import _paths
from mrinterp.stats.profile.losses import Loss, find_loss
from mrinterp.stats.profile.strength import joint_rank_statistic, sized_covariance
from tests.reference.mr_cases import Case, Entry
from tests.reference.mr_fits import Values
from tests.reference.mr_mapping import MAPPED


def p_on_one_degree_too_many(case: Case, entry: Entry, ours: Values) -> bool:
    """Their p is t on J - K, their interval t on J - K - 1: the regression has K + 1 coefficients."""
    K, _, J = case.data.shape
    t = np.array(entry.results["estimate"]) / np.array(entry.results["se"])
    theirs = np.allclose(2 * stats.t.sf(np.abs(t), J - K), entry.results["p"], rtol=1e-8)
    half = (np.array(entry.results["ci_upper"]) - entry.results["estimate"]) / entry.results["se"]
    return theirs and np.allclose(half, stats.t.ppf(0.975, J - K - 1), rtol=1e-8)


def zero_effect_is_erased(case: Case, entry: Entry, ours: Values) -> bool:
    """They multiply a whole row by sign(0) = 0: with its numbers set to 0, ours gives theirs."""
    orient = entry.args["orientate"] - 1
    zero = case.data.beta_x[orient] == 0
    if not zero.any():
        return True
    erased = replace(
        case.data, beta_x=np.where(zero, 0.0, case.data.beta_x), beta_y=np.where(zero, 0.0, case.data.beta_y)
    )
    beta = estimate(erased, "mv_egger", orientate=orient + 1).beta[:, 0]
    return bool(np.allclose(beta, entry.results["estimate"], rtol=1e-8))


def divided_by_a_dimension(case: Case, entry: Entry, ours: Values) -> bool:
    """Theirs is ours / min(1, sigma) with sigma in the outcome's unit: another unit, another z."""
    J = case.data.shape[2]
    sigma = np.sqrt(ours["Q"] / (J - 1))
    explained = np.isclose(entry.results["se"], ours["se"] / min(1.0, sigma), rtol=1e-8)
    x, y = case.data.beta_x[0], case.data.beta_y[0]
    oracle = stats.linregress(np.r_[x, -x], np.r_[y, -y])  # doubling the points makes the line pass through 0
    right = oracle.stderr * np.sqrt((2 * J - 2) / (J - 1))
    return bool(explained and np.isclose(ours["se"], right, rtol=1e-8))


def _exact_q(case: Case, theta: float) -> float:
    """The objective of maximum likelihood, computed here on its own."""
    d = case.data
    e = d.beta_y[0] - theta * d.beta_x[0]
    return float(np.sum(e**2 / (d.se_y[0] ** 2 + theta**2 * d.se_x[0] ** 2)))


def lower_objective(case: Case, entry: Entry, ours: Values) -> bool:
    """No theta does better than ours, theirs does worse, and the true optimum is listed with the data."""
    q = _exact_q(case, ours["estimate"])
    truth = case.entries["exact.profile_ml"].results
    return (
        q <= _exact_q(case, entry.results["estimate"]) + 1e-9
        and entry.results["Q"] >= ours["Q"] - 1e-6
        and np.isclose(ours["estimate"], truth["estimate"], rtol=1e-5)
        and np.isclose(ours["Q"], truth["Q"], rtol=1e-8)
    )


def lower_correlated_objective(case: Case, entry: Entry, ours: Values) -> bool:
    """e'(theta) Omega(theta)^-1 e(theta) is lower at ours than at theirs, and nowhere lower on a fine grid."""
    d = case.data
    assert d.ld is not None

    def q(theta: float) -> float:
        e = d.beta_y[0] - theta * d.beta_x[0]
        omega = d.ld * (np.outer(d.se_y[0], d.se_y[0]) + theta**2 * np.outer(d.se_x[0], d.se_x[0]))
        return float(e @ np.linalg.solve(omega, e))

    sweep = ours["estimate"] + 5.0 * ours["se"] * np.linspace(-1, 1, 401)
    least = min(q(theta) for theta in sweep)
    return q(ours["estimate"]) <= least + 1e-9 and q(ours["estimate"]) < q(entry.results["estimate"]) - 1e-3


def between_least_squares_and_minimum(case: Case, entry: Entry, ours: Values) -> bool:
    """Theirs lies between the least F of any direction and F at the least squares delta, which is ours."""
    d = case.data
    n = np.full(d.shape[0], float(entry.args["nx"]))
    corr = entry.args.get("correl.x")
    sigma = sized_covariance(d.beta_x, d.se_x, n, None if corr is None else np.array(corr, float))
    J, K = d.shape[2], d.shape[0]
    for k, (mine, theirs) in enumerate(zip(ours["CondFstat"], entry.results["CondFstat"], strict=True)):
        rest = np.arange(K) != k
        direction = np.ones(K)
        direction[rest] = -np.linalg.lstsq(d.beta_x[rest].T, d.beta_x[k], rcond=None)[0]
        variance = np.einsum("k,jkl,l->j", direction, sigma, direction)
        f = float(((direction @ d.beta_x) ** 2 / variance).sum() / (J - K + 1))
        least = joint_rank_statistic(d.beta_x, d.se_x, sigma)
        if not (np.isclose(mine, f, rtol=1e-9) and least * (1 - 1e-6) <= theirs <= f * (1 + 1e-5)):
            return False
    return True


def shrunken_fixed_error(case: Case, entry: Entry, ours: Values) -> bool:
    """Their fixed-effect error falls below what the known errors of the instruments allow."""
    chosen, J = entry.results["model"], case.data.shape[2]
    if chosen in "BD":
        return bool(np.isclose(ours["selected"]["SE"], entry.results["selected"]["SE"], rtol=1e-8))
    q = ours["Q"]["Q"][0 if chosen == "A" else 1]
    sigma = np.sqrt(q / (J - (1 if chosen == "A" else 2)))
    least = 1.0 / np.sqrt(np.sum((case.data.beta_x[0] / case.data.se_y[0]) ** 2))
    return bool(
        np.isclose(entry.results["selected"]["SE"], ours["selected"]["SE"] * min(1.0, sigma), rtol=1e-8)
        and ours["selected"]["SE"] >= least * (1 - 1e-12)
    )


def interval_and_p_agree(case: Case, entry: Entry, ours: Values) -> bool:
    """Theirs multiplies the likelihood drop by phi^2 where its own interval divides by it."""
    grid = {"lower": entry.results["CIMin"], "upper": entry.results["CIMax"], "step": entry.results["CIStep"]}
    inflation = float(estimate(case.data, "conmix", **grid).details["inflation"][0, 0])
    drop = stats.chi2.isf(ours["p"], 1) * inflation
    explained = np.isclose(
        np.log(stats.chi2.sf(drop * inflation, 1)), np.log(entry.results["p"]), rtol=0.02, atol=1e-6
    )
    inside = ours["ci_lower"] <= 0 <= ours["ci_upper"]
    return bool(explained or inflation > 1) and (ours["p"] > 0.05) == inside


def overdispersion_equation(case: Case, loss: Loss, theta: float, tau2: float) -> float:
    """Zhao 2020's Sum (s^2/v)[t psi(t) - delta], as a share of the sum of its terms' sizes."""
    d = case.data
    s2 = d.se_x[0] ** 2
    v = d.se_y[0] ** 2 + theta**2 * s2 + tau2
    t = (d.beta_y[0] - theta * d.beta_x[0]) / np.sqrt(v)
    terms = s2 / v * (t * loss.psi(t) - loss.delta)
    return float(terms.sum() / np.abs(terms).sum())


def solves_the_paper(case: Case, entry: Entry, ours: Values) -> bool:
    """Ours solves Zhao 2020's equation for tau^2 (or is 0 where it is negative) and theta minimizes the loss
    there; of theirs one of the two is not so."""
    loss = find_loss("tukey" if entry.method_id.endswith("tukey") else "huber")
    theta, tau2 = ours["estimate"], ours["tau2"]
    here = overdispersion_equation(case, loss, theta, tau2)
    there = overdispersion_equation(case, loss, entry.results["estimate"], entry.results["tau2"])
    solved = abs(here) < 1e-6 if tau2 > 0 else here <= 1e-9
    theirs_solved = abs(there) < 1e-4 if entry.results["tau2"] > 0 else there <= 1e-9
    d = case.data

    def excess(theta: float, tau2: float) -> float:
        sweep = theta + ours["se"] * np.linspace(-5, 5, 401)[:, None]
        v = d.se_y[0] ** 2 + sweep**2 * d.se_x[0] ** 2 + tau2
        losses = loss.rho((d.beta_y[0] - sweep * d.beta_x[0]) / np.sqrt(v)).sum(axis=1)
        return float(losses[200] - losses.min())

    theirs_least = excess(entry.results["estimate"], entry.results["tau2"]) < 1e-6
    return bool(solved and excess(theta, tau2) <= 1e-9 and not (theirs_solved and theirs_least))


def never_a_worse_likelihood(case: Case, entry: Entry, ours: Values) -> bool:
    """For every number of invalid instruments our -2 log likelihood is at most theirs, for some less."""
    d = case.data
    n = float(entry.args["n"])
    *_, bic = _paths(d.beta_x[0], d.se_x[0], d.beta_y[0], d.se_y[0], 0.0, n, d.shape[2] - 2)
    theirs = np.array(case.entries["mrcml.mr_cML"].results["BIC_vec"], float)
    with_starts = np.array(case.entries["mrcml.mr_cML.rs10"].results["BIC_vec"], float)
    if entry.method_id.endswith("rs10"):
        theirs = with_starts
    return bool((bic <= np.minimum(theirs, with_starts) + 1e-5).all() and (bic < theirs - 1e-6).any())


def lower_lasso_objective(case: Case, entry: Entry, ours: Values) -> bool:
    """The penalized criterion at our solution is below its value at theirs."""
    d = case.data
    sign = np.where(d.beta_x[0] < 0, -1.0, 1.0)
    b, g, w = d.beta_x[0] * sign, d.beta_y[0] * sign, d.se_y[0] ** -2.0
    columns = (np.eye(len(b)) - np.outer(b * np.sqrt(w), b * np.sqrt(w)) / np.sum(w * b * b)) * np.sqrt(w)
    price = entry.results["Lambda"] * len(b) * columns.std(axis=0)

    def criterion(theta: float, alpha: np.ndarray) -> float:
        return float(0.5 * np.sum(w * (g - theta * b - alpha) ** 2) + np.sum(price * np.abs(alpha)))

    residual = g - ours["RegEstimate"] * b
    alpha = np.sign(residual) * np.maximum(np.abs(residual) - price / w, 0.0)
    return criterion(ours["RegEstimate"], alpha) < criterion(
        entry.results["RegEstimate"], np.array(entry.results["RegIntercept"])
    )


def not_even_themselves(case: Case, entry: Entry, ours: Values) -> bool:
    """Two runs of the same perturbation with 200 draws differ by more than their own tolerance."""
    one = case.entries["mendr.cML.MA.DP"].results["se"]
    other = case.entries["mrcml.mr_cML_DP"].results["MA_BIC_DP_se"]
    return abs(one / other - 1) > 0.1


def their_mixture_is_not_fitted(case: Case, entry: Entry, ours: Values) -> bool:
    """At their own theta another (pi0, sigma^2) is likelier than theirs: pi0 there is not the estimate."""
    d, r = case.data, entry.results
    b, s, g, t = d.beta_x[0], d.se_x[0], d.beta_y[0], d.se_y[0]
    v = t**2 + r["theta"] ** 2 * s**2
    e2 = (g - r["theta"] * b) ** 2

    def log_likelihood(x: np.ndarray) -> float:
        pi0, wide = 1 / (1 + np.exp(-x[0])), v + np.exp(x[1])
        parts = pi0 * np.exp(-0.5 * e2 / v) / np.sqrt(v) + (1 - pi0) * np.exp(-0.5 * e2 / wide) / np.sqrt(
            wide
        )
        return float(np.log(parts + 1e-300).sum())

    pi0 = min(max(r["pi0"], 1e-9), 1 - 1e-9)
    theirs = np.array([np.log(pi0 / (1 - pi0)), np.log(max(r["sigma2"], 1e-12))])
    best = optimize.minimize(
        lambda x: -log_likelihood(x), theirs, method="Nelder-Mead", options={"maxiter": 4000}
    )
    return bool(-best.fun > log_likelihood(theirs) + 1e-6)


def refused(case: Case, entry: Entry, ours: Values) -> bool:
    """Ours gives no number, and says what it needs."""
    status = str(estimate(case.data, MAPPED[entry.method_id].method).status[0, 0])
    return "needs at least" in status and not any(np.isfinite(v) for v in ours.values())
