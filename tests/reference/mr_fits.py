"""Our numbers under the names of published fields: one function for each shape of published result."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mrinterp.mr._engine.driver import estimate
from mrinterp.mr._engine.leave_one_out import leave_one_out as without_each
from mrinterp.results._estimates import Estimates
from mrinterp.stats.profile import strength
from mrinterp.stats.tests.tails import neglog10p_normal
from tests.reference.mr_cases import Case, Entry

Values = dict[str, Any]


FROM_ESTIMATE = {"estimate": "beta", "b": "beta", "se": "se", "ci_lower": "ci_lower", "ci_upper": "ci_upper"}


FROM_DETAILS = {
    "Q": "q",
    "Q_df": "q_df",
    "F": "f",
    "intercept": "intercept",
    "intercept_se": "intercept_se",
    "I2_GX": "i2_gx",
    "conditional_F": "conditional_f",
    "tau2": "overdispersion",
    "Tau2": "overdispersion",
}


P_FROM_DETAILS = {"Q_p": "q_p", "Q_pval": "q_p", "intercept_p": "intercept_p"}


@dataclass(frozen=True)
class Ours:
    """Our method, its options, and the published fields that it is compared with."""

    method: str
    options: dict[str, Any] = field(default_factory=dict)
    fields: tuple[str, ...] = ("estimate", "se", "p")
    own: Callable[[Case, Entry], Values] | None = None
    per_case: Callable[[Case, Entry], dict[str, Any]] | None = None
    tolerance: dict[str, Any] = field(default_factory=dict)


def fit(case: Case, method: str, **options: Any) -> Estimates:
    """Our estimates, with ld only where the method is meant to use it."""
    return estimate(case.data, method, **options)


def values(case: Case, entry: Entry, ours: Ours) -> Values:
    """Our numbers under the names of the published fields."""
    if ours.own is not None:
        return ours.own(case, entry)
    more = ours.per_case(case, entry) if ours.per_case else {}
    method = more.pop("method", ours.method)
    return read(fit(case, method, **{**ours.options, **more}), ours.fields)


def read(result: Estimates, fields: tuple[str, ...]) -> Values:
    many = len(result.exposures) > 1
    out: Values = {}
    for name in fields:
        if name in FROM_ESTIMATE:
            column = getattr(result, FROM_ESTIMATE[name])
        elif name == "p":
            column = 10.0**-result.neglog10p
        else:
            column = result.details[{**FROM_DETAILS, **P_FROM_DETAILS}[name]]
        scalar = not many or name.startswith(("Q", "intercept"))
        out[name] = float(column[0, 0]) if scalar else [float(v) for v in column[:, 0]]
    return out


def few(case: Case, entry: Entry) -> dict[str, Any]:
    """MendelianRandomization's default model is fixed below four instruments."""
    return {"method": "ivw_fixed"} if case.data.shape[2] < 4 else {}


def few_fixed(case: Case, entry: Entry) -> dict[str, Any]:
    return {"model": "fixed"} if case.data.shape[2] < 4 else {}


MENDR = ("estimate", "se", "p", "ci_lower", "ci_upper", "Q", "Q_p")


def delta_psi(case: Case, entry: Entry) -> Values:
    corr = np.array([[1.0, 0.3], [0.3, 1.0]])
    data = replace(case.data, error_corr=corr)
    method = "ivw_fixed" if case.data.shape[2] < 4 else "ivw"
    return read(estimate(data, method, weights="second"), MENDR)


def isq(case: Case, entry: Entry) -> Values:
    result = fit(case, "egger")
    unit = fit(Case(case.name, _unit_errors(case), case.meta, case.entries), "egger")
    return {
        "weighted_I2GX": float(result.details["i2_gx"][0, 0]),
        "unweighted_I2GX": float(unit.details["i2_gx"][0, 0]),
    }


def _unit_errors(case: Case) -> Any:
    return replace(case.data, se_y=np.ones_like(case.data.se_y))


def heterogeneity(case: Case, entry: Entry) -> Values:
    results = [fit(case, "ivw"), fit(case, "egger")]
    return {
        name: [float(r.details[ours][0, 0]) for r in results]
        for name, ours in (("Q", "q"), ("Q_df", "q_df"), ("Q_pval", "q_p"))
    }


def pleiotropy(case: Case, entry: Entry) -> Values:
    d = fit(case, "egger").details
    return {
        "egger_intercept": float(d["intercept"][0, 0]),
        "se": float(d["intercept_se"][0, 0]),
        "pval": float(d["intercept_p"][0, 0]),
    }


def leave_one_out(case: Case, entry: Entry) -> Values:
    repeats = dict(without_each(case.data, "ivw"))
    repeats["All"] = fit(case, "ivw")
    rows = [repeats[name] for name in entry.results["SNP"]]
    return {
        "b": [float(r.beta[0, 0]) for r in rows],
        "se": [float(r.se[0, 0]) for r in rows],
        "p": [float(10.0 ** -r.neglog10p[0, 0]) for r in rows],
    }


def single(case: Case, entry: Entry) -> Values:
    b, se = [], []
    for name in entry.results["SNP"]:
        if name in case.data.instruments:
            keep = np.array([n == name for n in case.data.instruments])
            r = estimate(case.data.select(instruments=keep), "wald")
        else:
            r = fit(case, "egger" if "Egger" in name else "ivw")
        b.append(float(r.beta[0, 0]))
        se.append(float(r.se[0, 0]))
    return {"b": b, "se": se}


def conditional_f(case: Case, entry: Entry) -> Values:
    sigma = None
    if entry.method_id.endswith("gencov"):
        pcor = np.array(case.meta["pcor"], float)
        sigma = case.data.se_x.T[:, :, None] * pcor * case.data.se_x.T[:, None, :]
    f = strength.conditional_f_statistics(case.data.beta_x, case.data.se_x, sigma, divisor="instruments")
    return {"conditional_F": [float(v) for v in f]}


def sized_f(case: Case, entry: Entry) -> Values:
    """Conditional F with the covariance that sample sizes imply; the estimates beside it are mv_ivw's."""
    d = case.data
    n = np.full(d.shape[0], float(entry.args["nx"]))
    corr = entry.args.get("correl.x")
    sigma = strength.sized_covariance(d.beta_x, d.se_x, n, None if corr is None else np.array(corr, float))
    f = strength.conditional_f_statistics(d.beta_x, d.se_x, sigma)
    return {**read(fit(case, "mv_ivw"), MENDR), "CondFstat": [float(v) for v in f]}


def own_instruments(case: Case, entry: Entry) -> Values:
    """Each exposure from mv_ivw on the instruments with p below 5e-8 for it; nothing where they are too few."""
    out: Values = {"estimate": [], "se": [], "p": []}
    for k in range(len(case.data.exposures)):
        keep = neglog10p_normal(case.data.beta_x[k] / case.data.se_x[k]) > -np.log10(5e-8)
        few = keep.sum() <= len(case.data.exposures)
        row = None if few else estimate(case.data.select(instruments=keep), "mv_ivw", model="unfloored")
        for field_, column in (("estimate", "beta"), ("se", "se"), ("p", "neglog10p")):
            value = np.nan if row is None else float(getattr(row, column)[k, 0])
            out[field_].append(10.0**-value if field_ == "p" else value)
    return out


def grip(case: Case, entry: Entry) -> Values:
    r = fit(case, "grip")
    d = {k: float(v[0, 0]) for k, v in r.details.items()}
    return {
        "b": float(r.beta[0, 0]),
        "se": float(r.se[0, 0]),
        "pval": float(10.0 ** -r.neglog10p[0, 0]),
        "b_i": d["intercept"],
        "se_i": d["intercept_se"],
        "pval_i": d["intercept_p"],
        "b.adj": d["slope_adjusted"],
    }


def unweighted(case: Case, entry: Entry) -> Values:
    r = fit(case, "unweighted", distribution="normal")
    q = float(r.details["residual_sum_of_squares"][0, 0])
    return {**read(r, ("estimate", "se", "p")), "Q": q}


def radial_ivw(case: Case, entry: Entry) -> Values:
    kind = {1: "first", 2: "second", 3: "modified"}[entry.args["weights"]]
    rows = [fit(case, "radial_ivw", weights=w, floor=False) for w in (kind, "iterative")]
    limits = fit(case, "radial_ivw", weights=kind, floor=False, distribution="t")
    return {
        "effect": float(rows[0].beta[0, 0]),
        "effect_se": float(rows[0].se[0, 0]),
        "iterative": float(rows[1].beta[0, 0]),
        "iterative_se": float(rows[1].se[0, 0]),
        "Q": float(rows[0].details["q"][0, 0]),
        "Q_df": float(rows[0].details["q_df"][0, 0]),
        "confint": [float(limits.ci_lower[0, 0]), float(limits.ci_upper[0, 0])],
        "outliers": _flagged(rows[0], "outliers"),
    }


def _flagged(result: Estimates, name: str) -> list[str]:
    return [n for _, _, names in result.meta[name] for n in names]


def radial_egger(case: Case, entry: Entry) -> Values:
    kind = {1: "first", 2: "second", 3: "modified"}[entry.args["weights"]]
    r = fit(case, "radial_egger", weights=kind, floor=False)
    d = {k: float(v[0, 0]) for k, v in r.details.items()}
    return {
        "estimate": [d["intercept"], float(r.beta[0, 0])],
        "se": [d["intercept_se"], float(r.se[0, 0])],
        "p": [d["intercept_p"], float(10.0 ** -r.neglog10p[0, 0])],
        "Q": d["q"],
        "outliers": _flagged(r, "outliers"),
    }


def profile_ml(case: Case, entry: Entry) -> Values:
    r = fit(case, "max_likelihood", model="fixed")
    return {**read(r, ("estimate", "Q", "Q_df")), "se_obs_info": float(r.se[0, 0])}


def rucker(case: Case, entry: Entry) -> Values:
    r = fit(case, "rucker")
    return {
        "model": "ABCD"[int(r.details["model"][0, 0]) - 1],
        "selected": {"Estimate": float(r.beta[0, 0]), "SE": float(r.se[0, 0])},
        "Q": {"Q": [float(r.details[k][0, 0]) for k in ("q", "q_egger", "q_difference")]},
    }


def tsmr_modes(case: Case, entry: Entry) -> Values:
    """TwoSampleMR's five modes, in its order."""
    draws = 10_000 if entry.method_id == "tsmr.mr_mode" else 0
    common = {"phi": entry.args["phi"], "points": 512, "draws": draws}
    five = [
        fit(case, "simple_mode", **common),
        fit(case, "weighted_mode", **common),
        fit(case, "weighted_mode", **common, penalty=20.0),
        fit(case, "simple_mode", **common, error="nome"),
        fit(case, "weighted_mode", **common, error="nome"),
    ]
    out: Values = {"b": [float(r.beta[0, 0]) for r in five]}
    if draws:
        out["se"] = [float(r.se[0, 0]) for r in five]
    return out


def mendr_mode(case: Case, entry: Entry) -> dict[str, Any]:
    args = entry.args
    return {
        "method": "weighted_mode" if args["weighting"] == "weighted" else "simple_mode",
        "error": "delta" if args["stderror"] == "delta" else "nome",
        "points": 512,
        "draws": 10_000,
        "distribution": "normal",
    }


def conmix(case: Case, entry: Entry) -> Values:
    grid = {"lower": entry.results["CIMin"], "upper": entry.results["CIMax"], "step": entry.results["CIStep"]}
    r = fit(case, "conmix", **grid)
    return {
        "estimate": float(r.beta[0, 0]),
        "ci_lower": float(r.ci_lower[0, 0]),
        "ci_upper": float(r.ci_upper[0, 0]),
        "p": float(10.0 ** -r.neglog10p[0, 0]),
        "ValidSNPs": _flagged(r, "valid"),
    }


def hetpen(case: Case, entry: Entry) -> dict[str, Any]:
    args = entry.args
    return {
        "prior": args["prior"],
        "psi": 1.0,
        "lower": args["CIMin"],
        "upper": args["CIMax"],
        "step": args["CIStep"],
    }


def mrmix(case: Case, entry: Entry) -> Values:
    """On the published grid of theta; with our bound on sigma^2, without which pi0 is not identified."""
    return {"theta": float(fit(case, "mrmix", lower=-1.0, upper=1.0, step=0.01).beta[0, 0])}


def lasso(case: Case, entry: Entry) -> Values:
    r = fit(case, "lasso", lam=entry.args.get("lambda"))
    d = {k: float(v[0, 0]) for k, v in r.details.items()}
    out_names = set(_flagged(r, "outliers"))
    return {
        **read(r, ("estimate", "se", "p")),
        "RegEstimate": d["penalized_estimate"],
        "Lambda": d["lambda"],
        "Valid": d["valid_instruments"],
        "ValidSNPs": [n for n in case.data.instruments if n not in out_names],
    }


def cml(average: bool) -> Ours:
    def own(case: Case, entry: Entry) -> Values:
        r = fit(case, "cml", n=entry.args["n"], average=average)
        names = list(case.data.instruments)
        return {
            **read(r, ("estimate", "se")),
            **({} if average else {"BIC_invalid": [names.index(n) + 1 for n in _flagged(r, "outliers")]}),
        }

    return Ours("cml", own=own)


def mrcml(case: Case, entry: Entry) -> Values:
    best, mean = fit(case, "cml", n=entry.args["n"]), fit(case, "cml", n=entry.args["n"], average=True)
    names = list(case.data.instruments)
    return {
        "BIC_theta": float(best.beta[0, 0]),
        "BIC_se": float(best.se[0, 0]),
        "MA_BIC_theta": float(mean.beta[0, 0]),
        "MA_BIC_se": float(mean.se[0, 0]),
        "BIC_invalid": [names.index(n) + 1 for n in _flagged(best, "outliers")],
    }


def perturbed(average: bool) -> Ours:
    def own(case: Case, entry: Entry) -> Values:
        r = fit(case, "cml", n=entry.args["n"], average=average, perturbations=200)
        return read(r, ("estimate", "se"))

    return Ours("cml", own=own)


def mrcml_dp(case: Case, entry: Entry) -> Values:
    best = fit(case, "cml", n=entry.args["n"], perturbations=200)
    mean = fit(case, "cml", n=entry.args["n"], average=True, perturbations=200)
    return {
        "BIC_DP_theta": float(best.beta[0, 0]),
        "BIC_DP_se": float(best.se[0, 0]),
        "MA_BIC_DP_theta": float(mean.beta[0, 0]),
        "MA_BIC_DP_se": float(mean.se[0, 0]),
    }


def _within_monte_carlo(p: float, entry: Entry) -> str:
    """Their printed p where ours lies within four binomial errors of it, else ours as text."""
    text = entry.results["global_p"]
    draws = entry.args["NbDistribution"]
    theirs = float(text.lstrip("<"))
    slack = 4.0 * np.sqrt(max(theirs * (1.0 - theirs), 1.0 / draws) * (1.0 / draws + 1.0 / 5000))
    near = p <= theirs + slack if text.startswith("<") else abs(p - theirs) <= slack + 1.0 / draws
    return text if near else f"{p}"


def presso(case: Case, entry: Entry) -> Values:
    """RSS, the raw row, and the corrected row given the outliers that their draws found."""
    r = fit(case, "presso", floor=False, draws=5000)
    d = {k: float(v[0, 0]) for k, v in r.details.items()}
    estimates, errors = [d["raw_estimate"]], [d["raw_se"]]
    found = entry.results.get("outlier_indices")
    if isinstance(found, list | int):
        gone = set(found) if isinstance(found, list) else {found}
        keep = np.array([j + 1 not in gone for j in range(case.data.shape[2])])
        corrected = estimate(case.data.select(instruments=keep), "ivw_random")
        estimates.append(float(corrected.beta[0, 0]))
        errors.append(float(corrected.se[0, 0]))
    else:
        estimates.append(np.nan)
        errors.append(np.nan)
    return {
        "global_RSSobs": d["rss"],
        "global_p": _within_monte_carlo(d["global_p"], entry),
        "main.Causal Estimate": estimates,
        "main.Sd": errors,
    }
