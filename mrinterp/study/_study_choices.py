"""Position and noise scale as a study itself would choose them, before there is a study file."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mrinterp.core.plan import MIN_FAMILIES, Plan
from mrinterp.knockouts._choose_position import choose_position
from mrinterp.knockouts._study_choices import study_noise
from mrinterp.positions import named_position
from mrinterp.study._given_inputs import DescribedInputs
from mrinterp.study._given_prompts import GivenPrompts
from mrinterp.study._study import Study

__all__ = ["study_choices"]

Rows = Sequence[tuple[str, str, str]]


def _plan_sections(
    suggestions: Rows,
    given: GivenPrompts | DescribedInputs,
    outcome: Mapping[str, Any] | Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """A study file as a dictionary, made of suggestions, prompts or inputs, and an outcome."""
    made: dict[str, Any] = {"title": "a study"}
    for key, value, _ in suggestions:
        place = made
        *sections, last = key.split(".")
        for name in sections:
            place = place.setdefault(name, {})
        place[last] = json.loads(value)
    made["outcome"] = dict(outcome) if isinstance(outcome, Mapping) else list(outcome)
    if isinstance(given, DescribedInputs):
        return made
    prompts: dict[str, Any] = {given.key: str(given.path)}
    if given.key == "templates":
        prompts["fillers"] = {s: list(w) for s, w in (given.fillers or {}).items()}
    return made | {"prompts": prompts}


def study_choices(
    suggestions: Rows,
    section: Mapping[str, Any],
    given: GivenPrompts | DescribedInputs | None,
    outcome: Mapping[str, Any],
    allow_code: bool,
) -> list[tuple[str, str, str]]:
    """The suggestions, with what the study would choose for its position and the scale of its noise, and why.

    Raises
    ------
    InputError
        For an outcome, prompts or fillers that a study could not use.
    """
    why = _why_not(section, given, suggestions)
    if why or given is None:
        return [(k, v, f"{w}; not chosen here: {why}" if v == '"auto"' else w) for k, v, w in suggestions]
    plan = Plan.model_validate(_plan_sections(suggestions, given, outcome))
    with tempfile.TemporaryDirectory() as folder:
        study = Study(plan, Path(), Path(folder) / "none", allow_code)
        study.check_before()
        design, network = study._drawn_design(), study._bare_network
        said, placed = {}, network
        if network.inputs.class_names:
            position = choose_position(network, design)
            placed = replace(
                network, position=named_position(position["position"], network.inputs.class_names)
            )
            said["features.position"] = (
                f"auto takes {position['position']!r} for this outcome: {position['why']}"
            )
        noise = study_noise(plan, placed, design, study._opened.plan_features(network.width))
    scales = ", ".join(f"{name} {scale:.2g}" for name, scale in noise["scale"].items())
    moved = f"{noise['within']:.0%} of the features then move by .5 to 1.5 natural sd"
    said["instruments.noise.scale"] = f"auto takes, by token class: {scales}; {moved}"
    return [(k, v, said.get(k, w)) for k, v, w in suggestions]


def _why_not(
    section: Mapping[str, Any], given: GivenPrompts | DescribedInputs | None, suggestions: Rows
) -> str:
    """Why a study could not choose yet; empty where it can."""
    if not section:
        return "a network in memory has no study file"
    if not any(key == "model.site" for key, _, _ in suggestions):
        return "no site is suggested"
    if given is None or (isinstance(given, GivenPrompts) and given.path is None):
        return "it needs prompts or inputs in a file"
    if isinstance(given, GivenPrompts) and given.lacking:
        return f"slot {given.lacking[0]!r} has no fillers"
    if not given.families:
        return "no family is named"
    if given.families < MIN_FAMILIES:
        return f"{given.families} families, and a study needs {MIN_FAMILIES}"
    return ""
