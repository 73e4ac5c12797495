"""What a network is to a study, before there is a study: `describe`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mrinterp.adapters._position_limit import position_table_length
from mrinterp.core.errors import InputError
from mrinterp.core.plan import MIN_FAMILIES
from mrinterp.core.shown import bytes_in_words, time_in_words
from mrinterp.models._nearest_sites import nearest_sites, preferred, sites_in_words
from mrinterp.models._opened_network import (
    OpenedNetwork,
    given_batch,
    looks_up_tokens,
    named_model,
    named_plan,
    network_facts,
    open_network,
    timed_batch,
    weights_bytes,
)
from mrinterp.models._site_roles import SiteRole, site_roles
from mrinterp.models._site_shapes import trial_inputs
from mrinterp.models._tokenizer_facts import classes_of_prompts, texts_need, tokenizer_facts
from mrinterp.results._network_description import NetworkDescription
from mrinterp.scan._cost import small_study_runs
from mrinterp.study._given_inputs import DescribedInputs, read_described_inputs
from mrinterp.study._given_prompts import GivenPrompts, read_given_prompts

__all__ = ["describe", "named_model", "named_plan", "nearest_in_words", "site_for"]

FEATURES, FAMILIES, PROMPTS = 16, 160, 4
"""The small study whose cost is said: features, families, prompts of each family."""

BLOCK = 64
"""Inputs of the batch that is timed, as many as share a pass in a study."""

UNSEEN = (
    "The network takes neither token ids nor images of a known size: give inputs (--inputs FILE; in Python inputs=), so that"
    " sites have widths and a time."
)

AFTER = ("residual stream after", "feature map after", "last part of")
"""How sites are called that hold all that later blocks see."""

SPARE, FEWEST = 2, 8
"""Tokens of room beyond the longest prompt, and the smallest padded length that is suggested."""


def describe(
    model: Any,
    prompts: str | Path | Sequence[str] | None = None,
    *,
    tokenizer: Any = None,
    package: str | None = None,
    kind: str | None = None,
    fillers: Mapping[str, Sequence[str]] | None = None,
    outcome: Mapping[str, Any] | None = None,
    inputs: str | Path | Mapping[str, Any] | None = None,
    arguments: Mapping[str, Any] | None = None,
    device: str = "cpu",
    allow_code: bool = False,
) -> NetworkDescription:
    """Describe a network to someone who wants to study it: sites, tokens, what a study would choose, what it costs.

    Parameters
    ----------
    model : str, Path, torch.nn.Module, adapter or None
        A folder made by ``save_pretrained``, a hub id ``owner/name`` in the local cache, a factory ``module:function``, or
        a network in memory. With ``package`` the folder inside it, or None.
    prompts : path or list of str, optional
        A text file with one template per line (``The {person} said``), a CSV or JSONL file with the columns ``prompt``
        and ``family``, or texts.
    tokenizer : transformers tokenizer or path, optional
        For networks that come without one.
    package : str, optional
        Installed package that contains the network.
    kind : str, optional
        As ``model.kind`` in a study file; guessed from ``config.json`` otherwise.
    fillers : mapping of str to list of str, optional
        Words of each slot of templates; a slot without any is filled with its own name.
    outcome : mapping, optional
        ``[outcome]`` as a study file would have it: position and noise scale are then chosen as the study would, where
        ``prompts`` is a file with at least 40 families and all fillers are given.
    inputs : path or mapping, optional
        Inputs that are no texts: a file of token numbers, images or rows of a table, a folder of PNG files, or ``[inputs]`` as a
        study file would have it. Or a batch: tensors by the names of the network's arguments. Without any, a network that takes
        neither token ids nor images of a known size is not run.
    arguments : mapping, optional
        Keyword arguments of a factory.
    device : str
        Where the network runs, such as ``cpu`` or ``cuda:0``.
    allow_code : bool
        Whether a factory that was not agreed to before may be imported.

    Returns
    -------
    NetworkDescription
        ``print(result.text())`` is what ``mrinterp describe`` prints; ``to_frame`` has a row per site.

    Raises
    ------
    InputError
        For a network, a file or an outcome that cannot be used.

    Notes
    -----
    What a site is said to be is read off the modules' places, types and widths, seen in one pass; for networks of unusual
    build the words are a guess, the widths are not. Time is of one batch on this machine, as busy as it is now.

    Examples
    --------
    >>> import torch, mrinterp
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2)).eval()
    >>> mrinterp.describe(net, inputs={"input": torch.ones(3, 4)}).to_frame()["width"].tolist()
    [8, 8, 2]
    """
    opened = open_network(model, tokenizer, package, kind, device, allow_code, arguments)
    if prompts is not None and inputs is not None:
        raise InputError("inputs", "given together with prompts", "Keep one of the two")
    given = None if prompts is None else read_given_prompts(prompts, fillers, _count_tokens(opened.tokenizer))
    need, classes, notes = _tokens(opened, given)
    length = _padded_length(opened, need)
    arrays, batch, timed = _batches(opened, inputs, length)
    roles = _roles_seen(opened, batch)
    notes += [] if arrays is None else arrays.notes()
    if batch is None:
        notes.append(UNSEEN)
    suggestions = _suggestions(opened, roles, given, arrays, need, length)
    if outcome is not None:
        from mrinterp.study._study_choices import study_choices

        suggestions = study_choices(suggestions, opened.section, arrays or given, outcome, allow_code)
    families = 0 if given is None else given.families
    families = families if arrays is None else arrays.families
    return NetworkDescription(
        name=opened.name,
        sites=tuple(r.site for r in roles),
        site_kind=np.array([r.kind for r in roles], dtype=object),
        block=np.array([r.block for r in roles], dtype=int),
        width=np.array([r.width for r in roles], dtype=int),
        heads=np.array([r.heads for r in roles], dtype=int),
        what=np.array([r.what for r in roles], dtype=object),
        pattern=np.array([r.pattern or r.site for r in roles], dtype=object),
        facts=network_facts(opened, roles),
        tokenizer=tokenizer_facts(opened.tokenizer),
        classes=classes,
        suggestions=pd.DataFrame(suggestions, columns=["key", "value", "why"]),
        cost={}
        if timed is None
        else _cost(opened, timed, 0 if given is None and arrays is None else families),
        meta={
            "prompts": arrays.source if arrays is not None else "" if given is None else given.source,
            "notes": notes,
            "padded_length": length,
            "families": families,
            "model": opened.section,
            "inputs": {} if arrays is None else arrays.section,
            "columns": () if arrays is None else arrays.beside,
        },
    )


def _batches(
    opened: OpenedNetwork, inputs: str | Path | Mapping[str, Any] | None, length: int
) -> tuple[DescribedInputs | None, dict[str, Any] | None, dict[str, Any] | None]:
    """What was read of inputs, a batch to see shapes with, and one to time; None where there is none."""
    module = opened.adapter.module
    if inputs is None:
        small, large = (trial_inputs(module, n, t, opened.device) for n, t in ((2, 4), (BLOCK, length)))
        return None, small, large
    batch = given_batch(inputs, BLOCK)
    if batch is not None:
        return None, given_batch(inputs, 2), batch
    arrays = read_described_inputs(inputs, looks_up_tokens(opened))
    return arrays, arrays.batch(opened, 2), arrays.batch(opened, BLOCK)


def _roles_seen(opened: OpenedNetwork, batch: dict[str, Any] | None) -> tuple[SiteRole, ...]:
    """What every site is, seen in a pass."""
    try:
        return site_roles(opened.adapter, batch)
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as e:
        if isinstance(e, InputError) or batch is None:
            raise
        given = " and ".join(
            f"{k} {tuple(v.shape)}" + ("" if v.is_floating_point() else f" of numbers up to {int(v.max())}")
            for k, v in batch.items()
        )
        first = (str(e).strip().splitlines() or [type(e).__name__])[0][:120]
        raise InputError(
            f"network {opened.name}",
            f"a pass on {given} fails ({first})",
            "Give inputs that it takes (--inputs FILE; in Python inputs=)",
        ) from None


def _roles_of(found: NetworkDescription) -> list[SiteRole]:
    rows = zip(
        found.sites,
        found.site_kind,
        found.what,
        found.block,
        found.width,
        found.heads,
        found.pattern,
        strict=True,
    )
    return [SiteRole(*row) for row in rows]


def nearest_in_words(found: NetworkDescription, asked: str) -> str:
    """What a site is, or the nearest ones with what they are.

    Parameters
    ----------
    found : NetworkDescription
        What `describe` found.
    asked : str
        A path, or words such as ``residual 6``, ``mlp 3``, ``layer 6``.

    Returns
    -------
    str
        One sentence.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> from mrinterp.study import nearest_in_words
    >>> nearest_in_words(example("NetworkDescription"), "site 1")
    'site 1: residual stream, 1 wide'
    """
    exact = next((r for r in _roles_of(found) if r.site == asked), None)
    if exact is not None:
        return f"{asked}: {exact.what}, {exact.width} wide"
    near = sites_in_words(asked, _roles_of(found))
    return near or "No site is near: name a part and a block, such as 'residual 3', 'mlp 3', 'heads 3'"


def site_for(found: NetworkDescription, asked: str) -> str:
    """The site that a path or words mean.

    Parameters
    ----------
    found : NetworkDescription
        What `describe` found.
    asked : str
        A path, or words that fit one site best.

    Returns
    -------
    str
        Its address.

    Raises
    ------
    InputError
        For a path that does not exist, or words that fit none.

    Examples
    --------
    >>> from mrinterp.results import example
    >>> from mrinterp.study import site_for
    >>> site_for(example("NetworkDescription"), "site 1")
    'site 1'
    """
    if asked in found.sites:
        return asked
    near = (
        []
        if "." in asked or "Blocks run" in nearest_in_words(found, asked)
        else nearest_sites(asked, _roles_of(found), 1)
    )
    if not near:
        raise InputError(f"site {asked!r}", f"no such site in {found.name}", nearest_in_words(found, asked))
    return near[0].site


def _count_tokens(tokenizer: Any) -> Any:
    return (
        len
        if tokenizer is None
        else lambda word: len(tokenizer(f" {word}", add_special_tokens=False)["input_ids"])
    )


def _tokens(opened: OpenedNetwork, given: GivenPrompts | None) -> tuple[int, pd.DataFrame, list[str]]:
    """Tokens of the longest prompt, tokens by class, and what is to be said about the prompts."""
    nothing = pd.DataFrame(columns=["token_class", "least", "most", "example"])
    if given is None:
        return 0, nothing, []
    if opened.tokenizer is None:
        raise InputError("prompts", "the network has no tokenizer", "Give tokenizer (--tokenizer FOLDER)")
    need = texts_need(opened.tokenizer, given.inputs["text"].tolist())
    notes = [given.enough(), f"The longest prompt has {need} tokens."]
    if given.lacking:
        named = ", ".join(given.lacking)
        notes.append(
            f"{named}: without fillers (--fillers {given.lacking[0]}=...) the slot's own name stands there."
        )
    classes = classes_of_prompts(opened.tokenizer, given.inputs, list(given.slots), max(need, 1))
    return need, classes, notes


def _padded_length(opened: OpenedNetwork, need: int) -> int:
    """Room for the longest prompt and a little more, as far as the network has positions."""
    most = position_table_length(opened.adapter.module) or 4096
    wanted = max(FEWEST, need + SPARE) if need else 32
    return max(need, min(wanted, most))


def _suggestions(
    opened: OpenedNetwork,
    roles: Sequence[SiteRole],
    given: GivenPrompts | None,
    arrays: DescribedInputs | None,
    need: int,
    length: int,
) -> list[tuple[str, str, str]]:
    """What a study file could say, with reasons."""
    rows = [(f"model.{k}", json.dumps(v), _why_model(k, v)) for k, v in opened.section.items()]
    site = _middle(roles)
    rows += [] if site is None else [site]
    words = [r for r in roles if r.kind == "embedding" and r.what == "word embedding"]
    if words and (arrays is None or arrays.section["kind"] == "tokens"):
        rows.append(
            ("model.embedding", json.dumps(words[0].site), "the word embedding, where noise is added")
        )
    if opened.tokenizer is not None and arrays is None:
        why = (
            f"the longest prompt has {need} tokens"
            if need
            else "room for 32 tokens; with prompts, what they need is said"
        )
        rows.append(("model.padded_length", str(length), why))
    if arrays is not None:
        rows += [(f"inputs.{k}", json.dumps(v), _why_input(k, arrays)) for k, v in arrays.section.items()]
    texts = arrays is None and opened.tokenizer is not None
    width = next((r.width for r in roles if site is not None and json.dumps(r.site) == site[1]), 0)
    return rows + (_feature_suggestions(width, texts) if width and (texts or arrays is not None) else [])


def _middle(roles: Sequence[SiteRole]) -> tuple[str, str, str] | None:
    """The site of a first study: the stream after the middle block; without blocks what the middle layer reads."""
    streams = [r for r in roles if r.kind == "residual" and r.what.startswith(AFTER)]
    # A stack says its streams once a block; of several names of one stream the shortest.
    middle = sorted({r.block for r in streams})
    if middle:
        block = middle[len(middle) // 2]
        site = preferred([r for r in streams if r.block == block])[0]
        return "model.site", json.dumps(site.site), f"{site.what}, the middle of {len(middle)}"
    last = next((r for r in roles if r.kind == "hidden"), None)
    return None if last is None else ("model.site", json.dumps(last.site), last.what)


def _feature_suggestions(width: int, texts: bool) -> list[tuple[str, str, str]]:
    """Features, where they are read, and the noise, of a first study."""
    learned = "learned on the discovery families, nothing else is needed; an SAE that was trained at the site is sharper"
    few = "few features are quick to test; raise it once the study runs"
    where = "the token class that makes most of the outcome's differences, if one does; --target shows it"
    scales = "the one at which most features move by .5 to 1.5 natural sd; --target shows it"
    rows = [
        ("features.kind", '"independent_components"', learned),
        ("features.count", str(min(FEATURES, width)), few),
    ]
    rows += [("features.position", '"auto"', where)] if texts else []
    return [*rows, ("instruments.noise.scale", '"auto"', scales)]


def _why_input(key: str, arrays: DescribedInputs) -> str:
    return {
        "kind": "tokens (rows of token numbers), images or a table (rows of numbers)",
        "file": "one input per row",
        "folder": "one input per file",
        "family": f"errors are clustered by it: {arrays.families} families",
        "families": "every input is a family of its own: right only where inputs have nothing in common",
        "columns": "the columns that the network gets; the others hold texts",
        "label": "features of images are described by it",
    }.get(key, "")


def _why_model(key: str, value: Any) -> str:
    if (key, value) == ("kind", "module"):
        return "a torch network that a factory of yours returns"
    return {
        "kind": "what the network returns: hidden states (encoder), next-token logits (causal) or classes (classifier)",
        "folder": "where its weights lie",
        "package": "the installed package that contains it",
        "hub": "read from the local cache; nothing is downloaded",
        "module": "the factory that makes it; shown and asked about before it is imported",
        "arguments": "what the factory is called with",
        "tokenizer": "the folder of its tokenizer",
        "device": "where it runs",
    }[key]


def _cost(opened: OpenedNetwork, batch: dict[str, Any], found: int) -> dict[str, str]:
    """Time of one batch, and of a small study at that pace; memory of the weights."""
    seconds = timed_batch(opened, batch)
    families = max(found, MIN_FAMILIES) if found else FAMILIES
    runs = small_study_runs(families, PROMPTS, FEATURES)
    first = next(iter(batch.values()))
    tokens = f" of {first.shape[1]} tokens" if first.ndim == 2 and not first.is_floating_point() else ""
    return {
        "size": f"{FEATURES} features, {families} families, {PROMPTS} prompts each: about {runs:,} runs",
        "time": f"at most {time_in_words(runs / BLOCK * seconds)} of passes ({BLOCK} inputs{tokens}: {seconds:.2g} s on"
        f" {opened.device})",
        "memory": f"{bytes_in_words(weights_bytes(opened))} of weights",
    }
