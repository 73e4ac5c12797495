"""Tiny networks whose readout is linear, for studies on tables, images and tokens; and the studies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.tiny import tiny_decoder, to_toml


class TableNetwork(torch.nn.Module):
    """Six columns, a hidden layer (the site), three classes."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = torch.nn.Sequential(torch.nn.Linear(6, 5), torch.nn.Tanh())
        self.out = torch.nn.Linear(5, 3)

    def forward(self, rows: Any) -> Any:
        return self.out(self.hidden(rows))


class ImageNetwork(torch.nn.Module):
    """A convolution (its map is the site), mean over places, three classes."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.Tanh())
        self.out = torch.nn.Linear(4, 3)

    def forward(self, image: Any) -> Any:
        return self.out(self.hidden(image).mean((2, 3)))


class PatchNetwork(torch.nn.Module):
    """Four patches of 4 x 4 pixels as tokens behind a class token; a layer (the site), read at the class token and the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = torch.nn.Conv2d(1, 8, 4, stride=4)
        self.start = torch.nn.Parameter(torch.randn(1, 1, 8))
        self.embedded = torch.nn.Identity()
        self.layer = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Tanh())
        self.out = torch.nn.Linear(8, 3)

    def forward(self, pixel_values: Any) -> Any:
        tokens = self.patches(pixel_values).flatten(2).transpose(1, 2)
        h = self.embedded(torch.cat([self.start.expand(len(tokens), -1, -1), tokens], 1))
        h = self.layer(h + 0.5 * h.mean(1, keepdim=True))
        return self.out(h.mean(1))


def _made(kind: Any) -> Any:
    torch.manual_seed(0)
    return kind().eval()


def table_network() -> Any:
    """For tables of six columns."""
    return _made(TableNetwork)


def image_network() -> Any:
    """For images of one channel."""
    return _made(ImageNetwork)


def patch_network() -> Any:
    """For images of 8 x 8 pixels."""
    return _made(PatchNetwork)


def decoder() -> Any:
    """A GPT-2 of 20 tokens."""
    return tiny_decoder()


MODELS: dict[str, dict[str, Any]] = {
    "table": {"module": "tests.inputs.input_nets:table_network", "site": "hidden"},
    "images": {"module": "tests.inputs.input_nets:image_network", "site": "hidden"},
    "patches": {
        "module": "tests.inputs.input_nets:patch_network",
        "site": "layer",
        "embedding": "embedded",
    },
    "tokens": {
        "module": "tests.inputs.input_nets:decoder",
        "site": "transformer.h.1",
        "embedding": "transformer.wte",
    },
}
INPUTS: dict[str, dict[str, Any]] = {
    "table": {"kind": "table", "file": "table.npz", "family": "family"},
    "images": {"kind": "images", "file": "images.npz", "family": "family"},
    "patches": {"kind": "images", "file": "images.npz", "family": "family"},
    "tokens": {"kind": "tokens", "file": "tokens.npz", "family": "family", "pad_id": 0, "mask_id": 19},
}
EDITS = ("substitution", "deletion", "masking", "swap", "resampling")
MORE: dict[str, dict[str, Any]] = {
    "table": {"resampling": {"runs_per_prompt": 3, "probability": 0.3}},
    "images": {"occlusion": {"runs_per_prompt": 3}},
    "patches": {"occlusion": {"runs_per_prompt": 3}},
    "tokens": {kind: {"runs_per_prompt": 2} for kind in EDITS},
}


def save_inputs(folder: Path) -> None:
    """48 families of four: tables with a constant column; images; tokens with a constant first one and padding (0)."""
    rng, family = np.random.default_rng(0), np.repeat(np.arange(48), 4)
    rows = np.column_stack([rng.standard_normal((192, 5)), np.ones(192)])
    np.savez(folder / "table.npz", rows=rows, family=family)
    np.savez(folder / "images.npz", pixel_values=rng.random((192, 1, 8, 8)).astype(np.float32), family=family)
    ids = rng.integers(2, 19, (192, 9))
    ids[:, 0], ids[::3, 7:] = 1, 0
    np.savez(folder / "tokens.npz", input_ids=ids, family=family)


def write_input_study(folder: Path, kind: str, **changes: Any) -> Path:
    """Write a small study and its inputs; ``changes`` are added to sections."""
    save_inputs(folder)
    study: dict[str, Any] = {
        "title": f"a study of {kind}",
        "seed": 1,
        "model": {"kind": "module", **MODELS[kind]},
        "features": {"kind": "units", "units": [0, 1, 2]},
        "outcome": {"name": "y", "kind": "logit_difference", "target": 0, "against": 1},
        "inputs": INPUTS[kind],
        "splits": {"min_families": 12},
        "instruments": {
            "noise": {"runs_per_prompt": 6, "directions_per_class": 4},
            "placebo": {"count": 3},
            **MORE[kind],
        },
        "estimation": {"max_rank": 8, "runs_per_column": 3},
        "knockouts": {"families": 12, "prompts_per_family": 2, "random_controls": 2},
    }
    for key, value in changes.items():
        added = isinstance(value, dict) and key in study and "families" not in value
        study[key] = {**study[key], **value} if added else value
    path = folder / "study.toml"
    path.write_text(to_toml(study))
    return path
