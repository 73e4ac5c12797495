"""Write docs/study_files.md and docs/study_schema.json: every key of a study file, from the types that read it.

    python docs/make_study_files.py

A test fails while one of them differs from what this writes.
"""

from __future__ import annotations

import inspect
import json
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from mrinterp.core.plan import Plan
from mrinterp.core.plan_inputs import INPUT_KEYS
from mrinterp.core.plan_kind import KIND_KEYS
from mrinterp.core.plan_model import FEATURE_KEYS, MODEL_KEYS
from mrinterp.core.plan_outcome import OUTCOME_KEYS
from mrinterp.core.section import Section
from mrinterp.study._plan_schema import SCHEMA_FILE, study_schema

PAGE = Path(__file__).with_name("study_files.md")
SCHEMA = Path(__file__).with_name(SCHEMA_FILE)
HEAD = """# Study files

<!-- Written by `python docs/make_study_files.py` from the types in mrinterp/core/plan*.py: edit those. -->

A study is one TOML file: the network, what is read from it, what is asked of it, and every choice of the analysis,
fixed before anything is read. A key that is unknown, or that does not belong to its kind, is refused with the
nearest known key. Paths start from the folder of the study file. `mrinterp run study.toml --dry-run` checks the file
and everything that plan and prompts already tell (features that exist, labels, runs against columns, positions, words
that the tokenizer knows and can tell apart, latents that are alive, memory and disk), runs one batch (numbers that are finite, outcomes that vary, noise that reaches the
site, a site that the outcome depends on), and prints what the study would cost, how wide its
intervals will be and what they can show, from a rehearsal of the pilot on five discovery families, with what is assumed; a
run checks the same before its first pass. Functions that a file names are shown and asked about before they are imported
([SECURITY.md](../SECURITY.md)). A whole file stands in the [README](../README.md); the one of the demo
is [minilm_sentiment.toml](../mrinterp/studies/minilm_sentiment.toml).

In a template `{slot}` is a slot, and a doubled brace (`{{`, `}}`) stands for a brace.

`mrinterp init` writes such a file, with comments that say what was found about the network. Editors that know JSON Schema
complete and check keys: [study_schema.json](study_schema.json) is made from the same types (`mrinterp list schema` prints it),
and a first line `#:schema study_schema.json` tells TOML editors such as taplo where it lies.

Keys without a default must be given.

## Several studies in one file

A file may name several places; `mrinterp run` then carries out one study for each, in a folder of its own, and goes on with the
others where one is refused (its row says why):

```toml
[model]
site = "transformer.h.*"             # a star stands for one part of a path; or a list: ["transformer.h.2", "transformer.h.8.mlp"]

[[features]]                         # one table, or several dictionaries
kind = "sae"
folder = "saes/{site}"               # {site} stands for the site
position = ["last", "mean"]          # one position, or several
```

They share prompts, splits and seed. What stands at a false discovery rate of 5% is told over all effects that were tested in any
of them (column `q`). The folder holds `sweep.html` with a map of sites and positions and links to each study's page, `claims.csv`,
and `results`, which `mrinterp.study.Sweep.open(folder).results` opens. An effect is compared between sites by its size in
half widths of the region of practical equivalence.
"""
KINDS: Mapping[str, Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "model": MODEL_KEYS,
    "features": FEATURE_KEYS,
    "outcome": OUTCOME_KEYS,
    "inputs": INPUT_KEYS,
    "knockouts.kinds": KIND_KEYS,
}
TITLES = {
    "": "At the top of the file",
    "outcome": "`[outcome]`, or several `[[outcomes]]`",
    "knockouts.kinds": "One of `kinds` in `[knockouts]`",
}
PLAIN = {str: "text", int: "integer", float: "number", bool: "true or false", Any: "any value"}
BOUNDS = {"ge": "at least", "gt": "more than", "le": "at most", "lt": "less than"}


def page() -> str:
    """The page as it must be."""
    return HEAD + "".join(_section(place, kind) for place, kind in _sections(Plan).items())


def schema() -> str:
    """The JSON Schema as it must be."""
    return json.dumps(study_schema(), indent=1) + "\n"


def _sections(kind: type[Section], place: str = "") -> dict[str, type[Section]]:
    found = {place: kind}
    for name, field in kind.model_fields.items():
        for part in _parts(field.annotation):
            found |= _sections(part, f"{place}.{name}" if place else name)
    return found


def _parts(annotation: Any) -> list[type[Section]]:
    """The sections that an annotation holds."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [s for a in get_args(annotation) for s in _parts(a)]


def _section(place: str, kind: type[Section]) -> str:
    own = {n: f for n, f in kind.model_fields.items() if not _parts(f.annotation) or n == "kinds"}
    lines = [f"\n## {TITLES.get(place, f'`[{place}]`')}\n", inspect.cleandoc(kind.__doc__ or "") + "\n"]
    lines += ["| key | value | default | what it says |", "|---|---|---|---|"] if own else []
    for name, field in own.items():
        cells = (f"`{name}`", _value(field), _default(field), field.description or "")
        lines.append("| " + " | ".join(c.replace("|", "\\|").replace("\n", " ") for c in cells) + " |")
    if place in KINDS:
        lines += ["\n| `kind` | needs | may have |", "|---|---|---|"]
        for name, (needs, may) in KINDS[place].items():
            lines.append(f"| `{name}` | {_keys(needs)} | {_keys(may)} |")
        shared = set(own) - {"kind"} - {k for n, m in KINDS[place].values() for k in (*n, *m)}
        if shared:
            lines.append(f"\nKeys of every kind: {_keys(tuple(k for k in own if k in shared))}.")
    return "\n".join(lines) + "\n"


def _keys(names: tuple[str, ...]) -> str:
    return ", ".join(f"`{n}`" for n in names)


def _value(field: FieldInfo) -> str:
    """What may stand there, in words."""
    bounds = [
        f"{BOUNDS[name]} {getattr(part, name)}"
        for part in field.metadata
        for name in BOUNDS
        if getattr(part, name, None) is not None
    ]
    return ", ".join([_type(field.annotation), *bounds])


def _type(annotation: Any) -> str:
    origin, inside = get_origin(annotation), get_args(annotation)
    if annotation in PLAIN:
        return PLAIN[annotation]
    if origin is Literal:
        return ", ".join(f"`{json.dumps(v)}`" for v in inside)
    if origin in (Union, types.UnionType):
        return " or ".join(_type(a) for a in inside if a is not type(None))
    if origin is tuple:
        return f"list of {_type(inside[0])}"
    if origin is dict:
        return f"table of {_type(inside[1])}"
    if _parts(annotation):
        return "name or table (see below)"
    return _type(inside[0])  # Annotated


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be given"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, tuple) and value and isinstance(value[0], Section):
        value = [v.model_dump(mode="json") for v in value]
    if value in (None, "", (), {}):
        return ""
    return f"`{json.dumps(value)}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    SCHEMA.write_text(schema(), encoding="utf-8")
