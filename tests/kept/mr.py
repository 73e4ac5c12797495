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
    "coverage": [0.6],
    "min_purity": [0.95],
    "rounds": [1],
    "max_iterations": [3],
    "tolerance": [0.05],
    "max_models": [3],
    "most_invalid": [3],
    "max_invalid": [2],
    "outlier_level": [0.5],
    "starts": [1],
    "seed": [5],
    "points": [17],
    "n": [400],
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


def _scaled() -> Any:
    """Three exposures and three outcomes whose units differ a thousandfold."""
    d = draw(13, F=3, J=19, O=3, se=0.3)
    x, y = np.array([[1.0], [50.0], [0.02]]), np.array([[0.1], [1.0], [30.0]])
    return replace(
        d, beta_x=d.beta_x * x, se_x=d.se_x * x, beta_y=d.beta_y * y, se_y=d.se_y * y, error_corr=None
    )


def _few() -> Any:
    """As many instruments as exposures and two more."""
    return draw(15, F=2, J=4, O=2, overlap=0.1)


def _dead() -> Any:
    """An exposure that is another's double, one that nothing moves, an outcome that does not vary."""
    d = draw(17, F=4, J=15, O=3, overlap=0.0)
    x, s, y = d.beta_x.copy(), d.se_x.copy(), d.beta_y.copy()
    x[1], s[1], x[3], y[1] = -2.0 * x[0], 2.0 * s[0], 0.0, 0.0
    y[2] += 3.0 * x[0]
    return replace(d, beta_x=x, se_x=s, beta_y=y, error_corr=None)


def _null() -> Any:
    """Effects of which none is more than its error."""
    d = draw(19, F=1, J=13, O=2, overlap=0.2, se=0.5)
    return replace(d, beta_y=0.3 * d.se_y * np.sin(np.arange(26)).reshape(2, 13))


def _many() -> Any:
    """More exposures than all models of them can be listed, more instruments than all pairs are tried."""
    return draw(21, F=9, J=70, O=2, overlap=0.1, se=0.2)


TABLES: dict[str, Callable[[], Any]] = {
    "overlap": lambda: draw(1, F=2, J=26, O=2),
    "spoiled": _spoiled,
    "linked": _linked,
    "holes": _holes,
    "weak": _weak,
    "exact": _exact,
    "scaled": _scaled,
    "few": _few,
    "dead": _dead,
    "null": _null,
    "many": _many,
}

FURTHER: list[tuple[str, str, dict[str, Any]]] = [
    ("mr_bma", "many", {"max_models": 60, "max_size": 4}),
    ("mr_bma", "many", {"max_models": 40, "max_size": 9, "prior_inclusion": 0.4}),
    ("mrbee", "scaled", {"draws": 25, "outliers": "remove"}),
    ("mrbee", "few", {"draws": 25}),
    ("mrbee", "few", {"outliers": "remove", "outlier_level": 0.9}),
    ("mrbee", "scaled", {"small_sample": "factor", "outliers": "remove"}),
    ("mv_cml", "scaled", {"draws": 12, "starts": 2}),
    ("mv_cml", "few", {"draws": 12, "n": 90}),
    ("cml", "overlap", {"perturbations": 4, "average": True}),
    ("cml", "few", {"perturbations": 1}),
    ("robust_egger", "many", {}),
    ("robust_egger", "overlap", {"penalty": 3.0, "errors": "influence"}),
    ("robust_ivw", "overlap", {"weights": "second", "penalty": 3.0}),
    ("penalized_weighted_median", "overlap", {"weights": "second", "draws": 20}),
    ("mv_robust", "many", {}),
    ("mv_robust", "exact", {"errors": "influence"}),
    ("susie_mv", "many", {"max_effects": 4}),
    ("susie_direct", "many", {"max_effects": 3}),
    ("mv_lasso", "many", {}),
    ("mv_presso", "many", {"draws": 20, "floor": False, "alpha": 0.5}),
    ("presso", "spoiled", {"draws": 60, "alpha": 0.9}),
    ("mv_gmm", "scaled", {"errors": "standard", "overdispersion": False}),
    ("pc_gmm", "linked", {"components": "prcomp", "threshold": 0.9}),
    ("grapple", "scaled", {"starts": 2, "loss": "huber"}),
    ("conmix", "scaled", {"level": 0.7, "psi": 0.4}),
    ("conmix", "overlap", {"lower": -1.0, "upper": 0.7, "step": 0.01}),
    ("hetpen", "overlap", {"lower": -1.0, "upper": 0.7, "step": 0.01, "prior": 0.3}),
    ("mrmix", "overlap", {"lower": -1.0, "upper": 0.7, "step": 0.02, "points": 5}),
    ("weighted_mode", "overlap", {"penalty": 2.0, "draws": 20}),
    ("simple_mode", "overlap", {"points": 50, "draws": 20, "phi": 0.3}),
    ("radial_egger", "overlap", {"alpha": 0.7, "floor": False}),
    ("rucker", "spoiled", {"alpha": 0.6}),
    ("lasso", "scaled", {"lam": 0.05}),
    ("max_likelihood", "scaled", {"model": "fixed"}),
    ("egger", "few", {"level": 0.5}),
    ("sign", "scaled", {"level": 0.6}),
]
"""Options that only say something together, or on another table than theirs."""


def _odd_panel(clean: bool) -> Any:
    """Families of one to five prompts, a dead feature, a double, a sum, an outcome that is flat, a placebo."""
    rng = np.random.default_rng(23)
    prompt = np.repeat(np.arange(15), [4, 6] * 7 + [5])
    family = np.array([0, 1, 1, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 4])[prompt]
    first = np.r_[True, np.diff(prompt) > 0]
    dose = rng.standard_normal((len(prompt), 16))
    dose[first & clean] = 0.0
    dose[:, 15] = rng.standard_normal(len(prompt)) * ~(first & clean)
    own = dose[:, :12] @ rng.standard_normal((12, 3)) + 0.3 * rng.standard_normal((len(prompt), 3))
    bypass = dose @ rng.standard_normal((16, 2)) * np.array([1.0, 5.0])
    level = rng.standard_normal(15)[prompt]
    features = np.c_[own, -3.0 * own[:, 0], own[:, 1] + own[:, 2], np.ones(len(prompt))]
    y = own[:, 0] - 0.4 * own[:, 1] + 0.2 * bypass[:, 0] + level + 0.5 * rng.standard_normal(len(prompt))
    return mrinterp.from_arrays(
        doses=dose,
        features=features,
        outcomes=np.c_[y, np.full(len(prompt), 2.0), 1000.0 * y * (1.0 + 0.1 * level), 2.0 * own[:, 0]],
        prompt=prompt,
        family=family,
        bypass=bypass,
        clean=first if clean else None,
        placebo=("z15",),
        rank=1,
    )


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
    if table in ("scaled", "few"):
        sizes = {k: v * (1.0 + 0.5 * np.arange(len(v))) for k, v in sizes.items()}
    sized = replace(data, **sizes)
    given = {k: min(v, 40) if k == "draws" else v for k, v in OPTIONS.get(method, {}).items()}
    if wanted.get("draws"):
        given.setdefault("draws", 40)
    return estimate(sized, method, **(given | options))


def _allowed(method: str, option: str, value: Any) -> bool:
    return registered()[method].options.get(option, value) != value


def _panel(world: int, method: str, **options: Any) -> Any:
    return getattr(mrinterp.mr, method)(mrinterp.worlds.linear_world(world).panel, **options)


def _of_odd(clean: bool, method: str, options: dict[str, Any]) -> Any:
    return getattr(mrinterp.mr, method)(_odd_panel(clean), **options)


def cases() -> dict[str, Callable[[], Any]]:
    """Name of a case to what computes it."""
    found: dict[str, Callable[[], Any]] = {}
    for method, how in sorted(registered().items()):
        if how.kind == "run":
            for world in (0, 3, 8):
                found[f"{method}, world {world}"] = partial(_panel, world, method)
            for clean in (True, False):
                options = {"draws": 20} if method == "within" else {}
                found[f"{method}, odd, {clean}"] = partial(_of_odd, clean, method, options)
            continue
        for table in sorted(set(TABLES) - {"exact", "many"}):
            found[f"{method}, {table}"] = partial(_fit, table, method)
        own = {"errors": ERRORS.get(method, []), "weights": WEIGHTS.get(method, CHOICES["weights"])}
        for option, values in (CHOICES | own).items():
            for value in values:
                if _allowed(method, option, value):
                    table = "spoiled" if how.kind == "univariable" else "overlap"
                    found[f"{method}, {option} {value}"] = partial(_fit, table, method, **{option: value})
    for method in ("susie_mv", "susie_direct", "mr_bma", "mv_robust", "mv_lasso", "mv_cml", "srivw"):
        found[f"{method}, exact"] = partial(_fit, "exact", method)
    for method, table, options in FURTHER:
        found[f"{method}, {table}, {options}"] = partial(_fit, table, method, **options)
    for number, options in enumerate(
        [
            {"weights": "prompts"},
            {"weights": "prompts", "covariance": "CR1", "rank": 2},
            {"covariance": "bootstrap", "draws": 15, "seed": 2, "rank": 0},
        ]
    ):
        for clean in (True, False):
            found[f"within, odd, {number}, {clean}"] = partial(_of_odd, clean, "within", options)
    for folds, ridge in ((2, None), (4, 0.5), (3, 0.0)):
        found[f"within_partialled, odd, {folds}, {ridge}"] = partial(
            _of_odd, True, "within_partialled", {"folds": folds, "ridge": ridge, "rank": 2}
        )
    for covariance in ("CR1", "bootstrap"):
        found[f"within, {covariance}"] = partial(_panel, 3, "within", covariance=covariance)
    found["within, rank 2"] = partial(_panel, 3, "within", rank=2)
    found["tsls, rank 3"] = partial(_panel, 3, "tsls", rank=3)
    found["leave one out"] = lambda: list(mrinterp.mr.leave_one_out(_spoiled(), "ivw"))
    found["rank path"] = lambda: mrinterp.mr.rank_path(mrinterp.worlds.linear_world(3).panel, [0, 1, 3])
    return found
