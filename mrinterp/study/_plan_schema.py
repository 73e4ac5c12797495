"""The JSON Schema of study files, from the types that read them: editors complete and check keys by it."""

from __future__ import annotations

from typing import Any

from mrinterp.core.plan import Plan

__all__ = ["SCHEMA_FILE", "study_schema"]

SCHEMA_FILE = "study_schema.json"
"""What the schema is called beside a study file."""


def study_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a study file; TOML editors read it by a first line ``#:schema study_schema.json``.

    Notes
    -----
    A file that the schema refuses is refused by `read_plan` too. The other way round some are passed that `read_plan`
    refuses: which keys belong to which ``kind``, and what depends on other files, is said there.
    """
    schema = Plan.model_json_schema()
    outcomes = schema["properties"].pop("outcome")
    one = outcomes["items"]
    schema["properties"]["outcome"] = {"anyOf": [one, outcomes], "description": "One outcome."}
    schema["properties"]["outcomes"] = {**outcomes, "title": "Outcomes"}
    schema["required"].remove("outcome")
    schema["oneOf"] = [{"required": ["outcome"]}, {"required": ["outcomes"]}]
    kinds = schema["$defs"]["KnockoutsSection"]["properties"]["kinds"]
    names = schema["$defs"]["KindSection"]["properties"]["kind"]["enum"]
    kinds["items"] = {"anyOf": [{"enum": names, "type": "string"}, kinds["items"]]}
    _let_several_be_named(schema)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A study file of mrinterp",
        **{k: v for k, v in schema.items() if k != "title"},
    }


def _let_several_be_named(schema: dict[str, Any]) -> None:
    """A file of several studies: sites, tables of features and positions may be lists (`Sweep`)."""
    places = [(schema["$defs"]["ModelSection"]["properties"], "site"), (schema["properties"], "features")]
    places.append((schema["$defs"]["FeaturesSection"]["properties"], "position"))
    for properties, name in places:
        one = properties[name]
        kept = {k: one.pop(k) for k in ("description", "default", "title") if k in one}
        several = {"type": "array", "items": one, "minItems": 1}
        properties[name] = {"anyOf": [one, several], **kept}
