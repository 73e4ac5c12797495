"""Designs on prompts that people already have: a CSV or JSONL file, with corrupted partners or without."""

from __future__ import annotations

import ast
import difflib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
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
from mrinterp.instruments.families_found import each_its_own, families_in_words, found_families
from mrinterp.instruments.observed_prompts import ObservedPrompts, observed_prompts
from mrinterp.instruments.splits import split_families
from mrinterp.instruments.word_edits import NetworkFacts, edit_instruments, edited_runs, edits_of, text_words

__all__ = ["prompt_table_design", "prompts_in_words", "read_prompts"]

_ROLES = {
    "prompt": "prompt clean text base sentence input clean_prompt clean_text clean_prefix clean_input clean_sentence"
    " base_prompt base_sentence",
    "corrupted": "corrupted corrupt counterfactual source patch corrupted_prompt corrupt_prompt corrupted_text"
    " corrupted_prefix corrupted_input counterfactual_prompt source_prompt patch_prompt patch_prefix",
    "label": "label answer target correct answers clean_answer correct_answer right_answer target_answer",
    "wrong": "wrong foil distractor incorrect wrong_answer wrong_answers incorrect_answer corrupted_answer"
    " corrupted_answers corrupt_answer patch_answer counterfactual_answer source_answer",
    "family": "family template group topic template_id template_name",
    "perturbation": "perturbation",
    "continuation": "continuation",
    "paraphrase": "paraphrase paraphrases",
}
"""Names under which the field's datasets hold what a study reads, by what it is read as."""
_MEANS = {
    "prompt": "the clean prompt",
    "corrupted": "its corrupted partner",
    "label": "the right answer",
    "wrong": "the wrong answer",
    "family": "the family",
    "perturbation": "the name of the perturbation",
    "continuation": "the continuation",
    "paraphrase": "the prompt in other words",
}
_ANSWERS = ("label", "wrong")
_LISTS = (*_ANSWERS, "paraphrase")
"""Columns whose cells may be lists."""
_ANSWER_ENDINGS = ("_idx", "_index", "_ids", "_id", "_tokens", "_token")
_PER_INPUT = ("label", "wrong", "continuation")
"""Columns that outcomes compare an input with: one text with two labels is two inputs."""
NEAR = 0.8
"""How alike an unknown column's name and one that is looked for are, at least, to be taken for a mistake in writing."""


@dataclass(frozen=True)
class PromptTable:
    """Prompts as a study reads them.

    Parameters
    ----------
    frame : DataFrame
        ``prompt, family`` and, where they were found, ``corrupted, perturbation, label, wrong, continuation``, all text; a
        list of answers is JSON.
    read : dict of str to str
        Which column of the file was read as what.
    left_out : tuple of str
        Columns that nothing was read from.
    families : str
        How families were found, where the table does not name them; else empty.
    """

    frame: pd.DataFrame
    read: dict[str, str]
    left_out: tuple[str, ...] = ()
    families: str = ""

    @property
    def facts(self) -> dict[str, Any]:
        """What a design keeps of it; nothing where every column has the name it is read by and none is left out."""
        plain = all(role == column for role, column in self.read.items())
        if plain and not self.left_out and not self.families:
            return {}
        return {"prompts": {"read": self.read, "left_out": list(self.left_out), "families": self.families}}


def read_prompts(path: Path, columns: Mapping[str, str] | None = None, families: str = "auto") -> PromptTable:
    """Read prompts, with their families, corrupted partners, answers and continuations, by the names that columns have.

    Parameters
    ----------
    path : Path
        CSV, or JSON: one object a line, or a list of them.
    columns : mapping of str to str, optional
        Which column is read as what, where names leave it open.
    families : {"auto", "each"}
        What makes families, as in ``prompts.families``.

    Raises
    ------
    InputError
        Names the file, the row (first data row is 1), the column and the fix; for two columns that could be the same thing.
    """
    path = Path(path)
    raw = _read_file(path)
    read, left_out = _named(path.name, [str(c) for c in raw.columns], dict(columns or {}))
    frame = pd.DataFrame({role: raw[column] for role, column in read.items()})
    if "perturbation" in frame and "corrupted" not in frame:
        raise InputError(
            path.name,
            "perturbation without corrupted",
            "Add a column of corrupted prompts, or leave perturbation out",
        )
    _refuse_gaps(path.name, frame, read)
    for column in frame:
        lists = frame[column].map(_as_list) if column in _LISTS else [None] * len(frame)
        frame[column] = [json.dumps(v) if v else str(x) for x, v in zip(frame[column], lists, strict=True)]
    said = ""
    if families == "each":
        left_out += (read.pop("family"),) if "family" in read else ()
        frame["family"] = each_its_own(frame["prompt"].tolist())
        said = "each distinct prompt is a family of its own: right only where prompts have nothing in common"
    elif "family" not in frame:
        frame["family"], said = found_families(frame["prompt"].tolist())
    return PromptTable(frame, read, left_out, said)


def prompts_in_words(design: Design, by_contrasts: bool = True) -> list[str]:
    """What of a design's prompts was read as what, how families were found, and what their number allows.

    Parameters
    ----------
    by_contrasts : bool
        Whether claims may rest on contrasts.
    """
    facts, said = design.settings.get("prompts", {}), []
    if facts:
        read = ", ".join(f"{column!r} as {_MEANS[role]}" for role, column in facts["read"].items())
        unread = ", ".join(repr(c) for c in facts["left_out"])
        said.append(f"columns read: {read}{f'; not read: {unread}' if unread else ''}.")
        said += [f"{facts['families'][0].upper()}{facts['families'][1:]}."] if facts["families"] else []
    said += [f"{design.settings['observed']}."] if "observed" in design.settings else []
    return [*said, families_in_words(design.runs["family"].nunique(), by_contrasts)]


def _read_file(path: Path) -> pd.DataFrame:
    try:
        if path.suffix.lower() in (".jsonl", ".ndjson", ".json"):
            return _read_jsonl(path)
        if path.suffix.lower() == ".txt":
            lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
            return pd.DataFrame({"prompt": list(dict.fromkeys(line for line in lines if line))}, dtype=object)
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise InputError(
            str(path), "no such file", "Give prompts.table a path relative to the study file"
        ) from None
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as e:
        raise InputError(str(path), f"cannot be read ({e})", "Give a CSV or JSONL file in UTF-8") from None


def _named(place: str, columns: list[str], wanted: dict[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Which column is what, and those that are nothing."""
    for role, column in wanted.items():
        if role not in _ROLES:
            fix = near_misses(role, _ROLES) or f"Known: {', '.join(_ROLES)}"
            raise InputError(f"prompts.columns, {role!r}", "is nothing that a study reads", fix)
        if column not in columns:
            fix = near_misses(column, columns) or f"Columns: {', '.join(map(repr, columns))}"
            raise InputError(f"prompts.columns, {role!r}", f"no column {column!r} in {place}", fix)
    found = {role: [c for c in columns if _is_called(c, role)] for role in _ROLES}
    taken = set(wanted.values())
    found |= {role: [c for c in named if c not in taken] for role, named in found.items()}
    found |= {role: [column] for role, column in wanted.items()}
    for role, named in found.items():
        if len(named) > 1:
            both = " and ".join(map(repr, named))
            raise InputError(
                place,
                f"columns {both} can each be {_MEANS[role]}",
                f"Say which: prompts.columns = {{{role} = {json.dumps(named[0])}}}, or rename the other",
            )
    read = {role: named[0] for role, named in found.items() if named}
    left_out = [c for c in columns if c not in read.values()]
    for column in left_out:
        open_names = [n for role in _ROLES if role not in read for n in _ROLES[role].split()]
        near = difflib.get_close_matches(_plain(column), open_names, n=1, cutoff=NEAR)
        if near:
            raise InputError(
                f"{place}, column {column!r}", "unknown column", f"Did you mean {near[0]!r}? Else rename it"
            )
    if "prompt" not in read:
        raise InputError(
            place,
            f"no column 'prompt' (columns: {', '.join(map(repr, columns)) or 'none'})",
            "Call it prompt, clean, text, base or sentence, or say which: prompts.columns = {prompt = ...}",
        )
    return read, tuple(left_out)


def _plain(name: str) -> str:
    return re.sub(r"\W+", "_", name.casefold()).strip("_")


def _is_called(column: str, role: str) -> bool:
    plain = _plain(column)
    if role in _ANSWERS:
        ending = next((e for e in _ANSWER_ENDINGS if plain.endswith(e)), "")
        plain = plain.removesuffix(ending)
    return plain in _ROLES[role].split()


def _refuse_gaps(place: str, frame: pd.DataFrame, read: dict[str, str]) -> None:
    """Refuse rows that lack something, pairs that do not differ, and rows that come twice."""
    for role in frame.columns:
        empty = frame[role].isna() | (frame[role].astype(str).str.strip() == "")
        if empty.any():
            raise InputError(
                f"{place}, row {int(empty.to_numpy().argmax()) + 1}, column {read[role]!r}",
                "empty",
                "Fill it or drop the row",
            )
    if "corrupted" in frame:
        same = (frame["prompt"] == frame["corrupted"]).to_numpy()
        if same.any():
            raise InputError(
                f"{place}, row {int(same.argmax()) + 1}",
                f"{read['corrupted']} equals {read['prompt']}",
                "A pair must differ; drop the row",
            )
    repeated = frame.astype(str).duplicated().to_numpy()
    if repeated.any():
        raise InputError(
            f"{place}, row {int(repeated.argmax()) + 1}", "repeats an earlier row", "Drop one of the two"
        )
    if frame.empty:
        raise InputError(place, "no rows", "Give at least one prompt")


def _as_list(value: Any) -> list[Any] | None:
    """Several answers in one cell: a list, or a list as text; None for one answer."""
    if isinstance(value, str) and value.strip().startswith("["):
        try:
            value = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError):
            return None
    return list(value) if isinstance(value, list | tuple) and len(value) else None


def _read_jsonl(path: Path) -> pd.DataFrame:
    rows: list[dict[str, Any]] = []
    text = path.read_text(encoding="utf-8")
    if text.lstrip().startswith("["):
        try:
            return pd.DataFrame(json.loads(text), dtype=object)
        except (json.JSONDecodeError, ValueError, AttributeError) as e:
            raise InputError(
                path.name, f"not a list of JSON objects ({e})", "Write one object per line"
            ) from None
    for number, line in enumerate(text.split("\n"), 1):
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
    return pd.DataFrame(rows, dtype=object)


def prompt_table_design(
    plan: Plan, folder: Path, width: Callable[[], int], facts: Callable[[], NetworkFacts] | None = None
) -> Design:
    """Design of a study on given prompts.

    Runs of a prompt: the clean one; its corrupted partner (runs of kind ``pair``), where there is one;
    its paraphrases; variants of it that the table holds (``observed``); noise runs; and runs with edited words. The corrupted run of a pair is one perturbation of the clean run; pairs with the
    same ``perturbation`` have the same instrument.
    """
    prompts = read_prompts(folder / str(plan.prompts.table), plan.prompts.columns, plan.prompts.families)
    table = prompts.frame
    observed = observed_prompts(plan, table)
    run = table if observed is None else table.loc[list(observed.variants)]
    splits = split_families(
        sorted(run["family"].unique()), plan.splits, plan.seed, plan.estimation.rests_on != "mr"
    )
    classes = position_classes(plan)
    builder = _Builder(plan, table, observed)
    for number, split in enumerate(SPLITS):
        builder.add_split(split, number, splits[split], facts)
    frame = pd.DataFrame(builder.runs, columns=["run", "input", "prompt", "family", "split", "kind", "clean"])
    named = builder.named
    pairs = sorted(set(named) - {""})
    rows = [
        (f"pair={p}" if p != "pair" else "pair", "pair", "prompt", p, "corrupted instead of clean", False)
        for p in pairs
    ]
    rows += edit_instruments([name for _, name in builder.edits])
    rows += [] if observed is None else observed.instruments()
    instruments = instrument_table(rows, classes, plan)
    doses = drawn_doses(frame, instruments, plan)
    for at, name in builder.edits:
        doses[at, instruments.index[instruments["instrument"] == name]] = 1.0
    for column, pair in enumerate(pairs):
        doses[:, column] = [p == pair for p in named]
    if observed is not None:
        doses[:, instruments["kind"] == "observed"] = observed.doses.loc[builder.rows]
    texts, frame = inputs_with_clean(plan, builder.texts(), frame)
    settings = design_settings(plan, classes, []) | prompts.facts
    settings |= {} if observed is None else {"observed": observed.said}
    return Design(
        inputs=texts,
        runs=frame,
        instruments=instruments,
        doses=doses,
        noise_directions=noise_directions(plan, classes, width()),
        settings=settings,
    )


class _Builder:
    """Collects distinct inputs and runs in canonical order, split by split."""

    def __init__(self, plan: Plan, table: pd.DataFrame, observed: ObservedPrompts | None) -> None:
        self.plan, self.whole, self.observed = plan, table, observed
        self.table = table if observed is None else table.loc[sorted(observed.variants)]
        self.rows: list[Any] = []
        self.compared = [c for c in _PER_INPUT if c in table]
        self.inputs: dict[tuple[str, ...], int] = {}
        self.runs: list[tuple[Any, ...]] = []
        self.named: list[str] = []
        self.edits: list[tuple[int, str]] = []
        asked = plan.instruments.paraphrase
        if "paraphrase" not in table and (asked.model_fields_set or plan.estimation.kind == "paraphrase"):
            raise InputError(
                "instruments.paraphrase",
                "the prompt table has no column 'paraphrase'",
                "Add it (in JSONL a list of texts), or leave paraphrases out",
            )

    def add_split(
        self, split: str, number: int, families: list[str], facts: Callable[[], NetworkFacts] | None
    ) -> None:
        """Runs of every prompt of the split, then those with edited words, kind by kind."""
        options, knocked = self.plan.instruments, split == "knockout"
        limit = self.plan.knockouts.prompts_per_family if knocked else self.plan.prompts.per_family
        clean_rows: list[tuple[int, pd.Series, str]] = []
        for family in families:
            for index, row in self.table[self.table["family"] == family].head(limit).iterrows():
                clean, prompt = len(self.runs), f"p{index:05d}"
                self._run(row, row["prompt"], prompt, split, "clean", clean)
                if knocked:
                    continue
                clean_rows.append((clean, row, prompt))
                if "corrupted" in row:
                    self._run(row, row["corrupted"], prompt, split, "pair", clean)
                for i, text in enumerate(_paraphrases(row)[: options.paraphrase.runs_per_prompt]):
                    self.edits.append((len(self.runs), f"paraphrase:{i + 1}"))
                    self._run(row, text, prompt, split, "paraphrase", clean)
                for other in self._variants(index)[: options.observed.runs_per_prompt]:
                    self._run(row, str(self.whole["prompt"][other]), prompt, split, "observed", clean)
                    self.rows[-1] = other
                for _ in range(options.noise.runs_per_prompt):
                    self._run(row, row["prompt"], prompt, split, "noise", clean)
        if knocked or not edits_of(self.plan):
            return
        prompts = [text_words(row["prompt"], {}) for _, row, _ in clean_rows]
        for i, kind, edited in edited_runs(self.plan, prompts, number, facts):
            clean, row, prompt = clean_rows[i]
            self.edits += [(len(self.runs), name) for name in edited.instruments]
            self._run(row, prompts[i].text(edited)[0], prompt, split, kind, clean)

    def _run(self, row: pd.Series, text: str, prompt: str, split: str, kind: str, clean: int) -> None:
        number = self.inputs.setdefault((text, *(row[c] for c in self.compared)), len(self.inputs))
        self.runs.append((len(self.runs), number, prompt, row["family"], split, kind, clean))
        self.named.append(row.get("perturbation", "pair") if kind == "pair" else "")
        self.rows.append(row.name)

    def _variants(self, row: Any) -> list[int]:
        """Rows of the table whose prompts are variants of this one's."""
        return [] if self.observed is None else self.observed.variants[row]

    def texts(self) -> pd.DataFrame:
        """The distinct inputs, with what outcomes compare them with."""
        return pd.DataFrame(list(self.inputs), columns=["text", *self.compared])


def _paraphrases(row: pd.Series) -> list[str]:
    """A prompt in other words; none where the table has no such column.

    Raises
    ------
    InputError
        For a paraphrase that is the prompt itself.
    """
    given = row.get("paraphrase")
    if given is None:
        return []
    found = [str(text) for text in json.loads(given)] if given.startswith("[") else [given]
    if row["prompt"] in found:
        found_where = f"paraphrase of {row['prompt'][:40]!r}"
        raise InputError(found_where, "is the prompt itself", "Word it anew, or leave it out")
    return found
