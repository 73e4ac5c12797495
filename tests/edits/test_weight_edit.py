"""Permanent weight edits: equal to the run-time ablation, saved and reopened, refused where they cannot be."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mrinterp.adapters._hugging_face import load_network
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.errors import InputError
from mrinterp.edits._cut_units import cut_units
from mrinterp.edits._fold_out import edited_outcomes, fold_out
from mrinterp.edits._project_out import project_out, stream_writers
from mrinterp.edits._weight_edit import WeightEdit
from mrinterp.features._directions import Directions
from mrinterp.features._units import Units
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.outcomes._logit_outcomes import LogitDifference
from mrinterp.positions import AllTokens
from mrinterp.results._check import NotApplicable

MASK = (torch.arange(7)[None] < torch.tensor([3, 7, 5, 6])[:, None]).long()
IDS = torch.randint(0, 20, (4, 7), generator=torch.Generator().manual_seed(0))
TEXT = {"input_ids": IDS, "attention_mask": MASK}
DIRECTIONS = np.random.default_rng(0).standard_normal((2, 24))


def state(module: Any) -> dict[str, Any]:
    return {k: v.clone() for k, v in module.state_dict().items()}


def unchanged(module: Any, before: dict[str, Any]) -> bool:
    after = module.state_dict()
    return set(after) == set(before) and all(torch.equal(after[k], v) for k, v in before.items())


def out(module: Any, inputs: dict[str, Any]) -> Any:
    with torch.inference_mode():
        made = module(**inputs)
    return made if isinstance(made, torch.Tensor) else next(iter(made.values()))


class Tied(torch.nn.Module):
    """Token vectors that are also what the output is read by, and a layer between two normalizations."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.norm = torch.nn.Embedding(11, 8), torch.nn.LayerNorm(8)
        self.fall, self.head = torch.nn.Linear(8, 8), torch.nn.Linear(8, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, ids: Any) -> Any:
        h = self.embed(ids)
        return self.head(self.norm(h + self.fall(self.norm(h))))


class Residual(torch.nn.Module):
    """A plain pre-norm residual network on vectors, without biases where asked."""

    def __init__(self, bias: bool = True) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.embed = torch.nn.Linear(5, 8, bias=bias)
        self.norm = torch.nn.LayerNorm(8)
        self.rise = torch.nn.Linear(8, 12)
        self.act = torch.nn.GELU()
        self.fall = torch.nn.Linear(12, 8, bias=bias)
        self.head = torch.nn.Linear(8, 3)

    def forward(self, x: Any) -> Any:
        h = self.embed(x)
        h = h + self.fall(self.act(self.rise(self.norm(h))))
        return self.head(h)


X = {"x": torch.randn(6, 5, generator=torch.Generator().manual_seed(2))}


@pytest.fixture
def decoder() -> Any:
    from tests.tiny import tiny_decoder

    return tiny_decoder()


@pytest.fixture
def encoder(tiny_encoder: Path) -> Any:
    return load_network(tiny_encoder).adapter.module


class TestDirections:
    @pytest.mark.needs("transformers")
    def test_decoder_equals_the_run_time_ablation_at_every_layer(self, decoder: Any) -> None:
        """Removing the span wherever it is in the stream: after the embedding, attention and MLP."""
        before = state(decoder)
        made = project_out(decoder, DIRECTIONS, TEXT)
        assert unchanged(decoder, before)
        span = torch.linalg.qr(torch.tensor(DIRECTIONS).T).Q.float()

        def remove(h: Any) -> Any:
            return h - (h @ span) @ span.T

        sites = ["transformer.drop"] + [
            f"transformer.h.{i}.{s}" for i in range(3) for s in ("attn.c_proj", "mlp")
        ]
        wanted = TorchAdapter(decoder).run(TEXT, write=dict.fromkeys(sites, remove)).output.logits
        torch.testing.assert_close(out(made.module, TEXT), wanted, rtol=1e-4, atol=1e-5)
        assert float((out(made.module, TEXT) - out(decoder, TEXT)).abs().max()) > 0.1
        assert made.difference < 1e-5 * made.scale
        assert made.sites == stream_writers(decoder)
        assert "8 parameters changed" in str(made)

    @pytest.mark.needs("transformers")
    def test_saved_decoder_reopens_with_its_unembedding_untied(self, decoder: Any, tmp_path: Path) -> None:
        made = project_out(decoder, DIRECTIONS, TEXT)
        assert decoder.config.tie_word_embeddings
        made.save(tmp_path / "edited")
        again = load_network(tmp_path / "edited", head="causal").adapter.module
        assert torch.equal(out(again, TEXT), out(made.module, TEXT))
        assert torch.equal(again.lm_head.weight, decoder.lm_head.weight)
        assert not torch.equal(again.transformer.wte.weight, decoder.transformer.wte.weight)
        assert (tmp_path / "edited" / "weight_edit.json").is_file()

    @pytest.mark.needs("transformers")
    def test_a_coordinate_of_a_post_norm_stream(self, encoder: Any) -> None:
        made = project_out(encoder, np.eye(24)[[3, 7]], TEXT)
        hidden = TorchAdapter(made.module).run(TEXT, read=["encoder.layer.2"]).activations["encoder.layer.2"]
        assert float(hidden[..., [3, 7]].abs().max()) == 0
        assert made.difference < 1e-5

    @pytest.mark.needs("transformers")
    def test_other_directions_of_a_post_norm_stream_are_refused(self, encoder: Any) -> None:
        with pytest.raises(InputError, match=r"normalization.*not a coordinate.*run time"):
            project_out(encoder, DIRECTIONS, TEXT)

    @pytest.mark.needs("transformers")
    def test_a_forgotten_writer_is_found(self, decoder: Any) -> None:
        with pytest.raises(InputError, match=r"still holds the directions.*positions among them"):
            project_out(decoder, DIRECTIONS, TEXT, writers=["transformer.wte"])

    @pytest.mark.parametrize("bias", [True, False])
    def test_plain_network_saved_and_reopened(self, bias: bool, tmp_path: Path) -> None:
        network = Residual(bias).eval()
        before = state(network)
        d = np.random.default_rng(3).standard_normal(8)
        made = project_out(network, d, X, writers=["embed", "fall"], stream=["embed"])
        assert unchanged(network, before)
        assert made.changed == (
            ("embed.weight", "embed.bias", "fall.weight", "fall.bias")
            if bias
            else ("embed.weight", "fall.weight")
        )
        assert float((made.module.embed(X["x"]).detach().double() @ torch.from_numpy(d)).abs().max()) < 1e-5
        made.save(tmp_path / "plain")
        again = WeightEdit.reopen(tmp_path / "plain", network)
        assert torch.equal(out(again, X), out(made.module, X))
        assert unchanged(network, before)
        with pytest.raises(InputError, match="same architecture"):
            WeightEdit.reopen(tmp_path / "plain", Residual(not bias).eval())

    def test_tied_weights_of_a_plain_network_stay_apart_when_reopened(self, tmp_path: Path) -> None:
        network, ids = Tied().eval(), {"ids": torch.arange(10).reshape(2, 5)}
        d = np.random.default_rng(0).standard_normal(8)
        made = project_out(network, d, ids, writers=["embed", "fall"])
        assert torch.equal(made.module.head.weight, network.head.weight)
        u = torch.from_numpy(d / np.linalg.norm(d)).float()
        h = network.embed(ids["ids"])
        h = h - (h @ u)[..., None] * u
        added = network.fall(network.norm(h))
        wanted = network.head(network.norm(h + added - (added @ u)[..., None] * u))
        torch.testing.assert_close(out(made.module, ids), wanted.detach(), rtol=1e-5, atol=1e-5)
        made.save(tmp_path / "tied")
        again = WeightEdit.reopen(tmp_path / "tied", network)
        assert torch.equal(out(again, ids), out(made.module, ids))
        assert network.head.weight is network.embed.weight

    def test_nobody_looked_at_the_stream_is_said(self) -> None:
        d, network = np.arange(1.0, 9.0), Residual().eval()
        assert "was not checked" in str(project_out(network, d, X, writers=["embed"]))
        looked = project_out(network, d, X, writers=["embed", "fall"], stream=["embed", "fall"])
        assert "not known" not in str(looked)
        with pytest.raises(InputError, match=r"stream at 'fall'.*still holds"):
            project_out(network, d, X, writers=["embed"], stream=["embed", "fall"])
        with pytest.raises(InputError, match="site 'fal'"):
            project_out(network, d, X, writers=["embed"], stream=["fal"])

    @pytest.mark.needs("transformers")
    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
    def test_half_precision_is_held_to_its_own_rounding(self, decoder: Any, dtype: Any) -> None:
        half = decoder.to(dtype)
        made = project_out(half, DIRECTIONS, TEXT)
        assert made.difference < 0.03 * made.scale
        writers = [w for w in stream_writers(half) if not w.endswith("h.2.mlp.c_proj")]
        with pytest.raises(InputError, match=r"stream at 'transformer.h.2'.*still holds"):
            project_out(half, DIRECTIONS, TEXT, writers=writers)

    def test_only_the_span_matters(self) -> None:
        network = Residual().eval()
        d = np.random.default_rng(3).standard_normal((2, 8))
        one = project_out(network, d, X, writers=["embed", "fall"])
        two = project_out(network, [d[0] * 7, d[0] - d[1], d[1]], X, writers=["embed", "fall"])
        torch.testing.assert_close(out(one.module, X), out(two.module, X), rtol=1e-5, atol=1e-6)
        assert two.label.startswith("2 directions")

    def test_bad_directions_are_refused(self) -> None:
        network = Residual().eval()
        for d, writers, words in (
            (np.ones(7), ["embed"], "writes 8 coordinates, the directions have 7"),
            (np.zeros(8), ["embed"], "with a length"),
            ([np.nan] * 8, ["embed"], "finite"),
            (np.ones(8), None, "not known for Residual"),
            (np.ones(8), [], "Name every module"),
            (np.ones(8), ["act"], "a GELU: not a linear layer"),
            (np.ones(8), ["norm"], "not a coordinate"),
            (np.ones(8), ["embde"], "embed"),
        ):
            with pytest.raises(InputError, match=words):
                project_out(network, d, X, writers=writers)


class TestUnits:
    @pytest.mark.needs("transformers")
    @pytest.mark.parametrize("values", [0.0, [0.3, -0.2]])
    def test_decoder_units(self, decoder: Any, values: Any) -> None:
        before = state(decoder)
        site = "transformer.h.1.mlp.act"
        made = cut_units(decoder, site, [3, 50], TEXT, values=values)

        def write(h: Any) -> Any:
            h = h.clone()
            h[..., [3, 50]] = torch.tensor(values)
            return h

        wanted = TorchAdapter(decoder).run(TEXT, write={site: write}).output.logits
        torch.testing.assert_close(out(made.module, TEXT), wanted, rtol=1e-4, atol=1e-5)
        assert unchanged(decoder, before)
        assert made.changed[0] == "transformer.h.1.mlp.c_proj.weight"
        assert len(made.changed) == (2 if np.any(values) else 1)

    @pytest.mark.needs("transformers")
    def test_encoder_units_equal_the_zero_knockout(self, encoder: Any, tmp_path: Path) -> None:
        """Padding is edited in the weights and left alone by the knockout: no outcome can tell."""
        site, inputs = "encoder.layer.1.intermediate", ModelInputs(TEXT, MASK)
        bench = Bench(TorchAdapter(encoder), site, Units([4, 9], 48), inputs, _Hidden(), position=AllTokens())
        zero = knock_out(bench, "zero")
        made = cut_units(encoder, site, [9], TEXT)
        made.save(tmp_path / "edited")
        again = load_network(tmp_path / "edited").adapter.module
        for module in (made.module, again):
            got = _Hidden()(TorchAdapter(module).run(TEXT).output, MASK).double().numpy()
            np.testing.assert_allclose(got - bench.clean, zero.change_by_input[1], atol=1e-6)
        assert np.abs(zero.change_by_input[1]).max() > 1e-3

    @pytest.mark.needs("transformers")
    def test_sites_that_something_else_reads_are_refused(self, encoder: Any, decoder: Any) -> None:
        with pytest.raises(InputError, match="Something else reads"):
            cut_units(encoder, "encoder.layer.1", [2], TEXT)
        with pytest.raises(InputError, match="no linear layer reads it"):
            cut_units(decoder, "transformer.h.1", [2], TEXT)
        with pytest.raises(InputError, match="no linear layer reads it"):
            cut_units(decoder, "transformer.h.1.mlp.c_fc", [2], TEXT)

    @pytest.mark.needs("transformers")
    def test_heads_are_cut_at_the_input_of_their_projection(self, decoder: Any) -> None:
        site = "transformer.h.0.attn.c_proj:input"
        made = cut_units(decoder, site, range(6, 12), TEXT)
        assert made.changed == ("transformer.h.0.attn.c_proj.weight",)

    def test_plain_network_and_refusals(self) -> None:
        network = Residual().eval()
        made = cut_units(network, "act", [0, 11], X, values=[0.5, 0.1])
        assert made.changed == ("fall.weight", "fall.bias")
        assert torch.equal(
            out(cut_units(network, "act", [0], X, readers=["fall"]).module, X),
            out(cut_units(network, "act", [0], X).module, X),
        )
        for module, units, values, words in (
            (network, [12], 0.0, "number 12"),
            (network, [1, 1], 0.0, "2 given, 1 distinct"),
            (network, [], 0.0, "0 given"),
            (network, [1], [0.1, 0.2], "Give one number or 1"),
            (Residual(bias=False).eval(), [1], 0.2, "no bias to keep a mean in"),
            (Residual(), [1], 0.0, "training mode"),
        ):
            with pytest.raises(InputError, match=words):
                cut_units(module, "act", units, X, values=values)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_a_site_that_something_else_reads_is_refused_in_any_precision(self, dtype: Any) -> None:
        """One rounding of bfloat16 is large: a tolerance of many would let anything pass."""

        class Twice(Residual):
            def forward(self, x: Any) -> Any:
                h = self.act(self.rise(self.norm(self.embed(x))))
                return self.head(self.fall(h)) + h[:, :3]

        given = {"x": X["x"].to(dtype)}
        with pytest.raises(InputError, match="Something else reads"):
            cut_units(Twice().to(dtype).eval(), "act", [0, 1, 2], given)

    def test_outputs_that_cannot_be_compared_are_refused(self) -> None:
        class Plain:
            def __init__(self, logits: Any) -> None:
                self.logits = logits

        class Opaque(Residual):
            def forward(self, x: Any) -> Any:
                return Plain(super().forward(x))

        class Broken(Residual):
            """Not a number as soon as a unit is cut off."""

            def forward(self, x: Any) -> Any:
                return super().forward(x) / (self.fall.weight[:, 1].abs().sum() > 0)

        class Infinite(Residual):
            """One class is masked out."""

            def forward(self, x: Any) -> Any:
                return super().forward(x) + torch.tensor([0.0, -torch.inf, 0.0])

        with pytest.raises(InputError, match="no finite number"):
            cut_units(Opaque().eval(), "act", [1], X)
        with pytest.raises(InputError, match=r"differ from the run-time ablation by (nan|inf)"):
            cut_units(Broken().eval(), "act", [1], X)
        made = cut_units(Infinite().eval(), "act", [1], X)
        assert made.difference < 1e-5 < made.scale < 10
        assert str(made).startswith("1 unit of act cut off at zero: 1 parameter changed")

    def test_a_shared_reader_keeps_its_weights_elsewhere(self) -> None:
        network = Residual().eval()
        network.twin = torch.nn.Linear(12, 8).eval()
        network.twin.weight = network.fall.weight
        made = cut_units(network, "act", [2], X)
        assert made.changed == ("fall.weight",)
        assert torch.equal(made.module.twin.weight, network.fall.weight)


class TestFoldOut:
    @pytest.mark.needs("transformers")
    def test_a_turned_layer_equals_the_written_value_and_reopens(self, decoder: Any, tmp_path: Path) -> None:
        """GPT-2's linear layers keep their weights the other way round (Conv1D)."""
        site, held = "transformer.h.1.mlp.c_proj", np.array([0.4, -0.1])
        view, outcome = Directions(DIRECTIONS), LogitDifference(3, 5)
        bench = Bench(
            TorchAdapter(decoder), site, view, ModelInputs(TEXT, MASK), outcome, position=AllTokens()
        )
        made = fold_out(bench, np.arange(2), held, "two directions")
        assert isinstance(made, WeightEdit)
        assert made.changed == (f"{site}.weight", f"{site}.bias")
        values = np.broadcast_to(held[None, :, None, None], (1, 2, *bench.values.shape[:-1]))
        written = bench.sweep(np.arange(2)[None], np.ascontiguousarray(values), "held").outcome[0]
        np.testing.assert_allclose(edited_outcomes(bench, made.module), written, atol=1e-5)
        assert np.abs(written - bench.clean).max() > 1e-3
        made.save(tmp_path / "folded")
        again = load_network(tmp_path / "folded", head="causal").adapter.module
        assert torch.equal(out(again, TEXT), out(made.module, TEXT))

    @pytest.mark.needs("transformers")
    def test_a_module_that_is_not_linear_names_the_layers_inside(self, decoder: Any) -> None:
        inputs, view = ModelInputs(TEXT, MASK), Directions(DIRECTIONS)
        site = "transformer.h.1.mlp"
        bench = Bench(TorchAdapter(decoder), site, view, inputs, LogitDifference(3, 5), position=AllTokens())
        made = fold_out(bench, np.arange(2), np.zeros(2), "")
        assert isinstance(made, NotApplicable)
        assert "a GPT2MLP, not a linear layer" in made.reason
        assert f"{site}.c_proj" in made.reason


class _Hidden:
    """Two coordinates of the mean last hidden state over own tokens."""

    names = ("a", "b")

    def __call__(self, output: Any, mask: Any) -> Any:
        weight = mask.unsqueeze(-1) / mask.sum(1)[:, None, None]
        return (output.last_hidden_state * weight).sum(1)[:, :2]


def test_reopening_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        WeightEdit.reopen(tmp_path, copy.deepcopy(Residual()))
