"""The design that a plan asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mrinterp.core.design import UNREAD, Design
from mrinterp.core.errors import InputError
from mrinterp.core.plan import Plan
from mrinterp.instruments.array_design import array_design
from mrinterp.instruments.factorial import factorial_design
from mrinterp.instruments.prompt_table import prompt_table_design
from mrinterp.instruments.splits import unread_families
from mrinterp.instruments.word_edits import NetworkFacts

__all__ = ["make_design"]


def make_design(
    plan: Plan, folder: Path, width: Callable[[], int], facts: Callable[[], NetworkFacts] | None = None
) -> Design:
    """Templates with slots, a table of prompts, or arrays; one of the three. Of many knockout families some stay unread.

    Parameters
    ----------
    folder : Path
        Where the plan's relative paths start.
    width : callable
        Gives the width of the word embedding.
    facts : callable, optional
        Opens the network, for what needs more than this width.
    """
    if plan.inputs is None and (plan.prompts.templates is None) == (plan.prompts.table is None):
        found = "both" if plan.prompts.templates else "neither"
        raise InputError(
            "prompts",
            f"{found} of templates and table",
            "Give prompts.templates (with fillers) or prompts.table",
        )
    text_design = factorial_design if plan.prompts.templates else prompt_table_design
    made = (text_design if plan.inputs is None else array_design)(plan, folder, width, facts)
    knockout = sorted(made.runs.loc[made.runs["split"] == "knockout", "family"].unique())
    unread = unread_families(knockout, plan.knockouts.families, plan.seed)
    split = made.runs["split"].where(~made.runs["family"].isin(unread), UNREAD)
    return replace(made, runs=made.runs.assign(split=split)) if unread else made
