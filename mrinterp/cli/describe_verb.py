"""The verb ``describe``: what a network is to a study."""

from __future__ import annotations

import shutil
from textwrap import fill
from typing import Any

import click

from mrinterp.cli.model_options import (
    allow_factory,
    arguments_of,
    fillers_of,
    inputs_of,
    model_options,
    number_or_text,
)
from mrinterp.cli.verbs import answer, answering, example, voice

__all__ = ["describe"]


@click.command(
    "describe",
    short_help="A network's sites, tokens and cost, and what a study would choose.",
    epilog=example("mrinterp describe gpt2 --prompts templates.txt"),
)
@model_options
@click.option(
    "--site", metavar="WORDS", help="Say what a site is, or which is meant: a path, or words such as 'mlp 3'."
)
@click.option(
    "--target", help="Outcome: token whose logit counts, such as ' he'; position and noise are then chosen."
)
@click.option("--against", help="Outcome: token whose logit is subtracted.")
@answering
def describe(
    model: str | None,
    site: str | None,
    target: str | None,
    against: str | None,
    fillers: tuple[str, ...],
    allow_code: bool,
    **options: Any,
) -> None:
    """Describe the network MODEL to someone who wants to study it.

    MODEL is a folder made by save_pretrained, a hub id owner/name in the local cache (nothing is
    downloaded), or a factory module:function (of a file nets.py beside you: nets:make). Printed are its sites with widths and what they are, what
    the tokenizer does, the tokens of the prompts by class, what a study file could say and why, and what
    a small study would cost.
    """
    from mrinterp.study._describe import describe as describe_network
    from mrinterp.study._describe import nearest_in_words

    inputs, arguments = inputs_of(options), arguments_of(options.pop("arguments"))
    allowed = allow_factory(model, options["kind"], options["tokenizer"], allow_code, arguments)
    outcome = None
    if target is not None:
        kind = {"kind": "logit" if against is None else "logit_difference"}
        outcome = {"name": "outcome", "target": number_or_text(target, inputs), **kind}
        outcome |= {} if against is None else {"against": number_or_text(against, inputs)}
    found = describe_network(
        model,
        fillers=fillers_of(fillers),
        outcome=outcome,
        allow_code=allowed,
        inputs=inputs,
        arguments=arguments,
        **options,
    )
    columns = min(shutil.get_terminal_size((80, 24)).columns, 100)
    if site is not None:
        said = nearest_in_words(found, site)
        answer(fill(said, columns), {"asked": site, "answer": said})
        return
    table = {name: getattr(found, name).to_dict("records") for name in ("classes", "suggestions")}
    record = {
        "name": found.name, "facts": found.facts, "tokenizer": found.tokenizer, "cost": found.cost, **table,
        "sites": found.to_frame().to_dict("records"), **found.meta,
    }  # fmt: skip
    answer(lambda: found.text(voice().verbose, columns), record)
