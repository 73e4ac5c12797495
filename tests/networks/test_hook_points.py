"""Hook points: several names of one place are one site."""

from __future__ import annotations

import pytest
import torch

from mrinterp.adapters._merged_sites import merged_sites
from mrinterp.adapters._transformer_lens import TransformerLensAdapter
from mrinterp.core.errors import InputError
from tests.networks.adapter_nets import (
    WIDTH,
    Net,
    hooked_net,
    token_inputs,
    torch_net,
)


def test_aliased_tensors_are_merged() -> None:
    groups = merged_sites(
        torch_net(), token_inputs(), ["embed", "hook_embed", "first", "first.linear", "hook_first", "second"]
    )
    assert groups == [("embed", "hook_embed"), ("first", "hook_first"), ("first.linear",), ("second",)]
    hooked = hooked_net()
    assert merged_sites(hooked, token_inputs(), hooked.sites())[1] == ("hook_first", "hook_first_alias")


def test_an_edit_under_one_name_is_read_under_the_other() -> None:
    run = hooked_net().run(token_inputs(), read=["hook_first"], write={"hook_first_alias": torch.zeros_like})
    assert torch.equal(run.activations["hook_first"], torch.zeros(4, 6, WIDTH))


def test_an_object_without_hook_points_is_refused() -> None:
    with pytest.raises(InputError, match="has no hook_dict"):
        TransformerLensAdapter(Net().eval())
