"""A study of objects in memory: what can be written goes into files of the run folder, and a plan names them."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mrinterp.core.checks import checked_type
from mrinterp.core.errors import InputError
from mrinterp.core.plan import Plan, read_plan
from mrinterp.core.storage import check_sums, digest_file, digest_files, to_plain, whole_folder
from mrinterp.instruments.given_prompts import written_inputs, written_prompts
from mrinterp.study._sweep_plan import is_sweep

if TYPE_CHECKING:
    from mrinterp.models._given import GivenObjects, NetworkFacts

__all__ = ["GIVEN", "given_again", "given_study", "given_sweep"]

GIVEN = "given"
"""Folder of a run with what was given from memory and could be written."""
FILES = ("file", "folder", "labels")
"""Keys of the features that name files."""
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
    several = "one site, one position and one dictionary; for several, Sweep.from_model takes lists"
    checked_type(site, "site", str, several)
    if "*" in site:
        raise InputError("site", f"{site!r}, a pattern", f"Give {several}")
    if isinstance(features, list | tuple) and any(
        isinstance(f, str | Mapping) or hasattr(f, "names") for f in features
    ):
        raise InputError("features", f"{len(features)} of them", f"Give {several}")
    if isinstance(sections.get("position"), list):
        raise InputError("position", f"{sections['position']}", f"Give {several}")

    where = {key: value for key, value in sections.items() if key == "position" and value is not None}

    def at_site(folder: Path) -> dict[str, Any]:
        from mrinterp.models._given_features import features_section

        return features_section(features, folder, site) | where

    rest = {key: value for key, value in sections.items() if key != "position"}
    data, place, given = _written(model, tokenizer, prompts, site, at_site, outcome, out, rest)
    return read_plan(data)[0], place, given


def given_sweep(
    model: Any,
    tokenizer: Any,
    prompts: Any,
    site: Any,
    features: Any,
    outcome: Any,
    out: str | Path | None,
    sections: Mapping[str, Any],
) -> tuple[dict[str, Any], Path, GivenObjects]:
    """What a sweep's file would say of objects in memory, its folder, and the objects; files are written into the folder.

    Parameters
    ----------
    site : str or list of str
        Sites or patterns.
    features : object, list of them, or dict by site
        As for a study; of a dict by site, all sites have features of one kind.
    sections : mapping
        As for `given_study`; ``position`` may be a list.

    Raises
    ------
    InputError
        As `given_study`; for one site, position and dictionary; for an autoencoder that would be used at several sites.
    """
    sites = list(site) if isinstance(site, list | tuple) else [site]
    positions = sections.get("position")
    by_site = isinstance(features, Mapping) and set(map(str, features)) == set(map(str, sites))
    listed = _is_several(features)
    if len(sites) == 1 and "*" not in str(sites[0]) and not listed and not isinstance(positions, list):
        raise InputError("site", "one site, one position and one dictionary", "Use Study.from_model")
    tables = list(features) if listed else [features]

    def everywhere(folder: Path) -> Any:
        if by_site:
            made = [_by_site(features, sites, folder)]
        else:
            made = [_dictionary(one, number, folder, sites) for number, one in enumerate(tables, 1)]
        # A table may state positions of its own.
        where = {} if positions is None else {"position": positions}
        made = [{**where, **one} for one in made]
        return made if listed else made[0]

    rest = {key: value for key, value in sections.items() if key != "position"}
    return _written(model, tokenizer, prompts, list(map(str, sites)), everywhere, outcome, out, rest)


def _is_several(features: Any) -> bool:
    """Whether a list holds several dictionaries, rather than numbers of units or rows of a matrix."""
    if not isinstance(features, list | tuple):
        return False
    try:
        rows = np.asarray(features, dtype=object if any(map(callable, features)) else None)
    except ValueError:  # lists or arrays of several lengths
        return True
    return rows.dtype.kind not in "iuf" or (rows.ndim == 2 and rows.dtype.kind in "iu") or rows.ndim > 2


def _dictionary(features: Any, number: int, folder: Path, sites: list[Any]) -> dict[str, Any]:
    """The section of one dictionary of a sweep, whose files lie in a folder of its own."""
    from mrinterp.models._given_features import features_section

    own = folder / f"features{number}"
    own.mkdir()
    section = features_section(features, own, str(sites[0]))
    several, trained = len(sites) > 1 or "*" in str(sites[0]), section["kind"] in ("sae", "transcoder")
    if several and trained and not isinstance(features, Mapping):
        found = f"one {section['kind']} for several sites; it was trained at one"
        raise InputError("features", found, "Give a dict by site: features={site: its own, ...}")
    return _named_from(section, own)


def _by_site(features: Mapping[str, Any], sites: list[Any], folder: Path) -> dict[str, Any]:
    """One section for the features of every site, whose files lie in folders by the sites' names."""
    from mrinterp.models._given_features import features_section

    made = {}
    for site in map(str, sites):
        own = folder / site
        own.mkdir()
        section = _named_from(features_section(features[site], own, site), own)
        made[site] = {k: v.replace(f"/{site}/", "/{site}/") if k in FILES else v for k, v in section.items()}
    first, *others = made.items()
    for site, section in others:
        if section != first[1]:
            keys = sorted(k for k in {*section, *first[1]} if section.get(k) != first[1].get(k))
            found = f"{site!r} differs from {first[0]!r} in {', '.join(keys)}"
            raise InputError(
                "features", found, "Give features of one kind, as many and the same numbers at every site"
            )
    return first[1]


def _named_from(section: dict[str, Any], own: Path) -> dict[str, Any]:
    """The section with its files named from the run's folder."""
    return {k: f"{GIVEN}/{v}" if k in FILES and v is not None else v for k, v in section.items()}


def _written(
    model: Any,
    tokenizer: Any,
    prompts: Any,
    site: Any,
    features: Callable[[Path], Any],
    outcome: Any,
    out: str | Path | None,
    sections: Mapping[str, Any],
) -> tuple[dict[str, Any], Path, GivenObjects]:
    """A study file's contents, the folder and the objects; ``features`` writes its files and gives its section or sections."""
    from mrinterp.models._given import GivenObjects, network_facts, write_tokenizer
    from mrinterp.models._given_features import outcome_sections

    facts = network_facts(model)
    for one in [site] if isinstance(site, str) else site:
        if "*" not in one:
            facts.adapter.check(one)
    if tokenizer is None:
        tokenizer = getattr(model, "tokenizer", None)
    rest = {key: value for key, value in sections.items() if value is not None}
    where = site if isinstance(site, str) else f"{len(site)} sites"
    title = str(rest.pop("title", None) or f"{facts.name.rsplit('.', 1)[-1]} at {where}")
    place = Path("runs") / (re.sub(r"\W+", "_", title).strip("_") or "study") if out is None else Path(out)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / GIVEN
        folder.mkdir()
        asked = dict(rest.pop("prompts", {})) | _only(rest, "families")
        arrays = written_inputs(prompts, folder, asked)
        inputs, texts = ({"inputs": arrays}, []) if arrays else _texts(prompts, folder, asked)
        feature_keys = features(folder)
        outcomes, kept = outcome_sections(outcome, folder)
        network = _model_section(facts, site, dict(rest.pop("network", {})), tokenizer, texts, arrays)
        if tokenizer is not None and texts and write_tokenizer(tokenizer, folder / "tokenizer", texts[:200]):
            network["tokenizer"] = f"{GIVEN}/tokenizer"
        data = {"title": title, "model": network, "features": feature_keys, "outcome": outcomes}
        data = to_plain({**data, **inputs, **rest})
        for one in [data] if isinstance(site, str) and not is_sweep(data) else []:
            read_plan(one)  # refused before anything is kept
        _keep(folder, place)
    return data, place, GivenObjects(model, tokenizer, kept)


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
    site: Any,
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
        if any((out / name).exists() for name in ("study.json", "sweep.json")):
            other = [n for n in _named(folder) | _named(kept) if _digest(folder / n) != _digest(kept / n)]
            raise InputError(
                str(out),
                f"holds a run that was given something else ({', '.join(sorted(other)[:3])} in {GIVEN}/)",
                "Give another out, or delete the folder to start anew",
            )
    if out.is_dir() and not kept.is_dir() and any((out / n).exists() for n in ("study.json", "sweep.json")):
        raise InputError(str(out), "holds a run of another plan", "Give another out")
    with whole_folder(kept) as partial:
        shutil.copytree(folder, partial, dirs_exist_ok=True)


def _named(folder: Path) -> set[str]:
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and p.name != "SHA256SUMS"}


def _digest(path: Path) -> str:
    return digest_file(path) if path.is_file() else ""
