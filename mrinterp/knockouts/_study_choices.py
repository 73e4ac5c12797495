"""What a study chooses on its discovery split where the plan leaves it open: the scale of its noise."""

from __future__ import annotations

from typing import Any

import numpy as np

from mrinterp.core.design import Design
from mrinterp.core.plan import Plan
from mrinterp.knockouts._contrast_levels import contrast_levels
from mrinterp.knockouts._noise_moves import choose_noise
from mrinterp.knockouts._study_bench import study_bench
from mrinterp.models._cut import CutNetwork
from mrinterp.models._plan_features import PlanFeatures
from mrinterp.scan._dictionary import latent_dictionary
from mrinterp.scan._discovery import linear_dictionary

__all__ = ["study_noise"]

SENTENCES = 512
"""Sentences without noise, at most, from which features are learned that the scale is chosen for."""


def study_noise(
    plan: Plan, network: CutNetwork, design: Design, given: PlanFeatures | None
) -> dict[str, Any]:
    """The scale of a study's noise by token class: `choose_noise`.

    Parameters
    ----------
    network : CutNetwork
        On all inputs of the design, whose noise has scale 1; with its autoencoder where features are latents.
    given : PlanFeatures, optional
        Features that the plan defines. Those that are learned are learned here from 512 sentences, only for this choice:
        the study's own need the noise.
    """
    if network.sae is not None:
        dictionary = latent_dictionary(network, design, plan.features)
    else:
        rows = design.rows("discovery")
        rows = rows[(design.runs["kind"].iloc[rows] != "noise").to_numpy()]
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, SENTENCES).astype(int))]
        inputs, block = design.runs["input"].to_numpy()[rows], int(design.settings["block"])
        means = [network.run(inputs[a : a + block]).mean for a in range(0, len(rows), block)]
        dictionary = linear_dictionary(plan, given, np.concatenate(means))
    levels = contrast_levels(study_bench(network, design, dictionary, split="discovery"))
    return choose_noise(network, design, dictionary, levels)
