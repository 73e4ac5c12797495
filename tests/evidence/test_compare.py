"""Two runs held beside each other: by direction, beyond error, with what else differs; a repetition that is another one."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import cache
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


@cache
def run() -> Run:
    made = study()
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


def differing(**changes: Any) -> dict[str, Any]:
    """A header that differs from that of `run` in some keys: of its plan (``a__b`` for ``[a] b``), or of its provenance."""
    header = run().header
    plan, origin = copy.deepcopy(header["plan"]), copy.deepcopy(header["provenance"])
    for key, value in changes.items():
        *path, last = key.split("__")
        at = origin if path and path[0] == "origin" else plan
        for part in [p for p in path if p != "origin"]:
            at = at[part]
        at[last] = value
    return {**header, "plan": plan, "provenance": origin}


def test_nothing_differs_between_a_run_and_itself_or_its_copy_elsewhere() -> None:
    header = run().header
    assert reasons_between(header, header) == []
    moved = differing(title="other words", model__folder="/elsewhere", prompts__templates="/elsewhere/t.txt")
    assert reasons_between(header, moved) == []


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({"origin__model": "another"}, ["model: other weights"]),
        ({"seed": 7, "origin__design": "another"}, ["seed: 7 there, 0 here"]),
        ({"estimation__rope": 0.05}, ["plan: estimation.rope: 0.05 there, 0.02 here"]),
        (
            {"prompts__per_family": 6, "origin__design": "another"},
            ["plan: prompts.per_family: 6 there, 12 here"],
        ),
        ({"origin__design": "another"}, ["data: other inputs, families or doses under the same plan"]),
        (
            {"prompts__templates": "other.txt", "origin__design": "another"},
            ["data: other inputs, families or doses under the same plan"],
        ),
        (
            {"estimation__rope": 0.05, "origin__design": "another"},
            [
                "plan: estimation.rope: 0.05 there, 0.02 here",
                "data: other inputs, families or doses under the same plan",
            ],
        ),
        ({"origin__versions__python": "3.12"}, ["versions: python 3.12 there, 3.11 here"]),
        ({"origin__versions__torch": "2.9"}, ["versions: torch 2.9 there, absent here"]),
    ],
    ids=["model", "seed", "plan", "plan of the data", "data", "file", "plan and data", "version", "absent"],
)
def test_the_reason_is_what_differs_between_the_runs(changes: dict[str, Any], reasons: list[str]) -> None:
    one = run()
    other = differing(**changes)
    assert reasons_between(one.header, other) == reasons
    compared = compare_runs(one, replace(moved(one, 9.0), header=other))
    assert compared["reason"][0] == "; ".join(reasons), "beside the claim that is different"
    assert set(compared["reason"][1:]) == {""}, "and beside no other"


def test_of_many_reasons_three_are_named_and_the_others_counted() -> None:
    changes = {f"estimation__{k}": 77 for k in ("rope", "max_rank", "runs_per_column", "bootstrap_draws")}
    (said,) = reasons_between(run().header, differing(**changes))
    assert said.endswith("and 1 more")
    assert said.count("77 there") == 3


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
    assert "None of the 6 claims that both runs make differs beyond error." in done.output
