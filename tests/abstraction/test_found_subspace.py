"""A subspace that a search found is a feature: knocked out, compared, and estimated in a study, with known effects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mrinterp.abstraction._abstraction_task import AbstractionTask
from mrinterp.abstraction._aligned_variable import AlignedVariable
from mrinterp.abstraction._alignment_search import search_alignment, subspace_of
from mrinterp.abstraction._causal_model import CausalModel, Variable
from mrinterp.abstraction._class_scores import ClassScores
from mrinterp.abstraction._interchange_accuracy import interchange_accuracy
from mrinterp.abstraction._interchange_pairs import draw_pairs, held_out_families
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.attribution._gradient import gradient
from mrinterp.core.errors import InputError
from mrinterp.core.plan_model import FeaturesSection
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.models._plan_adapter import AdaptedNetwork
from mrinterp.models._plan_features import plan_features
from mrinterp.mr._runs.within import within
from mrinterp.outcomes._projection_and_callable import CallableOutcome
from mrinterp.positions import TokenIndex
from mrinterp.results._abstraction.alignment_search import AlignmentSearch
from mrinterp.results._knockout_effects import KnockoutEffects
from mrinterp.study import Study
from tests.study.study_kinds import linear_readout, run_study, save_tiny_decoder

pytestmark = pytest.mark.needs("transformers")
SITE, TOKEN, INPUTS = "h.1", 1, 600
DIRECTION = np.random.default_rng(0).standard_normal(24)
"""The outcome is this direction of the site at one token, so that every effect is known."""


def _outcome(output: Any, _mask: Any) -> Any:
    return output.last_hidden_state[:, TOKEN] @ torch.from_numpy(DIRECTION).float()


@pytest.fixture(scope="module")
def decoder(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_decoder(tmp_path_factory.mktemp("decoder"), tiny_encoder)


@pytest.fixture(scope="module")
def task(decoder: Path) -> tuple[TorchAdapter, AbstractionTask]:
    """On which side of its median is the outcome? A variable of the input alone, and the whole answer."""
    adapter = TorchAdapter(linear_readout(str(decoder)))
    words = adapter.module.config.vocab_size
    ids = torch.randint(0, words, (INPUTS, 6), generator=torch.Generator().manual_seed(3))
    mask = torch.ones_like(ids)
    inputs = ModelInputs({"input_ids": ids, "attention_mask": mask}, mask)
    with torch.no_grad():
        y = _outcome(adapter.run(inputs.tensors).output, mask)
    middle = float(y.median()) + 1e-4
    above = (y > middle).numpy()
    model = CausalModel(
        {"row": range(INPUTS)},
        [
            Variable("side", ("row",), lambda row: above[row], (False, True)),
            Variable("answer", ("side",), lambda side: side, (False, True)),
        ],
    )
    classes = ClassScores((False, True), score=lambda output, m: _outcome(output, m) - middle)
    family = np.arange(INPUTS) // 4
    return adapter, AbstractionTask(model, inputs, {"row": np.arange(INPUTS)}, classes, family)


@pytest.fixture(scope="module")
def found(task: Any) -> AlignmentSearch:
    adapter, asked = task
    held = held_out_families(asked.families, 0.3, seed=0)
    base, source = draw_pairs(asked.model, asked.settings, "side", 900, group=held)
    return search_alignment(
        adapter,
        asked,
        {"side": 1},
        SITE,
        base,
        source,
        position=TokenIndex(TOKEN),
        random_subspaces=2,
        draws=50,
    )


def test_the_search_finds_the_direction_that_the_answer_is_read_from(found: AlignmentSearch) -> None:
    assert abs(found.rotation["side"][0] @ DIRECTION) / np.linalg.norm(DIRECTION) > 0.85
    assert found.held_out["side"].accuracy > 0.9
    assert found.held_out["side"].arm("random network")["over_lower"][0] > 0.1


def test_it_is_interchanged_knocked_out_and_compared_as_any_view(task: Any, found: AlignmentSearch) -> None:
    adapter, asked = task
    view = subspace_of(found, "side")
    pairs = found.held_out["side"].pairs
    aligned = AlignedVariable("side", SITE, view, TokenIndex(TOKEN))
    again = interchange_accuracy(
        adapter, asked, aligned, pairs["base"], pairs["source"], random_subspaces=0, draws=50
    )
    assert again.accuracy == found.held_out["side"].accuracy
    outcome = CallableOutcome("y", _outcome)
    bench = Bench(
        adapter, SITE, view, asked.inputs, outcome, position=TokenIndex(TOKEN), family=asked.families
    )
    truth = found.rotation["side"] @ DIRECTION
    for kind in ("shift", "mean", "resample"):
        effects = knock_out(bench, kind, draws=20)
        assert effects.features == ("side0",)
        np.testing.assert_allclose(effects.effect[:, 0], truth, rtol=1e-4)
        assert effects.interval()[0][0, 0] > 0 or effects.interval()[1][0, 0] < 0
    np.testing.assert_allclose(gradient(bench).beta[:, 0], truth, rtol=1e-4)


@pytest.mark.parametrize(("site", "fits"), [("h.1", True), ("transformer.h.1", True), ("h.2", False)])
def test_its_file_is_for_its_own_site(
    found: AlignmentSearch, task: Any, tmp_path: Path, site: str, fits: bool
) -> None:
    found.save_subspace("side", tmp_path / "side.npz")
    section = FeaturesSection(kind="subspace", file="side.npz")
    given = section, 24, AdaptedNetwork(task[0], None, torch.device("cpu")), "wte", tmp_path, site
    if fits:
        np.testing.assert_allclose(plan_features(*given).read, found.rotation["side"])
    else:
        with pytest.raises(InputError, match=r"made for site 'h.1'; the study reads 'h.2'"):
            plan_features(*given)


def test_a_study_estimates_it_and_knocks_it_out(
    decoder: Path, found: AlignmentSearch, tmp_path: Path
) -> None:
    found.save_subspace("side", tmp_path / "side.npz")
    np.save(tmp_path / "outcome.npy", DIRECTION)
    study: Study = run_study(
        tmp_path,
        decoder,
        model=(
            {
                "kind": "module",
                "module": "tests.study.study_kinds:linear_readout",
                "arguments": {"folder": str(decoder)},
                "tokenizer": str(decoder),
                "site": SITE,
                "embedding": "wte",
                "padded_length": 14,
            },
        ),
        outcome=({"name": "y", "kind": "projection", "direction": "outcome.npy", "position": TOKEN},),
        features=({"kind": "subspace", "file": "side.npz", "position": TOKEN},),
        estimation={"max_rank": 40, "runs_per_column": 2},
        instruments={
            "slot": {"runs_per_prompt": 5},
            "noise": {
                "runs_per_prompt": 24,
                "directions_per_class": 8,
                "scale": 0.1,
                "split_at": "quality",
            },
            "placebo": {"count": 3},
        },
        prompts={"per_family": 1},
    )
    dictionary = study.basis.dictionary
    assert dictionary.names == (f"{SITE}:side0",)
    # A study counts in natural standard deviations; the direction that it writes is the one that was found.
    cosine = dictionary.write[0] @ found.rotation["side"][0] / np.linalg.norm(dictionary.write[0])
    assert abs(cosine) == pytest.approx(1, abs=1e-6)
    truth = dictionary.write @ DIRECTION
    whole = within(study.panel.select(kinds=("noise",)), len(study.basis.order))
    np.testing.assert_allclose(whole.beta[:, 0], truth, rtol=1e-4)
    shift: KnockoutEffects = study.knockouts["shift"]
    np.testing.assert_allclose(shift.effect[:, 0], truth, rtol=1e-3)
    # At the rank that the plan affords, some of the cut is left out: close, not exact.
    assert study.estimates["within"][f"{SITE}:side0", "y"].beta == pytest.approx(truth[0], rel=0.1)
