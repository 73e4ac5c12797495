"""What every summary-level method says about the errors: used or left out, and right for which design."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from mrinterp.core.mrdata import MRData
from mrinterp.mr._engine.error_use import PAIRED_NOTE
from mrinterp.mr._engine.registry import registered
from tests.mr.test_mr_bad_cells import EVERY, data, fit

LEFT_OUT = "known correlation is not used"
ENTERS = (
    "it subtracts the errors that exposures and outcome share",
    "enters weights and standard errors only",
)


def correlated(rho: float = 0.4, design: str = "between", as_sigma: bool = False) -> MRData:
    """Two exposures and two outcomes whose errors all correlate ``rho``."""
    corr = np.full((4, 4), rho) + (1 - rho) * np.eye(4)
    d = replace(data(), error_corr=corr, design=design)
    return replace(d, sigma=d.error_covariance()) if as_sigma else d


@cache
def known_errors(method: str, design: str = "between", as_sigma: bool = False) -> Any:
    """A method's fit of them."""
    return fit(correlated(design=design, as_sigma=as_sigma), method)


@cache
def unknown_errors(method: str) -> Any:
    """The fit where nothing is said of a correlation."""
    return fit(data(), method)


def said(result: Any) -> tuple[bool, bool]:
    """(used, left out) as the result's own words have it."""
    text = "; ".join(result.assumes)
    return any(w in text for w in ENTERS), LEFT_OUT in text


@pytest.mark.parametrize("as_sigma", [False, True])
@pytest.mark.parametrize("method", EVERY)
def test_correlated_errors_are_used_or_their_neglect_is_said(method: str, as_sigma: bool) -> None:
    """Exactly one of the two is said, and the numbers bear it out."""
    known, unknown = known_errors(method, as_sigma=as_sigma), unknown_errors(method)
    used, left_out = said(known)
    assert used != left_out, known.assumes
    assert known.meta["uses_overlap"] == used
    same = np.array_equal(known.beta, unknown.beta, equal_nan=True) and np.array_equal(
        known.se, unknown.se, equal_nan=True
    )
    p = (
        "global_p",
        "rss",
    )  # PRESSO's errors enter its test; the estimate follows only where outliers are found
    details = [np.array_equal(known.details[k], unknown.details[k]) for k in p if k in known.details]
    if method == "mv_presso":
        same = same and all(details)
    assert same == left_out, method
    assert LEFT_OUT not in "; ".join(unknown.assumes)


@pytest.mark.parametrize("method", EVERY)
def test_every_method_says_for_which_design_its_correction_is_right(method: str) -> None:
    subtracts = registered()[method].subtracts
    between, paired = known_errors(method, as_sigma=False), known_errors(method, design="paired")
    right = "either" if subtracts == "nothing" else "between"
    assert between.meta["right_for_design"] == paired.meta["right_for_design"] == right
    assert ("the design is between prompts" in "; ".join(between.assumes)) == (right == "between")
    finite = np.isfinite(paired.beta)
    assert finite.any()
    if right == "between":
        assert (paired.status[finite & (between.status == "ok")] == PAIRED_NOTE).all()
        assert not (paired.status == "ok").any()
    else:
        assert (paired.status == between.status).all()
        assert not any("subtracts" in a for a in paired.assumes)
    np.testing.assert_array_equal(paired.beta, between.beta)


@pytest.mark.parametrize("method", ["raps", "divw", "pivw", "mrmix"])
def test_methods_that_subtract_only_the_exposures_errors_say_both(method: str) -> None:
    text = "; ".join(fit(correlated(), method).assumes)
    assert "subtracts the estimation errors of the exposure effects" in text
    assert LEFT_OUT in text


@pytest.mark.parametrize("method", EVERY)
def test_a_known_correlation_of_instruments_is_used_or_its_neglect_is_said(method: str) -> None:
    d = data()
    J = d.shape[2]
    ld = 0.5 ** np.abs(np.subtract.outer(np.arange(J), np.arange(J)))
    known, independent = fit(replace(d, ld=ld), method), fit(replace(d, ld=np.eye(J)), method)
    left_out = any("instruments are independent (their known correlation" in a for a in known.assumes)
    same = np.array_equal(known.beta, independent.beta, equal_nan=True)
    assert left_out == same, method
    assert left_out == ("ld" not in registered()[method].options)
