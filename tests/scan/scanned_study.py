"""A small study whose features are latents of an autoencoder, to scan all of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from mrinterp.features import SparseAutoencoder, write_sae
from tests.inputs.input_nets import write_input_study

LATENTS = 40


def write_scanned_study(folder: Path, **changes: Any) -> Path:
    """Twelve discovery prompts with six noisy runs each, in three parts; few latents are active."""
    generator = torch.Generator().manual_seed(0)
    weights = {
        "W_enc": torch.randn(24, LATENTS, generator=generator),
        "b_enc": torch.full((LATENTS,), -9.0),
        "W_dec": torch.randn(LATENTS, 24, generator=generator),
        "b_dec": torch.zeros(24),
    }
    write_sae(SparseAutoencoder("standard", weights), folder / "dictionary")
    small: dict[str, Any] = {
        "inputs": {"per_family": 1},
        "model": {"block": 2},
        "features": {"kind": "sae", "folder": "dictionary", "count": 3, "position": "mean"},
        "instruments": {
            "noise": {"runs_per_prompt": 6, "directions_per_class": 2, "scale": 0.3},
            "placebo": {"count": 1},
        },
        "estimation": {"max_rank": 1, "runs_per_column": 2},
        "knockouts": {"families": 10, "prompts_per_family": 1, "random_controls": 0},
    }
    path = write_input_study(folder, "tokens", **(small | changes))
    path.write_text(path.read_text().replace("units = [0, 1, 2]\n", ""))
    return path
