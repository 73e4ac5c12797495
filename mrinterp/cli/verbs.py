"""How every verb ends: bad input is one message, an interruption says what is kept."""

from __future__ import annotations

import errno
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from mrinterp.core.errors import DamagedWarning, InputError
from mrinterp.core.printable import printable

__all__ = ["Verbs", "say"]


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
            studies = ctx.invoked_subcommand in ("run", "rerun")
            click.echo(f"\nmrinterp: interrupted{kept if studies else ''}", err=True)
            ctx.exit(130)
