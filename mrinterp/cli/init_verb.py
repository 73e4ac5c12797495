"""The verb ``init``: write a commented study file, from flags or by asking a few questions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mrinterp.cli.model_options import (
    allow_factory,
    arguments_of,
    fillers_of,
    inputs_of,
    model_options,
    number_or_text,
)
from mrinterp.cli.study_verbs import at_a_terminal
from mrinterp.cli.verbs import answer, answering, example, tell
from mrinterp.core.errors import InputError

if TYPE_CHECKING:
    from mrinterp.results._network_description import NetworkDescription
    from mrinterp.study._given_prompts import GivenPrompts

__all__ = ["init"]

USUAL = {"causal": "logit_difference", "classifier": "margin", "encoder": "anchor_contrast"}
"""Outcome that is asked for where none is named, by kind of network."""

QUESTIONS = {
    "model": "Network (a folder of save_pretrained, a hub id in the cache, or module:function)",
    "prompts": "Prompts (a file: one template a line such as 'The {person} said', or CSV/JSONL) or inputs (numbers, images)",
    "family": "Column or array that says the family of each input (each: every input is its own)",
    "target": "Token or class whose logit counts (a new word begins with a space: ' he')",
    "against": "Token or class whose logit is subtracted",
    "positive": "Sentences of the positive pole, separated by |",
    "function": "Function of the output, module:function",
    "direction": "File with the direction",
}


@click.command(
    "init",
    short_help="Write a commented study file, by questions or from flags.",
    epilog=example("mrinterp init gpt2 --prompts templates.txt --fillers person=nurse,pilot \\", "    --fillers when=today,again --target ' he' --against ' she' --out he.toml"),
)  # fmt: skip
@model_options
@click.option("--out", "-o", default="study.toml", show_default=True, help="File to write; none is replaced.")
@click.option("--title", help="Heading of the study's page.")
@click.option(
    "--site", metavar="WORDS", help="Where features are read: a path, or words such as 'residual 6'."
)
@click.option("--features", metavar="KIND", help="Kind of features (mrinterp list features).")
@click.option("--count", type=click.IntRange(1), help="How many features.")
@click.option(
    "--sae",
    metavar="FOLDER",
    help="Sparse autoencoder in the SAELens format, whose latents are the features.",
)
@click.option("--position", help="Tokens where features are read; left out, the study chooses.")
@click.option("--outcome", metavar="KIND", help="Kind of outcome (mrinterp list outcomes).")
@click.option("--target", help="Token or class whose logit counts, such as ' he'.")
@click.option("--against", help="Token or class whose logit is subtracted.")
@click.option("--positive", multiple=True, help="Sentence of the positive pole (repeatable).")
@click.option("--negative", multiple=True, help="Sentence of the negative pole (repeatable).")
@click.option(
    "--label", metavar="COLUMN", help="Column or array with the label of each input, for the outcome loss."
)
@click.option("--function", help="For callable and generated outcomes: module:function.")
@click.option("--direction", metavar="FILE", help="For projection: file with the direction.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of study files, and write nothing.")
@answering
def init(model: str | None, out: str, schema: bool, allow_code: bool, **flags: Any) -> None:
    """Write a study file for the network MODEL, with comments that say what each key buys and what was found.

    At a terminal what is missing is asked for; elsewhere it is named. `mrinterp run FILE --dry-run` checks
    the file. The JSON Schema that its first line names is written beside it.
    """
    from mrinterp.study._plan_schema import study_schema

    if schema:
        answer(json.dumps(study_schema(), indent=1), study_schema())
        return
    path = Path(out)
    if path.exists():
        raise InputError(out, "exists already, and no file is replaced", "Give another name with --out")
    if not path.parent.is_dir():
        raise InputError(str(path.parent), "no such folder", "Make it, or give another place with --out")
    flags |= {"arguments": arguments_of(flags["arguments"])}
    model, flags = _model_and_prompts(model, flags)
    allowed = allow_factory(model, flags["kind"], flags["tokenizer"], allow_code, flags["arguments"])
    _refuse_other_folder(model, path)
    outcome = _outcome(model, flags)
    found, text = _filled(model, flags, outcome, path, allowed)
    from mrinterp.study._study_file import write_study_file

    written = write_study_file(text, path)
    families = found.meta["families"]
    if families < 40:
        tell(f"Note: {found.meta['notes'][0]}")
    words = f"Wrote {' and '.join(map(str, written))}. Next: mrinterp run {path} --dry-run"
    answer(words, {"written": written, "text": text, "model": found.name, "families": families})


def _refuse_other_folder(model: str | None, path: Path) -> None:
    """A study file finds functions beside itself, not where it was written from."""
    own = Path(f"{(model or '').partition(':')[0].partition('.')[0]}.py")
    if model and ":" in model and own.is_file() and path.parent.resolve() != Path().resolve():
        raise InputError(
            f"--out {str(path)!r}",
            f"{own} lies in this folder, and a study file finds its functions beside itself",
            f"Write it here (--out {path.name}), or run mrinterp in the other folder",
        )


def _ask(name: str, default: str | None = None) -> str:
    """Ask for one thing at the terminal."""
    return str(click.prompt(QUESTIONS.get(name, name), default=default, err=True))


def _needed(named: Mapping[str, Any]) -> dict[str, Any]:
    """What of the named things is missing: asked for at a terminal, else named.

    Raises
    ------
    InputError
        Away from a terminal, with every flag that is missing.
    """
    missing = [name for name, value in named.items() if value in (None, ())]
    if missing and not at_a_terminal():
        flags = ", ".join("MODEL" if name == "model" else f"--{name}" for name in missing)
        raise InputError(
            "init",
            f"missing: {flags} (and no terminal to ask at)",
            "Give them; mrinterp init --help says what each is",
        )
    return {name: _ask(name) if name in missing else value for name, value in named.items()}


def _model_and_prompts(model: str | None, flags: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    """Model, prompts or inputs, and what else away from a terminal is named at once."""
    inputs = inputs_of(flags | {"label": None})
    flags = {k: v for k, v in flags.items() if k not in ("inputs", "inputs_kind", "index")}
    wanted = {} if flags["package"] else {"model": model}
    wanted |= {} if inputs else {"prompts": flags["prompts"]}
    if not at_a_terminal():  # all that is missing in one message, as far as the kind of network tells
        kind = _kind(model, flags) if model or flags["package"] else "causal"
        wanted |= {name: flags[name] for name in _needs(_outcome_kind(kind, flags))}
    given = _needed(wanted)
    from mrinterp.study._given_inputs import is_inputs_file

    if inputs is None and is_inputs_file(given["prompts"]):
        inputs = inputs_of(
            flags | {"inputs": given.pop("prompts"), "inputs_kind": None, "index": None, "label": None}
        )
    if inputs is not None and flags["label"] is not None:
        inputs["label"] = flags["label"]
    prompts = None if inputs else given["prompts"]
    return given.get("model", model), flags | {"prompts": prompts, "inputs": inputs}


def _kind(model: str | None, flags: Mapping[str, Any]) -> str:
    from mrinterp.study._describe import named_model

    return str(named_model(model, flags["package"], flags["kind"])["kind"])


def _outcome_kind(kind: str, flags: Mapping[str, Any]) -> str:
    from mrinterp.core.errors import near_misses
    from mrinterp.core.plan_outcome import OUTCOME_KEYS

    asked = flags["outcome"] or (
        "logit"
        if flags["target"] and not flags["against"] and kind in ("causal", "module")
        else USUAL.get(kind, "logit_difference")
    )
    known = [name for name, (needs, _) in OUTCOME_KEYS.items() if set(needs) <= set(flags)]
    if asked not in known:
        raise InputError("--outcome", repr(asked), near_misses(asked, known) or f"Known: {', '.join(known)}")
    return str(asked)


def _needs(kind: str) -> tuple[str, ...]:
    from mrinterp.core.plan_outcome import OUTCOME_KEYS

    return OUTCOME_KEYS[kind][0]


def _outcome(model: str | None, flags: Mapping[str, Any]) -> dict[str, Any]:
    """``[outcome]``, from flags and answers."""
    from mrinterp.core.plan_outcome import OUTCOME_KEYS

    kind = _outcome_kind(_kind(model, flags), flags)
    needs, may = OUTCOME_KEYS[kind]
    given = _needed({name: flags[name] for name in needs})
    given |= {name: flags[name] for name in may if flags.get(name) not in (None, ()) and name != "position"}
    for name in ("positive", "negative"):
        if name in given:
            value = given[name]
            given[name] = [s.strip() for s in value.split("|")] if isinstance(value, str) else list(value)
    for name in ("target", "against"):
        if name in given:
            given[name] = number_or_text(str(given[name]), flags["inputs"])
    words = [str(given[n]).strip() for n in ("target", "against") if n in given]
    name = "_minus_".join("".join(c if c.isalnum() else "_" for c in w) for w in words) or kind
    name = f"logit_{name}" if name.replace("_minus_", "").isdigit() else name
    return {"name": name, "kind": kind, **given}


def _filled(
    model: str | None, flags: Mapping[str, Any], outcome: Mapping[str, Any], path: Path, allowed: bool
) -> tuple[NetworkDescription, str]:
    """What was found about the network, and the text of the file."""
    from mrinterp.study._describe import describe, site_for
    from mrinterp.study._given_prompts import read_given_prompts
    from mrinterp.study._study_file import study_file_text

    fillers = fillers_of(flags["fillers"])
    tell("Looking at the network ...")
    options = {
        name: flags[name] for name in ("package", "kind", "tokenizer", "device", "inputs", "arguments")
    }

    def looked() -> tuple[NetworkDescription, GivenPrompts | None]:
        seen = describe(model, flags["prompts"], fillers=fillers, allow_code=allowed, **options)
        prompts = flags["prompts"]
        return seen, None if prompts is None else read_given_prompts(prompts, fillers, len)

    found, given = looked()
    if given is not None and given.lacking:
        fillers |= _fillers(given.lacking)
        found, given = looked()
    if given is None and not found.meta["families"]:
        options["inputs"] = options["inputs"] | {"family": _family(found.meta["columns"])}
        found, given = looked()
    site = flags["site"]
    if site is None and at_a_terminal():
        default = json.loads(found.suggested("model.site") or '""') or None
        site = click.prompt("Site (a path, or words such as 'residual 6')", default=default, err=True)
    chosen: dict[str, Any] = {"title": flags["title"] or f"What drives {outcome['name']} in {found.name}"}
    if site is not None:
        chosen["model.site"] = site_for(found, site)
    if not site and not found.suggested("model.site"):
        raise InputError(
            "--site",
            "missing, and no site is suggested for this network",
            "Give one: mrinterp describe lists them",
        )
    if flags["sae"]:
        chosen |= {"features.kind": "sae", "features.folder": flags["sae"]}
    chosen |= {
        f"features.{k}": flags[v]
        for k, v in (("kind", "features"), ("count", "count"), ("position", "position"))
        if flags[v] is not None
    }
    if chosen.get("features.kind") not in (
        None,
        "independent_components",
        "principal_components",
        "sae",
        "train_sae",
    ):
        chosen["features.count"] = None
    return found, study_file_text(found, given, chosen, outcome, path)


def _family(columns: tuple[str, ...]) -> str:
    """The column or array that says the family of each input."""
    known = f"columns: {', '.join(columns)}" if columns else "the file has no column for it"
    if not at_a_terminal():
        what = f"missing: --family ({known}; or each: every input is its own)"
        raise InputError("init", what, "Errors are clustered by family: say which inputs belong together")
    return str(click.prompt(f"{QUESTIONS['family']}; {known}", err=True))


def _fillers(slots: tuple[str, ...]) -> dict[str, list[str]]:
    """Words of slots that were given none."""
    if not at_a_terminal():
        flags = " ".join(f"--fillers {slot}=word,word" for slot in slots)
        raise InputError(
            "init", f"missing: words for {', '.join(f'{{{s}}}' for s in slots)}", f"Give {flags}"
        )
    asked = {
        s: click.prompt(f"Words for {{{s}}}, separated by commas (the first is compared with)", err=True)
        for s in slots
    }
    return {slot: [w.strip() for w in words.split(",")] for slot, words in asked.items()}
