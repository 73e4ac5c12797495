"""Where the numbers come from: hashes, versions, and the study file that repeats the run."""

from __future__ import annotations

import json
from typing import Any

from mrinterp.report.finished import FinishedStudy
from mrinterp.report.order import recorded_order

__all__ = [
    "provenance",
]

ORDER_UNKNOWN = "no record shows when it was fixed"


def provenance(study: FinishedStudy) -> dict[str, Any]:
    """What the last section prints."""
    header, order = study.header, recorded_order(study)
    origin = header["provenance"]
    rules, candidates, frozen = (
        words if shown else ORDER_UNKNOWN
        for shown, words in (
            (order.rules_first, "fixed before discovery was read"),
            (order.candidates_first, "fixed before estimation was read"),
            (order.frozen_first, "frozen before it was joined with any estimate"),
        )
    )
    hashes = [
        ("rules", header["rules_hash"], f"plan, design, network; {rules}"),
        ("candidates", header["candidates_hash"], f"rules, features, bypass, rank; {candidates}"),
        ("network", origin["model"], "weights of the network"),
        ("design", origin["design"], "prompts, doses, instruments and splits"),
    ]
    hashes += [(f"knockout: {name}", value, frozen) for name, value in sorted(header["knockouts"].items())]
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
