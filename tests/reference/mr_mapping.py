"""Which of our estimators, with which options, answers which published function.

`MAPPED` holds one `Ours` per method of the reference tables; `NOT_COVERED` the reason for every
method that none of ours answers; `REMARKS` what a reader must know about an agreement.
"""

from __future__ import annotations

from tests.reference import mr_fits as fits
from tests.reference.mr_fits import Ours

_WITH_Q = ("estimate", "se", "p", "Q", "Q_df", "Q_pval")


_EGGER = (*fits.MENDR, "intercept", "intercept_se", "intercept_p", "I2_GX")


_POINT = ("estimate", "se")


MAPPED: dict[str, Ours] = {
    "tsmr.mr_ivw": Ours("ivw", fields=_WITH_Q),
    "tsmr.mr_ivw_fe": Ours("ivw_fixed", fields=_WITH_Q),
    "tsmr.mr_ivw_mre": Ours("ivw_random", fields=_WITH_Q),
    "tsmr.mr_egger_regression": Ours("egger", fields=(*_WITH_Q, "intercept", "intercept_se", "intercept_p")),
    "mendr.ivw.default": Ours("ivw", fields=(*fits.MENDR, "F"), per_case=fits.few),
    "mendr.ivw.fixed": Ours("ivw_fixed", fields=(*fits.MENDR, "F")),
    "mendr.ivw.random": Ours("ivw", fields=(*fits.MENDR, "F")),
    "mendr.ivw.tdist": Ours("ivw", {"distribution": "t"}, fits.MENDR, per_case=fits.few),
    "mendr.ivw.delta": Ours("ivw", {"weights": "second"}, fits.MENDR, per_case=fits.few),
    "mendr.egger": Ours("egger", {"distribution": "normal"}, _EGGER),
    "mendr.egger.tdist": Ours("egger", {"distribution": "wider"}, _EGGER),
    "mendr.corr.ivw.default": Ours("ivw_correlated", fields=fits.MENDR),
    "mendr.corr.ivw.fixed": Ours("ivw_correlated", {"model": "fixed"}, fits.MENDR),
    "mendr.corr.ivw.random": Ours("ivw_correlated", fields=fits.MENDR),
    "mendr.corr.ivw.tdist": Ours("ivw_correlated", {"distribution": "t"}, fits.MENDR),
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
    "mendr.mvivw.default": Ours("mv_ivw", fields=fits.MENDR),
    "mendr.mvivw.fixed": Ours("mv_ivw", {"model": "fixed"}, fits.MENDR),
    "mendr.mvivw.random": Ours("mv_ivw", fields=fits.MENDR),
    "mendr.mvivw.tdist": Ours("mv_ivw", {"distribution": "t"}, fits.MENDR),
    "mvmr.ivw_mvmr": Ours("mv_ivw", {"model": "unfloored", "distribution": "t"}),
    "tsmr.mv_multiple": Ours("mv_ivw", {"model": "unfloored"}),
}


def _mv_egger(orientate: int, distribution: str = "normal") -> Ours:
    fields = (*fits.MENDR, "intercept", "intercept_se", "intercept_p")
    return Ours("mv_egger", {"orientate": orientate, "distribution": distribution}, fields)


for _k in (1, 2, 3, 4):
    MAPPED[f"mendr.mvegger.orient{_k}"] = _mv_egger(_k)


MAPPED["mendr.mvegger.tdist"] = _mv_egger(1, "t")


MAPPED |= {
    "mendr.ivw.delta.psi0.3": Ours("ivw", own=fits.delta_psi),
    "tsmr.Isq": Ours("egger", own=fits.isq),
    "tsmr.mr_heterogeneity": Ours("ivw", own=fits.heterogeneity),
    "tsmr.mr_pleiotropy_test": Ours("egger", own=fits.pleiotropy),
    "tsmr.mr_leaveoneout": Ours("ivw", own=fits.leave_one_out),
    "tsmr.mr_singlesnp": Ours("wald", own=fits.single),
    "mvmr.strength_mvmr": Ours("mv_ivw", own=fits.conditional_f),
    "mvmr.strength_mvmr.gencov": Ours("mv_ivw", own=fits.conditional_f),
}


_ML = ("estimate", "se", "Q")


_PENALIZED_EGGER = ("estimate", "se", "p", "intercept", "intercept_se", "intercept_p")


MAPPED |= {
    "tsmr.mr_grip": Ours("grip", own=fits.grip),
    "tsmr.mr_sign": Ours("sign", fields=("estimate", "p")),
    "tsmr.mr_uwr": Ours("unweighted", own=fits.unweighted),
    "tsmr.mr_two_sample_ml": Ours("max_likelihood", {"model": "fixed"}, _ML),
    "mendr.maxlik": Ours("max_likelihood", fields=_ML, per_case=fits.few_fixed),
    "exact.profile_ml": Ours("max_likelihood", own=fits.profile_ml),
    "mendr.divw": Ours("divw", fields=_POINT),
    "mendr.divw.noOD": Ours("divw", {"overdispersion": False}, _POINT),
    "mendr.pivw": Ours("pivw", fields=(*_POINT, "Tau2")),
    "mendr.pivw.noBF": Ours("pivw", fields=(*_POINT, "Tau2", "p")),
    "mendr.ivw.penalized": Ours("penalized_ivw", per_case=fits.few_fixed),
    "mendr.ivw.delta.penalized": Ours(
        "penalized_ivw", {"weights": "second", "penalty": 20.0}, per_case=fits.few_fixed
    ),
    "mendr.egger.penalized": Ours("penalized_egger", fields=_PENALIZED_EGGER),
    "tsmr.mr_rucker": Ours("rucker", own=fits.rucker),
}


for _w in (1, 2, 3):
    MAPPED[f"radial.ivw.w{_w}"] = Ours("radial_ivw", own=fits.radial_ivw)
    MAPPED[f"radial.egger.w{_w}"] = Ours("radial_egger", own=fits.radial_egger)


MAPPED["mrmix.default"] = Ours("mrmix", own=fits.mrmix)


for _name in ("mendr.hetpen", "mendr.hetpen.wide"):
    MAPPED[_name] = Ours("hetpen", fields=("estimate", "ci_lower", "ci_upper"), per_case=fits.hetpen)


for _phi in ("", ".phi0.5", ".phi2"):
    MAPPED["tsmr.mr_mode" + _phi] = Ours("weighted_mode", own=fits.tsmr_modes)


for _kind in ("weighted.simple", "weighted.delta", "unweighted.simple", "unweighted.delta"):
    MAPPED["mendr.mbe." + _kind] = Ours("weighted_mode", fields=_POINT, per_case=fits.mendr_mode)


for _name in ("mendr.conmix", "mendr.conmix.fine"):
    MAPPED[_name] = Ours("conmix", own=fits.conmix)


def _raps(loss: str, overdispersion: bool) -> Ours:
    fields = ("estimate", "se", "tau2") if overdispersion else ("estimate", "se")
    return Ours("raps", {"loss": loss, "overdispersion": overdispersion}, fields)


def _robust_egger(penalty: float | None) -> Ours:
    return Ours("robust_egger", {"penalty": penalty}, ("estimate", "se", "intercept", "intercept_se"))


MAPPED |= {
    "mendr.lasso": Ours("lasso", own=fits.lasso),
    "mendr.lasso.lambda0.2": Ours("lasso", own=fits.lasso),
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
    "mendr.cML.MA": fits.cml(True),
    "mendr.cML.BIC": fits.cml(False),
    "mendr.cML.MA.DP": fits.perturbed(True),
    "mendr.cML.BIC.DP": fits.perturbed(False),
    "mrcml.mr_cML": Ours("cml", own=fits.mrcml),
    "mrcml.mr_cML.rs10": Ours("cml", own=fits.mrcml),
    "mrcml.mr_cML_DP": Ours("cml", own=fits.mrcml_dp),
    "presso.small": Ours("presso", own=fits.presso),
    "presso.full": Ours("presso", own=fits.presso),
    "mendr.ivw.robust": Ours("robust_ivw", fields=_POINT, per_case=fits.few_fixed),
    "mendr.ivw.robust.penalized": Ours("robust_ivw", {"penalty": 100.0}, _POINT, per_case=fits.few_fixed),
    "mendr.ivw.delta.robust": Ours("robust_ivw", {"weights": "second"}, _POINT, per_case=fits.few_fixed),
    "mendr.egger.robust": _robust_egger(None),
    "mendr.egger.robust.penalized": _robust_egger(100.0),
}


_STEIGER = "direction of effect from sample sizes: a diagnostic, no estimator"


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

REMARKS: dict[str, str] = {
    "mendr.hetpen": "a subset weighs its prior times the normal likelihood of its ratios at their IVW mean, in which"
    " each ratio's error stands as 1/sigma_j in the unit of the data and the factor (2 pi)^(-1/2) per instrument is"
    " left out. The paper's abstract (more instruments weigh more, unless heterogeneous) does not fix these constants:"
    " they are inferred from the published numbers, which depend on the unit of the data. Ours does not by default"
    " (unit = geometric mean of sigma_j); the published convention is unit = 1.",
    "mrmix.default": "held against ours on the published grid of theta, with sigma^2 at least the median error variance:"
    " without a bound, where all instruments are valid, any share with any small sigma^2 fits alike. The published"
    " error is not reproduced: ours is the sandwich of (theta, pi0, sigma^2) as the root of three equations.",
}
REMARKS["mendr.hetpen.wide"] = REMARKS["mendr.hetpen"]
