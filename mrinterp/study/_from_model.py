"""A study of objects in memory: what can be written goes into files of the run folder, and a plan names them."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mrinterp.core.errors import InputError
from mrinterp.core.plan import Plan, read_plan
from mrinterp.core.storage import check_sums, digest_file, digest_files, to_plain, whole_folder
from mrinterp.instruments.prompt_table import read_prompts

if TYPE_CHECKING:
    from mrinterp.models._given import GivenObjects, NetworkFacts

__all__ = ["GIVEN", "given_again", "given_study"]

GIVEN = "given"
"""Folder of a run with what was given from memory and could be written."""
SHORTEST = 4
"""Tokens that a study pads to at least."""


def given_study(
    model: Any,
    tokenizer: Any,
    prompts: Any,
    site: str,
    features: Any,
    outcome: Any,
    out: str | Path | None,
    sections: Mapping[str, Any],
) -> tuple[Plan, Path, GivenObjects]:
    """Plan, run folder and objects of a study of a network in memory; its files are written into the folder.

    Parameters
    ----------
    sections : mapping
        The other sections of a study file, with ``title`` and ``seed``; keys of ``network`` and ``prompts`` join those that are
        found; ``position`` is the features', ``families`` the prompts'.

    Raises
    ------
    InputError
        For what is no network, no prompts, features or outcome; for a folder that holds a run of other ones.
    """
    from mrinterp.models._given import GivenObjects, network_facts, write_tokenizer
    from mrinterp.models._given_features import features_section, outcome_sections

    facts = network_facts(model)
    if tokenizer is None:
        tokenizer = getattr(model, "tokenizer", None)
    rest = {key: value for key, value in sections.items() if value is not None}
    title = str(rest.pop("title", f"{facts.name.rsplit('.', 1)[-1]} at {site}"))
    place = Path("runs") / (re.sub(r"\W+", "_", title).strip("_") or "study") if out is None else Path(out)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / GIVEN
        folder.mkdir()
        asked = dict(rest.pop("prompts", {})) | _only(rest, "families")
        prompt_keys, texts = _written_prompts(prompts, folder, asked)
        feature_keys = features_section(features, folder, site) | _only(rest, "position")
        outcomes, kept = outcome_sections(outcome, folder)
        network = _model_section(facts, site, dict(rest.pop("network", {})), tokenizer, texts)
        if tokenizer is not None and write_tokenizer(tokenizer, folder / "tokenizer", texts[:200]):
            network["tokenizer"] = f"{GIVEN}/tokenizer"
        data = {"title": title, "model": network, "features": feature_keys, "prompts": prompt_keys}
        plan, _ = read_plan(to_plain({**data, "outcome": outcomes, **rest}))
        _keep(folder, place)
    return plan, place, GivenObjects(model, tokenizer, kept)


def given_again(plan: Plan, out: Path, model: Any, tokenizer: Any, outcome: Any) -> GivenObjects | None:
    """The objects that an earlier study was made of, given again; None where none are.

    Raises
    ------
    InputError
        For objects that the plan does not ask for; where a file of what was given is damaged.
    """
    from mrinterp.models._given import GivenObjects

    if (out / GIVEN).is_dir():
        check_sums(out / GIVEN)
    if model is None and tokenizer is None and outcome is None:
        return None
    if plan.model.given is None:
        raise InputError(
            "model",
            "given to a study whose plan names the network's files",
            "Leave it out, or change the plan",
        )
    named = [o.name for o in plan.outcome if o.kind == "given"]
    outcomes = {} if outcome is None else outcome
    if not isinstance(outcomes, Mapping):
        if len(named) != 1:
            found = f"one for {len(named)} outcomes that were given from memory"
            raise InputError(
                "outcome", found, f"Give a dict by name: {', '.join(map(repr, named)) or 'none'}"
            )
        outcomes = {named[0]: outcomes}
    if tokenizer is None:
        tokenizer = getattr(model, "tokenizer", None)
    return GivenObjects(model, tokenizer, dict(outcomes))


def _only(rest: dict[str, Any], key: str) -> dict[str, Any]:
    return {key: rest.pop(key)} if key in rest else {}


def _model_section(
    facts: NetworkFacts, site: str, asked: dict[str, Any], tokenizer: Any, texts: list[str]
) -> dict[str, Any]:
    """The study file's section of the network, as far as it can be found; what is asked for goes before."""
    found: dict[str, Any] = {"kind": facts.kind, "given": facts.name, "site": site}
    found |= {"device": facts.device, "dtype": facts.dtype}
    if facts.embedding is None and "embedding" not in asked:
        raise InputError(
            "model",
            f"{facts.name.rsplit('.', 1)[-1]} shows no word embedding, where noise would be added",
            "Name it: network={'embedding': 'path.of.the.module'}",
        )
    if tokenizer is not None and "padded_length" not in asked:
        longest = max(len(ids) for ids in tokenizer(texts)["input_ids"])
        found["padded_length"] = max(SHORTEST, longest)
    found |= {} if facts.embedding is None else {"embedding": facts.embedding}
    return found | asked


def _written_prompts(prompts: Any, folder: Path, asked: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The section of the prompts, whose file is written, and all texts that the padded length must hold."""
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
    section = {"table": f"{GIVEN}/{name}", **asked}
    table = read_prompts(folder / name, asked.get("columns"), asked.get("families", "auto")).frame
    after = table.get("continuation", pd.Series("", index=table.index))
    texts = [*(table["prompt"] + after), *(table["corrupted"] + after if "corrupted" in table else ())]
    return section, texts


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
    return {"templates": f"{GIVEN}/templates.txt", **prompts, "fillers": fillers, **asked}, texts


def _keep(folder: Path, out: Path) -> None:
    """Move what was written into the run folder; a begun run keeps its own, which must be the same."""
    kept = out / GIVEN
    if kept.is_dir():
        check_sums(kept)
        if digest_files(kept) == digest_files(folder):
            return
        if (out / "study.json").exists():
            other = [n for n in _named(folder) | _named(kept) if _digest(folder / n) != _digest(kept / n)]
            raise InputError(
                str(out),
                f"holds a run that was given something else ({', '.join(sorted(other)[:3])} in {GIVEN}/)",
                "Give another out, or delete the folder to start anew",
            )
    if out.is_dir() and not kept.is_dir() and (out / "study.json").exists():
        raise InputError(str(out), "holds a run of another plan", "Give another out")
    with whole_folder(kept) as partial:
        shutil.copytree(folder, partial, dirs_exist_ok=True)


def _named(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.name != "SHA256SUMS"}


def _digest(path: Path) -> str:
    return digest_file(path) if path.is_file() else ""
