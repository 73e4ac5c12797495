"""Prompts of a corpus that are variants of one another: doses are found in them, not assigned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from mrinterp.core.errors import InputError
from mrinterp.core.plan import Plan

__all__ = ["ObservedPrompts", "observed_prompts"]


@dataclass(frozen=True, eq=False)
class ObservedPrompts:
    """Frames of a table of prompts, and the variants that stand in it beside each.

    Parameters
    ----------
    variants : dict of int to list of int
        By the row of the table whose prompt a frame's other ones are compared with, the one nearest to what is commonest in
        the frame: the rows of the others.
    doses : DataFrame
        Of every row, the dose of every instrument.
    said : str
        How many there are, in words.
    """

    variants: dict[int, list[int]]
    doses: pd.DataFrame
    said: str

    def instruments(self) -> list[tuple[str, str, str, str, str, bool]]:
        """Rows of the table of instruments."""
        rows = []
        for name in self.doses.columns:
            old, _, new = name.partition(":")[2].partition(">")
            rows.append(
                (name, "observed", old, new, f"{new!r} where {old!r} stands in others, as found", False)
            )
        return rows


def observed_prompts(plan: Plan, table: pd.DataFrame) -> ObservedPrompts | None:
    """Variants in a table with the columns ``prompt`` and ``family``; None where the plan asks for none.

    Raises
    ------
    InputError
        Where there are none.
    """
    # Only here: knockouts read tables of prompts too, and see no perturbations.
    from mrinterp.perturbations._observed import observed_variants

    asked: Any = plan.instruments.observed
    if not asked.runs_per_prompt:
        return None
    texts = table.drop_duplicates("prompt")
    try:
        found = observed_variants(
            texts["prompt"].tolist(), family=texts["family"].to_numpy(), most=asked.most, fewest=asked.fewest
        )
    except InputError as error:
        fix = "Give more prompts, or raise most or lower fewest in [instruments.observed]"
        raise InputError("instruments.observed", error.found, fix) from None
    place = dict(zip(texts["prompt"], texts.index, strict=True))
    rows = np.array([place[text] for text in found.inputs])
    far = np.abs(found.doses).sum(axis=1)
    variants: dict[int, list[int]] = {}
    for frame in range(int(found.prompt.max()) + 1):
        members = np.flatnonzero(found.prompt == frame)
        first, *others = members[np.argsort(far[members], kind="stable")]
        variants[int(rows[first])] = [int(rows[m]) for m in sorted(others)]
    said = (
        f"{len(rows)} of {len(texts)} prompts are variants of one another, in {len(variants)} frames, by {len(found.instruments)}"
        " differences of words: their doses are found, not assigned. The others are not run"
    )
    doses = pd.DataFrame(found.doses, index=rows, columns=list(found.instruments))
    return ObservedPrompts(variants, doses, said)
