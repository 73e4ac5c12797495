"""Options by which a verb is told which network and which prompts are meant."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mrinterp.cli.study_verbs import allow_code_option
from mrinterp.core.errors import InputError

__all__ = ["allow_factory", "arguments_of", "fillers_of", "inputs_of", "model_options", "number_or_text"]


def model_options(verb: Callable[..., Any]) -> Callable[..., Any]:
    """MODEL and the options that say more about it, and about the prompts."""
    options = [
        click.argument("model", required=False),
        click.option("--package", help="Installed package that contains the network; MODEL is then a folder in it."),
        click.option("--kind", help="As model.kind in a study file; guessed from config.json otherwise."),
        click.option("--tokenizer", metavar="FOLDER", help="Tokenizer of a network that comes from a factory."),
        click.option("--arguments", metavar="NAME=VALUE", multiple=True, help="Argument of a factory (repeatable).")  ,
        click.option("--device", default="cpu", show_default=True, help="Where the network runs, such as cuda:0."),
        click.option("--prompts", metavar="FILE", help="One template a line, or CSV/JSONL with prompt and family."),
        click.option("--fillers", metavar="SLOT=WORD,WORD", multiple=True, help="Words of a slot (repeatable)."),
        click.option("--inputs", metavar="FILE", help="Inputs that are no texts: token numbers, images, a table (.npy, .npz, .csv, .parquet), a folder of PNG files."),
        click.option("--inputs-kind", type=click.Choice(["tokens", "images", "table"]), help="What they are; told from the file otherwise."),
        click.option("--family", metavar="COLUMN", help="Column or array that says the family of each input; each: every input is its own."),
        click.option("--index", metavar="FILE", help="CSV file with a row per input, whose columns --family and --label may name."),
        allow_code_option,
    ]  # fmt: skip
    for option in reversed(options):
        verb = option(verb)
    return verb


def fillers_of(texts: tuple[str, ...]) -> dict[str, list[str]]:
    """Words of each slot, from texts such as ``person=nurse,pilot``.

    Raises
    ------
    InputError
        For a text of another form, or a slot that is given twice.
    """
    found: dict[str, list[str]] = {}
    for text in texts:
        slot, equals, words = text.partition("=")
        if not equals or not slot.strip():
            raise InputError(
                f"--fillers {text!r}", "not of the form slot=word,word", "Write it like person=nurse,pilot"
            )
        if slot.strip() in found:
            raise InputError(
                f"--fillers {text!r}", "this slot is given twice", "Give all of its words at once"
            )
        found[slot.strip()] = [w.strip() for w in words.split(",")]
    return found


def arguments_of(texts: tuple[str, ...]) -> dict[str, Any]:
    """Arguments of a factory, from texts such as ``layers=2``: numbers, true and false as JSON has them, else text.

    Raises
    ------
    InputError
        For a text of another form, or a name that is given twice.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier() or name in found:
            what = "given twice" if name in found else "not of the form NAME=VALUE"
            raise InputError(f"--arguments {text!r}", what, "Write each once, like layers=2")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def inputs_of(options: dict[str, Any]) -> dict[str, Any] | None:
    """``inputs`` of `mrinterp.describe`, from the options that say it (which are taken out); None without any.

    Raises
    ------
    InputError
        Where more is said about inputs that were not given.
    """
    path = options.pop("inputs")
    named = {"kind": "inputs_kind", "family": "family", "index": "index", "label": "label"}
    more = {key: options.pop(name, None) for key, name in named.items()}
    more = {key: value for key, value in more.items() if value is not None}
    if path is None:
        if more:
            raise InputError(
                f"--{named[next(iter(more))].replace('_', '-')}", "given without inputs", "Give --inputs FILE"
            )
        return None
    return {"folder" if Path(path).is_dir() else "file": str(path), **more}


def number_or_text(value: str, inputs: Any) -> int | str:
    """A target: without texts a whole number is the number of a class or token."""
    return int(value) if inputs is not None and value.strip().isdigit() else value


def allow_factory(
    model: str | None,
    kind: str | None,
    tokenizer: str | None,
    allowed: bool,
    arguments: dict[str, Any] | None = None,
) -> bool:
    """Ask for the code of a network that comes from a factory, before it is imported."""
    from mrinterp.cli.study_verbs import agree
    from mrinterp.study._describe import named_model, named_plan

    if model is None or ":" not in model:
        return allowed
    return agree(named_plan(named_model(model, None, kind, tokenizer, arguments)), Path(), model, allowed)
