"""Prompts as they are given to `describe` and `init`: templates with slots, a CSV or JSONL file, or a list of texts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mrinterp.core.errors import InputError, near_misses
from mrinterp.instruments.families_found import families_in_words
from mrinterp.instruments.prompt_table import read_prompts
from mrinterp.instruments.templates import check_fillers, read_templates

__all__ = ["GivenPrompts", "read_given_prompts"]

SLOT = re.compile(r"(?<!\{)\{(\w+)\}(?!\})")
TABLES = (".csv", ".jsonl", ".ndjson", ".json")


@dataclass(frozen=True, eq=False)
class GivenPrompts:
    """Prompts of one source.

    Parameters
    ----------
    source : str
        In words.
    path : Path or None
        The file; None for a list.
    key : str
        The key of a study file's ``[prompts]`` that names such a file; empty for a list.
    inputs : DataFrame
        ``text`` and, for each slot, ``<slot>_start, <slot>_end``: each template filled once.
    families : int
    slots : tuple of str
    fillers : dict
        Words of each slot; its own name where none were given.
    lacking : tuple of str
        Slots without fillers.
    columns : tuple of str
        Columns of a table.
    """

    source: str
    path: Path | None
    key: str
    inputs: pd.DataFrame
    families: int
    slots: tuple[str, ...] = ()
    fillers: Mapping[str, tuple[str, ...]] | None = None
    lacking: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()

    def enough(self) -> str:
        """What this number of families buys, in a sentence."""
        return families_in_words(self.families)


def read_given_prompts(
    prompts: str | Path | Sequence[str], fillers: Mapping[str, Sequence[str]] | None, tokens: Any
) -> GivenPrompts:
    """Read them.

    Parameters
    ----------
    prompts : path or list of str
        A CSV or JSONL file as studies read it; a text file with one template per line; or such lines.
    fillers : mapping, optional
        Words of each slot. A slot without any is filled with its own name, and named as lacking.
    tokens : callable
        Number of tokens of a word: templates are filled with the longest words, which need the most room.

    Raises
    ------
    InputError
        For a file that cannot be read or an unknown slot.
    """
    if isinstance(prompts, str | Path):
        path = Path(prompts)
        if path.suffix.lower() in TABLES:
            return _table(path)
        return _templates(path, fillers or {}, tokens)
    lines = [str(line) for line in prompts]
    if not lines:
        raise InputError("prompts", "none given", "Give at least one text, or the path of a file")
    return GivenPrompts(f"{len(lines)} texts", None, "", pd.DataFrame({"text": lines}), len(lines))


def _table(path: Path) -> GivenPrompts:
    read = read_prompts(path)
    frame = read.frame
    texts = [pd.DataFrame({"text": frame[c]}) for c in ("prompt", "corrupted") if c in frame]
    families = int(frame["family"].nunique())
    named = ", ".join(
        role if role == column else f"{column} (as {role})" for role, column in read.read.items()
    )
    unread = f"; not read: {', '.join(read.left_out)}" if read.left_out else ""
    found = f"; {read.families}" if read.families else ""
    source = f"{path}: {len(frame)} prompts of {families} families; columns {named}{unread}{found}"
    inputs = pd.concat(texts, ignore_index=True)
    return GivenPrompts(source, path, "table", inputs, families, columns=tuple(map(str, frame)))


def _templates(path: Path, fillers: Mapping[str, Sequence[str]], tokens: Any) -> GivenPrompts:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except FileNotFoundError:
        raise InputError(
            str(path), "no such file", "Give a file with one template per line, or a CSV or JSONL file"
        ) from None
    except (OSError, UnicodeDecodeError) as e:
        raise InputError(
            str(path), f"cannot be read ({e})", "Save it as UTF-8 text, one template per line"
        ) from None
    slots = tuple(dict.fromkeys(m for line in lines[:1] for m in SLOT.findall(line)))
    for slot in fillers:
        if slot not in slots:
            fix = near_misses(slot, slots) or f"Slots: {', '.join(slots) or 'none'}"
            raise InputError(f"fillers of {slot!r}", f"{path.name} has no such slot", fix)
    words = {s: tuple(fillers.get(s, (s,))) for s in slots}
    lacking = tuple(s for s in slots if s not in fillers)
    if words and not lacking:
        check_fillers(words)
    read = read_templates(path, list(slots))
    longest = {s: max(w, key=tokens) for s, w in words.items()}
    rows = []
    for template in read:
        text, spans = template.fill(longest)
        rows.append(
            {"text": text}
            | {f"{s}_{e}": v for s, ab in spans.items() for e, v in zip(("start", "end"), ab, strict=True)}
        )
    slots_said = ", ".join(f"{{{s}}}" for s in slots) or "no slots"
    source = f"{path}: {len(read)} templates, each a family; {slots_said}"
    return GivenPrompts(source, path, "templates", pd.DataFrame(rows), len(read), slots, words, lacking)
