"""Studies and benches of a transcoder's latents: read at an MLP's input, written at its output, held against hooks by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mrinterp import Bench, InputError, Study, knock_out
from mrinterp.core.plan import read_plan
from mrinterp.features import Transcoder, TranscoderView, read_transcoder, write_transcoder
from tests.study import study_kinds
from tests.study.test_from_model import PROMPTS, QUICK
from tests.tiny import tiny_decoder

pytestmark = pytest.mark.needs("transformers")

WRITES, READS, LATENTS = "transformer.h.1.mlp", "transformer.h.1.ln_2", 12
QUICKER: dict[str, Any] = {
    **QUICK,
    "knockouts": {**QUICK["knockouts"], "random_controls": 2, "kinds": ["resample"]},
}


def _transcoder(architecture: str = "transcoder") -> Transcoder:
    rng = torch.Generator().manual_seed(3)
    weights = {
        "W_enc": torch.randn(24, LATENTS, generator=rng) / 3,
        "b_enc": torch.randn(LATENTS, generator=rng) / 3,
        "W_dec": torch.randn(LATENTS, 24, generator=rng),
        "b_dec": torch.randn(24, generator=rng),
    }
    if "jumprelu" in architecture:
        weights["threshold"] = torch.full((LATENTS,), 0.2)
    if "skip" in architecture:
        weights["W_skip"] = torch.randn(24, 24, generator=rng)
    return Transcoder(architecture, weights)


@pytest.fixture(scope="module")
def tokenizer(tiny_encoder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_encoder)


@pytest.fixture(scope="module")
def decoder(tokenizer: Any) -> Any:
    return tiny_decoder(len(tokenizer))


def _study(decoder: Any, tokenizer: Any, out: Path, **changes: Any) -> Study:
    given: dict[str, Any] = {
        "site": WRITES,
        "features": TranscoderView(_transcoder(), READS, WRITES, (1, 4, 7)),
        "outcome": ("good", "bad"),
        "position": "mean",
        "out": out,
        **QUICKER,
    }
    return Study.from_model(decoder, tokenizer, PROMPTS, **(given | changes))


@pytest.fixture(scope="module")
def studied(decoder: Any, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Study:
    return _study(decoder, tokenizer, tmp_path_factory.mktemp("transcoder") / "run").run()


def _by_hand(
    decoder: Any, tensors: dict[str, Any], change: Callable[[torch.Tensor], torch.Tensor]
) -> np.ndarray:
    """Logits where decoder rows times the latents' change (runs, tokens, latents) are added to what the MLP writes."""
    block, seen = decoder.transformer.h[1], {}
    one = block.ln_2.register_forward_hook(lambda m, i, out: seen.update(inside=out.detach()))
    other = block.mlp.register_forward_hook(
        lambda m, i, out: out + change(seen["inside"]).to(out) @ _transcoder().weights["W_dec"].to(out)
    )
    try:
        with torch.no_grad():
            return decoder(**tensors).logits.double().numpy()
    finally:
        one.remove(), other.remove()


def _margin(logits: np.ndarray, mask: torch.Tensor, words: tuple[int, int]) -> np.ndarray:
    last = mask.shape[1] - 1 - np.flip(mask.numpy(), 1).argmax(axis=1)
    at = logits[np.arange(len(logits)), last]
    return np.asarray(at[:, words[0]] - at[:, words[1]])


@pytest.mark.parametrize("position", ["mean", "last"])
def test_a_knockout_is_the_hook_that_a_person_would_write(tokenizer: Any, position: str) -> None:
    """Zero: minus the latent's decoder row times its mean over the tokens that are read, at each of them."""
    decoder = tiny_decoder(len(tokenizer), torch.float64)
    view = TranscoderView(_transcoder(), READS, WRITES, (1, 4, 7))
    bench = Bench.from_model(
        decoder, tokenizer, PROMPTS, site=WRITES, features=view, outcome=("good", "bad"), position=position
    )
    words = tuple(tokenizer.convert_tokens_to_ids(["good", "bad"]))
    tensors, mask = bench.inputs.tensors, bench.inputs.mask
    assert mask is not None
    where = bench.inputs.at(bench.position)
    assert where is not None
    found = knock_out(bench, "zero")
    for f, latent in enumerate(view.latents):

        def change(inside: torch.Tensor, latent: int = latent) -> torch.Tensor:
            values = _transcoder().encode(inside)
            mean = (values * where.weights.unsqueeze(-1)).sum(1, keepdim=True)
            only = torch.zeros(LATENTS, dtype=inside.dtype)
            only[latent] = 1
            return -mean * only * where.selected.unsqueeze(-1)

        edited = _margin(_by_hand(decoder, tensors, change), mask, words)
        change_by_hand = edited - bench.computed[:, 0]
        assert np.abs(change_by_hand).max() > 1e-3
        np.testing.assert_allclose(found.change_by_input[f, :, 0], change_by_hand, atol=1e-9)
    clean = _margin(_by_hand(decoder, tensors, lambda h: torch.zeros(*h.shape[:2], LATENTS)), mask, words)
    np.testing.assert_allclose(bench.computed[:, 0], clean, atol=1e-6)
    assert bench.resumes
    assert found.read_back_error.max() < 1e-5


@pytest.mark.parametrize(
    ("stack", "reads", "writes"),
    [
        pytest.param(
            "bridge",
            "blocks.1.ln2.hook_out",
            "blocks.1.mlp.hook_out",
            marks=pytest.mark.needs("transformer_lens"),
        ),
        pytest.param("traced", READS, WRITES, marks=pytest.mark.needs("nnsight")),
    ],
)
def test_other_stacks_give_the_same_knockouts(
    stack: str, reads: str, writes: str, tiny_encoder: Path, tokenizer: Any, tmp_path: Path
) -> None:
    folder = str(study_kinds.save_tiny_decoder(tmp_path, tiny_encoder))
    found = []
    for network, read, write in (
        (study_kinds.decoder(folder), READS, WRITES),
        (getattr(study_kinds, stack)(folder), reads, writes),
    ):
        view = TranscoderView(_transcoder(), read, write, (1, 4, 7))
        given = {"features": view, "outcome": ("good", "bad"), "position": "mean"}
        bench = Bench.from_model(network, tokenizer, PROMPTS, site=write, **given)
        found.append(knock_out(bench, "zero").effect)
    assert np.abs(found[0]).max() > 1e-3
    np.testing.assert_allclose(found[1], found[0], rtol=1e-3, atol=1e-4 * np.abs(found[0]).max())


def test_values_are_read_at_one_site_and_writes_read_back_at_the_other(decoder: Any, tokenizer: Any) -> None:
    view = TranscoderView(_transcoder(), READS, WRITES, tuple(range(LATENTS)))
    bench = Bench.from_model(
        decoder, tokenizer, PROMPTS, site=WRITES, features=view, outcome=("good", "bad")
    ).by_token
    held = bench.adapter.run(bench.inputs.tensors, read=[READS]).activations[READS]
    truth = _transcoder().encode(held.detach()).double().numpy() * bench.inputs.mask.numpy()[..., None]
    np.testing.assert_allclose(bench.values, truth, atol=1e-6)
    runs = bench.sweep(np.array([[2]]), np.full((1, 1, *bench.values.shape[:2]), 0.7), "clamped")
    assert runs.read_back.max() < 1e-5
    assert runs.leakage.max() < 1e-5
    assert bench.writes == WRITES


def test_a_study_reads_writes_and_says_so(studied: Study, decoder: Any, tokenizer: Any) -> None:
    assert list(studied.results["feature"]) == [f"{WRITES}:latent{i}" for i in (1, 4, 7)]
    assert set(studied.results["verdict"]) <= {"causal", "negligible", "indeterminate", "not evaluable"}
    dictionary = studied.basis.dictionary
    rows = _transcoder().weights["W_dec"][[1, 4, 7]].double().numpy()
    np.testing.assert_allclose(dictionary.write, rows * dictionary.scale[:, None], rtol=1e-6)
    np.testing.assert_allclose(dictionary.read_back, np.eye(3), atol=1e-6)
    assert studied.basis.meta["sae"]["explained_variance"] < 1
    made = json.loads((studied.out / "study.json").read_text())["plan"]
    assert made["features"] == {
        **made["features"],
        "kind": "transcoder",
        "folder": "given/transcoder",
        "reads": READS,
        "latents": [1, 4, 7],
    }
    assert (
        read_transcoder(studied.out / "given" / "transcoder").settings["metadata"]["hook_name_out"] == WRITES
    )
    page = (studied.out / "report.html").read_text()
    assert f"read at <code>{READS}</code>" in page
    assert "No Mendelian randomization" in page


def test_shifts_contrasts_and_gradients_are_those_by_hand(
    studied: Study, decoder: Any, tokenizer: Any
) -> None:
    """The matched shift moves every own token by half a natural sd either way; a contrast is between its two levels."""
    shift, d = studied.knockouts["shift"], studied.basis.dictionary
    bench = studied.bench()
    bench = bench.subset(np.flatnonzero(bench.table["prompt"].isin(shift.inputs["prompt"])))
    tensors, mask = bench.inputs.tensors, bench.inputs.mask
    words = tuple(tokenizer.convert_tokens_to_ids(["good", "bad"]))
    for f, latent in enumerate(d.latents):
        step = torch.zeros(LATENTS)
        step[latent] = float(d.scale[f]) * studied.plan.knockouts.size
        both = []
        for sign in (1, -1):
            moved = _by_hand(decoder, tensors, lambda h, s=sign, v=step: s * v * mask[..., None])
            both.append(_margin(moved, mask, words))
        slope = (both[0] - both[1]) / (2 * studied.plan.knockouts.size)
        np.testing.assert_allclose(shift.effect_by_input[f, :, 0], slope, atol=1e-5)
    gradient = studied.estimates["gradient"].beta[:, 0]
    assert np.corrcoef(gradient, shift.effect[:, 0])[0, 1] > 0.9
    assert (studied.estimates["rectified"].status == "ok").all()
    assert studied.knockouts["random"].effect.shape[0] == 2


def test_what_needs_a_cut_does_not_apply_and_says_why(studied: Study) -> None:
    for name in ("within", "within_calibrated", "ivw_noise", "replication"):
        made = studied.estimates[name]
        assert np.isnan(made.beta).all()
        assert all("read at one site and written at another" in s for s in made.status.ravel()), name
    reasons = [c for c in studied.checks if c["verdict"] == "not applicable"]
    assert any("no cut holds them" in str(c) for c in reasons)
    plan: dict[str, Any] = studied.plan.to_dict()
    for section, key, value in (("estimation", "rests_on", "mr"), ("model", "beside", READS)):
        changed = {**plan, section: {**plan[section], key: value}}
        with pytest.raises(InputError, match=f"{section}.{key}.*read at one site"):
            read_plan(changed)


@pytest.mark.parametrize(
    "architecture", ["transcoder", "jumprelu_transcoder", "skip_transcoder", "jumprelu_skip_transcoder"]
)
def test_saelens_folders_are_read(architecture: str, tmp_path: Path) -> None:
    made = _transcoder(architecture)
    write_transcoder(
        made, tmp_path / "own", hook_name="blocks.1.hook_mlp_in", hook_name_out="blocks.1.hook_mlp_out"
    )
    again = read_transcoder(tmp_path / "own")
    x = torch.randn(5, 24)
    assert again.architecture == architecture
    assert torch.equal(again.predict(x), made.predict(x))
    w = made.weights
    before = x @ w["W_enc"] + w["b_enc"]
    values = before.relu() * (before > w.get("threshold", torch.zeros(1)))
    by_hand = values @ w["W_dec"] + w["b_dec"] + (x @ w["W_skip"].T if "W_skip" in w else 0)
    assert torch.allclose(again.predict(x), by_hand, atol=1e-6)


def _spoilt(folder: Path, **settings: Any) -> Path:
    (folder / "SHA256SUMS").unlink(missing_ok=True)
    config = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps({**config, **settings}))
    return folder


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"normalize_activations": "layer_norm"}, "scaled before it is encoded"),
        ({"d_out": 25}, "the weights say 24"),
        ({"architecture": "gated"}, "no transcoder"),
        ({"metadata": {"hook_head_index_out": 2}}, "one attention head"),
    ],
)
def test_transcoders_that_mean_something_else_are_refused(
    settings: dict[str, Any], words: str, tmp_path: Path
) -> None:
    write_transcoder(_transcoder(), tmp_path / "own")
    with pytest.raises(InputError, match=words):
        read_transcoder(_spoilt(tmp_path / "own", **settings))


class _Foreign(torch.nn.Module):
    """A transcoder of another library: Linear layers, and no class of ours."""

    def __init__(self) -> None:
        super().__init__()
        own = _transcoder().weights
        self.encoder, self.decoder = torch.nn.Linear(24, LATENTS), torch.nn.Linear(LATENTS, 24)
        self.encoder.weight.data, self.encoder.bias.data = own["W_enc"].T.clone(), own["b_enc"]
        self.decoder.weight.data, self.decoder.bias.data = own["W_dec"].T.clone(), own["b_dec"]
        self.eval().requires_grad_(False)

    def encode(self, x: Any) -> Any:
        return self.encoder(x).relu()

    def decode(self, latents: Any) -> Any:
        return self.decoder(latents)


def test_a_transcoder_object_of_ones_own_is_written_and_read(
    decoder: Any, tokenizer: Any, tmp_path: Path
) -> None:
    """By default it reads the input of the module that it predicts."""
    study = _study(
        decoder, tokenizer, tmp_path / "own", features={"transcoder": _Foreign(), "latents": [0, 3]}
    )
    assert study.plan.features.reads is None
    stored = read_transcoder(tmp_path / "own" / "given" / "transcoder")
    assert torch.allclose(stored.weights["W_enc"], _transcoder().weights["W_enc"])
    study.check_before()
    bench = Bench.from_model(
        decoder,
        tokenizer,
        PROMPTS,
        site=WRITES,
        features={"transcoder": _Foreign(), "latents": [0, 3]},
        outcome=("good", "bad"),
    )
    assert bench.site == f"{WRITES}:input -> {WRITES}"


def test_wrong_pairs_are_refused_with_the_reason(decoder: Any, tokenizer: Any, tmp_path: Path) -> None:
    def made(reads: str, site: str = WRITES) -> TranscoderView:
        return TranscoderView(_transcoder(), reads, site, (0,))

    def bench(view: TranscoderView, site: str = WRITES) -> Bench:
        return Bench.from_model(
            decoder, tokenizer, PROMPTS, site=site, features=view, outcome=("good", "bad")
        )

    with pytest.raises(InputError, match="is also where it writes"):
        bench(made(WRITES))
    with pytest.raises(InputError, match="is not reached before"):
        bench(made("transformer.h.2.ln_2"))
    with pytest.raises(InputError, match="the transcoder writes at"):
        bench(made(READS), "transformer.h.0.mlp")
    with pytest.raises(InputError, match=r"does not take width|reads width"):
        bench(made("transformer.h.1.mlp.act"))
    with pytest.raises(InputError, match="ln_9"):
        _study(decoder, tokenizer, tmp_path / "a", features=made("transformer.h.1.ln_9")).check_before()
    with pytest.raises(InputError, match="the transcoder has 12 latents"):
        _study(
            decoder, tokenizer, tmp_path / "b", features=TranscoderView(_transcoder(), READS, WRITES, (40,))
        ).check_before()
