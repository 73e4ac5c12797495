"""Colocalization, fine-mapping and conditional analysis on two loci, with every option that changes a number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np

from mrinterp import coloc
from mrinterp.core.mrdata import MRData
from mrinterp.diagnostics import steiger_by_instrument, steiger_test
from tests.coloc.coloc_simulation import simulate_locus, simulate_traits

N, J = 400, 24
CAUSES = [[4], [4], [15], [4, 15], [9], []]
NAMES = tuple(f"i{j}" for j in range(J))


@cache
def _locus() -> tuple[Any, np.ndarray]:
    rng = np.random.default_rng(41)
    locus = simulate_locus(rng, N, J, rho=0.6)
    return locus, simulate_traits(rng, locus, [np.array(c, int) for c in CAUSES], 0.35)


def _data(corr: float = 0.0) -> MRData:
    locus, y = _locus()
    beta, se, _ = coloc.marginal_effects(2.0 * locus.x, y.T)
    names = tuple(f"t{k}" for k in range(6))
    return MRData(
        beta_x=beta[:3],
        se_x=se[:3],
        beta_y=beta[3:],
        se_y=se[3:],
        exposures=names[:3],
        outcomes=names[3:],
        instruments=NAMES,
        ld=locus.ld,
        n_x=np.full(3, float(N)),
        n_y=np.full(3, float(N)),
        error_corr=np.full((6, 6), corr) + (1 - corr) * np.eye(6) if corr else None,
    )


def _z() -> np.ndarray:
    locus, y = _locus()
    return np.asarray(locus.z_scores(y))


def _trait(k: int) -> coloc.TraitEffects:
    locus, y = _locus()
    beta, se, sd = coloc.marginal_effects(2.0 * locus.x, y.T)
    return coloc.TraitEffects(f"t{k}", beta[k], se[k], locus.ld, float(N), float(sd[k]), NAMES)


def _pair() -> MRData:
    data = _data()
    return replace(
        data,
        beta_x=data.beta_x[:1],
        se_x=data.se_x[:1],
        exposures=data.exposures[:1],
        beta_y=data.beta_y[:1],
        se_y=data.se_y[:1],
        outcomes=data.outcomes[:1],
        n_x=data.n_x[:1],
        n_y=data.n_y[:1],
    )


def _colocalize(corr: float = 0.0, **options: Any) -> Any:
    locus, y = _locus()
    sd = coloc.marginal_effects(2.0 * locus.x, y.T)[2]
    own = {} if "prior" in options else {"sd_x": sd[:3], "sd_y": sd[3:]}
    return coloc.colocalize(_data(corr), **(own | options))


def _finemap(**options: Any) -> Any:
    locus, _ = _locus()
    return coloc.finemap_summary(_z(), locus.ld, np.full(6, N), options=coloc.SusieOptions(**options))


def cases() -> dict[str, Callable[[], Any]]:
    """Name of a case to what computes it."""
    locus, y = _locus()
    beta, se, sd = coloc.marginal_effects(2.0 * locus.x, y.T)
    x = 2.0 * locus.x
    halves = ["a"] * 10 + ["b"] * 14
    weights = np.linspace(1.0, 2.0, J)
    return {
        "marginal effects": lambda: coloc.marginal_effects(x, y.T),
        "colocalize": lambda: _colocalize(),
        "colocalize, two loci": lambda: _colocalize(locus=halves),
        "colocalize, estimated": lambda: _colocalize(prior="estimated", locus=halves),
        "colocalize, binary": lambda: _colocalize(type_x="cc", sd_x=None, sd_y=np.full(3, 1.3)),
        "colocalize, priors": lambda: _colocalize(priors=coloc.Priors(1e-3, 2e-3, 1e-4)),
        "colocalize, shares": lambda: _colocalize(priors=coloc.HypothesisPriors(0.2, 0.3, 0.4)),
        "colocalize, overlap": lambda: _colocalize(0.3, correlated_errors=True),
        "colocalize, alpha": lambda: _colocalize(misfit_alpha=0.5),
        "report": lambda: coloc.report_pair(_pair(), sd_x=1.1, sd_y=1.2),
        "from runs": lambda: coloc.colocalize_runs(x, y[:3].T, y[3:].T),
        "screen": lambda: coloc.screen_runs(x, y[:3].T, y[3:].T),
        "abf": lambda: coloc.finemap_abf(beta, se, sd=np.ones(6)),
        "abf, sd": lambda: coloc.finemap_abf(beta, se, sd=sd, p1=1e-3),
        "abf, binary": lambda: coloc.finemap_abf(beta, se, types="cc"),
        "clusters": lambda: coloc.cluster_traits(beta, se),
        "clusters, uniform": lambda: coloc.cluster_traits(beta, se, uniform=True, p1=1e-3),
        "clusters, thresholds": lambda: coloc.cluster_traits(
            beta, se, regional_threshold=0.9, alignment_threshold=0.9, branch="alignment"
        ),
        "clusters, weight": lambda: coloc.cluster_traits(beta, se, two_trait_weight=0.5, conditional=0.05),
        "clusters, once": lambda: coloc.cluster_traits(beta, se, branch_and_bound=False),
        "clumps": lambda: coloc.clump(np.abs(_z()[3]), locus.ld, min_neglog10p=1.0),
        "clumps, finer": lambda: coloc.clump(np.abs(_z()[0]), locus.ld, min_neglog10p=2.0, max_r2=0.3),
        "given": lambda: coloc.condition_on(_trait(3), "i4"),
        "given two": lambda: coloc.condition_on(_trait(3), ["i4", "i15"]),
        "stepwise": lambda: coloc.stepwise(_z(), locus.ld, alpha=1e-3),
        "stepwise, n": lambda: coloc.stepwise(_z(), locus.ld, alpha=1e-3, n=np.full(6, N), max_r2=0.5),
        "conditional": lambda: coloc.colocalize_conditional(_trait(3), _trait(2), alpha=1e-3),
        "heidi": lambda: coloc.heidi(_data(), "t0", "t3", min_abs_z=2.0),
        "heidi, few": lambda: coloc.heidi(_data(), "t0", "t4", min_abs_z=1.0, max_r2=0.5, max_instruments=6),
        "heidi, overlap": lambda: coloc.heidi(_data(0.3), "t1", "t3", min_abs_z=2.0),
        "finemap": lambda: _finemap(),
        "finemap, residual": lambda: _finemap(estimate_residual_variance=True),
        "finemap, null weight": lambda: _finemap(null_weight=0.3, max_effects=3),
        "finemap, simple": lambda: _finemap(prior_variance="fixed", scaled_prior_variance=0.05),
        "finemap, refined": lambda: _finemap(refine=True, coverage=0.8, min_abs_corr=0.2),
        "finemap, short": lambda: _finemap(max_iter=2),
        "finemap, no n": lambda: coloc.finemap_summary(_z(), locus.ld),
        "finemap, se": lambda: coloc.finemap_summary(
            _z(), locus.ld, np.full(6, N), se=se, variance_y=sd**2, prior_weights=weights
        ),
        "finemap, individual": lambda: coloc.finemap_individual(x, y.T, prior_weights=weights),
        "finemap, sufficient": lambda: coloc.finemap_sufficient(
            locus.x.T @ locus.x, y @ locus.x, (y**2).sum(1), np.full(6, N)
        ),
        "finemap, traits": lambda: coloc.finemap_traits(_data(), "outcomes"),
        "signals": lambda: coloc.colocalize_signals(_finemap(), _finemap(coverage=0.9)),
        "clpp": lambda: coloc.clpp(_finemap(), _finemap()),
        "steiger": lambda: steiger_test(_pair(), reliability_x=0.9),
        "steiger, related": lambda: steiger_test(_pair(), trait_correlation=0.4),
        "steiger, instruments": lambda: steiger_by_instrument(_pair()),
    }
