"""Which of our estimators, with which options, answers which published function.

`MAPPED` holds one `Ours` per method of the reference tables; `NOT_COVERED` the reason for every
method that none of ours answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mr_cases import Case, Entry

from mrinterp.core.estimates import Estimates
from mrinterp.mr.driver import estimate

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
    """Our method, its options, and the published fields that it is held against."""

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


def _few(case: Case, entry: Entry) -> dict[str, Any]:
    """MendelianRandomization's default model is fixed below four instruments."""
    return {"method": "ivw_fixed"} if case.data.shape[2] < 4 else {}


def _few_fixed(case: Case, entry: Entry) -> dict[str, Any]:
    return {"model": "fixed"} if case.data.shape[2] < 4 else {}


_WITH_Q = ("estimate", "se", "p", "Q", "Q_df", "Q_pval")
_MENDR = ("estimate", "se", "p", "ci_lower", "ci_upper", "Q", "Q_p")
_EGGER = (*_MENDR, "intercept", "intercept_se", "intercept_p", "I2_GX")
_POINT = ("estimate", "se")

MAPPED: dict[str, Ours] = {
    "tsmr.mr_ivw": Ours("ivw", fields=_WITH_Q),
    "tsmr.mr_ivw_fe": Ours("ivw_fixed", fields=_WITH_Q),
    "tsmr.mr_ivw_mre": Ours("ivw_random", fields=_WITH_Q),
    "tsmr.mr_egger_regression": Ours("egger", fields=(*_WITH_Q, "intercept", "intercept_se", "intercept_p")),
    "mendr.ivw.default": Ours("ivw", fields=(*_MENDR, "F"), per_case=_few),
    "mendr.ivw.fixed": Ours("ivw_fixed", fields=(*_MENDR, "F")),
    "mendr.ivw.random": Ours("ivw", fields=(*_MENDR, "F")),
    "mendr.ivw.tdist": Ours("ivw", {"distribution": "t"}, _MENDR, per_case=_few),
    "mendr.ivw.delta": Ours("ivw", {"weights": "second"}, _MENDR, per_case=_few),
    "mendr.egger": Ours("egger", {"distribution": "normal"}, _EGGER),
    "mendr.egger.tdist": Ours("egger", {"distribution": "wider"}, _EGGER),
    "mendr.corr.ivw.default": Ours("ivw_correlated", fields=_MENDR),
    "mendr.corr.ivw.fixed": Ours("ivw_correlated", {"model": "fixed"}, _MENDR),
    "mendr.corr.ivw.random": Ours("ivw_correlated", fields=_MENDR),
    "mendr.corr.ivw.tdist": Ours("ivw_correlated", {"distribution": "t"}, _MENDR),
    "mendr.corr.egger": Ours("egger_correlated", {"distribution": "normal"}, _EGGER[:-1]),
    "mendr.corr.egger.tdist": Ours("egger_correlated", {"distribution": "wider"}, _EGGER[:-1]),
    "tsmr.mr_simple_median": Ours("simple_median", {"draws": 10_000}, _POINT),
    "tsmr.mr_weighted_median": Ours("weighted_median", {"draws": 10_000, "weights": "second"}, _POINT),
    "tsmr.mr_penalised_weighted_median": Ours(
        "penalized_weighted_median", {"draws": 10_000, "weights": "second"}, _POINT
    ),
    "mendr.median.simple": Ours("simple_median", {"draws": 10_000}, _POINT),
    "mendr.median.weighted": Ours("weighted_median", {"draws": 10_000}, _POINT),
    "mendr.median.penalized": Ours("penalized_weighted_median", {"draws": 10_000}, _POINT),
    "mendr.mvivw.default": Ours("mv_ivw", fields=_MENDR),
    "mendr.mvivw.fixed": Ours("mv_ivw", {"model": "fixed"}, _MENDR),
    "mendr.mvivw.random": Ours("mv_ivw", fields=_MENDR),
    "mendr.mvivw.tdist": Ours("mv_ivw", {"distribution": "t"}, _MENDR),
    "mvmr.ivw_mvmr": Ours("mv_ivw", {"model": "unfloored", "distribution": "t"}),
    "tsmr.mv_multiple": Ours("mv_ivw", {"model": "unfloored"}),
}


def _mv_egger(orientate: int, distribution: str = "normal") -> Ours:
    fields = (*_MENDR, "intercept", "intercept_se", "intercept_p")
    return Ours("mv_egger", {"orientate": orientate, "distribution": distribution}, fields)


for _k in (1, 2, 3, 4):
    MAPPED[f"mendr.mvegger.orient{_k}"] = _mv_egger(_k)
MAPPED["mendr.mvegger.tdist"] = _mv_egger(1, "t")


def _delta_psi(case: Case, entry: Entry) -> Values:
    from dataclasses import replace

    corr = np.array([[1.0, 0.3], [0.3, 1.0]])
    data = replace(case.data, error_corr=corr)
    method = "ivw_fixed" if case.data.shape[2] < 4 else "ivw"
    return read(estimate(data, method, weights="second"), _MENDR)


def _isq(case: Case, entry: Entry) -> Values:
    result = fit(case, "egger")
    unit = fit(Case(case.name, _unit_errors(case), case.meta, case.entries), "egger")
    return {
        "weighted_I2GX": float(result.details["i2_gx"][0, 0]),
        "unweighted_I2GX": float(unit.details["i2_gx"][0, 0]),
    }


def _unit_errors(case: Case) -> Any:
    from dataclasses import replace

    return replace(case.data, se_y=np.ones_like(case.data.se_y))


def _heterogeneity(case: Case, entry: Entry) -> Values:
    results = [fit(case, "ivw"), fit(case, "egger")]
    return {
        name: [float(r.details[ours][0, 0]) for r in results]
        for name, ours in (("Q", "q"), ("Q_df", "q_df"), ("Q_pval", "q_p"))
    }


def _pleiotropy(case: Case, entry: Entry) -> Values:
    d = fit(case, "egger").details
    return {
        "egger_intercept": float(d["intercept"][0, 0]),
        "se": float(d["intercept_se"][0, 0]),
        "pval": float(d["intercept_p"][0, 0]),
    }


def _leave_one_out(case: Case, entry: Entry) -> Values:
    from mrinterp.mr.panel import leave_one_out

    repeats = dict(leave_one_out(case.data, "ivw"))
    repeats["All"] = fit(case, "ivw")
    rows = [repeats[name] for name in entry.results["SNP"]]
    return {
        "b": [float(r.beta[0, 0]) for r in rows],
        "se": [float(r.se[0, 0]) for r in rows],
        "p": [float(10.0 ** -r.neglog10p[0, 0]) for r in rows],
    }


def _single(case: Case, entry: Entry) -> Values:
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


def _conditional_f(case: Case, entry: Entry) -> Values:
    from mrinterp.mr.strength import conditional_f

    sigma = None
    if entry.method_id.endswith("gencov"):
        pcor = np.array(case.meta["pcor"], float)
        sigma = case.data.se_x.T[:, :, None] * pcor * case.data.se_x.T[:, None, :]
    f = conditional_f(case.data.beta_x, case.data.se_x, sigma, divisor="count")
    return {"conditional_F": [float(v) for v in f]}


MAPPED |= {
    "mendr.ivw.delta.psi0.3": Ours("ivw", own=_delta_psi),
    "tsmr.Isq": Ours("egger", own=_isq),
    "tsmr.mr_heterogeneity": Ours("ivw", own=_heterogeneity),
    "tsmr.mr_pleiotropy_test": Ours("egger", own=_pleiotropy),
    "tsmr.mr_leaveoneout": Ours("ivw", own=_leave_one_out),
    "tsmr.mr_singlesnp": Ours("wald", own=_single),
    "mvmr.strength_mvmr": Ours("mv_ivw", own=_conditional_f),
    "mvmr.strength_mvmr.gencov": Ours("mv_ivw", own=_conditional_f),
}


def _grip(case: Case, entry: Entry) -> Values:
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


def _unweighted(case: Case, entry: Entry) -> Values:
    r = fit(case, "unweighted", distribution="normal")
    q = float(r.details["residual_sum_of_squares"][0, 0])
    return {**read(r, ("estimate", "se", "p")), "Q": q}


def _radial_ivw(case: Case, entry: Entry) -> Values:
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


def _radial_egger(case: Case, entry: Entry) -> Values:
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


def _profile_ml(case: Case, entry: Entry) -> Values:
    r = fit(case, "max_likelihood", model="fixed")
    return {**read(r, ("estimate", "Q", "Q_df")), "se_obs_info": float(r.se[0, 0])}


def _rucker(case: Case, entry: Entry) -> Values:
    r = fit(case, "rucker")
    return {
        "model": "ABCD"[int(r.details["model"][0, 0]) - 1],
        "selected": {"Estimate": float(r.beta[0, 0]), "SE": float(r.se[0, 0])},
        "Q": {"Q": [float(r.details[k][0, 0]) for k in ("q", "q_egger", "q_difference")]},
    }


_ML = ("estimate", "se", "Q")
_PENALIZED_EGGER = ("estimate", "se", "p", "intercept", "intercept_se", "intercept_p")

MAPPED |= {
    "tsmr.mr_grip": Ours("grip", own=_grip),
    "tsmr.mr_sign": Ours("sign", fields=("estimate", "p")),
    "tsmr.mr_uwr": Ours("unweighted", own=_unweighted),
    "tsmr.mr_two_sample_ml": Ours("max_likelihood", {"model": "fixed"}, _ML),
    "mendr.maxlik": Ours("max_likelihood", fields=_ML, per_case=_few_fixed),
    "exact.profile_ml": Ours("max_likelihood", own=_profile_ml),
    "mendr.divw": Ours("divw", fields=_POINT),
    "mendr.divw.noOD": Ours("divw", {"overdispersion": False}, _POINT),
    "mendr.pivw": Ours("pivw", fields=(*_POINT, "Tau2")),
    "mendr.pivw.noBF": Ours("pivw", fields=(*_POINT, "Tau2", "p")),
    "mendr.ivw.penalized": Ours("penalized_ivw", per_case=_few_fixed),
    "mendr.ivw.delta.penalized": Ours(
        "penalized_ivw", {"weights": "second", "penalty": 20.0}, per_case=_few_fixed
    ),
    "mendr.egger.penalized": Ours("penalized_egger", fields=_PENALIZED_EGGER),
    "tsmr.mr_rucker": Ours("rucker", own=_rucker),
}
for _w in (1, 2, 3):
    MAPPED[f"radial.ivw.w{_w}"] = Ours("radial_ivw", own=_radial_ivw)
    MAPPED[f"radial.egger.w{_w}"] = Ours("radial_egger", own=_radial_egger)


def _tsmr_modes(case: Case, entry: Entry) -> Values:
    """TwoSampleMR's five modes, in its order."""
    draws = 10_000 if entry.method_id == "tsmr.mr_mode" else 0
    five = [
        fit(case, "simple_mode", phi=entry.args["phi"], draws=draws),
        fit(case, "weighted_mode", phi=entry.args["phi"], draws=draws),
        fit(case, "weighted_mode", phi=entry.args["phi"], draws=draws, penalty=20.0),
        fit(case, "simple_mode", phi=entry.args["phi"], draws=draws, error="nome"),
        fit(case, "weighted_mode", phi=entry.args["phi"], draws=draws, error="nome"),
    ]
    out: Values = {"b": [float(r.beta[0, 0]) for r in five]}
    if draws:
        out["se"] = [float(r.se[0, 0]) for r in five]
    return out


def _mendr_mode(case: Case, entry: Entry) -> dict[str, Any]:
    args = entry.args
    return {
        "method": "weighted_mode" if args["weighting"] == "weighted" else "simple_mode",
        "error": "delta" if args["stderror"] == "delta" else "nome",
        "draws": 10_000,
        "distribution": "normal",
    }


def _conmix(case: Case, entry: Entry) -> Values:
    grid = {"lower": entry.results["CIMin"], "upper": entry.results["CIMax"], "step": entry.results["CIStep"]}
    r = fit(case, "conmix", **grid)
    return {
        "estimate": float(r.beta[0, 0]),
        "ci_lower": float(r.ci_lower[0, 0]),
        "ci_upper": float(r.ci_upper[0, 0]),
        "p": float(10.0 ** -r.neglog10p[0, 0]),
        "ValidSNPs": _flagged(r, "valid"),
    }


_MAD_ERROR = {"b": {"abs": 1e-6}, "estimate": {"abs": 1e-6}, "se": {"rel": 0.11}}
"""Four errors of a mad of 2,000 draws (1.167 / sqrt(2000) = 2.6%, more where not normal), theirs."""


def _hetpen(case: Case, entry: Entry) -> dict[str, Any]:
    args = entry.args
    return {
        "prior": args["prior"],
        "unit": 1.0,
        "lower": args["CIMin"],
        "upper": args["CIMax"],
        "step": args["CIStep"],
    }


def _mrmix(case: Case, entry: Entry) -> Values:
    return {"theta": float(fit(case, "mrmix").beta[0, 0])}


MAPPED["mrmix.default"] = Ours("mrmix", own=_mrmix)

for _name in ("mendr.hetpen", "mendr.hetpen.wide"):
    MAPPED[_name] = Ours("hetpen", fields=("estimate", "ci_lower", "ci_upper"), per_case=_hetpen)

for _phi in ("", ".phi0.5", ".phi2"):
    MAPPED["tsmr.mr_mode" + _phi] = Ours("weighted_mode", own=_tsmr_modes, tolerance=_MAD_ERROR)
for _kind in ("weighted.simple", "weighted.delta", "unweighted.simple", "unweighted.delta"):
    MAPPED["mendr.mbe." + _kind] = Ours(
        "weighted_mode", fields=_POINT, per_case=_mendr_mode, tolerance=_MAD_ERROR
    )
for _name in ("mendr.conmix", "mendr.conmix.fine"):
    MAPPED[_name] = Ours("conmix", own=_conmix)


def _lasso(case: Case, entry: Entry) -> Values:
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


def _raps(loss: str, overdispersion: bool) -> Ours:
    fields = ("estimate", "se", "tau2") if overdispersion else ("estimate", "se")
    return Ours("raps", {"loss": loss, "overdispersion": overdispersion}, fields)


def _cml(average: bool) -> Ours:
    def own(case: Case, entry: Entry) -> Values:
        r = fit(case, "cml", n=entry.args["n"], average=average)
        names = list(case.data.instruments)
        return {
            **read(r, ("estimate", "se")),
            **({} if average else {"BIC_invalid": [names.index(n) + 1 for n in _flagged(r, "outliers")]}),
        }

    return Ours("cml", own=own)


def _mrcml(case: Case, entry: Entry) -> Values:
    best, mean = fit(case, "cml", n=entry.args["n"]), fit(case, "cml", n=entry.args["n"], average=True)
    names = list(case.data.instruments)
    return {
        "BIC_theta": float(best.beta[0, 0]),
        "BIC_se": float(best.se[0, 0]),
        "MA_BIC_theta": float(mean.beta[0, 0]),
        "MA_BIC_se": float(mean.se[0, 0]),
        "BIC_invalid": [names.index(n) + 1 for n in _flagged(best, "outliers")],
    }


def _perturbed(average: bool) -> Ours:
    def own(case: Case, entry: Entry) -> Values:
        r = fit(case, "cml", n=entry.args["n"], average=average, perturbations=200)
        return read(r, ("estimate", "se"))

    return Ours("cml", own=own)


def _mrcml_dp(case: Case, entry: Entry) -> Values:
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


def _presso(case: Case, entry: Entry) -> Values:
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


def _robust_egger(penalty: float | None) -> Ours:
    return Ours("robust_egger", {"penalty": penalty}, ("estimate", "se", "intercept", "intercept_se"))


MAPPED |= {
    "mendr.lasso": Ours("lasso", own=_lasso),
    "mendr.lasso.lambda0.2": Ours("lasso", own=_lasso),
    "raps.simple": _raps("l2", False),
    "raps.overdispersed": _raps("l2", True),
    "raps.simple.robust.huber": _raps("huber", False),
    "raps.simple.robust.tukey": _raps("tukey", False),
    "raps.overdispersed.robust.huber": _raps("huber", True),
    "raps.overdispersed.robust.tukey": _raps("tukey", True),
    "raps.mle.l2": _raps("l2", False),
    "raps.mle.huber": _raps("huber", False),
    "raps.mle.tukey": _raps("tukey", False),
    "raps.mle.od.l2": _raps("l2", True),
    "raps.mle.od.huber": _raps("huber", True),
    "raps.mle.od.tukey": _raps("tukey", True),
    "raps.shrinkage.l2": Ours("raps", {"loss": "l2", "overdispersion": False}, ("estimate",)),
    "mendr.cML.MA": _cml(True),
    "mendr.cML.BIC": _cml(False),
    "mendr.cML.MA.DP": _perturbed(True),
    "mendr.cML.BIC.DP": _perturbed(False),
    "mrcml.mr_cML": Ours("cml", own=_mrcml),
    "mrcml.mr_cML.rs10": Ours("cml", own=_mrcml),
    "mrcml.mr_cML_DP": Ours("cml", own=_mrcml_dp),
    "presso.small": Ours("presso", own=_presso),
    "presso.full": Ours("presso", own=_presso),
    "mendr.ivw.robust": Ours("robust_ivw", fields=_POINT, per_case=_few_fixed),
    "mendr.ivw.robust.penalized": Ours("robust_ivw", {"penalty": 100.0}, _POINT, per_case=_few_fixed),
    "mendr.ivw.delta.robust": Ours("robust_ivw", {"weights": "second"}, _POINT, per_case=_few_fixed),
    "mendr.egger.robust": _robust_egger(None),
    "mendr.egger.robust.penalized": _robust_egger(100.0),
}

_STEIGER = "direction of effect from sample sizes: a diagnostic, tested with the diagnostics"
_ROOM = "multivariable estimator with its own reference test beside this one"

NOT_COVERED: dict[str, str] = {
    "tsmr.mr_egger_regression_bootstrap": "its estimate is the mean of bootstrap slopes of cov(wx, wy)/var(wx),"
    " which is no weighted regression; we offer no such estimator",
    "tsmr.get_r_from_bsen": _STEIGER,
    "tsmr.get_r_from_pn": _STEIGER,
    "tsmr.mr_steiger": _STEIGER,
    "tsmr.directionality_test": _STEIGER,
    "tsmr.steiger_filtering": _STEIGER,
    "tsmr.mr_raps": "the same numbers as raps.mr.raps.default, see there",
    "raps.mr.raps.default": "solves another equation for tau^2 (unweighted, with a fitted spike-and-slab factor);"
    " ours solves the published one",
    "raps.mr.raps.shrink": "empirical-Bayes shrinkage of the exposure effects by a fitted mixture: not offered",
    "mendr.corr.maxlik": "maximum likelihood with correlated instruments: not offered (use ivw_correlated or mv_gmm)",
    "mendr.corr.pcgmm.robust": _ROOM,
    "mendr.corr.pcgmm.nonrobust": _ROOM,
    "mendr.corr.pcgmm.thres0.999": _ROOM,
    "mendr.corr.clr": "weak-instrument-robust sets have their own reference test",
    "mendr.mvivw.nx": "conditional F minimized over delta with the covariance 1/n: the joint rank statistic is ours"
    " for that, conditional_f keeps delta fixed",
    "mendr.mvivw.nx.correlx": "as mendr.mvivw.nx, with correlated exposures",
    "mendr.mvivw.robust": "MM-regression on several exposures: not offered",
    "mendr.mvmedian": _ROOM,
    "mendr.mvlasso": _ROOM,
    "mendr.mvlasso.lambda0.2": _ROOM,
    "mendr.mvgmm.robust": _ROOM,
    "mendr.mvgmm.nonrobust": _ROOM,
    "mendr.mvcML": _ROOM,
    "mendr.mvcML.DP": _ROOM,
    "mendr.mvivwme": _ROOM,
    "mvmr.pleiotropy_mvmr": _ROOM,
    "mvmr.pleiotropy_mvmr.gencov": _ROOM,
    "mvmr.qhet_mvmr": _ROOM,
    "tsmr.mv_multiple.intercept": "an intercept without orienting the instruments: depends on arbitrary signs",
    "tsmr.mv_multiple.specific": "a separate instrument set per exposure by a p threshold: select before estimating",
    "tsmr.mv_residual": "regression of residuals, superseded by the joint regression (mv_ivw)",
    "tsmr.mv_ivw": "as tsmr.mv_multiple.specific",
    "presso.mv": _ROOM,
}
