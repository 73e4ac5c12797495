"""The power that is calculated is the power that simulated designs have."""

from __future__ import annotations

import numpy as np
import pytest

import mrinterp
from mrinterp.core.errors import InputError
from mrinterp.stats.clustered.least_squares import marginal_slopes
from mrinterp.stats.tests.tails import critical_value

DESIGN = {"families": 60, "runs": 12, "instruments": 4, "per_instrument": 0.06, "prompts": 2}


def detected(effect: float, draws: int, seed: int) -> float:
    """Share of simulated designs in which two-stage least squares leaves out 0."""
    rng = np.random.default_rng(seed)
    C, m, J, P = (DESIGN[k] for k in ("families", "runs", "instruments", "prompts"))
    family, prompt = np.repeat(np.arange(C), m), np.repeat(np.arange(C * P), m // P)
    found = 0
    for _ in range(draws):
        z = rng.standard_normal((C * m, J))
        x = z @ np.full(J, np.sqrt(DESIGN["per_instrument"])) + np.sqrt(
            1 - J * DESIGN["per_instrument"]
        ) * rng.standard_normal(C * m)
        y = effect * x + rng.standard_normal(C * m) + rng.standard_normal(C * P)[prompt]
        values = np.column_stack([z, x, y])
        mean = np.stack([np.bincount(prompt, v) for v in values.T], axis=1) / (m // P)
        z, x, y = np.split(values - mean[prompt], [J, J + 1], axis=1)
        fitted = z @ np.linalg.lstsq(z, x, rcond=None)[0]
        beta = float((fitted * y).sum() / (fitted * x).sum())
        # The sandwich of 2SLS: scores of the fitted feature with the structural residual.
        se = marginal_slopes(fitted, y - beta * (x - fitted), family)[1]
        found += abs(beta) > critical_value(0.95, C - 1) * float(se[0, 0])
    return found / draws


@pytest.mark.parametrize("effect", [0.0, 0.15, 0.25])
def test_power_is_that_of_simulated_designs(effect: float) -> None:
    wanted = mrinterp.mr.power(effect, **DESIGN).achieved
    share = detected(effect, 400, 1)
    assert abs(share - wanted) < 3.2 * np.sqrt(max(wanted * (1 - wanted), 0.04) / 400) + 0.01


def test_what_it_says_is_needed_is_enough_and_no_less_is() -> None:
    found = mrinterp.mr.power(0.15, **DESIGN)
    assert found.families_needed is not None
    for name, needed in (
        ("families", found.families_needed),
        ("runs", found.runs_needed),
        ("instruments", found.instruments_needed),
    ):
        if needed is None:
            continue
        assert mrinterp.mr.power(0.15, **(DESIGN | {name: needed})).achieved >= 0.8
        if needed - 1 > 2:
            assert mrinterp.mr.power(0.15, **(DESIGN | {name: needed - 1})).achieved < 0.8
    assert mrinterp.mr.power(found.smallest_effect, **DESIGN).achieved == pytest.approx(0.8, abs=1e-6)
    assert mrinterp.mr.power(1e-5, **DESIGN).instruments_needed is None
    assert "weak" in str(mrinterp.mr.power(0.1, **(DESIGN | {"per_instrument": 0.001})))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"per_instrument": 0.5}, "explain less than 1"),
        ({"runs": 2}, "two perturbed runs"),
        ({"families": 1}, "families"),
        ({"correlation": -0.1}, "correlation"),
        ({"wanted": 1.0}, "wanted"),
    ],
)
def test_bad_input(change: dict[str, float], words: str) -> None:
    with pytest.raises(InputError, match=words):
        mrinterp.mr.power(0.1, **(DESIGN | change))  # type: ignore[arg-type]
