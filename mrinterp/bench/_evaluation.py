"""Evaluation families: committed by a hash before they are run, seeds that follow from it, and a log of every run."""

from __future__ import annotations

import ast
import hashlib
import importlib
import inspect
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mrinterp.core.checks import checked_count
from mrinterp.core.errors import InputError
from mrinterp.core.storage import digest, read_json, write_json
from mrinterp.worlds._families import world_families
from mrinterp.worlds._world import WorldFamily

__all__ = ["LOG", "checked_commitment", "commitment", "evaluation_log", "evaluation_seeds", "log_evaluation"]

SALT = "mrinterp evaluation worlds, committed before any of them was run"
"""In the open, so that everyone can check; a sentence, so that nobody can have searched for one with lucky seeds."""

LOG = "evaluation_log.jsonl"
"""Beside the commitment: one line per run of the evaluation, appended before it begins."""

LIST = "mrinterp.worlds._families"
"""The list of families is no part of a recipe: it changes with every other family."""


def commitment(path: str | Path | None = None) -> dict[str, Any]:
    """Names and recipes of the evaluation families under one hash, from which their seeds follow.

    Parameters
    ----------
    path : path, optional
        Where it is written.

    Returns
    -------
    dict
        ``salt``; ``families``, of each the SHA-256 of its recipe: the source of the modules of `mrinterp.worlds` that draw
        it; ``commitment``, the SHA-256 of salt and families; ``seeds``, how seeds follow from it.

    Raises
    ------
    InputError
        For a path whose log says that the evaluation was run under another commitment.

    Notes
    -----
    To verify: make it again from the source and compare. Seed number i of a family is the first 8 hexadecimal digits of the
    SHA-256 of ``<commitment>|<family>|<i>``; nobody chose them, and they change when a recipe does. It does not cover the
    rest of the library: methods may change until the evaluation is run, worlds may not.

    Examples
    --------
    >>> import mrinterp
    >>> sorted(mrinterp.bench.commitment())
    ['commitment', 'families', 'salt', 'seeds']
    """
    known = {f.name: _recipe(f) for f in world_families().values() if f.part == "evaluation"}
    made = {
        "salt": SALT,
        "families": known,
        "commitment": digest({"salt": SALT, "families": known}),
        "seeds": "seed i of a family: first 8 hexadecimal digits of SHA-256('<commitment>|<family>|<i>')",
    }
    if path is not None:
        path = Path(path)
        spent = [e for e in evaluation_log(path) if e["commitment"] != made["commitment"]]
        if spent:
            raise InputError(
                str(path),
                f"the evaluation was run on {spent[0]['when']}",
                "Its worlds may not change any more",
            )
        write_json(path, made)
    return made


def evaluation_seeds(committed: str, family: str, count: int) -> list[int]:
    """The first seeds of a family, as they follow from the commitment."""
    named = (f"{committed}|{family}|{i}" for i in range(checked_count(count, "seeds")))
    return [int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) for name in named]


def checked_commitment(path: str | Path) -> dict[str, Any]:
    """The commitment in a file, held against the families as they are.

    Raises
    ------
    InputError
        Where a recipe is not the committed one, a family is missing, or one was added.
    """
    stored = read_json(Path(path))
    now = commitment()
    wanted, found = stored.get("families", {}), now["families"]
    for name in sorted({*wanted, *found}):
        if wanted.get(name) != found.get(name):
            what = "not committed" if name not in wanted else "gone" if name not in found else "changed"
            raise InputError(
                f"{path}, family {name!r}",
                f"its recipe is {what}",
                "Before the evaluation is run: commit again (python benchmarks/truth/commit_evaluation.py). After it: never",
            )
    if stored.get("commitment") != now["commitment"]:
        raise InputError(
            str(path), "the hash is not that of its own salt and families", "Take it from the repository"
        )
    return now


def evaluation_log(path: str | Path) -> list[dict[str, Any]]:
    """All runs of the evaluation, oldest first; ``path`` is that of the commitment beside which the log lies."""
    log = Path(path).with_name(LOG)
    if not log.is_file():
        return []
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]


def log_evaluation(
    path: str | Path, committed: str, methods: Sequence[str], settings: Mapping[str, Any]
) -> None:
    """Append one line: an evaluation that begins is spent, whether it ends or not."""
    entry = {
        "when": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commitment": committed,
        "methods": list(methods),
        **settings,
    }
    with Path(path).with_name(LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps(entry, sort_keys=True) + "\n")


def _recipe(family: WorldFamily) -> str:
    """SHA-256 of a family's name and of the source of every module of worlds that draws it."""
    module = inspect.getmodule(family.draw)
    assert module is not None
    found: dict[str, str] = {}
    todo = [module.__name__]
    while todo:
        name = todo.pop()
        if name in found or name == LIST or not name.startswith("mrinterp.worlds."):
            continue
        found[name] = inspect.getsource(importlib.import_module(name))
        todo += [
            n.module for n in ast.walk(ast.parse(found[name])) if isinstance(n, ast.ImportFrom) and n.module
        ]
    if module.__name__ == LIST:
        found[LIST] = inspect.getsource(family.draw)
    return digest({"name": family.name, "source": found})
