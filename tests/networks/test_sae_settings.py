"""Settings of a trained SAE that change what is read: obeyed, or refused with the reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import mrinterp
from mrinterp.adapters import ModelInputs, TorchAdapter
from mrinterp.features import Latents, SparseAutoencoder, read_sae, write_sae
from mrinterp.knockouts import Bench
from mrinterp.outcomes import Logit
from mrinterp.positions import LAST_TOKEN, MEAN_OF_TOKENS, Position, TokenIndex

WIDTH, LATENTS, BOS, EOS = 16, 6, 1, 2


def _weights() -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    return {
        "W_enc": torch.randn(WIDTH, LATENTS, generator=g),
        "b_enc": torch.randn(LATENTS, generator=g) * 0.1 + 0.5,
        "W_dec": torch.randn(LATENTS, WIDTH, generator=g),
        "b_dec": torch.randn(WIDTH, generator=g) * 0.1,
    }


def _folder(place: Path, config: dict[str, Any], more: dict[str, torch.Tensor] | None = None) -> Path:
    place.mkdir(exist_ok=True)
    save_file({**_weights(), **(more or {})}, place / "sae_weights.safetensors")
    (place / "cfg.json").write_text(json.dumps({"architecture": "standard", "d_in": WIDTH, **config}))
    return place


def _layouts(setting: dict[str, Any]) -> list[dict[str, Any]]:
    """The flat layout of cfg.json and the one with metadata."""
    return [setting, {"metadata": setting}]


@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"hook_head_index": 3}, "one attention head"),
        ({"hook_point_head_index": 0}, "one attention head"),
        ({"hook_name": "blocks.0.hook_mlp_in", "hook_name_out": "blocks.0.hook_mlp_out"}, "TranscoderView"),
        ({"norm_scaling_factor": 0.23}, "norm_scaling_factor is 0.23"),
        ({"input_scale": 7}, "input_scale is 7"),
        ({"dataset_average_activation_norm": 61.5}, "a scaling that this program does not know"),
        ({"apply_b_dec_to_input": "false"}, "without quotes"),
        ({"rescale_acts_by_decoder_norm": 1}, "true or false"),
    ],
)
def test_settings_that_change_what_is_read_are_refused(
    setting: dict[str, Any], message: str, layout: int, tmp_path: Path
) -> None:
    with pytest.raises(mrinterp.InputError, match=message):
        read_sae(_folder(tmp_path / "sae", _layouts(setting)[layout]))


def test_settings_of_the_training_alone_are_let_be(tmp_path: Path) -> None:
    harmless = {"l1_coefficient": 5.0, "lp_norm": 2.0, "decoder_init_norm": 0.1, "hook_head_index": None}
    harmless |= {
        "normalize_sae_decoder": True,
        "scale_sparsity_penalty_by_decoder_norm": True,
        "noise_scale": 3,
    }
    assert read_sae(_folder(tmp_path / "sae", harmless)).latents == LATENTS


@pytest.mark.parametrize("name", ["scaling_factor", "finetuning_scaling_factor"])
@pytest.mark.parametrize("on", [True, False])
def test_a_scaling_fitted_after_training_is_obeyed(name: str, on: bool, tmp_path: Path) -> None:
    factor = torch.linspace(0.5, 2, LATENTS)
    sae = read_sae(_folder(tmp_path / "sae", {"finetuning_scaling_factor": on}, {name: factor}))
    plain = SparseAutoencoder("standard", _weights())
    x = torch.randn(5, WIDTH, generator=torch.Generator().manual_seed(1))
    assert torch.equal(sae.encode(x), plain.encode(x))
    torch.testing.assert_close(
        sae.decode(sae.encode(x)), plain.decode(plain.encode(x) * (factor if on else 1))
    )
    write_sae(sae, tmp_path / "again")
    torch.testing.assert_close(read_sae(tmp_path / "again").decode(sae.encode(x)), sae.decode(sae.encode(x)))


# --- on which tokens and at which site ---------------------------------------------------------------------------


class _Config:
    bos_token_id, eos_token_id, pad_token_id = BOS, EOS, 0


class _Layer(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mlp = torch.nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Any) -> Any:
        return x + self.mlp(x)


class _Net(torch.nn.Module):
    config = _Config()

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.e, self.out = torch.nn.Embedding(30, WIDTH), torch.nn.Linear(WIDTH, 4)
        self.h = torch.nn.ModuleList(_Layer() for _ in range(3))

    def forward(self, input_ids: Any) -> Any:
        x = self.e(input_ids)
        for layer in self.h:
            x = layer(x)
        return self.out(x)


def _inputs(bos: bool, left: bool = False) -> ModelInputs:
    ids = torch.randint(3, 30, (8, 10), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    ids[:, -1] = EOS
    if bos:
        ids[:, 0] = BOS
    mask[0, 7:], ids[0, 7:], ids[0, 6] = 0, 0, EOS
    return ModelInputs({"input_ids": ids.flip(1) if left else ids}, mask.flip(1) if left else mask)


def _bench(
    setting: dict[str, Any], tmp_path: Path, position: Position, bos: bool = True, site: str = "h.1"
) -> Bench:
    sae = read_sae(_folder(tmp_path / "sae", setting))
    write_sae(sae, tmp_path / "again")  # what it may be used on stays known
    latents = Latents(read_sae(tmp_path / "again"), WIDTH, [0, 2])
    return Bench(TorchAdapter(_Net().eval()), site, latents, _inputs(bos), Logit(1), position=position)


@pytest.mark.parametrize("layout", [0, 1])
@pytest.mark.parametrize(
    ("setting", "position", "message"),
    [
        (
            {"seqpos_slice": [1, None]},
            MEAN_OF_TOKENS,
            r"token 0 is read.*left out \(seqpos_slice \[1, None\]\)",
        ),
        ({"seqpos_slice": [1, None]}, TokenIndex(0), "input 0: token 0"),
        ({"seqpos_slice": [1, None]}, TokenIndex(1), None),
        ({"seqpos_slice": [2, -2], "context_size": 10}, TokenIndex(8), "token 8"),
        ({"seqpos_slice": [2, -2], "context_size": 10}, TokenIndex(4), None),
        ({"seqpos_slice": [0, None, 2]}, TokenIndex(3), "token 3"),
        ({"seqpos_slice": [None]}, MEAN_OF_TOKENS, None),
        ({"context_size": 9}, MEAN_OF_TOKENS, r"token 9 is read.*context_size 9\).*Shorten"),
        ({"context_size": 9}, TokenIndex(2), None),
        ({"context_size": 10}, MEAN_OF_TOKENS, None),
        ({"exclude_special_tokens": True}, MEAN_OF_TOKENS, f"special token {BOS} is read"),
        ({"exclude_special_tokens": True}, LAST_TOKEN, f"special token {EOS} is read"),
        ({"exclude_special_tokens": True}, TokenIndex(3), None),
        ({"exclude_special_tokens": [EOS]}, TokenIndex(0), None),
        ({"prepend_bos": False}, MEAN_OF_TOKENS, "was trained without it"),
        ({"prepend_bos": False}, TokenIndex(2), None),
        ({"prepend_bos": True}, MEAN_OF_TOKENS, None),
    ],
)
def test_tokens_that_training_left_out_are_not_read(
    setting: dict[str, Any], position: Position, message: str | None, layout: int, tmp_path: Path
) -> None:
    given = _layouts(setting)[layout]
    if message is None:
        assert _bench(given, tmp_path, position).features == 2
        return
    with pytest.raises(mrinterp.InputError, match=message):
        _bench(given, tmp_path, position)


def test_texts_begin_as_those_of_the_training(tmp_path: Path) -> None:
    with pytest.raises(mrinterp.InputError, match="trained on texts that begin with the token 1"):
        _bench({"prepend_bos": True}, tmp_path, LAST_TOKEN, bos=False)
    assert _bench({"prepend_bos": False}, tmp_path, MEAN_OF_TOKENS, bos=False).features == 2


def test_places_are_counted_among_a_texts_own_tokens(tmp_path: Path) -> None:
    sae = read_sae(_folder(tmp_path / "sae", {"seqpos_slice": [1, None]}))
    adapter = TorchAdapter(_Net().eval())
    for left in (False, True):
        inputs = _inputs(False, left)
        bench = Bench(adapter, "h.1", Latents(sae, WIDTH), inputs, Logit(1), position=TokenIndex(1))
        assert np.isfinite(bench.values).all()
        with pytest.raises(mrinterp.InputError, match="token 0 is read"):
            Bench(adapter, "h.1", Latents(sae, WIDTH), inputs, Logit(1), position=TokenIndex(0))


@pytest.mark.parametrize(
    ("hook", "site", "good"),
    [
        ("blocks.1.hook_resid_post", "h.1", True),
        ("blocks.2.hook_resid_pre", "h.1", True),
        ("blocks.1.hook_resid_pre", "h.1:input", True),
        ("blocks.0.hook_resid_post", "h.1:input", True),
        ("blocks.1.hook_mlp_out", "h.1.mlp", True),
        ("h.1", "h.1", True),
        ("transformer.h.1", "h.1", True),
        ("blocks.1.hook_resid_pre", "h.1", False),
        ("blocks.2.hook_resid_post", "h.1", False),
        ("blocks.1.hook_resid_post", "h.1:input", False),
        ("blocks.2.hook_mlp_out", "h.1.mlp", False),
        ("blocks.1.hook_mlp_out", "h.1", False),
        ("h.2", "h.1", False),
    ],
)
def test_an_sae_of_another_layer_is_refused(hook: str, site: str, good: bool, tmp_path: Path) -> None:
    if good:
        assert _bench({"hook_name": hook}, tmp_path, MEAN_OF_TOKENS, site=site).features == 2
        return
    with pytest.raises(mrinterp.InputError, match="another place in the network"):
        _bench({"hook_name": hook}, tmp_path, MEAN_OF_TOKENS, site=site)


def test_an_sae_of_centered_weights_is_refused_on_others(tmp_path: Path) -> None:
    centered = {"model_from_pretrained_kwargs": {"center_writing_weights": True}}
    with pytest.raises(mrinterp.InputError, match="center_writing_weights"):
        _bench({**centered, "hook_name": "blocks.1.hook_resid_post"}, tmp_path, MEAN_OF_TOKENS)
    centered["model_from_pretrained_kwargs"]["center_writing_weights"] = False
    assert _bench(centered, tmp_path, MEAN_OF_TOKENS).features == 2
