"""What every verb shares: how loud it is, how it answers, and how it ends (bad input is one message)."""

from __future__ import annotations

import errno
import functools
import json
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from dataclasses import dataclass
from typing import Any

import click

from mrinterp.core.errors import DamagedWarning, InputError
from mrinterp.core.printable import printable

__all__ = ["Verbs", "answer", "answering", "example", "say", "tell", "voice"]


@dataclass(frozen=True)
class Voice:
    """How loud a verb is: ``quiet`` keeps only the answer, ``verbose`` tells all, ``as_json`` answers machines."""

    quiet: bool = False
    verbose: bool = False
    as_json: bool = False


def voice() -> Voice:
    """How loud the verb that is running was asked to be."""
    context = click.get_current_context(silent=True)
    found: Voice = Voice() if context is None else context.meta.get("mrinterp.voice", Voice())
    return found


class _NotATerminal:
    """Standard error for a quiet verb: no terminal, so that progress bars do not draw."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def isatty(self) -> bool:
        """Never."""
        return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def answering(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb ``--quiet``, ``--verbose`` and ``--json``; it is run with what they say in `voice`."""

    @click.option(
        "--quiet", "-q", is_flag=True, help="Print the answer and nothing else: no progress, no notes."
    )
    @click.option(
        "--verbose", "-v", is_flag=True, help="Print everything there is to say; errors with their traceback."
    )
    @click.option(
        "--json",
        "as_json",
        is_flag=True,
        help="Answer with one JSON document; progress stays on standard error.",
    )
    @functools.wraps(verb)
    def spoken(*args: Any, quiet: bool, verbose: bool, as_json: bool, **options: Any) -> Any:
        if quiet and verbose:
            raise click.UsageError("--quiet and --verbose: give one of the two")
        click.get_current_context().meta["mrinterp.voice"] = Voice(quiet, verbose, as_json)
        begun = time.perf_counter()
        with redirect_stderr(_NotATerminal(sys.stderr)) if quiet else nullcontext():
            result = verb(*args, **options)
        if verbose:
            say(f"mrinterp: {time.perf_counter() - begun:.1f} s", err=True)
        return result

    return spoken


def answer(text: str | Callable[[], str], document: Any) -> None:
    """Print what was asked for, on standard output: words, or with ``--json`` one document."""
    from mrinterp.core.storage import to_plain

    if voice().as_json:
        say(json.dumps(to_plain(document), indent=1, allow_nan=False))
    else:
        say(text if isinstance(text, str) else text())


def tell(text: str) -> None:
    """Print a note beside the answer, on standard error; nothing where the verb is quiet."""
    if not voice().quiet:
        say(text, err=True)


def example(*lines: str) -> str:
    """The end of a verb's help: an example to copy, which a test runs."""
    return "\n".join(["\b", "Example:", *(f"  {line}" for line in lines)])


def say(text: str, err: bool = False) -> None:
    """Print; control characters of names and paths are written out, so that the terminal does not obey them."""
    click.echo(printable(text, lines=True), err=err)


@contextmanager
def _damages_in_words() -> Iterator[None]:
    """Print warnings of damaged files as sentences, without the line of code that they come from."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def shown(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, DamagedWarning):
                say(f"mrinterp: {message}", err=True)
            else:
                show(message, category, *where, **more)

        warnings.showwarning = shown
        yield


class Verbs(click.Group):
    """A group whose verbs report bad input as one message and exit code 2."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """As they were added, not by the alphabet."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with _damages_in_words():
                return super().invoke(ctx)
        except click.UsageError as e:
            vars(e)["message"] = printable(e.message or "", lines=True)
            raise
        except InputError as e:
            if voice().verbose:
                say(traceback.format_exc(), err=True)
            say(f"mrinterp: {e}", err=True)
            ctx.exit(2)
        except OSError as e:
            if e.errno in (errno.ENOSPC, errno.EDQUOT):
                say(
                    f"mrinterp: {e.filename or 'a file'}: the disk is full. Free space and run again",
                    err=True,
                )
                ctx.exit(2)
            if e.filename is None:
                raise
            found = (e.strerror or str(e)).lower()
            say(f"mrinterp: {e.filename}: {found}. Check the path and its permissions", err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            kept = "; what is finished is kept, the same command goes on from there"
            studies = ctx.invoked_subcommand in ("run", "rerun", "bench")
            click.echo(f"\nmrinterp: interrupted{kept if studies else ''}", err=True)
            ctx.exit(130)
