"""A study file with comments, made of what was found about a network and what a person wants to know."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from textwrap import wrap
from typing import Any, get_args

from mrinterp.core.errors import InputError
from mrinterp.core.plan import Plan
from mrinterp.core.section import Section
from mrinterp.results._network_description import NetworkDescription
from mrinterp.study._given_prompts import GivenPrompts
from mrinterp.study._plan_schema import SCHEMA_FILE, study_schema

__all__ = ["study_file_text", "write_study_file"]

WIDTH = 96
"""Characters of a line of comment."""

LEFT_OPEN = (
    "seed", "model.block", "prompts.per_family", "instruments.slot.runs_per_prompt", "instruments.slot.saturation",
    "instruments.noise.runs_per_prompt", "instruments.noise.scale", "instruments.noise.levels", "estimation.rope", "estimation.rests_on",
    "inputs.per_family", "knockouts.families", "knockouts.width", "knockouts.kinds", "knockouts.prompts_per_family",
)  # fmt: skip
"""Keys that a file shows with their defaults, commented out: what people change next."""

OF_TEXTS = ("prompts.", "instruments.slot.")
"""Beginnings of keys that files without texts do not have."""

SEVERAL = "Several sites ({star}), several positions or several [[features]] make a study each (docs/study_files.md)."

PATHS = (
    "model.folder", "model.tokenizer", "features.folder", "prompts.templates", "prompts.table", "inputs.file",
    "inputs.folder", "inputs.index",
)  # fmt: skip
"""Keys whose paths start from the folder of the study file."""


def study_file_text(
    found: NetworkDescription,
    given: GivenPrompts | None,
    chosen: Mapping[str, Any],
    outcome: Mapping[str, Any],
    path: Path,
) -> str:
    """The text of a study file.

    Parameters
    ----------
    found : NetworkDescription
        Of a network that a file can name, with these prompts, or with inputs that are no texts.
    given : GivenPrompts or None
        None where inputs were described.
    chosen : mapping
        What takes the place of suggestions, by key, such as ``title`` and ``model.site``; None leaves a key out.
    outcome : mapping
        ``[outcome]``.
    path : Path
        Where the file will lie: paths in it start from its folder.

    Raises
    ------
    InputError
        For keys that no study file has, or values that it cannot have.
    """
    rows = zip(found.suggestions["key"], found.suggestions["value"], found.suggestions["why"], strict=True)
    whys: dict[str, str] = {}
    flat: dict[str, Any] = {"title": chosen.get("title", "a study")}
    for key, value, why in rows:
        flat[key], whys[key] = json.loads(value), why
    flat |= {f"outcome.{key}": value for key, value in outcome.items()}
    if given is not None:
        flat |= {f"prompts.{given.key}": str(given.path)}
        flat |= {f"prompts.fillers.{slot}": list(words) for slot, words in (given.fillers or {}).items()}
        whys[f"prompts.{given.key}"] = f"{given.source}. {given.enough()}"
        whys["prompts.fillers"] = "words of each slot; the others are compared with the first"
    else:
        whys["inputs"] = " ".join([f"{found.meta['prompts']}.", *found.meta["notes"]])
    flat |= chosen
    flat = {key: value for key, value in flat.items() if value is not None}
    for key in PATHS:
        if key in flat and not (key == "model.folder" and "model.package" in flat):
            flat[key] = _relative(str(flat[key]), path)
    text = "\n".join(_lines(found, flat, {k: w for k, w in whys.items() if k not in chosen}, path)) + "\n"
    plan = tomllib.loads(text)
    from mrinterp.core.plan import read_plan

    read_plan(plan)  # refuses with the key what a study would refuse
    return text


def write_study_file(text: str, path: Path) -> tuple[Path, ...]:
    """Write a study file and, where none lies there, the schema beside it; nothing that exists is replaced.

    Returns
    -------
    tuple of Path
        What was written.

    Raises
    ------
    InputError
        For a file that exists.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise InputError(
            str(path), "exists already, and no file is replaced", "Give another name with --out"
        ) from None
    schema = path.with_name(SCHEMA_FILE)
    if schema.exists():
        return (path,)
    schema.write_text(json.dumps(study_schema(), indent=1) + "\n", encoding="utf-8")
    return path, schema


def _lines(
    found: NetworkDescription, flat: Mapping[str, Any], whys: Mapping[str, str], path: Path
) -> Iterator[str]:
    yield f"#:schema {SCHEMA_FILE}"
    yield f"# Written by mrinterp init. Next: mrinterp run {path.name} --dry-run"
    facts = "; ".join(f"{k} {v}" for k, v in found.facts.items())
    yield from _comment(f"{found.name}: {facts}")
    texts = not any(key.startswith("inputs.") for key in flat)
    left_open = [k for k in LEFT_OPEN if not k.startswith("inputs." if texts else OF_TEXTS)]
    sections = list(dict.fromkeys(k.rpartition(".")[0] for k in (*flat, *left_open)))
    order = ["", "model", "features", "outcome", "prompts", "prompts.fillers", "inputs"]
    for section in sorted(sections, key=lambda s: order.index(s) if s in order else len(order)):
        if section:
            yield ""
            if section in whys:
                yield from _comment(whys[section])
            yield f"[{section}]"
        for key in [k for k in flat if k.rpartition(".")[0] == section]:
            yield from _comment(whys.get(key) or _description(key))
            if key == "model.site":
                star = re.sub(r"(^|\.)\d+(?=\.|$)", r"\1*", flat[key], count=1)
                yield from _comment(
                    SEVERAL.format(
                        star=f"a star for all: {_toml(star)}"
                        if star != flat[key]
                        else f"[{_toml(star)}, ...]"
                    )
                )
            yield f"{key.rpartition('.')[2]} = {_toml(flat[key])}"
        for key in [k for k in left_open if k.rpartition(".")[0] == section and k not in flat]:
            yield from _comment(_description(key))
            yield f"#{key.rpartition('.')[2]} = {_toml(_default(key))}"


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in wrap(" ".join(text.split()), WIDTH)]


def _toml(value: Any) -> str:
    if value is None:
        return '""'
    if isinstance(value, list | tuple):
        return f"[{', '.join(_toml(v) for v in value)}]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(str(k))} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, Section):
        return _toml(value.model_dump(mode="json"))
    return json.dumps(value, ensure_ascii=False)


def _field(key: str) -> Any:
    """The field of the plan that a key names; None for slots, whose names are free."""
    model: Any = Plan
    field = None
    for name in key.split("."):
        fields = getattr(model, "model_fields", {})
        if name not in fields:
            return None
        field = fields[name]
        parts = (field.annotation, *get_args(field.annotation))
        model = next((p for p in parts if isinstance(p, type) and issubclass(p, Section)), None)
    return field


def _description(key: str) -> str:
    field = _field(key)
    return "" if field is None else (field.description or "").replace("`", "")


def _default(key: str) -> Any:
    return _field(key).get_default(call_default_factory=True)


def _relative(name: str, path: Path) -> str:
    """A path as the study file writes it: from its own folder."""
    if Path(name).is_absolute():
        return name
    return Path(os.path.relpath(name, path.parent)).as_posix()
