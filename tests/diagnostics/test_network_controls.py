"""Controls that act: a permuted dictionary, and the same network with weights drawn anew."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from mrinterp import Study
from mrinterp.core.basis import Basis, Dictionary
from mrinterp.core.errors import InputError
from mrinterp.core.plan import KnockoutsSection, Plan, differences
from mrinterp.core.run_folder import RunFolder
from mrinterp.core.run_place import write_study_header
from mrinterp.core.storage import FORMAT_VERSION
from mrinterp.diagnostics._study_controls import (
    BASELINES,
    _baseline,
    knockout_control_checks,
    study_controls,
)
from mrinterp.knockouts._study_bench import permuted_dictionary
from mrinterp.models._redrawn import redrawn_module, redrawn_network
from mrinterp.report.controls import failed_controls
from mrinterp.results import NegativeControls, NotApplicable
from mrinterp.results._negative_controls import PERMUTED, REINITIALIZED, is_control
from tests.diagnostics.test_diagnose import study
from tests.study.test_from_model import LEARNED, PROMPTS, QUICK
from tests.tiny import tiny_decoder

ROPE = np.array([0.01])


def _basis(width: int = 12, features: int = 4) -> Any:
    rng = np.random.default_rng(0)
    write = rng.standard_normal((features, width)) * (rng.random((features, width)) < 0.5)
    names = tuple(f"f{k}" for k in range(features))
    made = Dictionary(names=names, read=np.linalg.pinv(write).T, write=write, center=np.zeros(width))
    return SimpleNamespace(dictionary=made, spec=Basis)


def test_a_permuted_dictionary_keeps_lengths_and_zeros_and_no_direction() -> None:
    basis = _basis()
    made = permuted_dictionary(basis, 10, 3)
    assert made.write.shape == (10, 12)
    assert made.names[:2] == ("permuted:00", "permuted:01")
    sizes = {tuple(np.sort(row)) for row in basis.dictionary.write}
    assert {tuple(np.sort(row)) for row in made.write} == sizes
    assert np.array_equal(permuted_dictionary(basis, 10, 3).write, made.write)
    assert not np.array_equal(permuted_dictionary(basis, 10, 4).write, made.write)
    assert not any((row == own).all() for row in made.write for own in basis.dictionary.write)
    with pytest.raises(InputError, match="permuted_controls: 13 directions of a site of width 12"):
        permuted_dictionary(basis, 13, 0)


def test_every_matrix_is_drawn_anew_and_the_network_is_left_alone() -> None:
    network = tiny_decoder()
    before = {n: p.clone() for n, p in network.named_parameters()}
    state = torch.get_rng_state()
    made, again = redrawn_module(network, 0), redrawn_module(network, 0)
    assert torch.equal(torch.get_rng_state(), state)
    drawn = dict(made.named_parameters())
    for name, value in network.named_parameters():
        assert torch.equal(value, before[name])
        if value.ndim > 1:
            assert not torch.equal(drawn[name], value), name
            # As its own layers draw it: sd .3, some layers less by the depth of the stack.
            assert 0.05 < drawn[name].std() < 0.5, name
    assert all(torch.equal(p, q) for p, q in zip(made.parameters(), again.parameters(), strict=True))
    assert not torch.equal(drawn["transformer.wte.weight"], redrawn_module(network, 1).transformer.wte.weight)
    assert made.lm_head.weight is made.transformer.wte.weight  # tied as they were


def test_a_network_that_cannot_be_drawn_anew_says_why() -> None:
    class Raw(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.table = torch.nn.Linear(2, 2), torch.nn.Parameter(torch.ones(2, 2))

    with pytest.raises(InputError, match="1 arrays of weights that no layer can draw anew, such as table"):
        redrawn_module(Raw().eval(), 0)
    with pytest.raises(InputError, match="behind SimpleNamespace"):
        redrawn_network(SimpleNamespace(adapter=SimpleNamespace()), 0)  # type: ignore[arg-type]


def _with(name: str, effect: np.ndarray) -> dict[str, Any]:
    """A finished study's knockouts, and a control whose shifts have these effects."""
    made = study().knockouts
    shift = made["shift"]
    return made | {"contrast": shift, name: replace(shift, effect=effect)}


def _check(knockouts: dict[str, Any], name: str) -> Any:
    nothing = NotApplicable("none", "none")
    found: Any = {"differences between families": nothing}
    found |= {n: _baseline(knockouts, n, {}) for n in BASELINES}
    checks = knockout_control_checks(found, knockouts, ROPE, nothing)
    return next(c for c in checks if c.name.startswith(name))


def test_the_same_effects_in_a_network_drawn_anew_fail_and_stand_first() -> None:
    own = study().knockouts["shift"].effect
    check = _check(_with("redrawn", 0.8 * own), REINITIALIZED)
    assert check.verdict == "failed"
    assert "correlate +1.00" in check.note
    assert is_control(check.name)
    other = _check(_with("redrawn", own[::-1] * 0.1), REINITIALIZED)
    assert other.verdict == "passed"
    weak = _check(_with("redrawn", 1e-3 * own), REINITIALIZED)
    assert weak.verdict == "passed", "in the same order, and none of them as large as anybody would claim"
    assert "knockouts.redrawn_network is false" in _check(_with("mean", own), REINITIALIZED).reason
    few = _with("redrawn", np.full_like(own, np.nan))
    assert isinstance(_check(few, REINITIALIZED), NotApplicable)
    said = SimpleNamespace(checks=[check.to_dict()], claim_checks=[], results=study().results)
    assert failed_controls(said) == (  # type: ignore[arg-type]
        "Negative controls failed (network drawn anew: score): the network does the same with weights drawn anew."
        " Claims are not about what it has learned."
    )


def test_features_that_do_no_more_than_a_permuted_dictionary_get_a_warning() -> None:
    own = study().knockouts["shift"].effect
    assert _check(_with("permuted", own), PERMUTED).verdict == "warning"
    assert _check(_with("permuted", own * 1e-3), PERMUTED).verdict == "passed"
    assert "permuted_controls is 0" in _check(_with("mean", own), PERMUTED).reason


def test_shifts_are_held_against_the_spread_of_both_controls() -> None:
    made = study()
    assert made.estimates["within"].beta.size
    knockouts = _with("permuted", made.knockouts["shift"].effect)
    blank = replace(made.estimates["within"], beta=np.full_like(made.estimates["within"].beta, np.nan))
    found = study_controls(None, None, {"within": blank}, knockouts, {})  # type: ignore[arg-type]
    assert isinstance(found[REINITIALIZED], NotApplicable)
    held = found[PERMUTED]
    assert isinstance(held, NegativeControls)
    assert held.exposures == knockouts["shift"].features
    # Against themselves none stands out.
    assert (held.calibrated_neglog10p < held.neglog10p).all()
    assert (held.calibrated_neglog10p < 2).all()


@pytest.mark.needs("transformers")
def test_a_study_of_a_network_that_cannot_be_drawn_anew_goes_on_and_says_why(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
    network = tiny_decoder(len(tokenizer))
    network.register_parameter("table", torch.nn.Parameter(torch.ones(2, 2)))
    few = {"families": 10, "prompts_per_family": 1, "random_controls": 0, "kinds": ["mean"]}
    asked = {"knockouts": few | {"permuted_controls": 2, "redrawn_network": True}}
    found = Study.from_model(
        network,
        tokenizer,
        PROMPTS,
        site="transformer.h.1",
        features=LEARNED,
        outcome=("good", "bad"),
        position="mean",
        out=tmp_path / "run",
        **(QUICK | asked),
    )
    reason = "1 arrays of weights that no layer can draw anew, such as table"
    assert set(found.knockouts) == {"contrast", "judge", "again", "shift", "mean", "permuted"}
    assert reason in found.folder.left_out["redrawn"]
    again = RunFolder(tmp_path / "run")
    assert again.left_out == found.folder.left_out
    control = _baseline(found.knockouts, REINITIALIZED, again.left_out)
    assert isinstance(control, NotApplicable)
    assert reason in control.reason
    nothing = NotApplicable("none", "none")
    given: Any = {"differences between families": nothing, PERMUTED: nothing, REINITIALIZED: control}
    assert control in knockout_control_checks(given, found.knockouts, ROPE, nothing)


def test_a_plan_without_these_controls_is_the_plan_it_was_before_they_existed(tmp_path: Path) -> None:
    stored: dict[str, Any] = {
        "title": "t",
        "model": {"folder": "f", "site": "s"},
        "prompts": {"templates": "t.csv", "fillers": {"a": ["x", "y"]}},
        "outcome": {"name": "o", "kind": "kl_to_clean"},
    }
    now = Plan.model_validate(stored)
    assert not {"permuted_controls", "redrawn_network"} & set(now.to_dict()["knockouts"])
    stated = stored | {"knockouts": {"permuted_controls": 0, "redrawn_network": False}}
    assert Plan.model_validate(stated).to_dict() == now.to_dict()
    asked = Plan.model_validate(stored | {"knockouts": {"permuted_controls": 3, "redrawn_network": True}})
    assert differences(now.to_dict(), asked.to_dict())
    assert Plan.model_validate(asked.to_dict()) == asked
    run = RunFolder(tmp_path)
    for left_out in ({}, {"permuted_controls": 0, "redrawn_network": False}):
        older = now.to_dict() | {"knockouts": now.to_dict()["knockouts"] | left_out}
        header = {
            "kind": "study",
            "format_version": FORMAT_VERSION,
            "plan": older,
            "source": "",
            "rules_hash": "",
        }
        write_study_header(tmp_path, header | {"candidates_hash": "", "knockouts": {}, "provenance": {}})
        run.check_same_plan(now)
        with pytest.raises(InputError, match=r"another plan \(knockouts.permuted_controls"):
            run.check_same_plan(asked)


def test_the_plan_names_what_it_asks_for() -> None:
    assert "permuted" not in KnockoutsSection().names
    assert KnockoutsSection(permuted_controls=3, redrawn_network=True).names[-3:] == (
        "random",
        "permuted",
        "redrawn",
    )
