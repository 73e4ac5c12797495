"""The verb ``list``: what there is to name in a study file or on the command line."""

from __future__ import annotations

from textwrap import fill

import click

from mrinterp.cli.verbs import answer, answering, example, voice

__all__ = ["list_"]

WHAT = (
    "studies",
    "models",
    "sites",
    "inputs",
    "features",
    "outcomes",
    "perturbations",
    "estimators",
    "knockouts",
    "schema",
)
WIDTH = 80


@click.command(
    "list",
    short_help="What there is to name: studies, sites, features, outcomes, ...",
    epilog=example("mrinterp list outcomes"),
)
@click.argument("what", required=False, type=click.Choice(WHAT))
@answering
def list_(what: str | None) -> None:
    """List what there is of WHAT, or of everything; `schema` prints the JSON Schema of study files."""
    from mrinterp.study import catalog
    from mrinterp.study._plan_schema import study_schema

    if what == "schema":
        import json

        schema = study_schema()
        answer(json.dumps(schema, indent=1), schema)
        return
    found = catalog(what)
    answer(
        lambda: "\n\n".join(_table(name, rows) for name, rows in found.items()),
        found if what is None else found[what],
    )


def _table(name: str, rows: list[dict[str, str]]) -> str:
    """One list: names, and what they are, folded to the terminal's width."""
    head, *rest = rows[0]
    wide = min(max(len(row[head]) for row in rows), 30)
    lines = [] if voice().quiet else [f"{name[0].upper()}{name[1:]}"]
    for row in rows:
        words = "; ".join(f"{k} {row[k]}" if k != "what" else row[k] for k in rest if row[k])
        first = f"  {row[head]:<{wide}}  "
        lines.append(
            row[head]
            if voice().quiet
            else fill(words, WIDTH, initial_indent=first, subsequent_indent=" " * (wide + 4))
            or first.rstrip()
        )
    return "\n".join(lines)
