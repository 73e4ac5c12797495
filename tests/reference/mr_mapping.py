"""Which of our estimators, with which options, answers which published function.

`MAPPED` holds one `Ours` per method of the reference tables; `NOT_COVERED` (with `OTHER_ROOMS`) the reason
for every method that none of ours answers; `REMARKS` what a reader must know about an agreement.
"""

from __future__ import annotations

from typing import Any

from tests.reference import mr_fits as fits
from tests.reference import mr_fits_direction as directions
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
    "mendr.mvivw.nx": Ours("mv_ivw", own=fits.sized_f),
    "mendr.mvivw.nx.correlx": Ours("mv_ivw", own=fits.sized_f),
    "tsmr.mv_multiple.specific": Ours("mv_ivw", own=fits.own_instruments),
    "tsmr.mv_ivw": Ours("mv_ivw", own=fits.own_instruments),
    "mendr.corr.maxlik": Ours("mv_gmm", {"overdispersion": False}, ("estimate", "se", "Q")),
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


def _robust_ivw(**options: Any) -> Ours:
    return Ours("robust_ivw", {**options, "errors": "influence"}, _POINT, per_case=fits.few_fixed)


def _robust_egger(penalty: float | None) -> Ours:
    options = {"penalty": penalty, "errors": "influence"}
    return Ours("robust_egger", options, ("estimate", "se", "intercept", "intercept_se"))


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
    "mendr.ivw.robust": _robust_ivw(),
    "mendr.ivw.robust.penalized": _robust_ivw(penalty=100.0),
    "mendr.ivw.delta.robust": _robust_ivw(weights="second"),
    "mendr.egger.robust": _robust_egger(None),
    "mendr.egger.robust.penalized": _robust_egger(100.0),
}


MAPPED |= {
    "tsmr.get_r_from_bsen": directions.instrument_correlations("effects"),
    "tsmr.get_r_from_pn": directions.instrument_correlations("p"),
    "tsmr.mr_steiger": Ours("steiger_test", own=directions.steiger),
    "tsmr.directionality_test": Ours("steiger_test", own=directions.directionality),
    "tsmr.steiger_filtering": Ours("steiger_test", own=directions.steiger_filtering),
    "mendr.mvivw.robust": Ours(
        "mv_robust", {"errors": "influence", "distribution": "normal"}, ("estimate", "se", "p")
    ),
}


_ROOM = "multivariable estimator with its own reference test beside this one"


NOT_COVERED: dict[str, str] = {
    "tsmr.mr_egger_regression_bootstrap": "its estimate is the mean of bootstrap slopes of cov(wx, wy)/var(wx),"
    " which is no weighted regression; we offer no such estimator",
    "tsmr.mr_raps": "the same numbers as raps.mr.raps.default, see there",
    "raps.mr.raps.default": "solves another equation for tau^2 (unweighted, with a fitted spike-and-slab factor);"
    " ours solves the published one",
    "raps.mr.raps.shrink": "empirical-Bayes shrinkage of the exposure effects by a fitted mixture: not offered",
    "mendr.corr.pcgmm.robust": _ROOM,
    "mendr.corr.pcgmm.nonrobust": _ROOM,
    "mendr.corr.pcgmm.thres0.999": _ROOM,
    "mendr.corr.clr": "weak-instrument-robust sets have their own reference test",
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
    "tsmr.mv_multiple.intercept": "an intercept without orienting the instruments: the estimate changes when an"
    " instrument's sign is relabelled; ours with an intercept (mv_egger) orients them",
    "tsmr.mv_residual": "each exposure against the residuals of the others' univariable regressions: not the joint regression"
    " (mv_ivw), and biased where instruments move several exposures",
    "presso.mv": _ROOM,
}

_OLDER = "ours agrees with susieR 0.16.5 (the entry without .v0142), from which 0.14.2 differs: it "

OTHER_ROOMS: dict[str, str] = {
    "susie.rss.z.null_weight.v0142": _OLDER + "handles the null weight otherwise",
    "susie.rss.z.EM.v0142": _OLDER + "sets prior variances to 0 between two steps of its EM",
}
"""The same for fine-mapping and colocalization, whose tests compare every other entry."""

REMARKS: dict[str, str] = {
    "mendr.hetpen": "a subset's weight is the likelihood in which its ratios are normal about their IVW mean and the"
    " others have the density 1 / (sqrt(2 pi) psi). The paper's abstract (more instruments weigh more, unless"
    " heterogeneous) does not fix psi; the published numbers come out with psi = 1, which depends on the unit of the"
    " data and is used here. By default ours is 1.5 standard deviations of the ratios.",
    "mrmix.default": "theta alone is compared with ours, on the published grid, with sigma^2 at least the median error"
    " variance: without a bound, where all instruments are valid, any share with any small sigma^2 fits alike. pi0,"
    " sigma^2, the error, z and p are not compared: the published mixture is not fitted to convergence (see the"
    " exceptions), and the published error, which we could not derive from the paper's text, is not the asymptotic one"
    " of (theta, pi0, sigma^2) as the root of three equations, which is ours: {mrmix_errors}.",
    "mendr.mbe.* and tsmr.mr_mode": "held against ours on the published grid of 512 points; by default ours is the"
    " highest point of all. Errors are bootstraps and held to 8%.",
    "mendr.corr.maxlik": "maximum likelihood with correlated instruments is mv_gmm with one exposure and no"
    " overdispersion: the same objective.",
    "tsmr.mv_multiple.specific": "mv_ivw on the instruments below the threshold for each exposure in turn, as is tsmr.mv_ivw.",
}
