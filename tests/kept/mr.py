"""Every estimator of summary statistics and of runs, every option that has a choice, on five tables and three panels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

import mrinterp
from mrinterp.mr._engine.driver import estimate
from mrinterp.mr._engine.registry import registered
from tests.mr.joint_cases import draw
from tests.mr.test_mr_bad_cells import NEED_LD, OPTIONS

CHOICES: dict[str, list[Any]] = {
    "distribution": ["normal", "t"],
    "model": ["fixed", "random"],
    "weights": ["first", "second"],
    "overdispersion": [True, False],
    "average": [True],
    "loss": ["l2", "huber", "tukey"],
    "floor": [False],
    "error": ["nome"],
    "orientate": [2],
    "outliers": ["remove"],
    "small_sample": ["factor"],
    "scaling": ["sufficient"],
    "components": ["prcomp"],
    "standardize": ["centred"],
    "penalty": [0.3],
    "level": [0.8],
    "prior": [0.2],
    "psi": [0.2],
    "prior_sd": [0.5],
    "prior_inclusion": [0.3],
    "max_size": [1],
    "max_effects": [1],
    "order": [2],
    "draws": [30],
    "phi": [0.6],
    "lam": [0.4],
    "spread": [0.7],
    "perturbations": [3],
    "alpha": [0.3],
    "threshold": [0.8],
}


ERRORS = {
    "grapple": ["model", "empirical"],
    "mv_gmm": ["standard"],
    "pc_gmm": ["standard"],
    **{key: ["influence"] for key in ("mv_robust", "robust_ivw", "robust_egger")},
}
"""Each of these has its own words for how errors are computed."""

WEIGHTS = {"radial_ivw": ["first", "second", "iterative"], "radial_egger": ["first", "second"]}


def _spoiled() -> Any:
    """Twenty instruments, one exposure and one outcome, five of them pleiotropic, one hardly associated."""
    d = draw(7, F=1, J=20, O=1, overlap=0.0)
    y = d.beta_y + np.where(np.arange(20) < 5, 1.5, 0.0) * np.sign(d.beta_x[:1])
    return replace(d, beta_y=y, error_corr=None)


def _linked() -> Any:
    """Correlated instruments whose errors follow their correlation."""
    d = draw(3, F=2, J=16, O=2)
    ld = 0.6 ** np.abs(np.subtract.outer(np.arange(16), np.arange(16)))
    root = np.linalg.cholesky(ld)
    return replace(d, beta_x=d.beta_x @ root.T, beta_y=d.beta_y @ root.T, ld=ld)


def _holes() -> Any:
    """Missing cells, equal effects and one outcome of few instruments."""
    d = draw(11, F=2, J=14, O=2)
    x, y = d.beta_x.copy(), d.beta_y.copy()
    x[0, 3], y[1, 5], y[1, 9:] = np.nan, np.nan, np.nan
    x[:, 1], y[:, 1] = x[:, 0], y[:, 0]
    return replace(d, beta_x=x, beta_y=y)


def _weak() -> Any:
    """Errors as large as the effects."""
    return draw(5, F=2, J=24, O=1, se=0.8)


def _exact() -> Any:
    """Outcomes that two of four exposures explain without a rest."""
    d = draw(9, F=4, J=30, O=2)
    y = np.array([[0.5, 0.0, -0.3, 0.0], [0.0, 0.0, 0.0, 1e-3]]) @ d.beta_x
    return replace(d, beta_y=y, error_corr=None)


TABLES: dict[str, Callable[[], Any]] = {
    "overlap": lambda: draw(1, F=2, J=26, O=2),
    "spoiled": _spoiled,
    "linked": _linked,
    "holes": _holes,
    "weak": _weak,
    "exact": _exact,
}


def _fit(table: str, method: str, **options: Any) -> Any:
    data = TABLES[table]()
    wanted = registered()[method].options
    if method in NEED_LD and data.ld is None:
        data = replace(data, ld=np.eye(data.shape[2]))
    if method not in NEED_LD and "ld" not in wanted and data.ld is not None:
        data = replace(data, ld=None)
    sizes = (
        {}
        if table == "exact"
        else {"n_x": np.full(data.shape[0], 3000.0), "n_y": np.full(data.shape[1], 2000.0)}
    )
    sized = replace(data, **sizes)
    given = {k: min(v, 40) if k == "draws" else v for k, v in OPTIONS.get(method, {}).items()}
    if wanted.get("draws"):
        given.setdefault("draws", 40)
    return estimate(sized, method, **(given | options))


def _allowed(method: str, option: str, value: Any) -> bool:
    return registered()[method].options.get(option, value) != value


def _panel(world: int, method: str, **options: Any) -> Any:
    return getattr(mrinterp.mr, method)(mrinterp.worlds.linear_world(world).panel, **options)


def cases() -> dict[str, Callable[[], Any]]:
    """Name of a case to what computes it."""
    found: dict[str, Callable[[], Any]] = {}
    for method, how in sorted(registered().items()):
        if how.kind == "run":
            for world in (0, 3, 8):
                found[f"{method}, world {world}"] = partial(_panel, world, method)
            continue
        for table in set(TABLES) - {"exact"}:
            found[f"{method}, {table}"] = partial(_fit, table, method)
        own = {"errors": ERRORS.get(method, []), "weights": WEIGHTS.get(method, CHOICES["weights"])}
        for option, values in (CHOICES | own).items():
            for value in values:
                if _allowed(method, option, value):
                    table = "spoiled" if how.kind == "univariable" else "overlap"
                    found[f"{method}, {option} {value}"] = partial(_fit, table, method, **{option: value})
    for method in ("susie_mv", "susie_direct", "mr_bma", "mv_robust", "mv_lasso", "mv_cml", "srivw"):
        found[f"{method}, exact"] = partial(_fit, "exact", method)
    for covariance in ("CR1", "bootstrap"):
        found[f"within, {covariance}"] = partial(_panel, 3, "within", covariance=covariance)
    found["within, rank 2"] = partial(_panel, 3, "within", rank=2)
    found["tsls, rank 3"] = partial(_panel, 3, "tsls", rank=3)
    found["leave one out"] = lambda: list(mrinterp.mr.leave_one_out(_spoiled(), "ivw"))
    found["rank path"] = lambda: mrinterp.mr.rank_path(mrinterp.worlds.linear_world(3).panel, [0, 1, 3])
    return found
