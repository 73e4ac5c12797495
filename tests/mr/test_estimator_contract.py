"""What every registered estimator keeps to, found by walking the table: a new one is held to it unasked."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

import mrinterp
from mrinterp.core.errors import InputError
from mrinterp.mr._engine.registry import registered
from mrinterp.mr._engine.result_table import GIVEN
from mrinterp.results import Estimates

SUMMARY = sorted(n for n, e in registered().items() if e.kind != "run")
RUN = sorted(registered("run"))
DRAWN = {"presso", "mv_presso", "mv_cml"}
"""Methods whose draws or starts belong to an instrument's place in the table."""


@cache
def _data() -> mrinterp.MRData:
    """Twenty-four instruments of two exposures, with effects 0.5 and -0.3; instruments independent."""
    rng = np.random.default_rng(5)
    J = 24
    beta_x = rng.normal(0.0, 0.2, (2, J)) + 0.1
    se_x, se_y = np.full((2, J), 0.01), rng.uniform(0.01, 0.02, (1, J))
    beta_y = np.array([[0.5, -0.3]]) @ beta_x + se_y * rng.standard_normal((1, J))
    return mrinterp.MRData(
        beta_x=beta_x,
        se_x=se_x,
        beta_y=beta_y,
        se_y=se_y,
        exposures=("a", "b"),
        outcomes=("y",),
        instruments=tuple(f"z{j}" for j in range(J)),
        ld=np.eye(J),
        n_x=np.array([5000.0, 5000.0]),
        n_y=np.array([5000.0]),
    )


@cache
def _found(name: str) -> Estimates:
    """What a method finds in them."""
    return mrinterp.run_mr(_data(), [name])[0]


def _same(a: Estimates, b: Estimates, factor: float = 1.0) -> None:
    np.testing.assert_allclose(a.beta * factor, b.beta, rtol=2e-4, atol=2e-6)
    assert list(a.status.ravel()) == list(b.status.ravel())


def _described(name: str, seen: frozenset[str]) -> str:
    """An estimator's docstring, and those that it refers to ("parameters as in `ivw`")."""
    text = inspect.getdoc(registered()[name].kernel)
    assert text, f"{name} without a docstring"
    others = (set(re.findall(r"`(\w+)`", text)) & set(registered())) - seen - {name}
    return text + "".join(_described(other, seen | {name}) for other in sorted(others))


@pytest.mark.parametrize("name", sorted(registered()))
def test_it_says_what_it_is(name: str) -> None:
    how = registered()[name]
    assert how.label
    assert how.assumes, "what must hold for the number to be right"
    assert how.reference, "where it comes from"
    described = _described(name, frozenset())
    for option in set(how.options) - set(GIVEN):
        assert option in described, f"option {option} without a word"


@pytest.mark.parametrize("name", SUMMARY)
def test_shape_status_and_words(name: str) -> None:
    found = _found(name)
    assert found.beta.shape == found.se.shape == found.status.shape == (2, 1)
    assert set(registered()[name].assumes) <= set(found.assumes)
    assert all(len(str(s)) > 1 for s in found.status.ravel())
    known = found.status == "ok"
    assert np.isfinite(found.beta[known]).all()
    assert (found.ci_lower <= found.ci_upper)[known & np.isfinite(found.ci_lower)].all()
    assert len(str(found)) < 3000


@pytest.mark.parametrize("name", [n for n in SUMMARY if n not in DRAWN])
def test_the_order_of_instruments_does_not_matter(name: str) -> None:
    order = np.random.default_rng(1).permutation(24)
    data = _data()
    turned = replace(
        data,
        instruments=tuple(np.array(data.instruments)[order]),
        beta_x=data.beta_x[:, order],
        se_x=data.se_x[:, order],
        beta_y=data.beta_y[:, order],
        se_y=data.se_y[:, order],
    )
    _same(_found(name), mrinterp.run_mr(turned, [name])[0])


@pytest.mark.parametrize("name", [n for n in SUMMARY if n not in DRAWN])
def test_the_sign_of_the_outcome_is_the_sign_of_the_effect(name: str) -> None:
    data = _data()
    _same(_found(name), mrinterp.run_mr(replace(data, beta_y=-data.beta_y), [name])[0], -1.0)


UNIT_FREE = {
    "sign": "a concordance has no unit",
    "pc_gmm": "its published components weigh exposures by their effects",
}
RESAMPLED = {n for n in SUMMARY if "draws" in registered()[n].options or n in ("mv_median",)}


@pytest.mark.parametrize(("x", "y"), [(100.0, 1.0), (1.0, 100.0), (1e-3, 1e4)])
@pytest.mark.parametrize("name", [n for n in SUMMARY if n not in UNIT_FREE])
def test_units_do_not_matter(name: str, x: float, y: float) -> None:
    """The first exposure times x and the outcome times y: the same effect, in the new units."""
    data, size = _data(), np.array([[x], [1.0]])
    other = replace(
        data, beta_x=size * data.beta_x, se_x=size * data.se_x, beta_y=y * data.beta_y, se_y=y * data.se_y
    )
    before, after = _found(name), mrinterp.run_mr(other, [name])[0]
    fine = 0.2 if name in RESAMPLED else 2e-3
    known = before.status == "ok"
    np.testing.assert_allclose(after.se[known], (before.se * y / size)[known], rtol=fine)
    apart = np.abs(after.beta - before.beta * y / size) / (before.se * y / size)
    assert (apart[np.isfinite(before.beta)] < 2e-3).all()
    assert list(after.status.ravel()) == list(before.status.ravel())
    for share in ("pip", "inclusion"):
        if share in before.details:
            np.testing.assert_allclose(after.details[share], before.details[share], atol=1e-3)


@pytest.mark.parametrize("name", SUMMARY)
def test_runs_are_refused_with_the_fix(name: str) -> None:
    with pytest.raises(
        InputError, match=r"works on summary statistics.*marginal_scan\(panel\)\.to_mrdata\(\)"
    ):
        mrinterp.run_mr(mrinterp.worlds.linear_world(0).panel, [name])


@pytest.mark.parametrize("name", RUN)
def test_an_estimator_of_runs_has_two_doors(name: str) -> None:
    panel = mrinterp.worlds.linear_world(3).panel
    through = mrinterp.run_mr(panel, name)[0]
    direct = getattr(mrinterp.mr, name)(panel)
    np.testing.assert_array_equal(through.beta, direct.beta)
    assert through.method == name
    assert through.beta.shape == (5, 1)
    wide = mrinterp.run_mr(panel, [name], level=0.99)[0]
    assert wide.level == 0.99
    np.testing.assert_array_equal(wide.se, direct.se)
    known = np.isfinite(direct.se)
    assert (wide.ci_lower < direct.ci_lower)[known].all()
    with pytest.raises(InputError, match=r"works on runs.*Give it a Panel"):
        mrinterp.run_mr(_data(), [name])
    with pytest.raises(InputError, match=f"option 'banana' of '{name}'"):
        mrinterp.run_mr(panel, [name], {name: {"banana": 1}})


def test_the_default_of_runs_is_the_within_regression() -> None:
    panel = mrinterp.worlds.linear_world(0).panel
    assert [e.method for e in mrinterp.run_mr(panel)] == ["within"]


def test_other_data_get_the_fix() -> None:
    with pytest.raises(InputError, match=r"data: a DataFrame\. Give summary statistics"):
        mrinterp.run_mr(_data().dropped)  # type: ignore[arg-type]


def test_the_table_of_methods_holds_them_all() -> None:
    table = mrinterp.mr.methods()
    assert sorted(table["name"]) == sorted(registered())
    assert set(mrinterp.mr.methods("run")["name"]) == set(RUN) <= set(mrinterp.mr.__all__)
    with pytest.raises(InputError, match="kind"):
        mrinterp.mr.methods("runs")


@pytest.mark.parametrize("name", [n for n in SUMMARY if registered()[n].most_exposures is not None])
def test_more_exposures_than_can_be_waited_for_are_refused_at_once(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    most = registered()[name].most_exposures
    rng = np.random.default_rng(1)
    beta = rng.normal(0.0, 0.2, (most + 1, most + 6))
    data = mrinterp.tables.summary_from_arrays(
        beta, np.full_like(beta, 0.01), beta[0], np.full(most + 6, 0.01)
    )
    monkeypatch.setattr("mrinterp.mr._engine.driver._given", lambda *_: pytest.fail("work was begun"))
    found = mrinterp.run_mr(data, [name])[0]
    assert np.isnan(found.beta).all()
    assert found.status[0, 0].startswith(f"{most + 1} exposures, of which {name} takes at most {most}")
    assert "mrbee" in found.status[0, 0]
    expected = "mrbee" if most >= registered()["grapple"].most_exposures else "grapple"
    assert mrinterp.mr.standard_methods(data)[0] == expected
