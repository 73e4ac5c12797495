"""The factorial design on templates: slots and doses of noise drawn at random, and placebos."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.design import SPLITS, Design
from mrinterp.core.errors import InputError
from mrinterp.core.plan import Plan
from mrinterp.instruments.clean_inputs import inputs_with_clean
from mrinterp.instruments.doses import (
    design_settings,
    drawn_doses,
    instrument_table,
    noise_directions,
    position_classes,
)
from mrinterp.instruments.splits import split_families
from mrinterp.instruments.templates import Template, check_fillers, read_templates
from mrinterp.instruments.word_edits import NetworkFacts, edit_instruments, edited_runs, edits_of, text_words

__all__ = ["factorial_design"]


def factorial_design(
    plan: Plan, folder: Path, width: Callable[[], int], facts: Callable[[], NetworkFacts] | None = None
) -> Design:
    """Design of a template study.

    Parameters
    ----------
    plan : Plan
    folder : Path
        Where the plan's relative paths start.
    width : callable
        Gives the width of the word embedding, which noise directions have; called last, so that
        a bad plan is refused before a network is loaded.

    Notes
    -----
    Every prompt is one template with fillers drawn at random. Its runs: the clean one; slot runs,
    in which every slot is substituted with probability ``slot.probability`` (at least one is);
    noise runs, in which every fixed direction of every position class gets a standard normal dose, in antithetic pairs.
    The directions have variance ``scale^2 / directions_per_class`` per coordinate, so that the
    noise on a token has standard deviation ``scale`` per coordinate. Placebo instruments get a 0/1
    dose in every perturbed run and edit nothing.
    """
    fillers = {k: tuple(v) for k, v in plan.prompts.fillers.items()}
    check_fillers(fillers)
    if plan.instruments.paraphrase.model_fields_set or plan.estimation.kind == "paraphrase":
        raise InputError(
            "instruments.paraphrase",
            "templates have no paraphrases",
            "Give prompts.table with a column 'paraphrase', or leave it out",
        )
    if plan.instruments.observed.runs_per_prompt:
        raise InputError(
            "instruments.observed",
            "prompts are made from templates, not found",
            "Give prompts.table, or leave it out",
        )
    templates = read_templates(folder / str(plan.prompts.templates), list(fillers))
    by_family = {f"t{t.line:03d}": t for t in templates}
    splits = split_families(list(by_family), plan.splits, plan.seed, plan.estimation.rests_on != "mr")
    classes = position_classes(plan)
    builder = _Builder(plan, fillers)
    for number, split in enumerate(SPLITS):
        rng = np.random.default_rng([plan.seed, 2, number])  # streams of the seed: `noise_directions`
        for family in splits[split]:
            for _ in range(_prompts_per_family(plan, split)):
                builder.add_prompt(by_family[family], family, split, rng)
        builder.add_edits(split, number, facts)
    inputs, runs, slot_levels = builder.finish()
    rows: list[tuple[str, str, str, str, str, bool]] = []
    for slot, words in fillers.items():
        rows += [(f"{slot}={w}", "slot", slot, w, f"{w!r} instead of {words[0]!r}", False) for w in words[1:]]
    rows += edit_instruments([name for _, name in builder.edits])
    instruments = instrument_table(rows, classes, plan)
    doses = drawn_doses(runs, instruments, plan)
    for run, name in builder.edits:
        doses[run, instruments.index[instruments["instrument"] == name]] = 1.0
    column = 0
    for s, words in enumerate(fillers.values()):
        for level in range(1, len(words)):
            doses[:, column] = slot_levels[:, s] == level
            column += 1
    settings = design_settings(plan, classes, list(fillers))
    inputs, runs = inputs_with_clean(plan, inputs, runs)
    return Design(
        inputs=inputs,
        runs=runs,
        instruments=instruments,
        doses=doses,
        noise_directions=noise_directions(plan, classes, width()),
        settings=settings,
    )


def _prompts_per_family(plan: Plan, split: str) -> int:
    return plan.knockouts.prompts_per_family if split == "knockout" else plan.prompts.per_family


class _Builder:
    """Collects distinct inputs and runs in canonical order."""

    def __init__(self, plan: Plan, fillers: dict[str, tuple[str, ...]]) -> None:
        self.plan, self.fillers = plan, fillers
        self.inputs: dict[str, int] = {}
        self.rows: list[dict[str, Any]] = []
        self.runs: list[tuple[Any, ...]] = []
        self.levels: list[list[int]] = []
        self.prompts = 0
        self.edits: list[tuple[int, str]] = []

    def _input(self, text: str, spans: dict[str, tuple[int, int]], apart: bool = False) -> int:
        """Number of a distinct text; ``apart`` from an equal one whose slots lie elsewhere, which an edit can make."""
        row: dict[str, Any] = {"text": text}
        for slot in self.fillers:
            row[f"{slot}_start"], row[f"{slot}_end"] = spans[slot]
        key = text
        if apart and text in self.inputs and self.rows[self.inputs[text]] != row:
            key = f"{text}\0{sorted(spans.items())}"
        if key not in self.inputs:
            self.inputs[key] = len(self.rows)
            self.rows.append(row)
        return self.inputs[key]

    def _filled(self, template: Template, choice: dict[str, int]) -> tuple[str, dict[str, tuple[int, int]]]:
        return template.fill({s: self.fillers[s][i] for s, i in choice.items()})

    def _run(
        self, template: Template, family: str, split: str, kind: str, choice: dict[str, int], clean: int
    ) -> None:
        source = self._input(*self._filled(template, choice))
        self.runs.append((len(self.runs), source, f"p{self.prompts:05d}", family, split, kind, clean))
        self.levels.append(list(choice.values()))

    def add_prompt(self, template: Template, family: str, split: str, rng: np.random.Generator) -> None:
        choice = {s: int(rng.integers(len(w))) for s, w in self.fillers.items()}
        clean = len(self.runs)
        self._run(template, family, split, "clean", choice, clean)
        if split != "knockout":
            for other in self._others(choice, rng):
                self._run(template, family, split, "slot", other, clean)
            for _ in range(self.plan.instruments.noise.runs_per_prompt):
                self._run(template, family, split, "noise", choice, clean)
        self.prompts += 1

    def add_edits(self, split: str, number: int, facts: Callable[[], NetworkFacts] | None) -> None:
        """Runs with edited words of every prompt of a split, kind by kind, after all its other runs."""
        if split == "knockout" or not edits_of(self.plan):
            return
        clean = [r for r in self.runs if r[4] == split and r[5] == "clean"]
        rows = [self.rows[r[1]] for r in clean]
        spans = [{s: (row[f"{s}_start"], row[f"{s}_end"]) for s in self.fillers} for row in rows]
        prompts = [text_words(row["text"], own) for row, own in zip(rows, spans, strict=True)]
        for i, kind, edited in edited_runs(self.plan, prompts, number, facts):
            run, _, prompt, family, *_ = clean[i]
            source = self._input(*prompts[i].text(edited), apart=True)
            self.edits += [(len(self.runs), name) for name in edited.instruments]
            self.runs.append((len(self.runs), source, prompt, family, split, kind, run))
            self.levels.append(self.levels[run])

    def _others(self, choice: dict[str, int], rng: np.random.Generator) -> list[dict[str, int]]:
        """Fillers of the slot runs of a prompt: several drawn at random, or each other one by itself, in turn."""
        slot = self.plan.instruments.slot
        if not slot.saturation:
            return [self._substituted(choice, slot.probability, rng) for _ in range(slot.runs_per_prompt)]
        each = [choice | {s: i} for s, w in self.fillers.items() for i in range(len(w)) if i != choice[s]]
        begin = int(rng.integers(len(each))) if each else 0
        return [*each[begin:], *each[:begin]][: slot.runs_per_prompt]

    def _substituted(
        self, choice: dict[str, int], probability: float, rng: np.random.Generator
    ) -> dict[str, int]:
        slots = list(choice)
        hit = rng.random(len(slots)) < probability
        if not hit.any():
            hit[rng.integers(len(slots))] = True
        new = dict(choice)
        for slot, h in zip(slots, hit, strict=True):
            if h:
                step = int(rng.integers(1, len(self.fillers[slot])))
                new[slot] = (choice[slot] + step) % len(self.fillers[slot])
        return new

    def finish(self) -> tuple[pd.DataFrame, pd.DataFrame, NDArray[np.int_]]:
        names = ["run", "input", "prompt", "family", "split", "kind", "clean"]
        return pd.DataFrame(self.rows), pd.DataFrame(self.runs, columns=names), np.array(self.levels)
