"""Dead, constant, copied and summed features: each costs itself only, and what cannot be told apart is a set."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import mrinterp
from mrinterp.cli.mr_words import records, sentences
from mrinterp.effects._verdict import estimate_verdicts
from mrinterp.results import Estimates

P, K, J = 30, 5, 14
EFFECT = np.array([1.0, 0.0, -0.5])
RUN = ["within", "within_partialled", "tsls", "liml", "jive", "ujive", "gmm"]
JOINT = [
    "mv_ivw",
    "mv_egger",
    "mr_bma",
    "susie_mv",
    "susie_direct",
    "grapple",
    "mrbee",
    "srivw",
    "mv_robust",
    "mv_gmm",
]


@cache
def runs() -> dict[str, Any]:
    """Doses, three features and an outcome of 30 prompts with 5 perturbed runs each."""
    rng = np.random.default_rng(0)
    prompt = np.repeat(np.arange(P), K + 1)
    clean = np.tile(np.arange(K + 1) == 0, P)
    doses = rng.integers(0, 2, (len(prompt), J)) * (~clean)[:, None]
    features = doses @ rng.standard_normal((J, 3)) + 0.1 * rng.standard_normal((len(prompt), 3))
    outcome = features @ EFFECT + 0.1 * rng.standard_normal(len(prompt))
    return {
        "doses": doses,
        "features": features,
        "outcomes": outcome,
        "prompt": prompt,
        "family": prompt,
        "clean": clean,
    }


def panel(more: Callable[[Any], Any] | None = None, **other: Any) -> mrinterp.Panel:
    given = {**runs(), **other}
    if more is not None:
        given["features"] = np.c_[given["features"], more(given["features"])]
    return mrinterp.from_arrays(**given)


def estimated(of: mrinterp.Panel, method: str) -> Estimates:
    data = of if method in RUN else mrinterp.scan.marginal_scan(of).to_mrdata()
    return mrinterp.run_mr(data, [method])[0]


@cache
def three(method: str) -> Estimates:
    """Of the three features alone."""
    return estimated(panel(), method)


def single(x: Any) -> Any:
    """A constant read in float32, which jitters in its last digit."""
    jitter = np.random.default_rng(1).integers(-1, 2, len(x))
    return np.float32(5.0) + jitter * np.spacing(np.float32(5.0))


DEAD: dict[str, Callable[[Any], Any]] = {
    "a dead one": lambda x: np.zeros(len(x)),
    "three dead ones": lambda x: np.zeros((len(x), 3)),
    "a constant": lambda x: np.full(len(x), 7.25),
    "a constant with rounding": lambda x: 0.1 + 1e-17 * x[:, 0] + np.tile([0.0, 2e-17], len(x) // 2),
    "a constant in float32": single,
}
SETS: dict[str, tuple[Callable[[Any], Any], list[list[str]]]] = {
    "an exact copy": (lambda x: x[:, 0], [["x0", "x3"]]),
    "a copy in another unit": (lambda x: -250.0 * x[:, 0], [["x0", "x3"]]),
    "a tiny copy": (lambda x: 1e-9 * x[:, 2], [["x2", "x3"]]),
    "a sum of two": (lambda x: x[:, 1] + x[:, 2], [["x1", "x2", "x3"]]),
    "a sum of three": (lambda x: x @ [1.0, -2.0, 0.5], [["x0", "x1", "x2", "x3"]]),
    "two copies": (lambda x: x[:, [0, 2]] * [1.0, 3.0], [["x0", "x3"], ["x2", "x4"]]),
    "copies of one": (lambda x: np.c_[x[:, 2], 2 * x[:, 2]], [["x2", "x3", "x4"]]),
    "a copy in float32": (lambda x: x[:, 1].astype(np.float32), []),
}


@pytest.mark.parametrize("what", DEAD)
@pytest.mark.parametrize("method", [*RUN, *JOINT, "ivw", "egger"])
def test_dead_features_cost_themselves_only(method: str, what: str) -> None:
    before, after = three(method), estimated(panel(DEAD[what]), method)
    np.testing.assert_allclose(after.beta[:3], before.beta, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(after.se[:3], before.se, rtol=1e-5, atol=1e-9)
    assert list(after.status[:3, 0]) == list(before.status[:, 0])
    assert np.isnan(after.beta[3:]).all()
    assert all(s.startswith("left out: ") for s in after.status[3:].ravel())
    assert [e["exposure"] for e in after.meta["left_out"]] == list(after.exposures[3:])


@pytest.mark.parametrize("what", [w for w in SETS if SETS[w][1]])
@pytest.mark.parametrize("method", [*RUN, *JOINT])
def test_dependent_features_are_a_set_and_cost_themselves_only(method: str, what: str) -> None:
    make, sets = SETS[what]
    before, after = three(method), estimated(panel(make), method)
    found = after.meta["dependent_sets"]
    assert [s["members"] for s in found] == sets
    members = {m for s in sets for m in s}
    free = [f for f, x in enumerate(before.exposures) if x not in members]
    np.testing.assert_allclose(after.beta[free], before.beta[free], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(after.se[free], before.se[free], rtol=1e-4, atol=1e-9)
    for one in found:
        for name in one["members"]:
            cell = after[name, "y0"]
            assert "cannot tell it from" in cell.status
            assert all(m in cell.status for m in one["members"] if m != name)
            assert np.isfinite(cell.beta) == (one["rank"] == 1)
            assert np.isnan(cell.details.get("pip", np.nan))
        assert one["verdict"] == ("acts" if set(one["members"]) != {"x1"} else "undecided")
    if what == "a copy in another unit":
        np.testing.assert_allclose(after["x3", "y0"].beta * -250, after["x0", "y0"].beta, rtol=1e-9)
        np.testing.assert_allclose(after["x3", "y0"].ci_lower * -250, after["x0", "y0"].ci_upper, rtol=1e-9)
        np.testing.assert_allclose(after["x0", "y0"].beta, before["x0", "y0"].beta, rtol=1e-6)


def test_a_feature_that_fires_in_some_runs_only_keeps_all_instruments() -> None:
    """One perturbation a run: a feature that two of the doses move at all, and the others not."""
    rng = np.random.default_rng(3)
    doses = np.concatenate([np.zeros((P, 1, J)), np.repeat(np.eye(J)[None], P, axis=0)], axis=1).reshape(
        -1, J
    )
    prompt, clean = np.repeat(np.arange(P), J + 1), np.tile(np.arange(J + 1) == 0, P)
    x = doses @ rng.standard_normal((J, 2)) + 0.05 * rng.standard_normal((len(doses), 2))
    rare = doses[:, :2].sum(axis=1) * (1.0 + 0.1 * rng.standard_normal(len(doses)))
    y = x @ [1.0, 0.0] + 2.0 * rare + 0.05 * rng.standard_normal(len(doses))
    given = {"doses": doses, "outcomes": y, "prompt": prompt, "family": prompt, "clean": clean}
    data = mrinterp.scan.marginal_scan(
        mrinterp.from_arrays(features=np.c_[x, rare], **given), factorial=False
    ).to_mrdata()
    assert data.shape[2] == J
    assert data.unmoved is not None
    assert data.unmoved.sum(axis=1).tolist() == [0, 0, J - 2]
    joint = mrinterp.run_mr(data, ["mv_ivw"])[0]
    np.testing.assert_allclose(joint.beta[:, 0], [1.0, 0.0, 2.0], atol=0.1)
    assert (joint.n_instruments == J).all()
    alone = mrinterp.run_mr(data, ["ivw"])[0]
    assert alone.n_instruments[:, 0].tolist() == [J, J, 2]
    assert data.select(exposures=["x2"], instruments=np.arange(J) < 5).unmoved.sum() == 3  # type: ignore[union-attr]


@pytest.mark.parametrize("method", [*RUN, *JOINT, "ivw", "conmix", "observational"])
@pytest.mark.parametrize(
    "outcome", [np.zeros(P * (K + 1)), np.full(P * (K + 1), 0.1)], ids=["zero", "constant"]
)
def test_an_outcome_that_does_not_vary_is_not_an_absent_effect(method: str, outcome: Any) -> None:
    both = panel(outcomes=np.c_[outcome, runs()["outcomes"]])
    found = mrinterp.run_mr(both, [method])[0] if method == "observational" else estimated(both, method)
    assert np.isnan(found.beta[:, 0]).all()
    assert np.isnan(found.ci_lower[:, 0]).all()
    assert all("not applicable" in s and "vary" in s for s in found.status[:, 0])
    assert np.isfinite(found.beta[:, 1]).all()


@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e9])
@pytest.mark.parametrize("method", [*RUN, "mv_ivw", "ivw"])
def test_effects_below_rounding_are_not_findings(method: str, scale: float) -> None:
    """An outcome that is one feature exactly: what the others get is rounding, at any scale of the outcome."""
    x = runs()["features"]
    exact = panel(outcomes=scale * x[:, 0])
    options = {"mv_ivw": {"mv_ivw": {"model": "sandwich", "distribution": "t"}}}
    data = exact if method in RUN else mrinterp.scan.marginal_scan(exact).to_mrdata()
    found = mrinterp.run_mr(data, [method], options.get(method))[0]
    np.testing.assert_allclose(found.beta[0, 0], scale, rtol=0.2 if method == "ivw" else 1e-6)
    if method == "ivw":
        return
    for f in (1, 2):
        one = found[f"x{f}", "y0"]
        assert abs(one.beta) < 1e-9 * scale
        assert one.p > 0.01 or np.isnan(one.p), (one.beta, one.se, one.status)
        assert one.ci_lower <= 0 <= one.ci_upper


@pytest.mark.parametrize("method", ["susie_mv", "susie_direct", "mv_robust", "mr_bma", "mv_ivw"])
@pytest.mark.parametrize("unit", [1.0, 1e-4, 1e3])
def test_exact_fits_are_found(method: str, unit: float) -> None:
    rng = np.random.default_rng(2)
    beta, truth = rng.standard_normal((4, 40)), np.array([1.0, -0.5, 0.25, 0.0])
    data = mrinterp.MRData(
        beta_x=beta,
        se_x=np.full((4, 40), 1e-3),
        beta_y=unit * (truth @ beta)[None],
        se_y=np.full((1, 40), 0.05 * unit),
        exposures=tuple("abcd"),
        outcomes=("y",),
        instruments=tuple(f"z{j}" for j in range(40)),
    )
    found = mrinterp.run_mr(data, [method])[0]
    np.testing.assert_allclose(found.beta[:, 0], unit * truth, atol=0.02 * unit)
    assert (found.se[:3] > 1e-4 * unit).all()
    if "pip" in found.details:
        np.testing.assert_allclose(found.details["pip"][:, 0], [1, 1, 1, 0], atol=0.2)


@pytest.mark.parametrize("method", ["mr_bma", "susie_mv"])
@pytest.mark.parametrize("unit", [1e-4, 100.0, 1e5])
def test_priors_do_not_depend_on_units(method: str, unit: float) -> None:
    data = mrinterp.scan.marginal_scan(panel()).to_mrdata()
    other = panel(features=runs()["features"] * [unit, 1.0, 1.0])
    a, b = (mrinterp.run_mr(d, [method])[0] for d in (data, mrinterp.scan.marginal_scan(other).to_mrdata()))
    np.testing.assert_allclose(b.beta[:, 0] * [unit, 1, 1], a.beta[:, 0], rtol=1e-4, atol=1e-6)
    name = "pip" if method == "susie_mv" else "inclusion"
    np.testing.assert_allclose(b.details[name], a.details[name], atol=1e-6)
    assert a.details[name][0, 0] > 0.99


def test_the_terminal_names_the_set_and_no_probability_of_a_member() -> None:
    data = mrinterp.scan.marginal_scan(panel(lambda x: x[:, 0])).to_mrdata()
    said = list(sentences(mrinterp.run_mr(data, ["mv_ivw", "susie_mv"])))
    copies = [s for s in said if "of x0 changes" in s or "of x3 changes" in s]
    assert len(copies) == 4
    for text in copies:
        assert "cannot tell it from" in text
        assert "Posterior probability" not in text
    (entry,) = [r for r in records(mrinterp.run_mr(data, ["mv_ivw"])) if r["exposure"] == "x3"]
    assert entry["dependent_sets"][0]["members"] == ["x0", "x3"]


def test_a_copy_is_never_called_causal_by_itself() -> None:
    """The verdict is the set's; a study's table and its terminal print it so."""
    found = estimated(panel(lambda x: x[:, 0]), "within")
    words = estimate_verdicts(found, np.array([0.1]), SimpleNamespace(extremal_at_clean=np.zeros(1, bool)))  # type: ignore[arg-type]
    assert words[:, 0].tolist() == ["indeterminate", "negligible", "causal", "indeterminate"]
    (said,) = found.sets([0.1])
    assert said.startswith("x0, x3 on y0: the data cannot tell them apart (x3 = x0); together +")
    assert said.endswith("causal as a set.")
    (summed,) = estimated(panel(lambda x: x[:, 1] + x[:, 2]), "within").sets([0.1])
    assert summed == (
        "x1, x2, x3 on y0: the data cannot tell them apart (x3 = x1 + x2); at least one of them acts."
    )


def test_fine_mapping_returns_the_whole_set() -> None:
    data = mrinterp.scan.marginal_scan(panel(lambda x: x[:, 1] + x[:, 2])).to_mrdata()
    found = mrinterp.run_mr(data, ["susie_mv"])[0]
    sets = [s["exposures"] for s in found.meta["credible_sets"]]
    assert ["x0"] in sets
    assert ["x1", "x2", "x3"] in sets
    best = mrinterp.run_mr(data, ["mr_bma"])[0].meta["best_models"][0]["models"][0]["exposures"]
    assert best == ["x0", "x1", "x2", "x3"]


def _one(ratios: Any, se: float) -> mrinterp.MRData:
    b = np.random.default_rng(5).uniform(0.5, 1.5, len(ratios))
    return mrinterp.tables.summary_from_arrays(
        b, np.full(len(b), 1e-3), b * np.asarray(ratios), np.full(len(b), se)
    )


@pytest.mark.parametrize("ratios", [[0.0] * 12, [1e-9] * 11 + [0.0]])
def test_a_flat_likelihood_has_a_status(ratios: Any) -> None:
    found = mrinterp.run_mr(_one(ratios, 0.05), ["conmix"])[0]
    assert np.isnan(found.beta).all()
    assert "flat" in found.status[0, 0] or "does not vary" in found.status[0, 0]


def test_outliers_everywhere_are_said() -> None:
    far = np.arange(8) * (-1.0) ** np.arange(8)
    found = mrinterp.run_mr(_one(far, 1e-4), ["presso"])[0]
    assert "all instruments" in found.status[0, 0]
    most = mrinterp.run_mr(_one([0.5] * 4 + list(range(2, 8)), 1e-3), ["presso"])[0]
    assert "outliers" in most.status[0, 0]
    fine = mrinterp.run_mr(_one([0.5] * 12 + [1.2], 0.1), ["presso"])[0]
    assert fine.status[0, 0] == "ok"
