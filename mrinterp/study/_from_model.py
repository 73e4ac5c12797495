"""A study of objects in memory: what can be written goes into files of the run folder, and a plan names them."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mrinterp.core.checks import checked_type
from mrinterp.core.errors import InputError
from mrinterp.core.plan import Plan, read_plan
from mrinterp.core.storage import check_sums, digest_file, digest_files, to_plain, whole_folder
from mrinterp.instruments.given_prompts import written_inputs, written_prompts

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

    fix = "one site; of several, make one study each, or a study file (Sweep)"
    checked_type(site, "site", str, fix)
    facts = network_facts(model)
    facts.adapter.check(site)
    if tokenizer is None:
        tokenizer = getattr(model, "tokenizer", None)
    rest = {key: value for key, value in sections.items() if value is not None}
    title = str(rest.pop("title", f"{facts.name.rsplit('.', 1)[-1]} at {site}"))
    place = Path("runs") / (re.sub(r"\W+", "_", title).strip("_") or "study") if out is None else Path(out)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / GIVEN
        folder.mkdir()
        asked = dict(rest.pop("prompts", {})) | _only(rest, "families")
        arrays = written_inputs(prompts, folder, asked)
        inputs, texts = ({"inputs": arrays}, []) if arrays else _texts(prompts, folder, asked)
        feature_keys = features_section(features, folder, site) | _only(rest, "position")
        outcomes, kept = outcome_sections(outcome, folder)
        network = _model_section(facts, site, dict(rest.pop("network", {})), tokenizer, texts, arrays)
        if tokenizer is not None and texts and write_tokenizer(tokenizer, folder / "tokenizer", texts[:200]):
            network["tokenizer"] = f"{GIVEN}/tokenizer"
        data = {"title": title, "model": network, "features": feature_keys, "outcome": outcomes}
        plan, _ = read_plan(to_plain({**data, **inputs, **rest}))
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


def _texts(prompts: Any, folder: Path, asked: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    section, texts = written_prompts(prompts, folder, asked)
    return {"prompts": section}, texts


def _only(rest: dict[str, Any], key: str) -> dict[str, Any]:
    return {key: rest.pop(key)} if key in rest else {}


def _model_section(
    facts: NetworkFacts,
    site: str,
    asked: dict[str, Any],
    tokenizer: Any,
    texts: list[str],
    arrays: dict[str, Any] | None,
) -> dict[str, Any]:
    """The study file's section of the network, as far as it can be found; what is asked for goes before."""
    found: dict[str, Any] = {"kind": facts.kind, "given": facts.name, "site": site}
    found |= {"device": facts.device, "dtype": facts.dtype}
    if arrays is not None and arrays["kind"] != "tokens":
        return found | asked  # noise goes on the inputs themselves, unless another place is asked for
    if facts.embedding is None and "embedding" not in asked:
        raise InputError(
            "model",
            f"{facts.name.rsplit('.', 1)[-1]} shows no word embedding, where noise would be added",
            "Name it: network={'embedding': 'path.of.the.module'}",
        )
    if tokenizer is not None and texts and "padded_length" not in asked:
        longest = max(len(ids) for ids in tokenizer(texts)["input_ids"])
        found["padded_length"] = max(SHORTEST, longest)
    found |= {} if facts.embedding is None else {"embedding": facts.embedding}
    return found | asked


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
