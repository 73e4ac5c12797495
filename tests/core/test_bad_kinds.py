"""Bad models, features and outcomes through the study door: refused with the place and the fix."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from mrinterp.cli import cli
from mrinterp.core.errors import InputError
from mrinterp.core.plan import read_plan
from tests.study.study_kinds import (
    DECODER,
    LOGITS,
    prompt_table,
    save_tiny_decoder,
    save_vectors,
    write_study,
)

pytestmark = pytest.mark.needs("transformers")


@pytest.fixture(scope="module")
def decoder(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_decoder(tmp_path_factory.mktemp("decoder"), tiny_encoder)


def _made(function: str, **more: Any) -> dict[str, Any]:
    return {"kind": "module", "module": function, **DECODER, **more}


def _outcome(kind: str, **more: Any) -> dict[str, Any]:
    return {"outcome": ({"name": "y", "kind": kind, **more},)}


CASES: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "site that does not exist": (
        {"model": {"site": "transformer.h.l"}},
        ("transformer.h.l", "no such module", "Did you mean 'transformer.h"),
    ),
    "site beside that does not exist": (
        {"model": {"beside": "transformer.ln"}},
        ("no such module", "Did you mean"),
    ),
    "site beside that lies downstream": (
        {"model": {"beside": "transformer.h.2"}},
        ("model.beside 'transformer.h.2'", "is downstream"),
    ),
    "site without one vector per token": (
        {"model": {"site": "transformer.wpe"}},
        ("transformer.wpe", "one vector per token"),
    ),
    "hub id": (
        {"model": {"folder": "openai-community/gpt2"}},
        ("config.json", "a hub id goes under model.hub"),
    ),
    "hub id that is not in the cache": (
        {"model": ({"kind": "causal", "hub": "nobody/nothing", "site": "transformer.h.1"},)},
        ("model.hub 'nobody/nothing'", "not in the local cache, and nothing is downloaded", "hf download"),
    ),
    "device that is not there": ({"model": {"device": "cuda:7"}}, ("'cuda:7'", "device='cpu'")),
    "no such factory module": (
        {"model": (_made("nowhere:make"),)},
        ("model.module", "'nowhere' cannot be imported"),
    ),
    "no such factory": (
        {"model": (_made("tests.study.study_kinds:decodr"),)},
        ("model.module", "no function 'decodr'", "Did you mean 'decoder'"),
    ),
    "arguments that the factory does not take": (
        {"model": (_made("tests.study.study_kinds:decoder", arguments={"foldr": "x"}),)},
        ("model.arguments", "missing a required argument: 'folder'"),
    ),
    "factory of another thing": (
        {"model": (_made("tests.study.study_kinds:length", arguments={"text": "x"}),)},
        ("returned float", "Return a torch module"),
    ),
    "model in training mode": (
        {"model": (_made("tests.study.study_kinds:in_training", arguments={"folder": "DECODER"}),)},
        ("in training mode", "Call .eval()"),
    ),
    "no tokenizer": (
        {"model": (_made("tests.study.study_kinds:decoder", arguments={"folder": "DECODER"}),)},
        ("tokenizer", "Give"),
    ),
    "unit out of range": (
        {"features": ({"kind": "units", "units": [3, 24]},)},
        ("unit 24", "the site has 24 units", "0 to 23"),
    ),
    "head out of range": (
        {
            "model": {"site": "transformer.h.1.attn.c_proj:input"},
            "features": ({"kind": "heads", "heads": [4]},),
        },
        ("head 4", "the layer has 4 heads"),
    ),
    "position past the sequence": (
        {"features": {"position": 12}},
        ("token 12", "selects none of its", "the shortest has"),
    ),
    "no such class": (
        {"features": {"position": "persn"}},
        ("no token class 'persn'", "Did you mean 'person'"),
    ),
    "every token": ({"features": {"position": "all"}}, ("features.position", "not allowed for estimates")),
    "directions of another width": (
        {"features": ({"kind": "directions", "file": "wide.npy"},)},
        ("features.file", "(2, 30)", "24 wide"),
    ),
    "directions that are not there": (
        {"features": ({"kind": "subspace", "file": "no.npy"},)},
        ("no such file",),
    ),
    "pickled directions": (
        {"features": ({"kind": "directions", "file": "pickle.npy"},)},
        ("cannot be read",),
    ),
    "rotation that is none": (
        {"features": ({"kind": "subspace", "file": "directions.npy"},)},
        ("off orthonormal",),
    ),
    "SAE of another width": (
        {"features": ({"kind": "sae", "folder": "sae"},)},
        ("width 30", "the site has 24"),
    ),
    "latent out of range": (
        {"features": ({"kind": "sae", "folder": "sae24", "latents": [50]},)},
        ("latent 50", "the SAE has 50 latents"),
    ),
    "more latents than change": (
        {"features": ({"kind": "sae", "folder": "sae24", "count": 60},)},
        ("features.count", "60 latents", "Ask for at most"),
    ),
    "latents that are given and screened": (
        {"features": ({"kind": "sae", "folder": "sae24", "latents": [3], "choose": "screen"},)},
        ("features.choose", "latents are given", "Keep one of the two"),
    ),
    "more latents kept than there are": (
        {"features": ({"kind": "train_sae", "train": {"latents": 4, "k": 9}},)},
        ("features.train.k", "9 of 4 latents"),
    ),
    "token that is several": (_outcome("logit", target="good house"), ("outcome.target", "is 2 tokens")),
    "token that is unknown": (_outcome("margin", target="xylophone"), ("outcome.target", "xylophone")),
    "token id out of range": (_outcome("logit", target=5000), ("5000",)),
    "anchors on logits": (_outcome("anchor_similarity", positive=["good"]), ("model.kind = 'encoder'",)),
    "scalar for the batch": (
        _outcome("callable", function="tests.study.study_kinds:whole_batch"),
        ("outcome 'y'", "a scalar for the whole batch", "one number per run"),
    ),
    "not a number": (
        _outcome("callable", function="tests.study.study_kinds:undefined"),
        ("outcome 'y', run 0", "not a finite number"),
    ),
    "loss without labels": (_outcome("loss"), ("'label'", "prompts.table")),
    "label that is no token": (
        {**_outcome("loss"), "prompts": ({"table": "labels.csv"},), "instruments": ({},)},
        ("label 'sideways'", "unknown to the tokenizer"),
    ),
    "outcome that never changes": (
        _outcome("generated", function="tests.study.study_kinds:constant", new_tokens=1),
        ("outcome 'y'", "never changes"),
    ),
}


LATE = ("outcome that never changes", "site beside that lies downstream")
"""What one batch before the first pass does not show: the folder is begun by then."""


@pytest.mark.parametrize("case", sorted(CASES))
def test_refused_with_the_place_and_the_fix(case: str, decoder: Path, tmp_path: Path) -> None:
    from mrinterp.features._sae import SparseAutoencoder
    from mrinterp.features._sae_folder import write_sae

    changes, words = CASES[case]
    save_vectors(tmp_path)
    np.save(tmp_path / "wide.npy", np.random.default_rng(0).standard_normal((2, 30)))
    np.save(tmp_path / "pickle.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "labels.csv").write_text(prompt_table(labels=True).replace(",dull\n", ",sideways\n"))
    for width, name in ((30, "sae"), (24, "sae24")):
        weights = {"W_enc": torch.randn(width, 50), "W_dec": torch.randn(50, width)}
        weights |= {"b_enc": torch.zeros(50), "b_dec": torch.zeros(width)}
        write_sae(SparseAutoencoder("standard", weights), tmp_path / name)
    model: Any = {**DECODER, "folder": str(decoder), "kind": "causal"}
    given = changes.get("model", {})
    if isinstance(given, tuple):
        arguments = {
            k: str(decoder) if v == "DECODER" else v for k, v in given[0].get("arguments", {}).items()
        }
        model = ({**given[0], "arguments": arguments, "padded_length": 14},)
    else:
        model |= given
    study = write_study(tmp_path, decoder, **{"outcome": (LOGITS,), **changes, "model": model})
    done = CliRunner().invoke(cli, ["run", str(study), "--out", str(tmp_path / "out"), "--allow-code"])
    assert done.exit_code == 2, f"{done.output}\n{done.exception!r}"
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for word in words:
        assert word in done.stderr, f"{word!r} not in {done.stderr!r}"
    # What only a pass can show is found after the rules were written, and that is said; all else leaves nothing.
    assert (tmp_path / "out").exists() == (case in LATE) == ("What is finished is kept in" in done.stderr)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": {"kind": "module", "site": "a"}}, r"'model.module': missing for kind 'module'"),
        ({"model": {"site": "a", "arguments": {"x": 1}}}, r"'model.arguments': not used by kind 'encoder'"),
        ({"features": {"kind": "units"}}, r"'features.units': missing"),
        ({"features": {"units": [1]}}, r"'features.units': not used by kind 'independent_components'"),
        ({"features": {"kind": "unit"}}, r"'features.kind'"),
        ({"outcome": {"name": "y", "kind": "logit"}}, r"'outcome.target': missing"),
        (
            {"outcome": {"name": "y", "kind": "loss", "against": 1}},
            r"'outcome.against': not used by kind 'loss'",
        ),
        ({"outcome": [{"name": "y", "positive": ["a"]}] * 2}, r"'y' is used twice"),
        ({"outcome": {"name": "y"}, "outcomes": []}, r"'outcomes': given together with outcome"),
        (
            {"outcome": {"name": "y", "kind": "generated", "function": "a:b", "sampling": "normal"}},
            r"'outcome.sampling'",
        ),
    ],
)
def test_keys_that_do_not_fit_their_kind(changes: dict[str, Any], message: str) -> None:
    base = {
        "title": "t",
        "model": {"site": "a", "folder": "b"},
        "outcome": {"name": "y", "positive": ["a"]},
        "prompts": {},
    }
    with pytest.raises(InputError, match=message):
        read_plan({**base, **changes})
