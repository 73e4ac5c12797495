"""Options: what the literature offers is reachable, from the library and the command line; the rest is refused in words."""

from __future__ import annotations

import inspect
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mrinterp.cli.mr_words import parse_options
from mrinterp.core.errors import InputError
from mrinterp.mr._engine.driver import estimate, run_mr
from mrinterp.mr._engine.registry import registered
from mrinterp.mr._engine.result_table import GIVEN
from tests.mr.joint_cases import draw
from tests.mr.test_mr_bad_cells import OPTIONS, data

SUMMARY = {m: e for m, e in registered().items() if e.kind != "run"}
SEEDED = {
    "simple_median", "weighted_median", "penalized_weighted_median", "simple_mode", "weighted_mode", "presso",
    "mv_median", "mv_presso",
}  # fmt: skip
BOTH_DISTRIBUTIONS = {
    "ivw", "ivw_fixed", "ivw_random", "ivw_correlated", "egger", "egger_correlated", "max_likelihood", "unweighted",
    "radial_ivw", "penalized_ivw", "penalized_egger", "robust_ivw", "robust_egger", "simple_median", "weighted_median",
    "penalized_weighted_median", "simple_mode", "weighted_mode", "lasso", "mv_ivw", "mv_egger", "mv_median",
    "mv_lasso", "mv_presso", "mv_ivw_me", "mv_gmm", "pc_gmm", "mv_cml", "mrbee", "srivw", "grapple", "mv_robust",
}  # fmt: skip
"""Methods whose interval is estimate +- quantile x error, except where a paper fixes the reference distribution."""

BOTH_ORDERS = {
    "ivw", "ivw_fixed", "ivw_random", "weighted_median", "penalized_weighted_median", "penalized_ivw", "robust_ivw",
    "radial_ivw", "radial_egger",
}  # fmt: skip


def few(method: str) -> Any:
    d = data()
    return replace(d, ld=np.eye(d.shape[2])) if "ld" in registered()[method].options else d


def own_options(method: str) -> dict[str, Any]:
    return {k: v for k, v in registered()[method].options.items() if k not in GIVEN}


@pytest.mark.parametrize("method", sorted(BOTH_DISTRIBUTIONS))
def test_normal_and_t_give_the_same_estimate_and_other_intervals(method: str) -> None:
    settings = OPTIONS.get(method, {})
    normal, t = (estimate(few(method), method, distribution=d, **settings) for d in ("normal", "t"))
    np.testing.assert_array_equal(normal.beta, t.beta)
    np.testing.assert_array_equal(normal.se, t.se)
    assert np.isinf(normal.df).all()
    assert (t.df < t.n_instruments).all()
    assert (t.ci_upper - t.ci_lower > normal.ci_upper - normal.ci_lower).all()


@pytest.mark.parametrize("method", sorted(set(SUMMARY) - BOTH_DISTRIBUTIONS))
def test_a_method_without_a_choice_of_distribution_says_so(method: str) -> None:
    with pytest.raises(InputError, match="no such option"):
        estimate(data(), method, distribution="t")


@pytest.mark.parametrize("method", sorted(BOTH_ORDERS))
def test_weights_of_first_and_second_order(method: str) -> None:
    settings = OPTIONS.get(method, {})
    first, second = (estimate(data(), method, weights=w, **settings) for w in ("first", "second"))
    assert (first.beta != second.beta).any()
    with pytest.raises(InputError, match="called 'second' here"):
        estimate(data(), method, weights="delta", **settings)


@pytest.mark.parametrize("method", sorted(SEEDED))
def test_draws_and_seed(method: str) -> None:
    """The same seed repeats, another one differs, more draws settle."""
    d = draw(O=1) if method.startswith("mv_") else data(O=1)
    far = d.beta_y.copy()
    far[0, :3] += 1.0  # outliers, so that PRESSO has something to draw for
    d = replace(d, beta_y=far)

    def fit(**options: int) -> list[float]:
        e = estimate(d, method, **options)
        parts = [e.se, *(v for k, v in e.details.items() if k.endswith("_p"))]
        return np.concatenate([np.ravel(p) for p in parts]).tolist()

    a, b, c = fit(draws=60, seed=1), fit(draws=60, seed=1), fit(draws=60, seed=2)
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c, equal_nan=True)


@pytest.mark.parametrize("method", sorted(SUMMARY))
def test_values_of_the_wrong_kind_are_refused_with_the_options_name(method: str) -> None:
    parameters = inspect.signature(registered()[method].kernel).parameters
    wrong = {"int": -1, "float": float("nan"), "bool": "yes", "str": 3}
    for name in own_options(method):
        kind = str(parameters[name].annotation).split("|")[0].strip()
        with pytest.raises(InputError, match=name):
            estimate(data(), method, **{name: wrong[kind]})
        with pytest.raises(InputError, match=name):
            estimate(data(), method, **{name: [1, 2]})


@pytest.mark.parametrize("method", sorted(SUMMARY))
def test_unknown_words_are_refused_with_the_known_ones(method: str) -> None:
    for name, default in own_options(method).items():
        if isinstance(default, str):
            with pytest.raises(InputError, match=name):
                estimate(few(method), method, **{**OPTIONS.get(method, {}), name: "nonsense"})


@pytest.mark.parametrize("method", sorted(SUMMARY))
def test_every_option_is_reachable_from_the_command_line(method: str) -> None:
    for name, default in own_options(method).items():
        text = "null" if default is None else json.dumps(default)
        parsed = parse_options([f"{method}.{name}={text}"], [method])[method]
        assert parsed == {name: default}
        assert type(parsed[name]) is type(default)
    for name in own_options(method):
        assert f"{name}" in (registered()[method].kernel.__doc__ or "") or method != "mrbee"


def test_the_documentation_of_joint_methods_names_arrays_and_options() -> None:
    for method, how in registered("multivariable").items():
        doc = how.kernel.__doc__ or ""
        if method in ("lm_set", "clr_set", "pc_gmm", "susie_direct"):  # they refer to their sibling
            continue
        assert "JointData" not in doc, method
        for name in (*inspect.signature(how.kernel).parameters,):
            assert name in doc, (method, name)


def test_without_methods_the_default_of_the_design_is_run() -> None:
    d = draw(O=1)
    assert [e.method for e in run_mr(d)] == ["grapple"]
    (paired,) = run_mr(replace(d, design="paired"))
    assert paired.method == "mv_ivw"
    assert paired.meta["options"] == {"model": "sandwich", "distribution": "t"}
    (other,) = run_mr(replace(d, design="paired"), options={"mv_ivw": {"distribution": "normal"}})
    assert other.meta["options"] == {"model": "sandwich", "distribution": "normal"}


@pytest.mark.parametrize("method", ["conmix", "hetpen", "mrmix"])
def test_a_grid_of_effects_is_given_whole(method: str) -> None:
    whole = estimate(data(), method, lower=-1.0, upper=1.0, step=0.01)
    np.testing.assert_allclose(whole.details["grid_step"], 0.01)
    assert (np.abs(whole.beta / 0.01 - np.round(whole.beta / 0.01)) < 1e-6).all()
    for some in ({"lower": -1.0}, {"upper": 1.0, "step": 0.1}, {"lower": -1.0, "upper": 1.0}):
        with pytest.raises(InputError, match=rf"'{method}': .* alone\. Give all three"):
            estimate(data(), method, **some)
    for wrong in ((1.0, -1.0, 0.1), (-1.0, 1.0, 0.0), (-1.0, 1.0, 1e-9)):
        with pytest.raises(InputError, match="lower < upper and a positive step"):
            estimate(data(), method, **dict(zip(("lower", "upper", "step"), wrong, strict=True)))
