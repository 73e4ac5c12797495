"""What every adapter must do: one suite, the same network behind each stack."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest
import torch

from mrinterp.adapters._nnsight import NNsightAdapter
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.errors import InputError
from mrinterp.features._directions import Directions
from mrinterp.features._feature_view import edit_of
from mrinterp.outcomes._logit_outcomes import LogitDifference
from mrinterp.outcomes._outcome import outcome_values
from mrinterp.positions import LastToken, MeanOfTokens
from tests.networks.adapter_nets import (
    ADAPTERS,
    MODULES,
    SITES,
    WIDTH,
    Net,
    token_inputs,
    torch_net,
)


def _module(adapter: Any) -> Any:
    if isinstance(adapter, NNsightAdapter):
        return adapter.model._module
    return adapter.module if isinstance(adapter, TorchAdapter) else adapter.model


def _numbers(adapter: Any, names: dict[str, str], inputs: dict[str, Any]) -> Any:
    """A small study: read three features, shift one, and see the outcome."""
    view = Directions(np.random.default_rng(0).standard_normal((3, WIDTH)))
    positions, outcome = MeanOfTokens().at(inputs["attention_mask"]), LogitDifference(1, 2)
    parts = []
    for site in SITES:
        plain = adapter.run(inputs, read=[names[site]])
        values = view.read(plain.activations[names[site]], positions)
        wanted = values + torch.tensor([1.0, 0, 0])
        after = adapter.run(inputs, write={names[site]: edit_of(view, wanted, positions)})
        parts += [values.double().numpy(), outcome_values(outcome, plain.output, inputs["attention_mask"])]
        parts.append(outcome_values(outcome, after.output, inputs["attention_mask"]))
    return np.concatenate(parts, 1)


@pytest.fixture(params=ADAPTERS)
def opened(request: pytest.FixtureRequest) -> Any:
    make, names = request.param
    return make(), names


@pytest.mark.parametrize("site", SITES)
class TestEverySite:
    def test_identity_edit_changes_no_bit(self, opened: Any, site: str) -> None:
        adapter, names = opened
        plain = adapter.run(token_inputs()).output
        for identity in (lambda h: h, torch.clone):
            run = adapter.run(token_inputs(), read=[names[site]], write={names[site]: identity})
            assert torch.equal(run.output, plain)
        assert torch.equal(plain, Net().eval()(**token_inputs()))

    def test_read_back_equals_what_was_written(self, opened: Any, site: str) -> None:
        adapter, names = opened
        wanted = torch.randn(4, 6, WIDTH, generator=torch.Generator().manual_seed(3))
        run = adapter.run(token_inputs(), read=[names[site]], write={names[site]: lambda h: wanted})
        assert torch.equal(run.activations[names[site]], wanted)

    def test_every_example_is_edited(self, opened: Any, site: str) -> None:
        adapter, names = opened
        change = (
            adapter.run(token_inputs(), write={names[site]: lambda h: h + 1}).output
            - adapter.run(token_inputs()).output
        )
        last = LastToken().at(token_inputs()["attention_mask"]).selected
        assert (change[last].abs().amax(-1) > 1e-3).all()

    def test_hooks_are_gone_after_an_exception(self, opened: Any, site: str) -> None:
        adapter, names = opened
        plain = adapter.run(token_inputs()).output

        def broken(h: Any) -> Any:
            raise RuntimeError("inside the edit")

        with pytest.raises(RuntimeError, match="inside the edit"):
            adapter.run(token_inputs(), read=[names["tensor"]], write={names[site]: broken})
        assert not any(m._forward_hooks for m in _module(adapter).modules())
        assert torch.equal(adapter.run(token_inputs()).output, plain)
        assert torch.equal(_module(adapter)(**token_inputs()), plain)

    def test_a_batch_of_one(self, opened: Any, site: str) -> None:
        adapter, names = opened
        inputs = token_inputs()
        whole = adapter.run(inputs, read=[names[site]], write={names[site]: lambda h: 2 * h})
        for run in range(4):
            one = {k: v[run : run + 1] for k, v in inputs.items()}
            alone = adapter.run(one, read=[names[site]], write={names[site]: lambda h: 2 * h})
            torch.testing.assert_close(
                alone.activations[names[site]], whole.activations[names[site]][run : run + 1]
            )
            torch.testing.assert_close(alone.output, whole.output[run : run + 1])

    def test_an_edit_of_another_shape_is_refused(self, opened: Any, site: str) -> None:
        adapter, names = opened
        with pytest.raises(InputError, match=r"returned shape \(1, 6, 8\), site has \(4, 6, 8\)"):
            adapter.run(token_inputs(), write={names[site]: lambda h: h[:1]})


def test_sites_are_read_in_any_order_and_edits_reach_later_sites(opened: Any) -> None:
    adapter, names = opened
    wanted = [names[s] for s in ("tensor", "embed", "tuple")]
    run = adapter.run(token_inputs(), read=wanted, write={names["embed"]: lambda h: h + 1})
    assert list(run.activations) == wanted
    plain = adapter.run(token_inputs(), read=wanted)
    for site in wanted:
        assert (run.activations[site] != plain.activations[site]).any()


def test_padding_does_not_leak(opened: Any) -> None:
    short, long = (_numbers(*opened, token_inputs(length=n)) for n in (6, 13))
    np.testing.assert_allclose(short, long, atol=1e-5)


def test_nothing_outlives_its_batch(opened: Any) -> None:
    """Activations, outputs and edits are freed when the caller lets go of the run."""
    adapter, names = opened
    sites, kept = [names[s] for s in SITES], []

    def edit(h: Any) -> Any:
        made = h + 1
        kept.append(weakref.ref(made))
        return made

    for _ in range(3):
        run = adapter.run(token_inputs(), read=sites, write={names["tuple"]: edit})
        kept += [weakref.ref(run.activations[s]) for s in sites] + [weakref.ref(run.output)]
        del run
    gc.collect()
    # A stack may hold on to its last trace; what must not happen is that batches pile up.
    assert sum(r() is not None for r in kept[: 2 * len(kept) // 3]) == 0
    if isinstance(adapter, TorchAdapter):
        assert all(r() is None for r in kept)


def test_same_study_same_numbers_as_the_reference(opened: Any) -> None:
    inputs = token_inputs()
    reference = _numbers(torch_net(), MODULES, inputs)
    np.testing.assert_allclose(_numbers(*opened, inputs), reference, rtol=1e-6, atol=1e-6)
    assert np.abs(reference[:, 4] - reference[:, 3]).min() > 1e-4


def test_unknown_sites_and_training_mode_are_refused(opened: Any) -> None:
    adapter, names = opened
    assert set(names.values()) <= set(adapter.sites())
    with pytest.raises(InputError, match=f"Did you mean.*'{names['tensor']}'"):
        adapter.run(token_inputs(), read=[names["tensor"] + "x"])
    model = adapter.model if hasattr(adapter, "model") else adapter.module
    whole = _module(adapter)
    for part in (whole, whole.get_submodule("first")):
        whole.eval()
        part.train()
        with pytest.raises(InputError, match="training mode"):
            type(adapter)(model)
