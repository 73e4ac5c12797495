"""Entries where ours differs on purpose: which, why, and the evidence that a test computes.

Version 1. An entry is (method, cases or all, fields, reason, evidence); the evidence is a function
that returns True where ours is right, computed from the data alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.reference import mr_evidence as evidence
from tests.reference.mr_cases import Case, Entry
from tests.reference.mr_fits import Values

VERSION = 1


@dataclass(frozen=True)
class Differs:
    """Fields of one method that are not held against the published number."""

    method_id: str
    fields: tuple[str, ...]
    reason: str
    evidence: Callable[[Case, Entry, Values], bool]
    cases: tuple[str, ...] = ()

    def covers(self, entry: Entry, field: str) -> bool:
        return (
            self.method_id == entry.method_id
            and field in self.fields
            and (not self.cases or entry.case in self.cases)
        )


_MODES = (
    "tsmr.mr_mode",
    *(f"mendr.mbe.{w}.{e}" for w in ("weighted", "unweighted") for e in ("simple", "delta")),
)
_HEAVY = (
    "three weak instruments: the perturbed estimates are heavy-tailed and have no stable standard deviation"
)
_CML = "a start at 0 (or ten random ones) stops at a local optimum for some number of invalid instruments"
_RAPS_FIELDS = ("estimate", "se", "tau2")
_RAPS = "takes a scalar max where an elementwise one belongs, so tau^2 does not solve the published equation"
_ROBUST = "the S-step stops at a relative change of 1e-7 in the scale, which moves the errors by up to 2%"

EXCEPTIONS: list[Differs] = [
    *(
        Differs(
            name,
            ("p",),
            "p multiplies the drop in likelihood by phi^2, the interval divides",
            evidence.interval_and_p_agree,
        )
        for name in ("mendr.conmix", "mendr.conmix.fine")
    ),
    *(
        Differs(f"raps.{kind}.{loss}", _RAPS_FIELDS, _RAPS, evidence.solves_the_paper)
        for kind in ("overdispersed.robust", "mle.od")
        for loss in ("huber", "tukey")
    ),
    *(
        Differs(name, ("estimate", "se", "BIC_invalid"), _CML, evidence.never_a_worse_likelihood, cases)
        for name, cases in (
            (
                "mendr.cML.MA",
                (
                    "correlated",
                    "directional_inside",
                    "three_snps",
                    "weak",
                    "uv02_hdl_chd",
                    "uv03_trig_chd",
                    "uv07_fg_t2d",
                    "uv08_bmi_sbp",
                ),
            ),
            ("mendr.cML.BIC", ("uv02_hdl_chd", "uv07_fg_t2d")),
            ("mendr.cML.MA.DP", ("uv02_hdl_chd", "uv07_fg_t2d")),
        )
    ),
    *(
        Differs(
            name,
            (
                "MA_BIC_theta",
                "MA_BIC_se",
                "BIC_theta",
                "BIC_se",
                "BIC_invalid",
                "BIC_DP_theta",
                "BIC_DP_se",
                "MA_BIC_DP_theta",
                "MA_BIC_DP_se",
            ),
            _CML,
            evidence.never_a_worse_likelihood,
            cases,
        )
        for name, cases in (
            (
                "mrcml.mr_cML",
                (
                    "correlated",
                    "directional_inside",
                    "three_snps",
                    "weak",
                    "uv02_hdl_chd",
                    "uv03_trig_chd",
                    "uv07_fg_t2d",
                    "uv08_bmi_sbp",
                ),
            ),
            ("mrcml.mr_cML.rs10", ("weak", "uv02_hdl_chd")),
            ("mrcml.mr_cML_DP", ("uv07_fg_t2d",)),
        )
    ),
    Differs(
        "mrmix.default",
        ("theta",),
        "its EM stops before the optimum at each theta, so that another theta has the largest estimated share",
        evidence.their_mixture_is_not_fitted,
        (
            "correlated",
            "underdispersed",
            "weak",
            "uv01_ldl_chd",
            "uv02_hdl_chd",
            "uv04_calcium_fastgluc",
            "uv05_bmi_chd",
            "uv06_presso_E1",
        ),
    ),
    Differs(
        "mrmix.default",
        ("theta",),
        "theta, pi0 and sigma^2 from three residuals: ours asks for five instruments",
        evidence.refused,
        ("three_snps",),
    ),
    Differs("mendr.cML.MA.DP", ("se",), _HEAVY, evidence.not_even_themselves, ("three_snps",)),
    Differs(
        "mrcml.mr_cML_DP",
        ("BIC_DP_se", "MA_BIC_DP_theta", "MA_BIC_DP_se"),
        _HEAVY,
        evidence.not_even_themselves,
        ("three_snps",),
    ),
    *(
        Differs(name, ("se", "intercept_se"), _ROBUST, evidence.lower_scale)
        for name in (
            "mendr.ivw.robust",
            "mendr.ivw.robust.penalized",
            "mendr.ivw.delta.robust",
            "mendr.egger.robust",
            "mendr.egger.robust.penalized",
        )
    ),
    Differs(
        "mendr.lasso.lambda0.2",
        ("RegEstimate",),
        "coordinate descent stops before the optimum",
        evidence.lower_lasso_objective,
        ("uv07_fg_t2d",),
    ),
    Differs(
        "tsmr.mr_uwr",
        ("se", "p"),
        "the error is divided by min(1, sigma), sigma in the unit of the outcome: changing the unit changes z",
        evidence.divided_by_a_dimension,
    ),
    Differs(
        "tsmr.mr_two_sample_ml",
        ("estimate", "se", "Q"),
        "Nelder-Mead in n + 1 dimensions stops before the optimum; ours is the optimum (exact.profile_ml)",
        evidence.lower_objective,
    ),
    Differs(
        "mendr.maxlik",
        ("estimate", "se", "Q"),
        "Nelder-Mead in n + 1 dimensions stops before the optimum; ours is the optimum (exact.profile_ml)",
        evidence.lower_objective,
    ),
    Differs(
        "tsmr.mr_rucker",
        ("selected.SE",),
        "the 'fixed-effect' error is shrunk below the known errors when the residual variance is below 1",
        evidence.shrunken_fixed_error,
    ),
    Differs(
        "mendr.mvegger.tdist",
        ("p", "intercept_p"),
        "p from t on J - K degrees of freedom, though the fit has K + 1 coefficients (the interval uses J - K - 1)",
        evidence.p_on_one_degree_too_many,
    ),
    Differs(
        "mendr.mvegger.orient3",
        (
            "estimate",
            "se",
            "p",
            "ci_lower",
            "ci_upper",
            "Q",
            "Q_p",
            "intercept",
            "intercept_se",
            "intercept_p",
        ),
        "an instrument whose orienting effect is exactly 0 is multiplied by sign(0) = 0 and kept as a row of zeros",
        evidence.zero_effect_is_erased,
        ("mv01_lipids_sbp",),
    ),
]
