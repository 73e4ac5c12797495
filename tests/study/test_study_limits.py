"""Where a study's numbers need care: half precision, normalized autoencoders, outcomes without a slope."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mrinterp.report.terminal import summary_text
from tests.study.page_text import undrawn_page
from tests.study.study_kinds import DECODER, LOGITS, prompt_table, run_study, save_tiny_decoder, save_vectors

pytestmark = pytest.mark.needs("transformers")
TOKEN = 4


@pytest.fixture(scope="module")
def decoder(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_decoder(tmp_path_factory.mktemp("decoder"), tiny_encoder)


def _linear(decoder: Path, **model: Any) -> tuple[dict[str, Any]]:
    """A network whose output is the site itself."""
    factory = {
        "kind": "module",
        "module": "tests.study.study_kinds:linear_readout",
        "arguments": {"folder": str(decoder)},
        "tokenizer": str(decoder),
        "site": "h.1",
        "embedding": "wte",
        "padded_length": 14,
    }
    return ({**factory, **model},)


@pytest.mark.parametrize("normalization", ["layer_norm", "constant_norm_rescale"])
def test_latents_of_a_normalizing_autoencoder_are_written_in_each_inputs_own_scale(
    normalization: str, decoder: Path, tmp_path: Path
) -> None:
    """The outcome is d @ h at one token, so that one unit of a latent changes it by d @ decoder row, times
    that token's own scale: the effect is its mean over the prompts that were knocked out."""
    from mrinterp.features._sae import SparseAutoencoder
    from mrinterp.features._sae_folder import write_sae

    draw = torch.Generator().manual_seed(0)
    encoder = torch.randn(24, 30, generator=draw) / 24**0.5
    rows = torch.randn(30, 24, generator=draw) / 24**0.5
    weights = {"W_enc": encoder, "b_enc": torch.zeros(30), "W_dec": rows, "b_dec": torch.zeros(24)}
    write_sae(SparseAutoencoder("standard", weights, normalize_activations=normalization), tmp_path / "sae")
    save_vectors(tmp_path)
    study = run_study(
        tmp_path,
        decoder,
        model=_linear(decoder),
        outcome=({"name": "y", "kind": "projection", "direction": "outcome.npy", "position": TOKEN},),
        features=({"kind": "sae", "folder": "sae", "count": 4, "position": TOKEN},),
    )
    d, design = study.basis.dictionary, study.design
    clean = design.runs.iloc[design.rows("knockout", ("clean",))]
    clean = clean[clean["prompt"].isin(study.knockouts["shift"].inputs["prompt"])]["input"].to_numpy()
    inputs = study._network.inputs.take(clean)
    h = study._network.adapter.run(inputs.tensors, read=["h.1"]).activations["h.1"][:, TOKEN].double()
    scale = h.std(dim=1) if normalization == "layer_norm" else h.norm(dim=1) / 24**0.5
    assert float(scale.std() / scale.mean()) > 0.01, "inputs differ in scale"
    truth = rows[list(d.latents)].double().numpy() @ np.load(tmp_path / "outcome.npy") * d.scale
    wanted = truth[:, None] * scale.numpy()
    shift = study.knockouts["shift"]
    np.testing.assert_allclose(
        shift.effect_by_input[:, :, 0], wanted, rtol=1e-3, atol=1e-4 * np.abs(truth).max()
    )
    np.testing.assert_allclose(shift.effect[:, 0], wanted.mean(1), rtol=1e-3, atol=1e-4 * np.abs(truth).max())
    assert np.isfinite(study.estimates["within"].beta).all()


def test_a_half_precision_network_is_summed_in_single_or_better(decoder: Path, tmp_path: Path) -> None:
    """Features, and the outcome's projection, are means over tokens of bfloat16 activations: a sum in
    bfloat16 would be off by some thousandths of them."""
    save_vectors(tmp_path)
    study = run_study(
        tmp_path,
        decoder,
        model=_linear(decoder, dtype="bfloat16"),
        outcome=({"name": "y", "kind": "projection", "direction": "outcome.npy"},),
        features=({"kind": "units", "units": [3, 17]},),
    )
    d, block = study.basis.dictionary, np.arange(64)
    site = study._network.site
    inputs = study._network.inputs.take(block)
    with torch.inference_mode():
        run = study._network.adapter.run(inputs.tensors, read=[site])
    h, mask = run.activations[site], inputs.mask.double()
    assert h.dtype == torch.bfloat16
    found = study._network.viewing(d).run(block)
    assert found.features.dtype == found.outcome.dtype == np.float64
    weights = (mask / mask.sum(1, keepdim=True)).unsqueeze(-1)
    means = (h.double() * weights).sum(1).numpy()
    values = (means - d.center) @ d.read.T
    np.testing.assert_allclose(found.features, values, atol=1e-5)
    by_hand = means @ np.load(tmp_path / "outcome.npy")
    np.testing.assert_allclose(found.outcome[:, 0], by_hand, rtol=1e-5, atol=1e-5)
    coarse = (h * weights.bfloat16()).sum(1).double().numpy()
    assert np.abs((coarse - d.center) @ d.read.T - values).max() > 1e-3, "the test tells them apart"
    shift = study.knockouts["shift"]
    assert (shift.read_back_error > 0).all(), "rounding of what is written is shown"
    np.testing.assert_allclose(study.estimates["gradient"].beta, shift.effect, atol=0.1)


def test_a_divergence_has_no_slope_and_the_run_says_so(decoder: Path, tmp_path: Path) -> None:
    (tmp_path / "prompts.csv").write_text(prompt_table())
    model = {**DECODER, "folder": str(decoder), "kind": "causal"}
    noise: dict[str, Any] = {"runs_per_prompt": 8, "directions_per_class": 4, "scale": 0.1}
    study = run_study(
        tmp_path,
        decoder,
        model=model,
        outcomes=[LOGITS, {"name": "divergence", "kind": "kl_to_clean"}],
        prompts=({"table": "prompts.csv", "per_family": 2},),
        instruments=({"noise": noise, "placebo": {"count": 3}},),
        knockouts={"size": 0.1, "prompts_per_family": 1},
    )
    shift, swapped = study.knockouts["shift"], study.knockouts["resample"]
    assert np.abs(shift.effect[:, 1]).max() < 0.05 * np.abs(swapped.mean[:, 1]).max()
    named = [c for c in json.loads((study.out / "checks.json").read_text()) if "even" in c["name"]]
    assert [c["name"] for c in named] == ["outcome even in the shift: divergence"]
    assert named[0]["verdict"] == "warning"
    text, page = summary_text(study), undrawn_page(study)
    for where in (text, page):
        assert "near zero by construction" in where
    assert "agreement is not computed" in text
    for verdicts in (
        study.results.query("outcome == 'divergence'"),
        study.equivalence.query("outcome == 'divergence'"),
    ):
        assert set(verdicts.filter(like="verdict").to_numpy().ravel()) == {"not applicable"}
    assert not (study.agreement.misled["outcome"] == "divergence").any()
    assert "No verdict applies to divergence" in page
    assert "have no verdict" in page
    assert "nan" not in text


def test_coordinates_that_sum_to_a_constant_are_called_not_identified(
    tiny_encoder: Path, tmp_path: Path
) -> None:
    """A layer-normalized site: its coordinates depend on each other, and no run can tell them apart."""
    model = {"site": "encoder.layer.1", "folder": str(tiny_encoder)}
    noise = {"runs_per_prompt": 6, "directions_per_class": 8, "scale": 0.1, "split_at": "quality"}
    study = run_study(
        tmp_path, tiny_encoder, model=model, features=({"kind": "layer"},), instruments={"noise": noise}
    )
    for name in ("within", "tsls"):
        assert np.isnan(study.estimates[name].beta).all(), name
        for status in study.estimates[name].status.ravel():
            assert status.startswith("the data cannot tell it from"), name
            assert "and 17 more" in status, "one set of 24, of which a status names a few"
            assert len(status) < 500
    assert np.isfinite(study.knockouts["shift"].effect).all()
    check = next(c for c in study.checks if c["name"] == "features told apart")
    assert (check["verdict"], check["statistic"]) == ("failed", 24)
    text = summary_text(study)
    assert "24 of 24 features are not identified by themselves" in text
    assert "nan" not in text
