"""Every condition of a refusal refuses by itself, and what lies exactly at a limit passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mrinterp import coloc, knockouts
from mrinterp.core.errors import InputError
from mrinterp.features._units import Units
from mrinterp.scan import read_arrays
from mrinterp.stats import calibrated, families_for_width, rectified_mean
from tests.kept.networks import _benches
from tests.kept.reading import _arrays

B, S = np.array([[0.5, 0.0, 0.1], [0.4, 0.1, 0.0]]), np.full((2, 3), 0.1)
C, FAMILY = np.random.default_rng(0).standard_normal((8, 2, 1)), np.arange(8) // 2


def _doses(**options: Any) -> Any:
    return knockouts.dose_response(
        _benches()["gated"], features=[0, 1], draws=5, allow_off_support=True, **options
    )


def _curve(proportions: Any) -> Any:
    return knockouts.faithfulness(
        _benches()["gated"], "zero", features=[0, 1], proportions=proportions, draws=5
    )


def _pairs(pairs: Any) -> Any:
    return knockouts.epistasis(_benches()["gated"], "mean", features=[0, 1, 2], pairs=pairs)


def _clamp(value: Any) -> Any:
    return knockouts.knock_out(
        _benches()["gated"], "clamp", features=[0], value=value, draws=5, allow_off_support=True
    )


def _read(clean: Any = None, learn: Any = None) -> Any:
    network, prompt = _arrays()
    given = prompt if clean is None else clean(np.array(prompt))
    return read_arrays(network, Units([0], 6), clean=given, rank=1, learn=learn)


def _at(row: int, value: int) -> Callable[[Any], Any]:
    def changed(clean: Any) -> Any:
        clean[row] = value
        return clean

    return changed


def _kinds(**second: Any) -> Any:
    first = knockouts.knock_out(_benches()["gated"], "mean", features=[0, 1], draws=5)
    bench = _benches()[second.pop("bench", "gated")]
    return knockouts.compare_kinds([first, knockouts.knock_out(bench, "mean", draws=5, **second)])


REFUSED: dict[str, Callable[[], Any]] = {
    "two doses": lambda: _doses(doses=[0.0, 1.0]),
    "doses of three features": lambda: _doses(doses=np.arange(9.0).reshape(3, 3)),
    "doses in a cube": lambda: _doses(doses=np.arange(6.0).reshape(1, 2, 3)),
    "a missing dose": lambda: _doses(doses=[0.0, np.nan, 1.0]),
    "an infinite dose": lambda: _doses(doses=[0.0, 1.0, np.inf]),
    "falling doses": lambda: _doses(doses=[0.0, 1.0, 0.5]),
    "equal doses": lambda: _doses(doses=[0.0, 0.5, 0.5]),
    "doses that are words": lambda: _doses(doses=["a", "b", "c"]),
    "two quantiles": lambda: _doses(quantiles=[0.1, 0.5]),
    "falling quantiles": lambda: _doses(quantiles=[0.1, 0.9, 0.5]),
    "equal quantiles": lambda: _doses(quantiles=[0.1, 0.5, 0.5]),
    "a quantile below 0": lambda: _doses(quantiles=[-0.01, 0.5, 0.9]),
    "a quantile above 1": lambda: _doses(quantiles=[0.1, 0.5, 1.01]),
    "quantiles in a table": lambda: _doses(quantiles=np.array([[0.1, 0.5, 0.9]])),
    "one proportion": lambda: _curve([0.5]),
    "falling proportions": lambda: _curve([0.1, 0.9, 0.5]),
    "equal proportions": lambda: _curve([0.5, 0.5]),
    "a proportion below 0": lambda: _curve([-0.01, 0.5]),
    "a proportion above 1": lambda: _curve([0.5, 1.01]),
    "a pair of one": lambda: _pairs([(0,)]),
    "a pair of three": lambda: _pairs([(0, 1, 2)]),
    "a pair with another feature": lambda: _pairs([(0, 4)]),
    "a pair twice": lambda: _pairs([(0, 1), (1, 0)]),
    "values for two of five": lambda: _clamp([0.1, 0.2]),
    "a value that is missing": lambda: _clamp(np.nan),
    "values of which one is missing": lambda: _clamp([0.1, 0.2, np.nan, 0.1, 0.1]),
    "rows beyond the runs": lambda: _read(_at(0, 96)),
    "rows before the first": lambda: _read(_at(1, -1)),
    "too few rows": lambda: _read(lambda clean: clean[1:]),
    "too few to learn from": lambda: _read(learn=np.arange(96) == 1),
    "learning on other runs": lambda: _read(learn=np.ones(95, bool)),
    "other features": lambda: _kinds(features=[0, 2]),
    "other outcomes": lambda: _kinds(bench="words", features=[0, 1]),
    "traits without an axis": lambda: coloc.cluster_traits(B[0], S[0]),
    "other errors": lambda: coloc.cluster_traits(B, S[:, :2]),
    "one trait": lambda: coloc.cluster_traits(B[:1], S[:1]),
    "errors of other instruments": lambda: coloc.finemap_abf(B, S[:, :2]),
    "names of other traits": lambda: coloc.finemap_abf(B, S, sd=1.0, traits=["a"]),
    "names of other instruments": lambda: coloc.finemap_abf(B, S, sd=1.0, instruments=["a", "b"]),
    "an error of 0": lambda: coloc.finemap_abf(B, S * [1, 0, 1], sd=1.0),
    "an infinite error": lambda: coloc.finemap_abf(B, S * [1, np.inf, 1], sd=1.0),
    "an infinite effect": lambda: coloc.finemap_abf(B + np.array([0, np.inf, 0]), S, sd=1.0),
    "predictions without families": lambda: rectified_mean(C, C, FAMILY, C),
    "families without predictions": lambda: rectified_mean(C, C, FAMILY, None, FAMILY),
    "predictions of other features": lambda: rectified_mean(C, C, FAMILY, C[:, :1], FAMILY),
    "families of other prompts": lambda: rectified_mean(C, C, FAMILY, C, FAMILY[1:]),
    "two families": lambda: families_for_width(C[:4], None, FAMILY[:4], 1.0, 9),
    "a study of one family": lambda: families_for_width(C, None, FAMILY, 1.0, 1),
    "a pilot of other prompts": lambda: families_for_width(C, C[1:], FAMILY, 1.0, 9),
    "a pilot without outcomes": lambda: families_for_width(C[..., 0], None, FAMILY, 1.0, 9),
    "roles of other features": lambda: calibrated(B, S, B, S, np.array(["own"] * 3)),
    "errors of another shape": lambda: calibrated(B, S, B, S[:, :2], np.array(["own"] * 2)),
}

PASSES: dict[str, Callable[[], Any]] = {
    "three doses": lambda: _doses(doses=[0.0, 0.5, 1.0]),
    "doses of each feature": lambda: _doses(doses=[[0.0, 0.5, 1.0], [0.0, 0.1, 0.2]]),
    "quantiles from 0 to 1": lambda: _doses(quantiles=[0.0, 0.5, 1.0]),
    "proportions from 0 to 1": lambda: _curve([0.0, 1.0]),
    "a value for each feature": lambda: _clamp([0.1, 0.2, 0.3, 0.1, 0.1]),
    "the last row": lambda: _read(_at(0, 95)),
    "two to learn from": lambda: _read(learn=np.arange(96) < 2),
    "the same features": lambda: _kinds(features=[0, 1]),
    "two traits": lambda: coloc.cluster_traits(B, S),
    "three families of two": lambda: families_for_width(C[:6], None, FAMILY[:6], 1.0, 2),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_each_condition_refuses(name: str) -> None:
    with pytest.raises((InputError, ValueError), match=r"Give|Compare|Drop|List"):
        REFUSED[name]()


@pytest.mark.parametrize("name", sorted(PASSES))
def test_what_lies_at_a_limit_passes(name: str) -> None:
    PASSES[name]()
