"""Where an attribution method does not apply, it says why; bad input is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mrinterp.attribution._all_methods import all_methods
from mrinterp.attribution._beside_knockout import beside_knockout
from mrinterp.attribution._gradient import (
    attribution_patching,
    gradient,
)
from mrinterp.attribution._integrated_gradients import integrated_gradients
from mrinterp.attribution._linear_probe import linear_probe
from mrinterp.core.errors import InputError
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.outcomes._outcome import Sampling
from mrinterp.outcomes._outcome_set import OutcomeSet
from mrinterp.outcomes._projection_and_callable import CallableOutcome
from mrinterp.results._check import NotApplicable
from mrinterp.results._estimates import Estimates
from tests.attribution.attribution_bench import (
    GRADIENT,
    PROMPTS,
    bench_of,
    inputs,
    square,
)
from tests.knockouts.given_bench import given_bench


class TestWhereItDoesNotApply:
    def test_a_sampled_outcome_has_no_gradient(self) -> None:
        found = all_methods(bench_of(sampling=Sampling("normal", 4, 0.1, 0.0, 0)))
        for name in GRADIENT:
            assert isinstance(found[name], NotApplicable)
            assert "sampled" in found[name].reason
        assert isinstance(
            integrated_gradients(bench_of(sampling=Sampling("normal", 4, 0.1, 0.0, 0)), together=False),
            NotApplicable,
        )
        assert np.isfinite(found["correlation"].beta).all()
        assert np.isfinite(found["linear_probe"].beta).all()

    @pytest.mark.parametrize("together", [True, False])
    def test_a_sampled_outcome_takes_no_gradient_from_the_others(self, together: bool) -> None:
        drawn = CallableOutcome("drawn", square)
        both = OutcomeSet(
            [drawn, CallableOutcome("square", square)], [Sampling("normal", 4, 0.1, 0.0, 0), None]
        )
        mixed = bench_of(outcome=both)
        found = dict(all_methods(mixed).items()) | {
            "integrated_gradients": integrated_gradients(mixed, together=together)
        }
        alone_bench = bench_of(outcome=CallableOutcome("square", square))
        alone = dict(all_methods(alone_bench).items()) | {
            "integrated_gradients": integrated_gradients(alone_bench, together=together)
        }
        for name in GRADIENT:
            e, a = found[name], alone[name]
            assert isinstance(e, Estimates)
            assert isinstance(a, Estimates)
            np.testing.assert_array_equal(e.beta[:, 1], a.beta[:, 0])
            assert np.isnan(e.beta[:, 0]).all()
            assert all("sampled" in words for words in e.status[:, 0])
        table = beside_knockout(found, knock_out(mixed, "mean", draws=20))
        status = table.scores.set_index(["method", "outcome"])["status"]
        assert "sampled" in status["gradient", "drawn"]
        assert status["gradient", "square"] == "3 features in common: at least 4 are needed"

    @pytest.mark.parametrize(
        "function",
        [
            lambda out, _m: (out.sum((1, 2)) > 0).double(),
            lambda out, _m: out[:, 0].argmax(-1),
            lambda out, _m: out.sum((1, 2)).numpy(),
        ],
        ids=["comparison", "label", "outside torch"],
    )
    def test_a_discrete_outcome_has_no_gradient(self, function: Any) -> None:
        found = all_methods(bench_of(outcome=CallableOutcome("label", function)))
        for name in GRADIENT:
            assert isinstance(found[name], NotApplicable), name
            assert "label" in found[name].reason
        assert isinstance(found["correlation"], Estimates)

    def test_an_outcome_among_others_that_is_discrete_is_called_flat(self) -> None:
        both = OutcomeSet(
            [
                CallableOutcome("smooth", square),
                CallableOutcome("step", lambda o, _m: (o.sum((1, 2)) > 0) * 1.0),
            ]
        )
        found = gradient(bench_of(outcome=both))
        assert (found.status[:, 0] == "ok").all()
        assert all("only a knockout tells" in s for s in found.status[:, 1])

    def test_a_feature_that_never_varies_is_told(self) -> None:
        x = np.random.default_rng(0).standard_normal((12, 3))
        x[:, 1] = 0.25
        found = all_methods(given_bench(x, x[:, 0] ** 2, np.repeat(np.arange(6), 2)))
        for name in ("correlation", "linear_probe"):
            assert np.isnan(found[name].beta[1, 0])
            assert "does not vary" in found[name].status[1, 0]
            assert np.isfinite(found[name].beta[[0, 2], 0]).all()
        assert np.isnan(found["attribution_patching"].beta[1, 0])
        assert "equals the clean one" in found["attribution_patching"].status[1, 0]

    def test_no_feature_varies(self) -> None:
        y = np.random.default_rng(0).standard_normal(12)
        found = all_methods(given_bench(np.ones((12, 2)), y, np.repeat(np.arange(6), 2)))
        for name in ("correlation", "linear_probe"):
            assert np.isnan(found[name].beta).all()
            assert all("does not vary" in s for s in found[name].status.ravel())

    @pytest.mark.parametrize("prompts", [1, 2])
    def test_too_few_prompts_for_a_correlation_leave_the_gradients(self, prompts: int) -> None:
        x = np.random.default_rng(0).standard_normal((prompts, 3))
        found = all_methods(given_bench(x, x[:, 0], np.arange(prompts)))
        assert isinstance(found["correlation"], NotApplicable)
        assert "at least three" in found["correlation"].reason
        assert (found["gradient"].beta == 0).all()
        assert np.isnan(found["linear_probe"].beta).all()

    def test_one_family_has_no_error(self) -> None:
        found = all_methods(bench_of(family=np.zeros(PROMPTS)))
        for name, e in found.items():
            if name != "linear_probe":
                assert np.isfinite(e.beta).all(), name
            assert np.isnan(e.se).all(), name
            assert all("famil" in s for s in e.status.ravel()), name

    def test_a_class_in_too_few_families(self) -> None:
        x = np.random.default_rng(0).standard_normal((24, 2))
        y = np.zeros(24)
        y[0] = 1.0
        found = linear_probe(given_bench(x, y, np.repeat(np.arange(12), 2)))
        assert "too few families" in found.status[0, 0]
        assert np.isnan(found.beta).all()


class TestBadInput:
    def test_counterfactuals_of_another_length(self) -> None:
        with pytest.raises(InputError, match=f"5 for {PROMPTS} prompts"):
            attribution_patching(bench_of(), target=inputs().take(np.arange(5)))

    @pytest.mark.parametrize(
        "target", ["median", np.zeros(7), np.full(3, np.nan)], ids=["word", "shape", "nan"]
    )
    def test_targets(self, target: Any) -> None:
        with pytest.raises(InputError, match="target"):
            integrated_gradients(bench_of(), target=target)

    def test_counts(self) -> None:
        with pytest.raises(InputError, match="steps"):
            integrated_gradients(bench_of(), steps=0)
