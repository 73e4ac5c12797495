"""Prompts that were given from memory, as a section of a study file and the file that it names."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mrinterp.core.errors import InputError
from mrinterp.core.storage import to_plain
from mrinterp.instruments.prompt_table import read_prompts

__all__ = ["written_inputs", "written_prompts"]

OWN = ("family", "label", "mask")
"""Arrays that may stand beside the inputs."""


def written_prompts(prompts: Any, folder: Path, asked: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The section of prompts that were given, whose file is written, and all texts that the padded length must hold.

    Parameters
    ----------
    prompts : list of str, table, path, or dict
        As `Study.from_model` takes them.
    folder : Path
        Where the file goes; the section names it by this folder's own name.
    asked : dict
        Other keys of the section, which go before those that are found.

    Raises
    ------
    InputError
        For what is none of these.
    """
    if isinstance(prompts, Mapping) and ("templates" in prompts or "template" in prompts):
        return _templates(dict(prompts), folder, asked)
    if isinstance(prompts, Mapping) and "table" in prompts:
        asked = {**{k: v for k, v in prompts.items() if k != "table"}, **asked}
        prompts = prompts["table"]
    name = "prompts.jsonl"
    if isinstance(prompts, str | Path):
        source = Path(prompts)
        if not source.is_file():
            raise InputError(
                "prompts",
                f"{str(prompts)[:60]!r}: no such file",
                "Give a list of texts, a table, a CSV or JSONL file, or {'templates': ..., 'fillers': ...}",
            )
        name = f"prompts{source.suffix}"
        shutil.copyfile(source, folder / name)
    else:
        rows = [json.dumps(to_plain(row)) for row in _rows(prompts)]
        (folder / name).write_text("".join(f"{row}\n" for row in rows), encoding="utf-8")
    section = {"table": f"{folder.name}/{name}", **asked}
    table = read_prompts(folder / name, asked.get("columns"), asked.get("families", "auto")).frame
    after = table.get("continuation", pd.Series("", index=table.index))
    others = [table[c] for c in ("corrupted", "paraphrase") if c in table]
    texts = [*(table["prompt"] + after)]
    for cells in others:  # several paraphrases of a prompt are a list
        texts += [f"{text}{end}" for cell, end in zip(cells, after, strict=True) for text in _each(cell)]
    return section, texts


def _each(cell: str) -> list[str]:
    """The texts of one cell: a list as JSON, or one."""
    return [str(t) for t in json.loads(cell)] if cell.startswith('["') else [cell]


def written_inputs(prompts: Any, folder: Path, asked: dict[str, Any]) -> dict[str, Any] | None:
    """The section of inputs that are no texts, whose arrays are written; None for what is no arrays.

    Parameters
    ----------
    prompts : array or dict of arrays
        Whole numbers (N, tokens), images (N, channels, height, width) or rows of numbers (N, columns); in a dict beside
        ``family``, ``label`` and ``mask``.
    folder : Path
        Where the file goes; the section names it by this folder's own name.
    asked : dict
        Other keys of the section.

    Raises
    ------
    InputError
        For several arrays that could be the inputs, or one of another shape.
    """
    named = {str(k): _array(v) for k, v in prompts.items()} if isinstance(prompts, Mapping) else {}
    inputs = {k: v for k, v in named.items() if k not in OWN and v is not None and v.ndim > 1}
    alone = _array(prompts) if not named and not isinstance(prompts, pd.DataFrame) else None
    if alone is not None and alone.ndim > 1:
        inputs = {"inputs": alone}
    if not inputs:
        return None
    if len(inputs) > 1:
        found = " and ".join(map(repr, inputs))
        raise InputError(
            "prompts", f"arrays {found} could each be the inputs", "Give one, with family and label"
        )
    name, array = next(iter(inputs.items()))
    whole = np.issubdtype(array.dtype, np.integer)
    kinds = {2: "tokens" if whole else "table", 4: "images"}
    if array.ndim not in kinds:
        raise InputError(
            f"prompts, {name!r}",
            f"shape {array.shape}",
            "Give whole numbers (inputs, tokens), (inputs, channels, height, width), or numbers (inputs, columns)",
        )
    beside = {k: v for k, v in named.items() if k in OWN and v is not None}
    np.savez(folder / "inputs.npz", **{name: array}, **beside)
    section = {"kind": kinds[array.ndim], "file": f"{folder.name}/inputs.npz", "array": name}
    section |= {k: k for k in beside}
    if name not in ("inputs", "input_ids", "pixel_values"):
        section["argument"] = name
    unknown = sorted(set(named) - set(beside) - {name})
    if unknown:
        raise InputError("prompts", f"{unknown[0]!r} beside the inputs", f"Known: {', '.join(OWN)}")
    return section | asked


def _array(value: Any) -> Any:
    """A value as an array of numbers or words, a tensor included; None for anything else."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    if isinstance(value, pd.Series):
        value = value.to_numpy()
    if isinstance(value, list | tuple) and value and isinstance(value[0], str | int | float | np.number):
        value = np.array(value)
    if not isinstance(value, np.ndarray):
        return None
    return value.astype(str) if value.dtype.kind == "O" else value


def _rows(prompts: Any) -> list[dict[str, Any]]:
    """One record a prompt, of a list of texts, a list of records, or a table."""
    if isinstance(prompts, pd.DataFrame):
        named = prompts.rename(columns=str)
        return [{str(k): v for k, v in row.items()} for row in named.to_dict("records")]
    if isinstance(prompts, pd.Series | np.ndarray):
        prompts = prompts.tolist()
    if isinstance(prompts, Iterable) and not isinstance(prompts, Mapping):
        rows = list(prompts)
        if rows and all(isinstance(row, str) for row in rows):
            return [{"prompt": text} for text in dict.fromkeys(rows)]
        if rows and all(isinstance(row, Mapping) for row in rows):
            return [dict(row) for row in rows]
    raise InputError(
        "prompts",
        f"{type(prompts).__name__} object",
        "Give a list of texts, a table (DataFrame or list of dicts), a CSV or JSONL file, or templates with fillers",
    )


def _templates(
    prompts: dict[str, Any], folder: Path, asked: dict[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    given = prompts.pop("templates", None) or prompts.pop("template", None)
    prompts.pop("template", None)
    lines = [given] if isinstance(given, str) else [str(line) for line in given or ()]
    (folder / "templates.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    fillers = {slot: [str(w) for w in words] for slot, words in prompts.get("fillers", {}).items()}
    longest = {slot: max(words, key=len) for slot, words in fillers.items() if words}
    texts = []
    for line in lines:
        for slot, word in longest.items():
            line = line.replace(f"{{{slot}}}", word)
        # Two tokens to spare: a filler of fewer letters may be cut into more pieces.
        texts.append(f"{line} . .")
    if not texts:
        raise InputError("prompts", "no templates", "Give at least one, such as 'The {person} said that'")
    return {"templates": f"{folder.name}/templates.txt", **prompts, "fillers": fillers, **asked}, texts
