"""A study of objects in memory: every kind of network in ten lines, what is kept, what is refused, and the same numbers."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mrinterp import InputError, Study
from mrinterp.core.storage import digest_files
from tests.tiny import FILLERS, templates, tiny_decoder, to_toml

pytestmark = pytest.mark.needs("transformers")

PROMPTS = {"templates": templates(40), "fillers": FILLERS, "per_family": 1}
QUICK: dict[str, Any] = {
    "splits": {"min_families": 10},
    "instruments": {
        "slot": {"runs_per_prompt": 1},
        "noise": {"runs_per_prompt": 4, "directions_per_class": 2, "scale": 0.1},
        "placebo": {"count": 2},
    },
    "estimation": {"max_rank": 2, "runs_per_column": 2},
    "knockouts": {"families": 10, "prompts_per_family": 1, "random_controls": 0, "kinds": ["mean"]},
}
"""A study of a few seconds."""
LEARNED = {"kind": "principal_components", "count": 2}


@pytest.fixture(scope="module")
def tokenizer(tiny_encoder: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_encoder)


@pytest.fixture(scope="module")
def decoder(tokenizer: Any) -> Any:
    return tiny_decoder(len(tokenizer))


@pytest.fixture(scope="module")
def studied(decoder: Any, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A finished study of the decoder."""
    out = tmp_path_factory.mktemp("memory") / "run"
    study = Study.from_model(
        decoder,
        tokenizer,
        PROMPTS,
        site="transformer.h.1",
        features=LEARNED,
        outcome=("good", "bad"),
        position="mean",
        out=out,
        **QUICK,
    )
    assert len(study.results) == 2  # figures and page are drawn by a run alone
    return study


# -- every kind of network in ten lines: these are the doors that docs/own_model.md shows -------------


def encoder_door(folder: Path, out: Path) -> Study:
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    outcome = {"name": "good - bad", "positive": ["the good house"], "negative": ["the bad house"]}
    features = {"kind": "principal_components", "count": 2}
    site = "encoder.layer.1"
    return Study.from_model(
        model, tokenizer, PROMPTS, site=site, features=features, outcome=outcome, out=out, **QUICK
    )


def classifier_door(folder: Path, out: Path) -> Study:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    site, outcome = "bert.encoder.layer.1", ("LABEL_0", "LABEL_1")
    return Study.from_model(
        model, tokenizer, PROMPTS, site=site, features=[0, 5], outcome=outcome, out=out, **QUICK
    )


def transformer_lens_door(network: Any, tokenizer: Any, out: Path) -> Study:
    from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module

    model = build_bridge_from_module(
        network, "GPT2LMHeadModel", hf_config=network.config, device="cpu"
    ).eval()
    call = {"site": "blocks.1.hook_out", "outcome": ("good", "bad"), "position": "mean"}
    return Study.from_model(model, tokenizer, PROMPTS, features=LEARNED, out=out, **call, **QUICK)


@pytest.mark.parametrize("door", [encoder_door, classifier_door, transformer_lens_door])
def test_every_door_takes_ten_lines(door: Callable[..., Study]) -> None:
    body = inspect.getsource(door).rstrip().split("\n")[1:]
    assert len([line for line in body if line.strip()]) <= 10


@pytest.mark.parametrize("door", [encoder_door, classifier_door])
def test_hugging_face_encoder_and_classifier(
    door: Callable[[Path, Path], Study], tiny_encoder: Path, tmp_path: Path
) -> None:
    study = door(tiny_encoder, tmp_path / "run")
    assert np.isfinite(study.knockouts["contrast"].effect).all()
    assert study.plan.model.kind == door.__name__.split("_")[0]


@pytest.mark.needs("transformer_lens")
def test_transformer_lens(decoder: Any, tokenizer: Any, studied: Study, tmp_path: Path) -> None:
    import copy

    study = transformer_lens_door(copy.deepcopy(decoder), tokenizer, tmp_path / "lens")
    assert study.plan.model.kind == "transformer_lens"
    found, wanted = (s.knockouts["contrast"].effect for s in (study, studied))
    np.testing.assert_allclose(found / np.abs(wanted).max(), wanted / np.abs(wanted).max(), atol=2e-3)


# -- the same numbers, and what is kept ---------------------------------------------------------------


def test_a_study_file_gives_the_same_bytes(
    studied: Study, decoder: Any, tokenizer: Any, tmp_path: Path
) -> None:
    decoder.save_pretrained(tmp_path / "saved")
    tokenizer.save_pretrained(tmp_path / "saved")
    (tmp_path / "templates.txt").write_text("\n".join(PROMPTS["templates"]) + "\n")
    plan = studied.plan
    model = {"kind": "causal", "folder": "saved", "site": plan.model.site, "embedding": "transformer.wte"}
    written = {
        "title": plan.title,
        "model": {**model, "padded_length": plan.model.padded_length},
        "features": {**LEARNED, "position": "mean"},
        "outcome": {"name": "good - bad", "kind": "logit_difference", "target": "good", "against": "bad"},
        "prompts": {"templates": "templates.txt", "per_family": 1, "fillers": FILLERS},
        **QUICK,
    }
    (tmp_path / "study.toml").write_text(to_toml(written))
    same = Study.from_toml(tmp_path / "study.toml", tmp_path / "run")
    pd.testing.assert_frame_equal(same.results, studied.results)
    for part in ("estimates", "knockouts", "basis"):
        assert digest_files(same.out / part) == digest_files(studied.out / part)
    assert same.header["provenance"]["model"] == studied.header["provenance"]["model"]


def test_provenance_names_what_lies_in_no_file(studied: Study, decoder: Any) -> None:
    origin = studied.header["provenance"]
    assert origin["command"] == "Study.from_model"
    assert origin["given"]["model"]["class"].endswith(".GPT2LMHeadModel")
    assert origin["given"]["model"]["weights"] == origin["model"]
    kept = sorted(p.name for p in (studied.out / "given").iterdir())
    assert kept == ["SHA256SUMS", "templates.txt", "tokenizer"]


def test_a_folder_without_its_network_reads_what_is_finished(studied: Study) -> None:
    reopened = Study.open(studied.out)
    pd.testing.assert_frame_equal(reopened.results, studied.results)
    assert "given from memory: to go on, Study.open(" in str(reopened)
    assert "given from memory" in reopened._repr_html_()
    with pytest.raises(InputError, match=r"lies in no file.*Study\.open"):
        reopened.bench()
    with pytest.raises(InputError, match="lies in no file"):
        reopened.rerun(studied.out.parent / "nothing")


def test_another_network_is_refused_and_the_same_goes_on(
    studied: Study, decoder: Any, tokenizer: Any
) -> None:
    import torch

    other = tiny_decoder(len(tokenizer))
    with torch.no_grad():
        other.transformer.h[0].mlp.c_fc.weight[0, 0] += 1.0
    with pytest.raises(InputError, match="not those it was begun with"):
        Study.open(studied.out, model=other).bench()
    with pytest.raises(InputError, match=r"a torch\..*Linear; the study is of a .*GPT2LMHeadModel"):
        Study.open(studied.out, model=torch.nn.Linear(2, 2).eval()).bench()
    bench = Study.open(studied.out, model=decoder).bench()  # its tokenizer is read from the folder
    assert bench.features == 2


def test_an_unfinished_run_goes_on_where_its_objects_are_given_again(
    decoder: Any, tokenizer: Any, tmp_path: Path
) -> None:
    def call() -> Any:
        return lambda output, mask: output.logits[:, -1, 3] - output.logits[:, -1, 5]

    out = tmp_path / "run"
    begun = _plan(decoder, tokenizer, out, outcome=call(), position="mean", features=LEARNED, **QUICK)
    assert begun.cost()["runs"] > 0
    assert begun.basis.rank >= 0
    assert begun.header["provenance"]["given"]["outcomes"]["outcome"]["object"].endswith("<lambda>")
    with pytest.raises(InputError, match="given from memory and lies in no file"):
        Study.open(out, model=decoder).knockouts  # noqa: B018
    with pytest.raises(InputError, match="lies in no file"):
        Study.open(out).knockouts  # noqa: B018
    other = Study.open(out, model=decoder, outcome=lambda output, mask: output.logits[:, -1, 4])
    with pytest.raises(InputError, match="not those it was begun with"):
        other.knockouts  # noqa: B018
    assert Study.open(out).prompts_in_words()[-1].startswith("40 families")
    gone_on = Study.open(out, model=decoder, outcome=call())
    assert np.isfinite(gone_on.knockouts["contrast"].effect).all()


def test_rerun_works_given_the_objects(
    studied: Study, decoder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for drawn in ("_draw", "_write_page"):
        monkeypatch.setattr(Study, drawn, lambda study: None)
    claims = Study.open(studied.out, model=decoder).rerun(tmp_path / "again")
    assert set(claims["same"]) == {"identical"}
    assert Study.open(tmp_path / "again").results.equals(studied.results)


def test_a_folder_that_moves_keeps_what_it_was_given(studied: Study, decoder: Any, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(studied.out, tmp_path / "moved")
    moved = Study.open(tmp_path / "moved", model=decoder)
    assert moved.source == tmp_path / "moved"
    assert moved.bench().prompts == studied.bench().prompts
    (tmp_path / "moved" / "given" / "templates.txt").write_text("another {person}\n")
    with pytest.raises(InputError, match=r"templates\.txt: damaged"):
        Study.open(tmp_path / "moved", model=decoder)


def test_the_same_call_goes_on_and_another_is_refused(studied: Study, decoder: Any, tokenizer: Any) -> None:
    def call(prompts: Any) -> Study:
        return Study.from_model(
            decoder,
            tokenizer,
            prompts,
            site="transformer.h.1",
            features=LEARNED,
            outcome=("good", "bad"),
            position="mean",
            out=studied.out,
            **QUICK,
        )

    tokenizer(["a", "a longer text"], padding=True)  # which a fast tokenizer remembers
    assert call(PROMPTS).results.equals(studied.results)
    with pytest.raises(InputError, match=r"given something else \(templates\.txt in given/\)"):
        call({**PROMPTS, "templates": templates(41)})
    assert Study.open(studied.out).results.equals(studied.results)


# -- what features, prompts and outcomes may be --------------------------------------------------------


def _plan(model: Any, tokenizer: Any, out: Path, **changes: Any) -> Study:
    call = {"prompts": PROMPTS, "features": "layer", "outcome": ("good", "bad"), "site": "transformer.h.1"}
    call |= {"out": out, **changes}
    return Study.from_model(model, tokenizer, call.pop("prompts"), **call)


def _own_sae() -> Any:
    import torch

    class Mine(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.encoder, self.decoder = torch.nn.Linear(24, 32), torch.nn.Linear(32, 24)

        def encode(self, x: Any) -> Any:
            return self.encoder(x - self.decoder.bias).relu()

        def decode(self, latents: Any) -> Any:
            return self.decoder(latents)

    return Mine().eval()


def _lens_sae(architecture: str) -> Any:
    """An object with the names that SAELens gives its weights."""
    import torch

    torch.manual_seed(1)

    class Cfg:
        k = 4

    class SAE:
        cfg = Cfg()
        W_enc, W_dec = torch.randn(24, 32), torch.randn(32, 24)
        b_enc, b_dec, threshold = torch.randn(32), torch.randn(24), torch.rand(32)

        def encode(self, x: Any) -> Any:
            before = (x - self.b_dec) @ self.W_enc + self.b_enc
            if architecture == "jumprelu":
                return before.relu() * (before > self.threshold)
            kept = before.topk(4, dim=-1)
            return torch.zeros_like(before).scatter(-1, kept.indices, kept.values.relu())

        def decode(self, latents: Any) -> Any:
            return latents @ self.W_dec + self.b_dec

    return SAE()


def test_features_of_every_kind_become_a_section(decoder: Any, tokenizer: Any, tmp_path: Path) -> None:
    import torch

    from mrinterp.features import AttentionHeads, Directions, Latents, Subspace, Units, WholeLayer

    rng = np.random.default_rng(0)
    rows, orthonormal = rng.standard_normal((3, 24)), np.linalg.qr(rng.standard_normal((24, 2)))[0].T
    np.save(tmp_path / "mine.npy", rows)
    cases: list[tuple[Any, dict[str, Any]]] = [
        (rows, {"kind": "directions", "file": "given/directions.npy"}),
        (torch.from_numpy(rows), {"kind": "directions"}),
        ([3, 1], {"kind": "units", "units": (3, 1)}),
        (np.array([2]), {"kind": "units", "units": (2,)}),
        ("layer", {"kind": "layer"}),
        (LEARNED, LEARNED),
        ({"kind": "directions", "file": str(tmp_path / "mine.npy")}, {"file": "given/mine.npy"}),
        ({"kind": "heads", "heads": [1]}, {"heads": (1,)}),
        (Units([4, 2], 24), {"kind": "units", "units": (4, 2)}),
        (Units([4], 24, ["mine"]), {"kind": "directions"}),
        (WholeLayer(24), {"kind": "layer"}),
        (AttentionHeads([2], 4, 24), {"kind": "heads", "heads": (2,), "coordinates": "all"}),
        (Directions(rows, names=list("abc")), {"kind": "directions", "file": "given/directions.npz"}),
        (Subspace(orthonormal), {"kind": "subspace"}),
        (_own_sae(), {"kind": "sae", "folder": "given/sae", "count": 32}),
        (_lens_sae("jumprelu"), {"kind": "sae"}),
        (Latents(_lens_sae("topk"), 24, [5, 7]), {"kind": "sae", "latents": (5, 7)}),
        ({"sae": _own_sae(), "latents": [1, 2]}, {"kind": "sae", "latents": (1, 2)}),
    ]
    for number, (features, wanted) in enumerate(cases):
        study = _plan(decoder, tokenizer, tmp_path / str(number), features=features)
        section = study.plan.features
        assert {k: getattr(section, k) for k in wanted} == wanted, features
        site = {"heads": "transformer.h.1.attn.c_proj:input"}.get(section.kind)
        if site is None and not section.sparse:
            found = study._opened.plan_features(24)
            assert (found is None) == (section.kind == "principal_components")
    named = _plan(decoder, tokenizer, tmp_path / "named", features=Directions(rows, names=list("abc")))
    kept = named._opened.plan_features(24)
    assert kept is not None
    assert kept.names == ("a", "b", "c")
    np.testing.assert_array_equal(kept.read, rows)


@pytest.mark.parametrize("architecture", ["standard", "topk", "jumprelu", "mine"])
def test_an_autoencoder_of_anyone_is_written_as_it_computes(architecture: str) -> None:
    import torch

    from mrinterp.models._given_features import as_sae

    given = _own_sae() if architecture in ("standard", "mine") else _lens_sae(architecture)
    ours = as_sae(given)
    x = 3 * torch.randn(50, 24, generator=torch.Generator().manual_seed(5))
    torch.testing.assert_close(ours.encode(x), given.encode(x).detach(), rtol=1e-4, atol=1e-4)
    if architecture == "mine":
        given.encode = lambda x: given.encoder(x).square()
        with pytest.raises(InputError, match="gives other values"):
            as_sae(given)


def test_outcomes_of_every_kind_become_a_section(decoder: Any, tokenizer: Any, tmp_path: Path) -> None:
    import torch

    from mrinterp.outcomes import CallableOutcome, Logit, LogitDifference, Projection
    from tests.study.study_kinds import mean_logit

    class Mine:
        names = ("mine",)

        def __call__(self, output: Any, mask: Any) -> Any:
            return output.logits[:, 0, :1]

    cases: list[tuple[Any, dict[str, Any]]] = [
        (("good", "bad"), {"name": "good - bad", "kind": "logit_difference", "target": "good"}),
        ((5, 7), {"kind": "logit_difference", "target": 5, "against": 7}),
        ("kl_to_clean", {"name": "kl_to_clean", "kind": "kl_to_clean"}),
        (LogitDifference(5, 7), {"kind": "logit_difference", "target": 5, "against": 7, "position": "last"}),
        (Logit(3, name="three"), {"name": "three", "kind": "logit", "target": 3}),
        (Projection(torch.ones(24)), {"kind": "projection", "direction": "given/outcome0.npy"}),
        (mean_logit, {"kind": "callable", "function": "tests.study.study_kinds:mean_logit"}),
        (lambda output, mask: output.logits[:, 0, 0], {"name": "outcome", "kind": "given"}),
        (CallableOutcome("mine", lambda o, m: o.logits[:, 0, 0]), {"name": "mine", "kind": "given"}),
        (Mine(), {"name": "mine", "kind": "given"}),
    ]
    for number, (outcome, wanted) in enumerate(cases):
        study = _plan(decoder, tokenizer, tmp_path / str(number), outcome=outcome)
        section = study.plan.outcome[0]
        assert {k: getattr(section, k) for k in wanted} == wanted, outcome
        if wanted["kind"] == "given":
            assert section.given
            assert study._opened.outcomes[0].names == (wanted["name"],)
            with pytest.raises(InputError, match="given from memory and lies in no file"):
                Study(study.plan, study.out, study.out, True, None)._opened  # noqa: B018
    both = _plan(decoder, tokenizer, tmp_path / "both", outcome=[("good", "bad"), Logit(3)])
    assert [o.name for o in both.plan.outcome] == ["good - bad", "logit"]


def test_a_changed_function_is_another_study(decoder: Any, tokenizer: Any, tmp_path: Path) -> None:
    def made(outcome: Any) -> str:
        return _plan(decoder, tokenizer, tmp_path / "run", outcome=outcome)._opened.hash

    one, again = (made(lambda o, m: o.logits[:, 0, 0]) for _ in range(2))
    assert one == again != made(lambda o, m: o.logits[:, 0, 1])


def test_prompts_of_every_kind(decoder: Any, tokenizer: Any, tmp_path: Path) -> None:
    texts = [
        t.format(when="today", person=p, quality="good") for t in templates(12) for p in ("nurse", "child")
    ]
    frame = pd.DataFrame({"clean": texts, "topic": [i // 2 for i in range(24)], "note": "x"})
    frame.to_csv(tmp_path / "mine.csv", index=False)
    cases: list[tuple[Any, int]] = [
        (texts, 0),
        (frame, 12),
        (frame.to_dict("records"), 12),
        (tmp_path / "mine.csv", 12),
        ({"table": frame, "families": "each"}, 24),
    ]
    for number, (prompts, families) in enumerate(cases):
        study = _plan(decoder, tokenizer, tmp_path / str(number), prompts=prompts, splits={"min_families": 2})
        assert study.plan.model.padded_length == 9  # seven words, and two that the tokenizer adds
        if families:
            mr = study.plan.model_copy(
                update={"estimation": study.plan.estimation.model_copy(update={"rests_on": "mr"})}
            )
            design = Study(mr, study.out, study.out, True, study.given)._drawn_design()
            assert design.runs["family"].nunique() == families
            assert design.settings["prompts"]["left_out"] == (
                ["note", "topic"] if families == 24 else ["note"]
            )
    rows = [json.loads(line) for line in (tmp_path / "1/given/prompts.jsonl").read_text().splitlines()]
    assert rows[3] == {"clean": texts[3], "topic": 1, "note": "x"}


def _quantized(model: Any) -> Any:
    import torch

    return torch.ao.quantization.quantize_dynamic(model, {torch.nn.Linear}, torch.qint8)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no network": ({"model": 3}, "model: int object"),
    "training": ({"model": "training"}, r"in training mode.*model.eval\(\)"),
    "quantized": ({"model": "quantized"}, "quantized weights.*would not be noticed"),
    "meta": ({"model": "meta"}, "weights without values"),
    "no embedding": ({"model": "linear", "site": "0"}, "no word embedding"),
    "text": ({"prompts": "one text"}, "no such file.*Give a list of texts"),
    "nothing": ({"prompts": 7}, "prompts: int object"),
    "no templates": ({"prompts": {"templates": [], "fillers": {}}}, "no templates"),
    "kind": ({"features": "independent"}, "'independent'.*independent_components"),
    "vector": ({"features": np.zeros(3)}, r"features: array of shape \(3,\)"),
    "object": ({"features": object()}, "features: object object"),
    "file": ({"features": {"kind": "directions", "file": "nowhere.npy"}}, "nowhere.npy: no such file"),
    "outcome": ({"outcome": 5}, "outcome: int object"),
    "outcome kind": ({"outcome": "logit"}, "outcome: 'logit'"),
    "key": ({"split": {}}, "key 'split': unknown key. Did you mean 'splits'"),
    "sites": ({"site": ["transformer.h.0"]}, "site: list object.*one site"),
    "site": ({"site": "transformer.h.11"}, "no such module.*Did you mean 'transformer.h.1'"),
    "section": ({"features": {"count": 2}, "knockouts": {"sizes": 2}}, "key 'knockouts.sizes'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused(case: str, decoder: Any, tokenizer: Any, tmp_path: Path) -> None:
    import torch

    changes, message = REFUSED[case]
    model = changes.get("model", decoder)
    if isinstance(model, str):
        linear = torch.nn.Sequential(torch.nn.Linear(3, 3)).eval()
        model = {
            "training": lambda: tiny_decoder(20).train(),
            "quantized": lambda: _quantized(linear),
            "meta": lambda: torch.nn.Linear(2, 2, device="meta").eval(),
            "linear": lambda: linear,
        }[model]()
    with pytest.raises(InputError, match=message):
        _plan(model, tokenizer, tmp_path / "run", **{k: v for k, v in changes.items() if k != "model"})
    assert not (tmp_path / "run" / "given").exists()


def test_networks_in_folders_that_are_refused_say_the_way_round(tiny_encoder: Path, tmp_path: Path) -> None:
    import shutil

    from mrinterp.adapters import load_network

    for name, more, message in (
        (
            "own_code",
            {"model_type": "mine", "auto_map": {"AutoModel": "modeling.Mine"}},
            r"modeling\.Mine.*Study\.from_model",
        ),
        (
            "quantized",
            {"quantization_config": {"quant_method": "gptq"}},
            r"quantized weights \(gptq\).*dequantize",
        ),
    ):
        shutil.copytree(tiny_encoder, tmp_path / name)
        config = json.loads((tmp_path / name / "config.json").read_text())
        (tmp_path / name / "config.json").write_text(json.dumps({**config, **more}))
        with pytest.raises(InputError, match=message):
            load_network(tmp_path / name)


# -- a bench from the same call ------------------------------------------------------------------------


def test_a_bench_from_the_same_call(decoder: Any, tokenizer: Any) -> None:
    import torch

    from mrinterp import Bench, knock_out
    from mrinterp.adapters import ModelInputs, TorchAdapter
    from mrinterp.features import Units
    from mrinterp.outcomes import LogitDifference

    texts = [
        t.format(when="today", person=p, quality="good") for t in templates(6) for p in ("nurse", "child")
    ]
    call = {"site": "transformer.h.1", "outcome": ("good", "bad"), "families": "each"}
    bench = Bench.from_model(decoder, tokenizer, texts, features=[3, 5], **call)
    coded = tokenizer(texts, return_tensors="pt", padding=True)
    inputs = ModelInputs(dict(coded), coded["attention_mask"])
    good, bad = (tokenizer.convert_tokens_to_ids(w) for w in ("good", "bad"))
    by_hand = Bench(
        TorchAdapter(decoder), "transformer.h.1", Units([3, 5], 24), inputs, LogitDifference(good, bad)
    )
    np.testing.assert_array_equal(bench.values, by_hand.values)
    found, wanted = (knock_out(b, "mean").effect for b in (bench, by_hand))
    np.testing.assert_array_equal(found, wanted)
    sae = _own_sae()
    sae.encode = lambda x: sae.encoder(x).square()  # no architecture of ours
    cases: list[tuple[Any, int]] = [
        (np.random.default_rng(0).standard_normal((3, 24)), 3),
        (LEARNED, 2),
        ({"kind": "independent_components", "count": 2}, 2),
        ({"kind": "train_sae", "train": {"latents": 8, "k": 2, "steps": 3}, "latents": [0, 1]}, 2),
        (sae, 32),
        ({"sae": _own_sae(), "latents": [1]}, 1),
        (Units([1], 24), 1),
        ("layer", 24),
    ]
    for features, count in cases:
        made = Bench.from_model(decoder, tokenizer, texts, features=features, **call)
        assert made.features == count
        assert len(np.unique(made.family)) == len(texts)
    heads = {**call, "site": "transformer.h.1.attn.c_proj:input"}
    assert (
        Bench.from_model(
            decoder, tokenizer, texts, features={"kind": "heads", "heads": [1, 2]}, **heads
        ).features
        == 2
    )
    with torch.no_grad():
        slots = Bench.from_model(
            decoder, tokenizer, PROMPTS, features=[3], **{**call, "families": "auto"}, position="person"
        )
    assert len(np.unique(slots.family)) == 40


def test_a_bench_compares_each_prompt_with_its_own_answers(decoder: Any, tokenizer: Any) -> None:
    from mrinterp import Bench

    rows = [
        {"clean": f"the {p} saw the {q} house", "answer": a, "wrong answer": w}
        for p in ("nurse", "child")
        for q, a, w in (("good", "fine", "dull"), ("bad", "dull", ["fine", "good"]))
    ]
    bench = Bench.from_model(
        decoder, tokenizer, rows, site="transformer.h.1", features=[3], outcome="answer_difference"
    )
    ids = {w: tokenizer.convert_tokens_to_ids(w) for w in ("fine", "dull", "good")}
    coded = tokenizer([r["clean"] for r in rows], return_tensors="pt", padding=True)
    logits = decoder(**coded).logits[:, -1].detach()
    assert bench.clean[0, 0] == pytest.approx(
        float(logits[0, ids["fine"]] - logits[0, ids["dull"]]), abs=1e-5
    )
    both = logits[1, [ids["fine"], ids["good"]]].logsumexp(0)
    assert bench.clean[1, 0] == pytest.approx(float(logits[1, ids["dull"]] - both), abs=1e-5)
    with pytest.raises(InputError, match=r"outcome\.target"):
        Bench.from_model(
            decoder, tokenizer, rows, site="transformer.h.1", features=[3], outcome=("unheard", "bad")
        )
    with pytest.raises(InputError, match=r"features\.count"):
        Bench.from_model(
            decoder, tokenizer, rows, site="transformer.h.1", features={"count": 0}, outcome=("good", "bad")
        )


def test_a_study_says_what_it_read(decoder: Any, tokenizer: Any, tmp_path: Path) -> None:
    rows = [
        {"clean": t.format(when="today", person=p, quality="good"), "answer": "fine", "foil": "dull", "id": i}
        for i, t in enumerate(templates(20))
        for p in ("nurse", "child")
    ]
    study = _plan(
        decoder,
        tokenizer,
        tmp_path / "run",
        prompts=rows,
        outcome="answer_difference",
        families="each",
        splits={"min_families": 10},
    )
    said = study.prompts_in_words()
    fine, dull = (tokenizer.convert_tokens_to_ids(w) for w in ("fine", "dull"))
    assert "'clean' as the clean prompt" in said[0]
    assert "not read: 'id'" in said[0]
    assert said[1].startswith("Each distinct prompt is a family of its own")
    assert said[2].startswith("40 families")
    assert (
        f"label 'fine' is token or class {fine} ('fine'); wrong 'dull' is token or class {dull} ('dull')"
        in said[3]
    )
    assert not (tmp_path / "run" / "study.json").exists()


# -- inputs that are no texts --------------------------------------------------------------------------


def mlp_door(out: Path) -> Study:
    import torch

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3)).eval()
    rng = np.random.default_rng(0)
    patients = {"inputs": rng.standard_normal((120, 6)), "family": np.repeat(np.arange(40), 3)}
    return Study.from_model(
        model, None, patients, site="1", features=[0, 3], outcome=(0, 2), out=out, **QUICK_ARRAYS
    )


SMALL_VIT = {
    **{"image_size": 8, "patch_size": 4, "num_channels": 1, "hidden_size": 16, "intermediate_size": 16},
    **{"num_hidden_layers": 2, "num_attention_heads": 2},
}


def vit_door(out: Path) -> Study:
    import torch
    from transformers import ViTConfig, ViTForImageClassification

    torch.manual_seed(0)
    model = ViTForImageClassification(ViTConfig(**SMALL_VIT)).eval()
    images = np.random.default_rng(0).standard_normal((80, 1, 8, 8)).astype(np.float32)
    call = {"site": "vit.layers.0", "features": [0, 5], "outcome": (0, 1), "families": "each"}
    return Study.from_model(model, None, images, **call, out=out, **QUICK_ARRAYS)


QUICK_ARRAYS = {
    **QUICK,
    "instruments": {"noise": {"runs_per_prompt": 4, "scale": 0.1}, "placebo": {"count": 2}},
}


@pytest.mark.parametrize("door", [mlp_door, vit_door])
def test_arrays_in_the_place_of_prompts(door: Callable[[Path], Study], tmp_path: Path) -> None:
    body = [line for line in inspect.getsource(door).split("\n")[1:] if line.strip()]
    assert len(body) <= 10
    study = door(tmp_path / "run")
    assert study.plan.model.embedding == "input"
    assert np.isfinite(study.knockouts["contrast"].effect).all()
    assert sorted(p.name for p in (study.out / "given").iterdir()) == ["SHA256SUMS", "inputs.npz"]
    reopened = Study.open(study.out, model=study.given.model if study.given else None)
    assert reopened.bench().features == 2


def test_a_bench_on_arrays() -> None:
    import torch

    from mrinterp import Bench

    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh(), torch.nn.Linear(5, 3)).eval()
    rows = np.random.default_rng(0).standard_normal((12, 6)).astype(np.float32)
    call = {"site": "1", "features": [0, 3], "outcome": [(0, 2), "loss"]}
    given = {"inputs": rows, "family": np.repeat(list("abcd"), 3), "label": np.arange(12) % 3}
    bench = Bench.from_model(model, None, given, **call)
    with torch.no_grad():
        logits, hidden = model(torch.from_numpy(rows)), model[1](model[0](torch.from_numpy(rows)))
    np.testing.assert_allclose(bench.values, hidden[:, [0, 3]].numpy(), rtol=1e-6)
    np.testing.assert_allclose(bench.clean[:, 0], (logits[:, 0] - logits[:, 2]).numpy(), rtol=1e-6, atol=1e-7)
    assert bench.family.tolist() == np.repeat(list("abcd"), 3).tolist()
    tokens = tiny_decoder()
    ids = np.random.default_rng(1).integers(1, 20, (10, 6))
    over = Bench.from_model(tokens, None, ids, site="transformer.h.0", features="layer", outcome=(3, 4))
    assert (over.prompts, over.features, len(set(over.family))) == (10, 24, 10)
    with pytest.raises(InputError, match="could each be the inputs"):
        Bench.from_model(model, None, {"a": rows, "b": rows}, **call)
    with pytest.raises(InputError, match=r"shape \(3, 2, 2\)"):
        Bench.from_model(model, None, np.zeros((3, 2, 2)), **call)


def test_pairs_with_answers_of_their_own_become_a_study(decoder: Any, tokenizer: Any, tmp_path: Path) -> None:
    """Clean and corrupted prompts, right and wrong tokens, no families named: as datasets of circuits come."""
    rows = [
        {
            "clean": f"the {p} {v} the {q} {place}",
            "corrupted": f"the {p} {v} the {other} {place}",
            "correct_idx": tokenizer.convert_tokens_to_ids(q),
            "incorrect_idx": tokenizer.convert_tokens_to_ids(other),
        }
        for v in ("saw", "liked")
        for place in ("house", "garden", "office", "train", "school")
        for p in ("nurse", "child")
        for q, other in (("good", "bad"), ("dull", "fine"))
    ]
    study = Study.from_model(
        decoder,
        tokenizer,
        rows,
        site="transformer.h.1",
        features=[0, 5],
        outcome="answer_difference",
        families="each",
        position="last",
        out=tmp_path / "run",
        **{**QUICK, "instruments": {**QUICK["instruments"], "slot": {"runs_per_prompt": 0}}},
    )
    contrast = study.knockouts["contrast"]
    assert np.isfinite(contrast.effect).all()
    assert {"clean", "pair", "noise"} <= set(study.design.runs["kind"])
    panel = study.panel
    clean = panel.runs[(panel.runs["kind"] == "clean").to_numpy()]
    run = int(clean.index[0])
    row = rows[int(str(clean["prompt"].iloc[0])[1:])]
    coded = tokenizer(row["clean"], return_tensors="pt")
    logits = decoder(**coded).logits[0, -1].detach()
    wanted = float(logits[row["correct_idx"]] - logits[row["incorrect_idx"]])
    assert panel.outcomes[run, 0] == pytest.approx(wanted, abs=1e-5)


@pytest.mark.needs("nnsight")
def test_nnsight_network(tokenizer: Any, tmp_path: Path) -> None:
    from nnsight import NNsight

    network = tiny_decoder(len(tokenizer))
    study = _plan(NNsight(network), tokenizer, tmp_path / "run", features=[0])
    assert study.plan.model.kind == "nnsight"
    assert study.plan.model.embedding == "transformer.wte"
    assert study._opened.embedding_width == 24
    assert study._opened.hash == _plan(network, tokenizer, tmp_path / "plain", features=[0])._opened.hash


def test_a_dry_run_says_what_it_read(
    tmp_path: Path, tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from click.testing import CliRunner

    from mrinterp.cli import cli
    from mrinterp.results import NotApplicable
    from tests.tiny import tiny_study

    monkeypatch.setattr(Study, "cost", lambda study: {})
    monkeypatch.setattr(
        Study, "expected_precision", lambda study: NotApplicable("not asked for", "intervals")
    )
    for text in ("cost_text", "precision_text"):
        monkeypatch.setattr(f"mrinterp.report.terminal.{text}", lambda *given: "")
    texts = [t.format(when="today", person="nurse", quality="good") for t in templates(40)]
    (tmp_path / "mine.csv").write_text("sentence,more\n" + "".join(f"{t},x\n" for t in texts))
    prompts = {"table": "mine.csv", "families": "each"}
    (tmp_path / "study.toml").write_text(to_toml({**tiny_study(tiny_encoder), "prompts": prompts, **QUICK}))
    said = CliRunner().invoke(cli, ["run", str(tmp_path / "study.toml"), "--dry-run"])
    assert "'sentence' as the clean prompt; not read: 'more'" in said.output
    assert "40 families, the sample size of every error: a small study" in said.output
