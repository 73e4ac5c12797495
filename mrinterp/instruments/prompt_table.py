"""Designs on prompts that people already have: a CSV or JSONL file, with corrupted partners or without."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from mrinterp.core.design import SPLITS, Design
from mrinterp.core.errors import InputError, near_misses
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

__all__ = [
    "prompt_table_design",
]

_COLUMNS = ("prompt", "family", "corrupted", "perturbation", "label", "continuation")
_PER_INPUT = ("label", "continuation")
"""Columns that outcomes compare an input with: one text with two labels is two inputs."""


def read_prompts(path: Path) -> pd.DataFrame:
    """Read ``prompt, family`` and optionally ``corrupted``, ``perturbation`` (its name), ``label`` and
    ``continuation`` (which outcomes compare the output with).

    Raises
    ------
    InputError
        Names the file, the row (first data row is 1), the column and the fix.
    """
    path = Path(path)
    try:
        frame = (
            _read_jsonl(path)
            if path.suffix.lower() in (".jsonl", ".ndjson")
            else pd.read_csv(path, dtype=str)
        )
    except FileNotFoundError:
        raise InputError(
            str(path), "no such file", "Give prompts.table a path relative to the study file"
        ) from None
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as e:
        raise InputError(str(path), f"cannot be read ({e})", "Give a CSV or JSONL file in UTF-8") from None
    for column in frame.columns:
        if column not in _COLUMNS:
            fix = near_misses(str(column), _COLUMNS) or f"Known columns: {', '.join(_COLUMNS)}"
            raise InputError(f"{path.name}, column {column!r}", "unknown column", fix)
    for column in ("prompt", "family"):
        if column not in frame:
            raise InputError(
                path.name,
                f"no column {column!r}",
                "Add it: every row needs a prompt and its family (template or topic)",
            )
    if "perturbation" in frame and "corrupted" not in frame:
        raise InputError(
            path.name,
            "perturbation without corrupted",
            "Add a column of corrupted prompts, or leave perturbation out",
        )
    for column in frame.columns:
        empty = frame[column].isna() | (frame[column].astype(str).str.strip() == "")
        if empty.any():
            raise InputError(
                f"{path.name}, row {int(empty.to_numpy().argmax()) + 1}, column {column!r}",
                "empty",
                "Fill it or drop the row",
            )
    if "corrupted" in frame:
        same = (frame["prompt"] == frame["corrupted"]).to_numpy()
        if same.any():
            raise InputError(
                f"{path.name}, row {int(same.argmax()) + 1}",
                "corrupted equals prompt",
                "A pair must differ; drop the row",
            )
    repeated = frame.duplicated().to_numpy()
    if repeated.any():
        raise InputError(
            f"{path.name}, row {int(repeated.argmax()) + 1}", "repeats an earlier row", "Drop one of the two"
        )
    if frame.empty:
        raise InputError(path.name, "no rows", "Give at least one prompt")
    return frame.astype(str)


def _read_jsonl(path: Path) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as e:
            raise InputError(
                f"{path.name}, line {number}", f"not JSON ({e.msg})", "Write one JSON object per line"
            ) from None
        if not isinstance(value, dict):
            raise InputError(
                f"{path.name}, line {number}", "not a JSON object", "Write one JSON object per line"
            )
        rows.append(value)
    return pd.DataFrame(rows)


def prompt_table_design(plan: Plan, folder: Path, width: Callable[[], int]) -> Design:
    """Design of a study on given prompts.

    Runs of a prompt: the clean one; its corrupted partner (runs of kind ``pair``), where there is one;
    and noise runs. The corrupted run of a pair is one perturbation of the clean run; pairs with the
    same ``perturbation`` have the same instrument.
    """
    table = read_prompts(folder / str(plan.prompts.table))
    splits = split_families(
        sorted(table["family"].unique()), plan.splits, plan.seed, plan.estimation.rests_on != "mr"
    )
    classes = position_classes(plan)
    inputs: dict[tuple[str, ...], int] = {}
    compared = [c for c in _PER_INPUT if c in table]
    runs: list[tuple[Any, ...]] = []
    named: list[str] = []

    def run(row: pd.Series, column: str, prompt: str, split: str, kind: str, clean: int) -> None:
        number = inputs.setdefault((row[column], *(row[c] for c in compared)), len(inputs))
        runs.append((len(runs), number, prompt, row["family"], split, kind, clean))
        named.append(row.get("perturbation", "pair") if kind == "pair" else "")

    for split in SPLITS:
        for family in splits[split]:
            members = table[table["family"] == family]
            limit = plan.knockouts.prompts_per_family if split == "knockout" else plan.prompts.per_family
            for index, row in members.head(limit).iterrows():
                clean, prompt = len(runs), f"p{index:05d}"
                run(row, "prompt", prompt, split, "clean", clean)
                if split == "knockout":
                    continue
                if "corrupted" in row:
                    run(row, "corrupted", prompt, split, "pair", clean)
                for _ in range(plan.instruments.noise.runs_per_prompt):
                    run(row, "prompt", prompt, split, "noise", clean)
    frame = pd.DataFrame(runs, columns=["run", "input", "prompt", "family", "split", "kind", "clean"])
    pairs = sorted(set(named) - {""})
    rows = [
        (f"pair={p}" if p != "pair" else "pair", "pair", "prompt", p, "corrupted instead of clean", False)
        for p in pairs
    ]
    instruments = instrument_table(rows, classes, plan)
    doses = drawn_doses(frame, instruments, plan.seed)
    for column, pair in enumerate(pairs):
        doses[:, column] = [p == pair for p in named]
    texts, frame = inputs_with_clean(plan, pd.DataFrame(list(inputs), columns=["text", *compared]), frame)
    settings = design_settings(plan, classes, [])
    return Design(
        inputs=texts,
        runs=frame,
        instruments=instruments,
        doses=doses,
        noise_directions=noise_directions(plan, classes, width()),
        settings=settings,
    )
