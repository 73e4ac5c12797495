"""Data sets, published entries and shorthands that the tests of the joint estimators share."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from mrinterp.core.mrdata import MRData
from mrinterp.mr._engine.driver import estimate
from mrinterp.mr._engine.effects import Effects
from mrinterp.mr._engine.registry import Fit, find
from mrinterp.stats.profile.likelihood import (
    KnownErrors,
)
from mrinterp.stats.profile.losses import find_loss
from tests.reference.mr_cases import CLASSIC, Case, Entry, load_case

MV = ["mv01_lipids_sbp", "mv02_lipids_chd", "mv03_presso", "mv3_condweak", "mv4_valid"]


CORRELATED = ["correlated", "uv04_calcium_fastgluc"]


L2 = find_loss("l2")


def here(cases: list[str]) -> list[Any]:
    return [pytest.param(c, marks=[pytest.mark.needs("classic")] if c in CLASSIC else []) for c in cases]


def entry_of(case: str, method: str) -> tuple[Case, Entry]:
    loaded = load_case(case)
    assert loaded is not None
    return loaded, loaded.entries[method]


def close(ours: Any, theirs: Any, rel: float, absolute: float = 0.0) -> None:
    np.testing.assert_allclose(np.asarray(ours, float), np.asarray(theirs, float), rtol=rel, atol=absolute)


def column(values: Any) -> Any:
    return np.asarray(values)[:, 0]


def sized(case: Case, entry: Entry) -> MRData:
    """The case's data with the sample sizes the entry was given."""
    n_x = np.full(case.data.shape[0], float(entry.args["nx"]))
    return replace(case.data, n_x=n_x, n_y=np.array([float(entry.args["ny"])]))


def correlated_exposures(case: Case) -> MRData:
    """Errors correlated as the case's phenotypic correlation, none with the outcome."""
    F = case.data.shape[0]
    corr = np.eye(F + 1)
    corr[:F, :F] = case.meta["pcor"]
    return replace(case.data, error_corr=corr)


def known_errors(data: MRData) -> KnownErrors:
    F = data.shape[0]
    sigma = data.error_covariance()
    return KnownErrors(data.beta_x.T[None], data.beta_y, data.se_y**2, sigma[:, :F, :F])


@cache
def mv_ivw(case: str) -> Any:
    loaded = load_case(case)
    assert loaded is not None
    return estimate(loaded.data, "mv_ivw").beta[:, 0]


def draw(
    seed: int = 0, F: int = 4, J: int = 90, O: int = 2, overlap: float = 0.3, se: float = 0.15
) -> MRData:
    rng = np.random.default_rng(seed)
    root = np.linalg.cholesky(np.full((F, F), 0.6) + 0.4 * np.eye(F))
    beta = root @ rng.standard_normal((F, J))
    theta = np.linspace(0.4, -0.3, F * O).reshape(O, F)
    corr = np.full((F + O, F + O), overlap) + (1 - overlap) * np.eye(F + O)
    errors = np.linalg.cholesky(corr) @ rng.standard_normal((F + O, J))
    size = se * np.exp(0.2 * rng.standard_normal((F + O, J)))
    noisy = np.concatenate([beta, theta @ beta + 0.1 * rng.standard_normal((O, J))]) + size * errors
    names = [tuple(f"{c}{i}" for i in range(n)) for c, n in (("x", F), ("y", O), ("g", J))]
    return MRData(
        beta_x=noisy[:F],
        se_x=size[:F],
        beta_y=noisy[F:],
        se_y=size[F:],
        exposures=names[0],
        outcomes=names[1],
        instruments=names[2],
        error_corr=corr,
    )


def changed(data: MRData, **arrays: Any) -> MRData:
    return replace(data, **arrays)


DETERMINISTIC = {
    "mrbee": {},
    "srivw": {},
    "grapple": {},
    "mv_cml": {"starts": 4},
    "mv_median": {"draws": 0},
    "mv_ivw_me": {},
    "mr_bma": {},
    "susie_mv": {},
    "mv_gmm": {},
    "mv_lasso": {},
    "mv_robust": {},
}


@cache
def found_in_draw(method: str) -> Any:
    """What a deterministic method finds in `draw`'s data."""
    return estimate(draw(), method, **DETERMINISTIC[method])


def fit_of(method: str, data: MRData, **arrays: Any) -> Fit:
    """The kernel itself, past the driver's own checks."""
    given = {k: getattr(data, k) for k in ("beta_x", "se_x", "beta_y", "se_y")} | arrays
    options = {k: v for k, v in given.items() if k in find(method).options}
    with np.errstate(all="ignore"):
        return find(method).kernel(
            Effects(*(given[k] for k in ("beta_x", "se_x", "beta_y", "se_y"))), **options
        )


def hint(entry: Entry) -> dict[str, float]:
    return {"rel": entry.tolerance["rel"], "absolute": entry.tolerance["abs"]}
