"""Two runs held beside each other: by direction, beyond error, with what else differs; a repetition that is another one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from mrinterp.cli import cli
from mrinterp.core.basis import Basis
from mrinterp.core.plan import read_plan
from mrinterp.evidence._compare import compare_runs, reasons_between
from mrinterp.report.terminal import rerun_text
from mrinterp.results._claims import Claims
from mrinterp.study import Study
from mrinterp.study._again import other_plan
from tests.study.finished_study import study


@dataclass(frozen=True)
class Run:
    """What is compared of a study."""

    header: dict[str, Any]
    basis: Basis
    claims: Claims


def run(**changes: Any) -> Run:
    made = study(**changes)
    return Run(made.header, made.basis, made.claims)


def moved(one: Run, by: float) -> Run:
    """The same run with the first effect moved by so many of its errors."""
    frame = one.claims.claims.copy()
    error = (frame["ci_upper"][0] - frame["ci_lower"][0]) / 2 / 1.96
    for name in ("effect", "ci_lower", "ci_upper"):
        frame.loc[0, name] += by * error
    return replace(one, claims=replace(one.claims, claims=frame))


def turned(one: Run) -> Run:
    """The same features in another order under the same names, the first of them pointing the other way."""
    basis, names = one.basis, one.basis.dictionary.names
    sign = np.array([-1.0, 1, 1, 1, 1])[:, None]
    other = replace(
        basis.dictionary,
        write=(sign * basis.dictionary.write)[::-1],
        read=(sign * basis.dictionary.read)[::-1],
    )
    frame = one.claims.claims.copy()
    first = frame["feature"] == names[0]
    for name in ("effect", "ci_lower", "ci_upper"):
        frame.loc[first, name] *= -1
    frame.loc[first, ["ci_lower", "ci_upper"]] = frame.loc[first, ["ci_upper", "ci_lower"]].to_numpy()
    frame["feature"] = frame["feature"].map(dict(zip(names, names[::-1], strict=True)))
    return replace(one, basis=replace(basis, dictionary=other), claims=replace(one.claims, claims=frame))


def test_a_run_is_identical_to_itself_whatever_its_features_are_called() -> None:
    one = run()
    assert set(compare_runs(one, one)["same"]) == {"identical"}
    found = compare_runs(one, turned(one))
    assert set(found["same"]) == {"identical"}
    assert (found["feature"] != found["feature_other"]).sum() == 4


@pytest.mark.parametrize(("by", "word"), [(2.0, "same within errors"), (8.0, "different beyond error")])
def test_a_difference_counts_beyond_the_errors_of_both(by: float, word: str) -> None:
    one = run()
    found = compare_runs(one, moved(one, by))
    assert found["same"][0] == word
    assert found["difference"][0] == pytest.approx(by / np.sqrt(2), rel=1e-3)
    assert (found["same"][1:] == "identical").all()
    error = (found["ci_upper"][0] - found["ci_lower"][0]) / 2 / 1.96
    assert found["detectable"][0] == pytest.approx(2.8 * np.sqrt(2) * error, rel=0.01)


def test_features_that_point_elsewhere_are_not_compared() -> None:
    one = run()
    mix = np.eye(5) - 0.4  # orthonormal; no direction of it is one of the axes
    other = replace(one, basis=replace(one.basis, dictionary=replace(one.basis.dictionary, write=mix)))
    found = compare_runs(one, other)
    assert set(found["same"]) == {"not compared"}
    assert found["reason"].str.contains("points the same way").all()


def test_the_reason_is_what_differs_between_the_runs() -> None:
    header = run().header
    assert reasons_between(header, header) == []
    origin, plan = header["provenance"], header["plan"]
    other = {**header, "provenance": {**origin, "model": "another"}, "plan": {**plan, "seed": 7}}
    found = reasons_between(header, other)
    assert found[0] == "model: other weights"
    assert found[1].startswith("seed: ")
    data = {**header, "provenance": {**origin, "design": "another"}}
    assert reasons_between(header, data) == ["data: other inputs, families or doses under the same plan"]
    changed = compare_runs(run(), replace(moved(run(), 9.0), header=other))
    assert "model: other weights; seed" in changed["reason"][0]


def test_a_repetition_of_the_same_is_not_printed_as_reassurance() -> None:
    claims = pd.DataFrame({"same": ["identical"], "feature": ["a"], "outcome": ["y"]})
    said = rerun_text(claims, {})
    assert "not that its claims hold" in said
    assert "--differently" in said


def test_differently_is_another_seed_and_half_the_noise(tiny_study_file: Path, tmp_path: Path) -> None:
    plan, source = read_plan(tiny_study_file)
    other = other_plan(Study(plan, source, tmp_path / "run"))
    assert other.seed == plan.seed + 1
    assert other.instruments.noise.scale == plan.instruments.noise.scale / 2 == 0.05
    assert other.outcome == plan.outcome


def test_the_verb_compares(finished_run: Path) -> None:
    done = CliRunner().invoke(cli, ["compare", str(finished_run), str(finished_run)])
    assert done.exit_code == 0, done.output
    assert "6 claims: 6 identical." in done.output
