"""One study, every adapter: the same weights behind each stack give the same estimates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mrinterp.study import Study
from tests.study.study_kinds import DECODER, LOGITS, run_study, save_tiny_decoder

pytestmark = pytest.mark.needs("transformers")

TOLERANCE = {"rtol": 2e-3, "atol": 2e-3}
"""Of every effect, in units of the largest one: stacks may order float32 sums differently."""


def _made(function: str, folder: Path, **model: Any) -> tuple[dict[str, Any]]:
    arguments = {"folder": str(folder)}
    base = {"module": f"tests.study.study_kinds:{function}", "arguments": arguments, "tokenizer": str(folder)}
    return ({**DECODER, "padded_length": 14, **base, **model},)


STACKS = {
    "hugging face": lambda f: ({**DECODER, "kind": "causal", "folder": str(f), "padded_length": 14},),
    "plain torch": lambda f: _made("decoder", f, kind="module"),
    "transformer_lens": lambda f: _made(
        "bridge", f, kind="transformer_lens", site="blocks.1.hook_out", embedding="embed.hook_out"
    ),
    "nnsight": lambda f: _made("traced", f, kind="nnsight"),
}


@pytest.fixture(scope="module")
def decoder(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_decoder(tmp_path_factory.mktemp("decoder"), tiny_encoder)


def _study(stack: str, decoder: Path, folder: Path) -> Study:
    return run_study(
        folder, decoder, model=STACKS[stack](decoder), outcome=(LOGITS,), knockouts={"prompts_per_family": 1}
    )


@pytest.fixture(scope="module")
def reference(decoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    return _study("hugging face", decoder, tmp_path_factory.mktemp("reference"))


@pytest.mark.parametrize(
    "stack",
    [
        "plain torch",
        pytest.param("transformer_lens", marks=pytest.mark.needs("transformer_lens")),
        pytest.param("nnsight", marks=pytest.mark.needs("nnsight")),
    ],
)
def test_the_same_study_gives_the_same_estimates(
    stack: str, reference: Study, decoder: Path, tmp_path: Path
) -> None:
    study = _study(stack, decoder, tmp_path)
    pairs = [(study.estimates[m].beta, reference.estimates[m].beta) for m in ("within", "gradient")]
    pairs += [(study.knockouts[k].effect, reference.knockouts[k].effect) for k in ("shift", "resample")]
    pairs.append((study.estimates["within"].se, reference.estimates["within"].se))
    for found, wanted in pairs:
        scale = np.abs(wanted).max()
        np.testing.assert_allclose(found / scale, wanted / scale, **TOLERANCE)
    assert study.basis.rank == reference.basis.rank
    assert list(study.results["verdict"]) == list(reference.results["verdict"])
