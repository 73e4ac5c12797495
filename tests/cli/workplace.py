"""A folder in which every example of the command line runs: a tiny GPT-2, prompts, a study, tables."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from tests.tiny import DECODER_FILLERS, decoder_templates, to_toml
from tests.warm_cli import command

ROOT = Path(__file__).parents[2]
FAMILIES = 40


def make_workplace(folder: Path, gpt2: Path) -> Path:
    """Fill a folder with what the examples name."""
    (folder / "gpt2").symlink_to(gpt2)
    (folder / "templates.txt").write_text("\n".join(decoder_templates(FAMILIES)) + "\n")
    study = {
        "title": "what makes it say he",
        "model": {
            "kind": "causal",
            "folder": "gpt2",
            "site": "transformer.h.4",
            "embedding": "transformer.wte",
        },
        "features": {"kind": "principal_components", "count": 4, "position": "last"},
        "outcome": {"name": "he_minus_she", "kind": "logit_difference", "target": " he", "against": " she"},
        "prompts": {"templates": "templates.txt", "per_family": 1, "fillers": DECODER_FILLERS},
        "instruments": {"noise": {"runs_per_prompt": 2, "directions_per_class": 2, "scale": 0.02}},
        "knockouts": {"families": 10, "prompts_per_family": 1, "random_controls": 0},
    }
    study["model"]["padded_length"] = 12  # type: ignore[index]
    (folder / "study.toml").write_text(to_toml(study))
    beta = np.array([0.10, 0.21, 0.32, 0.39])
    table = pd.DataFrame({"SNP": list("abcd"), "beta_exposure": beta, "se_exposure": 0.01})
    table.assign(beta_outcome=0.5 * beta, se_outcome=0.02).to_csv(folder / "table.csv", index=False)
    rng, prompt = np.random.default_rng(0), np.arange(160) // 4
    features, doses = rng.standard_normal((160, 30)).astype(np.float32), rng.integers(0, 2, (160, 3))
    np.save(folder / "features.npy", features)
    np.savez(folder / "runs.npz", doses=doses, outcomes=features[:, 0], prompt=prompt, family=prompt)
    names = [f"rs{i}" for i in range(6)]
    z = np.array([0.1, 0.4, 7.0, 0.3, -0.2, 0.5])
    locus = pd.DataFrame(
        {"snp": names, "beta_1": z / 100, "varbeta_1": 1e-4, "beta_2": z / 80, "varbeta_2": 1e-4}
    )
    locus.to_csv(folder / "locus.csv", index=False)
    pd.DataFrame({"snp": names, "z": z}).to_csv(folder / "sumstats.csv", index=False)
    pd.DataFrame(np.eye(6), columns=names, index=names).to_csv(folder / "ld.csv", index=False)
    return folder


def run(arguments: list[str] | str, folder: Path) -> subprocess.CompletedProcess[str]:
    """``mrinterp`` as a process; a text that is more than its words is given to the shell as it stands."""
    if isinstance(arguments, list) or not set("|<>;&$`*") & set(arguments):
        words = arguments if isinstance(arguments, list) else shlex.split(arguments)[1:]
        return command(*words, cwd=folder, OMP_NUM_THREADS="1", COLUMNS="80")
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
    text = arguments.replace("mrinterp ", f"{sys.executable} -m mrinterp ", 1)
    return subprocess.run(text, cwd=folder, env=environment, shell=True, capture_output=True, text=True)
