"""What a study chooses on its discovery split where the plan leaves it open: the scale of its noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from mrinterp.core.basis import Dictionary
from mrinterp.core.design import Design
from mrinterp.core.plan import Plan
from mrinterp.knockouts._contrast_levels import contrast_levels
from mrinterp.knockouts._noise_moves import choose_noise
from mrinterp.knockouts._study_bench import study_bench
from mrinterp.models._cut import CutNetwork
from mrinterp.models._plan_features import PlanFeatures
from mrinterp.scan._dictionary import latent_dictionary
from mrinterp.scan._discovery import linear_dictionary, study_latents

__all__ = ["study_noise"]

SENTENCES = 512
"""Sentences without noise, at most, from which features are learned that the scale is chosen for."""


def study_noise(
    plan: Plan,
    network: CutNetwork,
    design: Design,
    given: PlanFeatures | None,
    folder: Path | None = None,
) -> dict[str, Any]:
    """The scale of a study's noise by token class: `choose_noise`.

    Parameters
    ----------
    network : CutNetwork
        On all inputs of the design, whose noise has scale 1; with its autoencoder where features are latents.
    given : PlanFeatures, optional
        Features that the plan defines. Those that are learned are learned here from 512 sentences, only for this choice:
        the study's own need the noise.
    folder : Path, optional
        Where what is read of all latents is kept, and memory-mapped.

    Notes
    -----
    Latents that a screen of noise runs chooses need the noise themselves: the screen is made at the scale that fits the latents
    which vary most, and the scale is chosen for what it takes.
    """

    def chosen_for(dictionary: Dictionary) -> dict[str, Any]:
        levels = contrast_levels(study_bench(network, design, dictionary, split="discovery"))
        return choose_noise(network, design, dictionary, levels)

    if network.sae is None:
        return chosen_for(_learned(plan, network, design, given))
    if plan.features.choose == "screen" and plan.estimation.kind == "noise":
        first = chosen_for(latent_dictionary(network, design, plan.features, folder))
        latents, _ = study_latents(network, design.with_noise(first["scale"]), plan, folder)
    else:
        latents, _ = study_latents(network, design, plan, folder)
    assert latents is not None
    return chosen_for(latents)


def _learned(plan: Plan, network: CutNetwork, design: Design, given: PlanFeatures | None) -> Dictionary:
    """Features that are no latents, from some sentences without noise."""
    rows = design.rows("discovery")
    rows = rows[(design.runs["kind"].iloc[rows] != "noise").to_numpy()]
    rows = rows[np.unique(np.linspace(0, len(rows) - 1, SENTENCES).astype(int))]
    inputs, block = design.runs["input"].to_numpy()[rows], int(design.settings["block"])
    means = [network.run(inputs[a : a + block]).mean for a in range(0, len(rows), block)]
    return linear_dictionary(plan, given, np.concatenate(means))
