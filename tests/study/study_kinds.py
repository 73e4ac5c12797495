"""Small studies of every kind of model, feature and outcome, on tiny networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mrinterp.study import Study
from tests.tiny import PLACES, VERBS, templates, tiny_decoder, tiny_study, to_toml

FAMILIES = 48
SMALL: dict[str, Any] = {
    "splits": {"min_families": 12},
    "prompts": {"per_family": 2},
    "instruments": {
        "slot": {"runs_per_prompt": 2},
        "noise": {"runs_per_prompt": 6, "directions_per_class": 4, "scale": 0.1, "split_at": "quality"},
        "placebo": {"count": 3},
    },
    "estimation": {"max_rank": 8, "runs_per_column": 3},
    "features": {"count": 3},
}
DECODER = {"site": "transformer.h.1", "embedding": "transformer.wte"}
LOGITS = {"name": "preference", "kind": "logit_difference", "target": "good", "against": "bad"}


def save_tiny_decoder(folder: Path, encoder: Path) -> Path:
    """The tiny decoder with the tiny encoder's tokenizer."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(encoder)
    tokenizer.save_pretrained(folder)
    tiny_decoder(len(tokenizer)).save_pretrained(folder)
    return folder


def write_study(folder: Path, network: Path, **changes: Any) -> Path:
    """Write a small study; a section given as ``(dict,)`` replaces the whole section."""
    study = tiny_study(network, **SMALL)
    for key, value in changes.items():
        if isinstance(value, tuple):
            study[key] = value[0]
        elif isinstance(value, dict) and isinstance(study.get(key), dict):
            study[key] = {**study[key], **value}
        else:
            study[key] = value
    study["features"] = {"position": "mean", **study["features"]}
    if "outcomes" in study:
        study.pop("outcome")
    (folder / "templates.txt").write_text("\n".join(templates(FAMILIES)) + "\n")
    path = folder / "study.toml"
    path.write_text(to_toml(study))
    return path


def run_study(folder: Path, network: Path, **changes: Any) -> Study:
    """Write a small study and carry it out as far as its answer; what draws figures and page is left to who reads them."""
    study = Study.from_toml(write_study(folder, network, **changes), folder / "run", allow_code=True)
    assert len(study.results)
    return study


def prompt_table(labels: bool = False, continuation: bool = False) -> str:
    """CSV of prompts with their families, as outcomes tied to prompts need them."""
    columns = [
        "prompt",
        "family",
        *(["label"] if labels else []),
        *(["continuation"] if continuation else []),
    ]
    lines = [",".join(columns)]
    for f, (verb, place) in enumerate((v, p) for v in VERBS for p in PLACES):
        for person, quality in (("teacher", "good"), ("nurse", "dull"), ("child", "bad")):
            row = [f"the {person} {verb} the {quality} {place}", str(f)]
            row += [quality] if labels else []
            row += [f"was {quality}"] if continuation else []
            lines.append(",".join(row))
    return "\n".join(lines) + "\n"


def save_vectors(folder: Path) -> None:
    """Directions, a rotation and one direction of width 24, as files beside a study."""
    rng = np.random.default_rng(0)
    np.save(folder / "directions.npy", rng.standard_normal((4, 24)))
    np.savez(folder / "named.npz", read=rng.standard_normal((2, 24)), names=np.array(["up", "down"]))
    np.savetxt(folder / "rotation.csv", np.linalg.qr(rng.standard_normal((24, 3)))[0].T, delimiter=",")
    np.save(folder / "outcome.npy", rng.standard_normal(24))


def linear_readout(folder: str) -> Any:
    """The tiny decoder's first two layers: whatever is read of their residual stream is linear in it."""
    import torch
    from transformers import AutoModel

    network = AutoModel.from_pretrained(folder)
    network.h, network.ln_f = network.h[:2], torch.nn.Identity()
    return network.eval()


def decoder(folder: str) -> Any:
    """The decoder in a folder, as a plain module."""
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging

    logging.disable_progress_bar()
    return AutoModelForCausalLM.from_pretrained(folder).eval()


def in_training(folder: str) -> Any:
    """A decoder with dropout on."""
    return decoder(folder).train()


def bridge(folder: str) -> Any:
    """The decoder behind TransformerLens's hook points."""
    import torch
    from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module

    network = decoder(folder)
    return build_bridge_from_module(
        network, "GPT2LMHeadModel", hf_config=network.config, device="cpu", dtype=torch.float32
    ).eval()


def traced(folder: str) -> Any:
    """The decoder behind nnsight's traces."""
    from nnsight import NNsight

    return NNsight(decoder(folder))


def mean_logit(output: Any, mask: Any) -> Any:
    """One number per run, with a gradient."""
    return output.logits[:, 0].mean(-1)


def detached(output: Any, mask: Any) -> Any:
    """One number per run, without a gradient."""
    return output.logits[:, 0].amax(-1).detach().numpy()


def whole_batch(output: Any, mask: Any) -> Any:
    """One number for the batch: not an outcome."""
    return output.logits.mean()


def undefined(output: Any, mask: Any) -> Any:
    """Not a number."""
    return output.logits[:, 0, 0] * float("nan")


def length(text: str) -> float:
    """A judge of generated text."""
    return float(len(text))


def constant(text: str) -> float:
    """A judge that says the same of every text."""
    return 1.0
