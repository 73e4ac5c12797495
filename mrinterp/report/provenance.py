"""Where the numbers come from: hashes, versions, and the study file that repeats the run."""

from __future__ import annotations

import json
from typing import Any

from mrinterp.report.finished import FinishedStudy

__all__ = ["provenance", "study_file"]


def provenance(study: FinishedStudy) -> dict[str, Any]:
    """What the last section prints."""
    header = study.header
    origin = header["provenance"]
    hashes = [
        ("rules", header["rules_hash"], "plan, design, network; fixed before discovery was read"),
        (
            "candidates",
            header["candidates_hash"],
            "rules, features, bypass, rank; fixed before estimation was read",
        ),
        ("network", origin["model"], "weights of the network"),
        ("design", origin["design"], "prompts, doses, instruments and splits"),
    ]
    hashes += [
        (f"knockout: {name}", value, "frozen before it was joined with any estimate")
        for name, value in sorted(header["knockouts"].items())
    ]
    return {
        "hashes": hashes,
        "seeds": sorted(origin["seeds"].items()),
        "versions": sorted(origin["versions"].items()),
        "machine": origin["machine"],
        "command": origin["command"] or "mrinterp run",
        "format_version": header["format_version"],
        "earlier_plans": header["earlier_plans"],
        "study_file": study_file(header["plan"]),
    }


def study_file(plan: dict[str, Any]) -> str:
    """The plan as the text of a study file (TOML); keys without a value are left out."""
    lines: list[str] = []
    _section(plan, (), lines)
    return "\n".join(lines).strip() + "\n"


def _section(values: dict[str, Any], path: tuple[str, ...], lines: list[str], head: str = "[{}]") -> None:
    plain = {k: v for k, v in values.items() if not _is_table(v) and v is not None}
    if path and (plain or not values):
        lines += ["", head.format(".".join(_key(p) for p in path))]
    lines += [f"{_key(k)} = {_value(v)}" for k, v in plain.items()]
    for k, v in values.items():
        if isinstance(v, dict):
            _section(v, (*path, k), lines)
        elif _is_table(v):
            for entry in v:
                _section(entry, (*path, k), lines, "[[{}]]")


def _is_table(value: Any) -> bool:
    """Whether a value has a section of its own, or one an entry; a list of names and tables stands in one line."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(v, dict) for v in value)
    return isinstance(value, dict)


def _key(key: str) -> str:
    bare = key.isascii() and key.replace("_", "a").replace("-", "a").isalnum()
    return key if bare else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(v) for v in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_key(k)} = {_value(v)}' for k, v in value.items() if v is not None)}}}"
    # JSON strings, numbers and booleans are TOML's too, but for one control character.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
