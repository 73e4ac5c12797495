"""Total and direct effects: known direct, compensating and mediating paths."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mrinterp.adapters._site_order import later_sublayers, site_order
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.errors import InputError
from mrinterp.knockouts._designs.direct_effect import direct_effect
from mrinterp.results._check import NotApplicable
from mrinterp.results._designs.direct_effect import DirectEffect
from tests.design_networks import Residual, bench_of, inputs
from tests.tiny import tiny_decoder

OUT = 5


def _network() -> Residual:
    """Coordinate 5 is the outcome. 0: direct 1, repaired by .6; 1: only through the MLP, by way of 4;
    2: direct 1, amplified by .5; 3: nothing."""
    first, second = torch.zeros(6, 6, dtype=torch.float64), torch.zeros(6, 6, dtype=torch.float64)
    first[OUT, 0], first[4, 1], first[OUT, 2] = -0.6, 1.0, 0.5
    second[OUT, 4] = 2.0
    return Residual([first, second], [1.0, 0.0, 1.0, 0.0, 0.0, 1.0])


def _bench(**options: object):  # type: ignore[no-untyped-def]
    return bench_of(_network(), inputs() + 2.0, site="start", **options)


def test_paths_are_told_apart() -> None:
    bench = _bench()
    result = direct_effect(bench, 0.0, ["0", "1", "2", "3"])
    assert result.frozen == ("layers.0.mlp", "layers.1.mlp")
    mean = bench.values.mean(axis=0)
    np.testing.assert_allclose(result.direct[:, 0], [-mean[0], 0, -mean[2], 0], atol=1e-12)
    np.testing.assert_allclose(
        result.total[:, 0], [-0.4 * mean[0], -2 * mean[1], -1.5 * mean[2], 0], atol=1e-12
    )
    np.testing.assert_allclose(result.indirect, result.total - result.direct, atol=1e-12)
    assert result.downstream[:, 0].tolist() == ["self-repair", "mediation", "amplification", "negligible"]
    assert result.freeze_error < 1e-12
    assert "self-repair" in str(result["0", "y0"])
    assert "2 sites frozen" in str(result)
    np.testing.assert_allclose(
        result.se[0, 0] / result.direct_se[0, 0], 0.6, rtol=1e-9, err_msg="the gap is paired by prompt"
    )


def test_repair_that_cannot_be_told_from_zero_is_not_called() -> None:
    network = _network()
    network.layers[0].mlp.weight.data[OUT] = 0.0
    # A gap of mean near zero: the MLP passes on what another coordinate, of mean near zero, holds.
    x = inputs() + 2.0
    x[:, 3] = inputs(5)[:, 0] - inputs(5)[:, 0].mean() + 0.05
    network.layers[0].mlp.weight.data[OUT, 3] = 1.0
    bench = bench_of(network, x, site="start")
    result = direct_effect(bench, 0.0, ["3"])
    assert result.downstream.tolist() == [["indeterminate"]]


def test_total_is_direct_when_nothing_is_frozen() -> None:
    result = direct_effect(_bench(), 0.0, freeze=())
    np.testing.assert_allclose(result.indirect, 0.0, atol=1e-12)
    assert (result.downstream == "negligible").all()


def test_total_is_direct_at_the_last_site() -> None:
    network = _network()
    bench = bench_of(network, inputs(), site="layers.1.mlp")
    result = direct_effect(bench, 0.0)
    assert result.frozen == ()
    np.testing.assert_allclose(result.indirect, 0.0, atol=1e-12)


def test_freezing_one_layer_leaves_the_other_free() -> None:
    bench = _bench()
    result = direct_effect(bench, 0.0, ["1"], freeze=["layers.1.mlp"])
    np.testing.assert_allclose(result.direct[0, 0], 0.0, atol=1e-12)
    # With only the first frozen the way to the second is cut as well.
    result = direct_effect(bench, 0.0, ["0"], freeze=["layers.1.mlp"])
    np.testing.assert_allclose(result.direct, result.total, atol=1e-12)


def test_block_size_changes_nothing() -> None:
    one, other = (direct_effect(_bench(block=b), 0.0) for b in (7, 48))
    np.testing.assert_allclose(one.indirect, other.indirect, rtol=1e-12, atol=1e-12)


def test_saved_reopened_and_resumed(tmp_path: Path) -> None:
    result = direct_effect(_bench(folder=tmp_path / "shards"), 0.0)
    assert len(list((tmp_path / "shards").iterdir())) == 2
    again = direct_effect(_bench(folder=tmp_path / "shards"), 0.0)
    assert np.array_equal(again.indirect, result.indirect)
    result.save(tmp_path / "d")
    assert str(DirectEffect.load(tmp_path / "d")) == str(result)
    assert len(result.to_frame()) == 6


def test_one_family_is_not_applicable() -> None:
    assert isinstance(direct_effect(_bench(families=1), 0.0)["0", "y0"], NotApplicable)


@pytest.mark.parametrize(
    ("freeze", "words"), [(["layers.9.mlp"], "not reached after"), (["start"], "not reached after")]
)
def test_bad_sites_are_refused(freeze: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        direct_effect(_bench(), 0.0, freeze=freeze)


def test_a_network_without_known_sublayers_asks_for_a_list() -> None:
    from tests.design_networks import linear

    with pytest.raises(InputError, match="List the sites to freeze"):
        direct_effect(linear([[1.0] * 6]), 0.0)


@pytest.mark.needs("transformers")
@pytest.mark.parametrize(
    ("site", "first", "count"),
    [
        ("transformer.h.0", "transformer.h.1.attn", 4),
        ("transformer.wte", "transformer.h.0.attn", 6),
        ("transformer.h.1.mlp.act", "transformer.h.2.attn", 2),
        ("transformer.h.1.attn.c_proj:input", "transformer.h.1.mlp", 3),
        ("transformer.h.1.attn", "transformer.h.1.mlp", 3),
        ("transformer.h.1.ln_2", "transformer.h.2.attn", 2),
        ("transformer.h.1.mlp:input", "transformer.h.2.attn", 2),
    ],
)
def test_later_sublayers_of_a_decoder(site: str, first: str, count: int) -> None:
    order = site_order(TorchAdapter(tiny_decoder()), {"input_ids": torch.zeros(1, 3, dtype=torch.long)})
    later = later_sublayers(order, site)
    assert later[0] == first
    assert len(later) == count


@pytest.mark.needs("transformers")
@pytest.mark.parametrize(
    ("site", "first", "count"),
    [
        ("encoder.layer.1", "encoder.layer.2.attention.output.dense", 4),
        ("encoder.layer.1.intermediate", "encoder.layer.2.attention.output.dense", 4),
        ("encoder.layer.1.attention", "encoder.layer.1.output.dense", 5),
        ("encoder.layer.1.attention.self", "encoder.layer.1.output.dense", 5),
        ("encoder.layer.1.output.dense", "encoder.layer.2.attention.output.dense", 4),
        ("embeddings", "encoder.layer.0.attention.output.dense", 8),
    ],
)
def test_later_sublayers_of_an_encoder(tiny_encoder: Path, site: str, first: str, count: int) -> None:
    from transformers import BertModel

    model = BertModel.from_pretrained(tiny_encoder).eval()
    order = site_order(TorchAdapter(model), {"input_ids": torch.zeros(1, 3, dtype=torch.long)})
    later = later_sublayers(order, site)
    assert later[0] == first
    assert len(later) == count


VIT = (
    "attention.attention.query",
    "attention.attention",
    "attention.output.dense",
    "attention.output",
    "attention",
)
LLAMA = ("input_layernorm", "self_attn.q_proj", "self_attn", "post_attention_layernorm", "mlp.act_fn", "mlp")


@pytest.mark.parametrize(
    ("layer", "parts", "site", "later"),
    [
        ("enc.layer", (*VIT, "intermediate", "output.dense"), "attention.attention.query", ["output.dense"]),
        ("enc.layer", (*VIT, "intermediate", "output.dense"), "attention.attention", ["output.dense"]),
        ("enc.layer", (*VIT, "intermediate", "output.dense"), "intermediate", []),
        ("model.layers", LLAMA, "input_layernorm", ["mlp"]),
        ("model.layers", LLAMA, "self_attn.q_proj", ["mlp"]),
        ("model.layers", LLAMA, "self_attn", ["mlp"]),
        ("model.layers", LLAMA, "mlp.act_fn", []),
    ],
)
def test_a_site_reaches_the_stream_through_its_own_sublayer(
    layer: str, parts: tuple[str, ...], site: str, later: list[str]
) -> None:
    names = [f"{layer}.{i}.{part}" for i in range(2) for part in parts]
    order = {name: place for place, name in enumerate(names)}
    sublayers = [s for s in ("attention.output.dense", "self_attn", "output.dense", "mlp") if s in parts]
    expected = [f"{layer}.0.{s}" for s in later] + [f"{layer}.1.{s}" for s in sublayers]
    assert list(later_sublayers(order, f"{layer}.0.{site}")) == expected


@pytest.mark.needs("transformers")
@pytest.mark.parametrize("block", [5, 24])
def test_direct_is_what_the_edited_stream_says_by_itself(block: int) -> None:
    """In a pre-norm decoder: clean final stream plus the change, through the last norm and the unembedding."""
    from mrinterp.adapters._model_inputs import ModelInputs
    from mrinterp.features._units import WholeLayer
    from mrinterp.knockouts._bench import Bench
    from mrinterp.outcomes._projection_and_callable import CallableOutcome
    from mrinterp.positions import AllTokens

    model = tiny_decoder(dtype=torch.float64)
    tokens = torch.randint(0, 20, (24, 6), generator=torch.Generator().manual_seed(1))
    bench = Bench(
        TorchAdapter(model),
        "transformer.h.0",
        WholeLayer(24),
        ModelInputs({"input_ids": tokens}, torch.ones_like(tokens)),
        CallableOutcome("y", lambda out, _mask: out.logits[:, -1, 3]),
        position=AllTokens(),
        family=np.arange(24) % 8,
        block=block,
    )
    result = direct_effect(bench, 0.0, [0, 7])
    assert len(result.frozen) == 4
    assert result.freeze_error < 1e-12
    final = bench.activations(["transformer.h.2"])["transformer.h.2"].take(np.arange(24))
    for row, unit in enumerate((0, 7)):
        stream = final.clone()
        stream[..., unit] -= torch.from_numpy(bench.values[..., unit])
        with torch.inference_mode():
            direct = model.lm_head(model.transformer.ln_f(stream))[:, -1, 3].numpy() - bench.clean[:, 0]
        assert result.direct[row, 0] == pytest.approx(direct.mean(), rel=1e-9)
        assert abs(result.total[row, 0] - direct.mean()) > 1e-4


def test_intervals_cover_a_known_gap_and_a_gap_of_zero() -> None:
    """Repair by .6 of a feature of mean 2; and a way through the layer whose mean is zero over families."""
    covered, falsely = np.zeros(2), 0
    for seed in range(120):
        first = torch.zeros(6, 6, dtype=torch.float64)
        first[OUT, 0] = -0.6
        repaired = bench_of(
            Residual([first], [1.0, 0, 0, 0, 0, 1.0]), inputs(seed) + 2.0, site="start", block=48
        )
        result = direct_effect(repaired, 0.0, ["0"])
        covered[0] += result.lower[0, 0] <= 1.2 <= result.upper[0, 0]
        passing = torch.zeros(6, 6, dtype=torch.float64)
        passing[OUT, 1] = 1.0
        nothing = bench_of(
            Residual([passing], [0.0, 1.0, 0, 0, 0, 1.0]), inputs(seed), site="start", block=48
        )
        result = direct_effect(nothing, 0.0, ["1"], rope_sd=0.0)
        covered[1] += result.lower[0, 0] <= 0 <= result.upper[0, 0]
        falsely += result.downstream[0, 0] == "self-repair"
    # 120 at .95: 114, four errors are 9.6.
    assert (covered >= 104).all()
    assert falsely <= 10
