"""Templates with slots: each template is a family of prompts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mrinterp.core.errors import InputError, near_misses

__all__ = ["Template", "check_fillers", "read_templates"]

_MARK = re.compile(r"\{\{|\}\}|\{(\w+)\}|[{}]")
"""A doubled brace, which stands for one; a slot; or a brace without meaning."""


@dataclass(frozen=True)
class Template:
    """One line of text with ``{slot}`` marks, and doubled braces where a brace is meant."""

    text: str
    line: int
    slots: tuple[str, ...]

    def fill(self, fillers: dict[str, str]) -> tuple[str, dict[str, tuple[int, int]]]:
        """The sentence, and per slot the characters (start, end) its filler occupies."""
        out, spans, position = "", {}, 0
        for match in _MARK.finditer(self.text):
            out += self.text[position : match.start()]
            slot = match.group(1)
            word = match.group()[0] if slot is None else fillers[slot]
            if slot is not None:
                spans[slot] = (len(out), len(out) + len(word))
            out += word
            position = match.end()
        return out + self.text[position:], spans


def read_templates(path: Path, slots: list[str]) -> list[Template]:
    """Read one template per line; every template must use every slot once, so that slots correspond.

    Raises
    ------
    InputError
        Names the line, the slot and the fix.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise InputError(
            str(path), "no such template file", "Give prompts.templates a path relative to the study file"
        ) from None
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(str(path), f"cannot be read as UTF-8 text ({e})", "Give a plain text file") from None
    templates: list[Template] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text:
            continue
        place = f"{path.name}, line {number}"
        marks = list(_MARK.finditer(text))
        for lone in (m for m in marks if len(m.group()) == 1):
            raise InputError(
                place,
                f"a brace that is not part of a slot, at character {lone.start() + 1} ({text[lone.start() :][:20]!r})",
                "Write {name} for a slot, without spaces, and {{ or }} where a brace is meant",
            )
        found = [m.group(1) for m in marks if m.group(1) is not None]
        for slot in found:
            if slot not in slots:
                raise InputError(
                    place,
                    f"unknown slot {{{slot}}}",
                    near_misses(slot, slots) or f"Slots with fillers: {', '.join(slots)}",
                )
        for slot in slots:
            if found.count(slot) != 1:
                raise InputError(
                    place,
                    f"slot {{{slot}}} occurs {found.count(slot)} times",
                    f"Write it once, with single braces: {{{slot}}}"
                    if f"{{{{{slot}}}}}" in text
                    else "Use every slot exactly once per template",
                )
        if text in seen:
            raise InputError(
                place, f"repeats line {seen[text]}", "Families must differ; remove one of the two"
            )
        seen[text] = number
        templates.append(Template(text, number, tuple(found)))
    if not templates:
        raise InputError(str(path), "no templates", "Write one template per line")
    return templates


def check_fillers(fillers: dict[str, tuple[str, ...]]) -> None:
    """Refuse a slot that cannot be substituted.

    Raises
    ------
    InputError
        For a slot with fewer than two fillers, or the same filler twice.
    """
    if not fillers:
        raise InputError("prompts.fillers", "no slots", "Give each slot of the templates a list of fillers")
    for slot, words in fillers.items():
        if len(words) < 2:
            raise InputError(
                f"prompts.fillers.{slot}",
                f"{len(words)} filler",
                "A slot needs at least two fillers to be substituted; add one or take the slot out",
            )
        for i, word in enumerate(words):
            if word in words[:i] or not word.strip():
                raise InputError(
                    f"prompts.fillers.{slot}, entry {i + 1}",
                    f"{word!r} is empty or repeated",
                    "Give distinct, non-empty fillers",
                )
