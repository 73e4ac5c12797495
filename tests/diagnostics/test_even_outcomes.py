"""An outcome that is least at the clean run has no slope there: no verdict is claimed from one near zero."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.diagnostics._agreement import agreement
from mrinterp.effects._claims import claim_table
from mrinterp.features._units import WholeLayer
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._kinds.compare_kinds import compare_kinds
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.outcomes._outcome_set import OutcomeSet
from mrinterp.outcomes._target_outcomes import KLToClean
from mrinterp.results._estimates import Estimates
from mrinterp.results._knockout_effects import KnockoutEffects
from tests.linear_stack import WIDTH, FirstTwo, LinearStack, stack_inputs


class Distance:
    """Squared distance from the clean output."""

    flat_at_clean: ClassVar[bool] = True
    names = ("distance",)

    def __init__(self, clean: torch.Tensor) -> None:
        self.clean = clean

    def take(self, rows: torch.Tensor) -> Distance:
        return Distance(self.clean[rows])

    def __call__(self, output: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return ((output - self.clean) ** 2).sum(1, keepdim=True)


@pytest.fixture(scope="module")
def bench() -> Bench:
    network, inputs = LinearStack().double().eval(), stack_inputs(24)
    with torch.no_grad():
        clean = network(**inputs.tensors)
    outcome = OutcomeSet([FirstTwo(), Distance(clean)])
    return Bench(
        TorchAdapter(network), "layer.1", WholeLayer(WIDTH), inputs, outcome, family=np.arange(24) // 2
    )


def of_distance(effects: KnockoutEffects, **options: Any) -> Any:
    return effects.equivalence(rope=0.5, **options).query("outcome == 'distance'")


def test_no_verdict_per_unit_by_any_kind_and_none_of_the_mean_where_swaps_cancel(bench: Bench) -> None:
    shift, mean = knock_out(bench, "shift"), knock_out(bench, "mean")
    assert shift.measurable[:, 2].all()
    np.testing.assert_allclose(shift.effect[:, 2], 0, atol=1e-12)
    for tested in (of_distance(shift), of_distance(shift, of="mean"), of_distance(mean)):
        assert set(tested["verdict"]) == {"not applicable"}
        assert tested["neglog10p"].isna().all()
        assert tested["reason"].str.contains("no slope there").all()
    assert set(of_distance(mean, of="mean")["verdict"]) <= {"causal", "negligible", "indeterminate"}
    others = shift.equivalence(rope=0.5).query("outcome != 'distance'")
    assert "not applicable" not in set(others["verdict"])
    assert not others["reason"].any()


def test_it_is_remembered_and_left_out_of_the_test_between_kinds(bench: Bench, tmp_path: Path) -> None:
    made = [knock_out(bench, kind) for kind in ("shift", "mean", "resample")]
    made[0].save(tmp_path / "shift")
    again = KnockoutEffects.load(tmp_path / "shift")
    assert list(again.extremal_at_clean) == [False, False, True]
    assert set(of_distance(again)["verdict"]) == {"not applicable"}
    together = compare_kinds(made)
    assert np.isnan(together.q[:, 2]).all()
    assert (together.compared[:, 2] == 0).all()
    assert (together.compared[:, :2] == 3).all()


def test_neither_estimate_nor_knockout_has_a_verdict_in_the_answer(bench: Bench) -> None:
    shift = knock_out(bench, "shift")
    names, outcomes = shift.features, shift.outcomes
    shape = len(names), len(outcomes)
    status = np.full(shape, "ok", dtype=object)
    estimates = Estimates(
        method="within",
        label="within",
        exposures=names,
        outcomes=outcomes,
        beta=shift.effect,
        se=np.full(shape, 0.01),
        status=status,
        n_instruments=np.full(shape, 24),
    )
    rope = np.full(len(outcomes), 0.1)
    answer = claim_table({"within": estimates}, shift, estimates, estimates, rope, names)
    held = agreement([estimates], shift, rope).joined
    for table in (answer, held):
        distance = table[table["outcome"] == "distance"]
        assert set(distance["verdict"]) == {"not applicable"}
        assert "not applicable" not in set(table[table["outcome"] != "distance"]["verdict"])


def test_the_divergence_from_the_clean_run_is_such_an_outcome() -> None:
    divergence = KLToClean(torch.zeros(3, 2))
    assert OutcomeSet([FirstTwo(), divergence]).flat_at_clean_names == ("kl_to_clean",)
