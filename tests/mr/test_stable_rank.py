"""The bypass rank that a path agrees on, and paths that contradict themselves."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mrinterp.core.errors import InputError
from mrinterp.diagnostics._claim_checks import rank_checks
from mrinterp.effects._doubts import NO_SIGN, without_sign
from mrinterp.mr import rank_path, sign_changes, stable_rank

sys.path.append(str(Path(__file__).parents[2] / "benchmarks" / "diagnostics"))
from rank import GRID, SLOPES, runs


def at(path: pd.DataFrame, rank: int) -> pd.DataFrame:
    return path[path["rank"] == rank]


def test_a_complete_set_is_adjusted_for_nothing_and_a_left_out_cause_for_enough() -> None:
    panel, by_prediction = runs("complete", 0)
    path = rank_path(panel, GRID, "CR1")
    chosen = int(stable_rank(path)["rank"].item())
    assert chosen <= 2
    # What double selection takes leaves little of each feature: intervals ten times as wide.
    assert by_prediction >= 25
    half = {r: (at(path, r)["ci_upper"] - at(path, r)["ci_lower"]).median() for r in (chosen, 40)}
    assert half[40] > 5 * half[chosen]
    panel, _ = runs("left out", 0)
    path = rank_path(panel, GRID, "CR1")
    chosen = int(stable_rank(path)["rank"].item())
    assert chosen > 0
    error = {r: np.abs(at(path, r)["estimate"].to_numpy() - SLOPES).max() for r in (0, chosen)}
    assert error[chosen] < error[0] / 3


def crossing() -> pd.DataFrame:
    rows = [(0, "a", 1.0), (5, "a", -1.0), (0, "b", 1.0), (5, "b", 0.9)]
    path = pd.DataFrame(rows, columns=["rank", "exposure", "estimate"]).assign(outcome="y", se=0.1)
    return path.assign(ci_lower=path["estimate"] - 0.2, ci_upper=path["estimate"] + 0.2)


def test_a_path_that_changes_its_sign_gives_no_number() -> None:
    found = sign_changes(crossing())
    assert found["exposure"].tolist() == ["a"]
    assert found[["rank_up", "rank_down"]].to_numpy().tolist() == [[0, 5]]
    checks = [c.to_dict() for c in rank_checks(crossing())]
    assert checks[0]["verdict"] == "failed"
    assert checks[0]["features"] == ("a",)
    table = pd.DataFrame({"feature": ["a", "b", "a"], "outcome": "y", "verdict": "causal", "status": "ok"})
    table = table.assign(
        rests_on=["within", "within", "rectified"],
        bias="unmeasured",
        confirmed="",
        replicated="",
        effect=1.0,
        ci_lower=0.8,
        ci_upper=1.2,
    )
    said = without_sign(table, checks)
    assert said["verdict"].tolist() == ["indeterminate", "causal", "causal"]
    assert said["status"].tolist() == [NO_SIGN, "ok", "ok"]
    assert said["effect"].isna().tolist() == [True, False, False]


def test_what_is_no_path_is_refused() -> None:
    for function in (stable_rank, sign_changes):
        with pytest.raises(InputError, match="no column 'se'"):
            function(crossing().drop(columns="se"))
    with pytest.raises(InputError, match="level"):
        stable_rank(crossing(), level=0.9)
