"""Paths from features to the outcome: none is overlooked behind gates and steps, and none is made up."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import mrinterp
from mrinterp.adapters import ModelInputs, TorchAdapter
from mrinterp.core.errors import InputError
from mrinterp.diagnostics._study_checks import path_checks
from mrinterp.effects._doubts import doubted_rungs, with_doubts, without_path
from mrinterp.features import Units
from mrinterp.knockouts import Bench, paths_to_outcome
from mrinterp.outcomes import CallableOutcome
from mrinterp.results import PathsToOutcome
from mrinterp.results._designs.paths_to_outcome import NO_PATH
from mrinterp.worlds import world_families


class Gates(torch.nn.Module):
    """``[a > 1][b > 1] + [c > 6] + label of d``; ``e`` reaches nothing, ``f`` is rounded away at natural size."""

    def __init__(self) -> None:
        super().__init__()
        self.units = torch.nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b, c, d, _, f = self.units(x).unbind(-1)
        y = ((a > 1) & (b > 1)).to(x.dtype) + (c > 6).to(x.dtype) + (f * 0.03).round()
        return torch.stack([y, d], dim=-1)


def gates(block: int = 64) -> Bench:
    x = np.random.default_rng(0).standard_normal((20, 6)) * 0.5
    outcome = [
        CallableOutcome("gates", lambda output, _mask: output[:, 0]),
        CallableOutcome("label", lambda output, _mask: (output[:, 1] > 1e6).double()),
    ]
    return Bench(
        TorchAdapter(Gates().eval()),
        "units",
        Units(range(6), 6, tuple("abcdef")),
        ModelInputs({"x": torch.from_numpy(x)}),
        mrinterp.outcomes.OutcomeSet(outcome),
        block=block,
    )


def test_gates_steps_and_labels_have_paths() -> None:
    found = paths_to_outcome(gates(), inputs=16)
    # Natural values open neither gate nor step, and no derivative sees them.
    assert found.without("gates") == ("d", "e")
    # A label that no edit turns is asked of the network's output: a path to that is not excluded.
    assert set(found.found_by[:, 1]) <= {"output", ""}
    assert found.without("label") == ("e",)


@pytest.mark.parametrize("seed", range(5))
def test_an_echo_has_none_and_every_cause_has_one(seed: int) -> None:
    world = world_families()["downstream echo"].make(seed)
    assert paths_to_outcome(world.bench).without("answer") == ("echo",)


def test_many_dead_features_are_found_in_groups() -> None:
    world = world_families()["sparse codes"].make(1)
    found = paths_to_outcome(world.bench)
    causal = {f for f, c in zip(world.truth.features, world.truth.causal[:, 0], strict=True) if c}
    none = set(found.without(found.outcomes[0]))
    assert len(none) > 900
    assert not none & causal
    assert found.meta["passes"]["forward"] < 10_000


def test_blocks_and_features_asked_for_change_nothing() -> None:
    one, other = (paths_to_outcome(gates(block), inputs=16) for block in (64, 9))
    np.testing.assert_array_equal(one.path, other.path)
    few = paths_to_outcome(gates(), ["e", "a"], inputs=16)
    assert few.features == ("e", "a")
    assert few.path[:, 0].tolist() == [False, True]


def test_outcomes_that_overflow_are_asked_at_milder_settings() -> None:
    class Explodes(Gates):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            h = self.units(x)
            return torch.exp(200 * h[:, :1] ** 2) + h[:, 1:2]

    bench = gates()
    outcome = CallableOutcome("y", lambda output, _mask: output[:, 0])
    made = Bench(TorchAdapter(Explodes().eval()), "units", bench.view, bench.inputs, outcome)
    found = paths_to_outcome(made)
    assert found.meta["settings"] < 8
    assert found.without("y") == ("c", "d", "e", "f")


def test_what_is_no_bench_is_refused() -> None:
    with pytest.raises(InputError, match="Give a Bench"):
        paths_to_outcome("bench")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="inputs"):
        paths_to_outcome(gates(), inputs=0)


def contrast(effect: float, drawn: bool = False) -> SimpleNamespace:
    meta = {"sampled_outcomes": ["y"] if drawn else []}
    return SimpleNamespace(
        features=("echo", "cause"),
        outcomes=("y",),
        effect=np.array([[effect], [1.0]]),
        meta=meta,
        noise_floor=1e-6,
    )


def test_a_claim_without_a_path_is_never_causal() -> None:
    path = np.array([[False], [True]])
    found = PathsToOutcome(
        features=("echo", "cause"),
        outcomes=("y",),
        path=path,
        found_by=np.where(path, "edit", "").astype(object),
        largest=np.array([[0.0], [1.0]]),
        edits=np.array([64, 64]),
    )
    checks = [c.to_dict() for c in path_checks(found)]
    assert checks[0]["features"] == ("echo",)
    assert doubted_rungs(checks, ["y"])[("within", "y")] == "path to the outcome (1 of the features)"
    table = pd.DataFrame(
        {
            "feature": ["echo", "cause"],
            "outcome": "y",
            "verdict": "causal",
            "rests_on": "within_calibrated",
            "bias": "measured",
            "ceiling": "C",
            "ceiling_why": "local slope",
            "confirmed": "confirmed",
            "replicated": "confirmed",
            "status": "ok",
        }
    )
    said = without_path(with_doubts(table, checks), checks, contrast(0.0))
    assert said["verdict"].tolist() == ["negligible", "causal"]
    assert said["status"].tolist() == [NO_PATH, "ok"]
    assert said["ceiling"].tolist() == ["D", "C"]
    # A knockout on more families that moves a computed outcome shows a path; a draw moves by itself.
    assert (
        without_path(with_doubts(table, checks), checks, contrast(0.3))["verdict"].tolist() == ["causal"] * 2
    )
    assert without_path(table, checks, contrast(0.3, drawn=True))["verdict"].tolist() == [
        "negligible",
        "causal",
    ]
