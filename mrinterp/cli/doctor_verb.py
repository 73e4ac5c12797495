"""The verb ``doctor``: is this machine ready for a study?"""

from __future__ import annotations

import sys
from textwrap import fill

import click

from mrinterp.cli.verbs import answer, answering, example, voice

__all__ = ["doctor"]


@click.command(
    "doctor",
    short_help="Check this machine: versions, adapters, device, memory, disk.",
    epilog=example("mrinterp doctor"),
)
@answering
def doctor() -> None:
    """Check this machine, and say what to do about what is missing.

    Exit code 0 where studies can run (notes do not count), 1 where something is broken.
    """
    from mrinterp.study import checkup

    rows = checkup()
    shown = [r for r in rows if voice().verbose or not (voice().quiet and r["verdict"] == "ok")]

    def text() -> str:
        lines = []
        for row in shown:
            head = f"{row['verdict']:<7} {row['name']}: "
            words = row["found"] + (f". {row['fix']}" if row["fix"] else "")
            lines.append(fill(head + words, 80, subsequent_indent=" " * 8))
        broken = sum(r["verdict"] == "broken" for r in rows)
        lines.append(
            "" if voice().quiet else f"\n{'Ready.' if not broken else f'{broken} broken: see above.'}"
        )
        return "\n".join(lines).rstrip("\n") or "Ready."

    answer(text, {"ready": all(r["verdict"] != "broken" for r in rows), "checks": rows})
    if any(r["verdict"] == "broken" for r in rows):
        sys.exit(1)
