"""The verb ``completion``: a script by which a shell completes verbs and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from mrinterp.cli.verbs import answer, answering, example

__all__ = ["completion"]

WHERE = {
    "bash": "~/.bashrc",
    "zsh": "~/.zshrc",
    "fish": "~/.config/fish/completions/mrinterp.fish",
}
"""Where each shell's script belongs."""


@click.command(
    "completion",
    short_help="Print a script by which a shell completes verbs and options.",
    epilog=example("mrinterp completion bash"),
)
@click.argument("shell", type=click.Choice(tuple(WHERE)))
@click.pass_context
@answering
def completion(context: click.Context, shell: str) -> None:
    """Print the script for SHELL; append it to ~/.bashrc or ~/.zshrc, or save it as
    ~/.config/fish/completions/mrinterp.fish, and start a new shell.
    """
    made = get_completion_class(shell)
    assert made is not None
    script = made(context.find_root().command, {}, "mrinterp", "_MRINTERP_COMPLETE")
    # `source` asks the installed bash for its version; the script itself needs none.
    source = script.source_template % script.source_vars()
    answer(source.rstrip(), {"shell": shell, "file": WHERE[shell], "script": source})
