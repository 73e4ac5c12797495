"""Every attribution method is called, and answers, as all others do."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mrinterp import attribution
from mrinterp.core.errors import InputError
from mrinterp.results import AttributionScores, Estimates
from tests.attribution.attribution_bench import bench_of

METHODS = sorted(
    name
    for name in attribution.__all__
    if next(iter(inspect.signature(getattr(attribution, name)).parameters)) == "bench"
    and name != "all_methods"
)


def method(name: str) -> Callable[..., Any]:
    return getattr(attribution, name)


def test_the_methods_are_those_that_all_methods_runs() -> None:
    scores = attribution.all_methods(bench_of(), relp=True)
    assert isinstance(scores, AttributionScores)
    assert sorted(scores) == METHODS
    assert sorted(attribution.all_methods(bench_of())) == [m for m in METHODS if m != "relp"]


@pytest.mark.parametrize("name", [*METHODS, "all_methods"])
def test_bench_and_features_come_first_and_all_else_by_name(name: str) -> None:
    parameters = inspect.signature(method(name)).parameters
    assert list(parameters)[:2] == ["bench", "features"]
    assert parameters["features"].default is None
    rest = list(parameters.values())[2:]
    assert all(p.kind is inspect.Parameter.KEYWORD_ONLY for p in rest)
    assert all(p.default is not inspect.Parameter.empty for p in rest)
    if "target" in parameters:
        assert parameters["target"].default == "mean"


@pytest.mark.parametrize("view", ["latents", "directions"])
@pytest.mark.parametrize("rule", ["mean", "all"])
@pytest.mark.parametrize("name", METHODS)
def test_what_comes_back(name: str, view: str, rule: str) -> None:
    bench = bench_of(view, rule)
    found = method(name)(bench)
    assert isinstance(found, Estimates)
    assert found.method == name
    assert found.exposures == tuple(bench.view.names)
    assert found.outcomes == tuple(bench.outcome.names)
    assert found.unit == "outcome units per unit of the feature"
    assert found.assumes


@pytest.mark.parametrize("rule", ["mean", "all"])
@pytest.mark.parametrize("name", METHODS)
def test_chosen_features_are_rows_of_the_whole(name: str, rule: str) -> None:
    bench = bench_of("latents", rule)
    whole, some = method(name)(bench), method(name)(bench, ["latent5", "latent8"])
    rows = [bench.view.names.index(f) for f in some.exposures]
    assert some.exposures == ("latent5", "latent8")
    for field in ("beta", "se", "df", "status"):
        np.testing.assert_array_equal(getattr(some, field), getattr(whole, field)[rows])
    for detail, value in whole.details.items():
        np.testing.assert_array_equal(some.details[detail], value[rows])
    assert method(name)(bench, "latent5").exposures == ("latent5",)


def test_one_feature_moved_alone_costs_and_says_what_it_does_among_all() -> None:
    bench = bench_of("directions")
    whole = attribution.integrated_gradients(bench, together=False)
    one = attribution.integrated_gradients(bench, 1, together=False)
    np.testing.assert_allclose(one.beta[0], whole.beta[1], rtol=1e-12)


@pytest.mark.parametrize("name", [*METHODS, "all_methods"])
def test_features_that_are_not_there_are_refused(name: str) -> None:
    with pytest.raises(InputError, match="not known"):
        method(name)(bench_of(), ["unit99"])
