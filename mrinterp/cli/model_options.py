"""Options by which a verb is told which network and which prompts are meant."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from mrinterp.cli.study_verbs import allow_code_option
from mrinterp.core.errors import InputError

__all__ = ["allow_factory", "fillers_of", "model_options"]


def model_options(verb: Callable[..., Any]) -> Callable[..., Any]:
    """MODEL and the options that say more about it, and about the prompts."""
    options = [
        click.argument("model", required=False),
        click.option("--package", help="Installed package that contains the network; MODEL is then a folder in it."),
        click.option("--kind", help="As model.kind in a study file; guessed from config.json otherwise."),
        click.option("--tokenizer", metavar="FOLDER", help="Tokenizer of a network that comes from a factory."),
        click.option("--device", default="cpu", show_default=True, help="Where the network runs, such as cuda:0."),
        click.option("--prompts", metavar="FILE", help="One template a line, or CSV/JSONL with prompt and family."),
        click.option("--fillers", metavar="SLOT=WORD,WORD", multiple=True, help="Words of a slot (repeatable)."),
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


def allow_factory(model: str | None, kind: str | None, tokenizer: str | None, allowed: bool) -> bool:
    """Ask for the code of a network that comes from a factory, before it is imported."""
    from pathlib import Path

    from mrinterp.cli.study_verbs import agree
    from mrinterp.study._describe import named_model, named_plan

    if model is None or ":" not in model:
        return allowed
    return agree(named_plan(named_model(model, None, kind, tokenizer)), Path(), model, allowed)
