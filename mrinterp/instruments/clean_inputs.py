"""Inputs with the clean input that each is compared with."""

from __future__ import annotations

import numpy as np
import pandas as pd

from mrinterp.core.plan import Plan

__all__ = ["inputs_with_clean"]


def inputs_with_clean(
    plan: Plan, inputs: pd.DataFrame, runs: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Inputs with a column ``clean`` (row of the input of the prompt's clean run), and runs that refer to them.

    Only where an outcome compares a run with its clean run; else both are returned as they were. A text that is a
    run of several prompts becomes several inputs, one for each clean input that it is compared with.
    """
    if not any(o.kind == "kl_to_clean" for o in plan.outcome):
        return inputs, runs
    own = runs["input"].to_numpy()
    pairs = np.stack([own, own[runs["clean"].to_numpy()]], axis=1)
    distinct, number = np.unique(pairs, axis=0, return_inverse=True)
    place = {(int(a), int(b)): i for i, (a, b) in enumerate(distinct)}
    made = inputs.iloc[distinct[:, 0]].reset_index(drop=True)
    made["clean"] = [place[int(b), int(b)] for _, b in distinct]
    return made, runs.assign(input=number.reshape(-1))
