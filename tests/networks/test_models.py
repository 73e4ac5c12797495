"""Reading and writing activations exactly: edits, hooks, resumed runs, padding."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.errors import InputError


class _Pair(torch.nn.Module):
    """A layer that returns a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(4, 4)

    def forward(self, x: Any) -> Any:
        return self.linear(x), "something else"


class _Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Linear(3, 4), _Pair()
        self.last = torch.nn.Linear(4, 2)

    def forward(self, x: Any) -> Any:
        return self.last(torch.tanh(self.second(torch.relu(self.first(x)))[0]))


@pytest.fixture
def adapter() -> TorchAdapter:
    torch.manual_seed(0)
    return TorchAdapter(_Net().eval())


@pytest.fixture
def batch() -> Any:
    return {"x": torch.randn(5, 3, generator=torch.Generator().manual_seed(1))}


@pytest.mark.parametrize("site", ["first", "second", "second.linear", "last"])
def test_identity_edit_changes_nothing(adapter: TorchAdapter, batch: Any, site: str) -> None:
    plain = adapter.run(batch).output
    assert torch.equal(adapter.run(batch, read=[site], write={site: lambda h: h}).output, plain)


@pytest.mark.parametrize("site", ["first", "second"])
def test_every_example_is_edited_and_read_back(adapter: TorchAdapter, batch: Any, site: str) -> None:
    run = adapter.run(batch, read=[site], write={site: torch.zeros_like})
    assert torch.equal(run.activations[site], torch.zeros(5, 4))
    assert torch.equal(run.output, run.output[:1].expand_as(run.output))
    assert not torch.equal(run.output, adapter.run(batch).output)


def test_hooks_are_gone_after_an_exception(adapter: TorchAdapter, batch: Any) -> None:
    def broken(_h: Any) -> Any:
        raise RuntimeError("inside the edit")

    plain = adapter.run(batch).output
    with pytest.raises(RuntimeError, match="inside the edit"):
        adapter.run(batch, write={"first": broken})
    assert not any(m._forward_hooks for m in adapter.module.modules())
    assert torch.equal(adapter.run(batch).output, plain)


def test_wrong_shape_and_training_mode_are_refused(adapter: TorchAdapter, batch: Any) -> None:
    with pytest.raises(InputError, match=r"edit at 'first': returned shape \(1, 4\), site has \(5, 4\)"):
        adapter.run(batch, write={"first": lambda h: h[:1]})
    with pytest.raises(InputError, match="training mode"):
        TorchAdapter(_Net().train())
    with pytest.raises(InputError, match="Did you mean 'second'"):
        adapter.run(batch, read=["secnd"])


def _network(plan: Any, folder: Path, texts: list[str], length: int) -> Any:
    """The plan's network on some sentences."""
    from mrinterp.models._cut import CutNetwork
    from mrinterp.models._plan_network import open_study_network
    from mrinterp.models._text import tokenize
    from mrinterp.outcomes._outcome_set import OutcomeSet
    from mrinterp.positions import MEAN_OF_TOKENS

    opened, model = open_study_network(plan, folder), plan.model
    frame = pd.DataFrame({"text": texts})
    inputs = tokenize(opened.tokenizer, frame, length, ["first", "last", "rest"], [], None)
    outcome = OutcomeSet(opened.outcomes, opened.sampling)
    return CutNetwork(opened.adapter, model.site, inputs, outcome, MEAN_OF_TOKENS, model.embedding)


@pytest.mark.needs("transformers")
class TestEncoder:
    TEXTS = ("the good house", "the nurse left the office today")

    @pytest.fixture
    def on(self, tiny_encoder: Path) -> Any:
        from mrinterp.core.plan import read_plan
        from tests.tiny import tiny_study

        plan, folder = read_plan(tiny_study(tiny_encoder))
        return lambda texts=self.TEXTS, length=14: _network(plan, folder, list(texts), length)

    def test_resumed_run_equals_a_full_run_bit_for_bit(self, on: Any) -> None:
        network = on([*self.TEXTS, "bad"])
        shift = np.random.default_rng(0).standard_normal((3, 24))
        start = network.activation(np.arange(3))
        assert start is not None
        full, resumed = network.run(shift=shift), network.run(shift=shift, start=start)
        assert full.outcome.tobytes() == resumed.outcome.tobytes()
        assert full.mean.tobytes() == resumed.mean.tobytes()
        assert network.run().outcome.tobytes() != full.outcome.tobytes()

    def test_padding_does_not_leak(self, on: Any) -> None:
        short, long = (on(length=n).run() for n in (9, 22))
        np.testing.assert_allclose(short.outcome, long.outcome, atol=1e-6)
        np.testing.assert_allclose(short.mean, long.mean, atol=1e-5)

    @pytest.mark.parametrize("position", ["mean", "last", 1, -2, "rest"])
    def test_shift_moves_where_features_are_read_and_leaves_the_rest_of_the_cut(
        self, on: Any, position: int | str
    ) -> None:
        from dataclasses import replace

        from mrinterp.positions import named_position

        network = on()
        network = replace(network, position=named_position(position, network.inputs.class_names))
        shift = np.random.default_rng(0).standard_normal((2, 24))
        before, after = network.run(), network.run(shift=shift)
        np.testing.assert_allclose(after.mean - before.mean, shift, atol=1e-5)
        np.testing.assert_allclose(after.deviation, before.deviation, atol=1e-5)
        assert (before.deviation != 0).any()
        assert (after.outcome != before.outcome).all()

    def test_nothing_outlives_its_block(self, on: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        network, kept = on(), []
        plain = network.adapter.run

        def watched(*args: Any, **kwargs: Any) -> Any:
            run = plain(*args, **kwargs)
            kept.extend(
                [weakref.ref(run.activations[network.site]), weakref.ref(run.output.last_hidden_state)]
            )
            return run

        monkeypatch.setattr(network.adapter, "run", watched)
        for _ in range(3):
            network.run(shift=np.ones((2, 24)))
        gc.collect()
        assert len(kept) == 6
        assert all(r() is None for r in kept)

    def test_deviations_sum_to_zero(self, on: Any) -> None:
        reading = on().run()
        np.testing.assert_allclose(reading.deviation.reshape(2, 3, 24).sum(axis=1), 0, atol=1e-6)

    def test_mean_and_deviations_are_all_of_the_site_where_classes_are_single_tokens(self, on: Any) -> None:
        """Three tokens, three classes: the parts of the cut give back every token."""
        network = on(["good"])
        with torch.no_grad():
            h = network.adapter.run(network.inputs.tensors, read=[network.site]).activations[network.site]
        reading = network.run()
        deviation = reading.deviation.reshape(3, 24)[[0, 2, 1]]  # first, rest, last
        np.testing.assert_allclose(reading.mean + 3 * deviation, h[0, :3].numpy(), atol=1e-5)

    def test_gradient_equals_central_differences(self, on: Any) -> None:
        network = on()
        direction = np.random.default_rng(0).standard_normal(24)
        gradient = network.gradient()[:, 0] @ direction
        step = 1e-2 * np.tile(direction, (2, 1))
        up, down = network.run(shift=step), network.run(shift=-step)
        np.testing.assert_allclose(gradient, (up.outcome - down.outcome)[:, 0] / 2e-2, rtol=5e-3, atol=1e-4)


@pytest.mark.needs("minilm")
def test_minilm_is_resumed_exactly_and_read_back() -> None:
    """The shipped study's network: edits are written where they should be, and resumed runs are exact."""
    from mrinterp.core.plan import read_plan

    study = Path(__file__).parents[2] / "mrinterp" / "studies" / "minilm_sentiment.toml"
    plan, folder = read_plan(study)
    texts = ["The hotel was wonderful.", "A dull day at the office.", "This is terrible."]
    network = _network(plan, folder, texts, 24)
    plain = network.run()
    assert plain.outcome[0, 0] > plain.outcome[1, 0] > plain.outcome[2, 0]
    shift = 0.3 * np.random.default_rng(0).standard_normal((3, 384))
    full = network.run(shift=shift)
    resumed = network.run(shift=shift, start=network.activation(np.arange(3)))
    assert full.outcome.tobytes() == resumed.outcome.tobytes()
    np.testing.assert_allclose(full.mean - plain.mean, shift, atol=1e-5)


def test_a_site_needs_one_vector_per_token_of_the_inputs() -> None:
    from mrinterp.models._token_activation import token_activation
    from mrinterp.positions import MEAN_OF_TOKENS
    from tests.linear_stack import stack_inputs

    inputs = stack_inputs(4)
    tokens = inputs.mask.shape[1]  # type: ignore[union-attr]
    assert token_activation(torch.zeros(4, tokens, 3), inputs, MEAN_OF_TOKENS, "here").width == 3
    assert (
        token_activation(torch.zeros(4, tokens + 2, 3), inputs, MEAN_OF_TOKENS, "here", new_tokens=2).width
        == 3
    )
    for shape in ((4, tokens + 1, 3), (3, tokens, 3), (4, 3)):
        with pytest.raises(InputError, match=r"site 'here': activation of shape .* one vector per token"):
            token_activation(torch.zeros(shape), inputs, MEAN_OF_TOKENS, "here")


def test_where_a_run_cannot_be_resumed_nothing_is_kept(adapter: TorchAdapter) -> None:
    from mrinterp.adapters._model_inputs import ModelInputs
    from mrinterp.models._cut import CutNetwork
    from mrinterp.outcomes import Logit, OutcomeSet

    x = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    network = CutNetwork(adapter, "second", ModelInputs({"x": x}), OutcomeSet([Logit(0)]))
    assert network._resumption is None
    assert network.activation(np.arange(2)) is None
    assert network.run(np.arange(2)).features.shape == (2, 0), "no view: no features"
