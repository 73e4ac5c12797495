"""The verb ``bench``: every method on worlds whose causes are known, and the board."""

from __future__ import annotations

import click

from mrinterp.cli.verbs import answer, answering, example, tell

__all__ = ["bench"]


def _names(context: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> list[str] | None:
    """Names, each by itself or separated by commas."""
    return [n.strip() for given in value for n in given.split(",") if n.strip()] or None


@click.command(
    "bench",
    short_help="Which method finds the causes, on worlds where they are known?",
    epilog=example('mrinterp bench --methods default,ivw --families "linear network" --seeds 1'),
)
@click.option(
    "--methods",
    multiple=True,
    callback=_names,
    help="Names, separated by commas or given one by one; default all.",
)
@click.option(
    "--families",
    multiple=True,
    help="Families of worlds, separated by commas or given one by one (those with a comma in their name); default all for"
    " development, quick without trained networks.",
)
@click.option(
    "--size",
    type=click.Choice(["quick", "full"]),
    default="quick",
    show_default=True,
    help="Small worlds in minutes, or full ones in hours.",
)
@click.option(
    "--seeds",
    type=click.IntRange(1),
    help="Worlds per family (default 2, full 20), the same for all methods.",
)
@click.option(
    "--out",
    default="runs/bench",
    show_default=True,
    help="Folder; the same command goes on from what it holds.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1),
    default=2,
    show_default=True,
    help="Processes, each with its own worlds.",
)
@click.option(
    "--evaluation",
    type=click.Path(dir_okay=False),
    help="File of the commitment: run the evaluation families. Logged beside it; it is spent once.",
)
@answering
def bench(
    methods: list[str] | None,
    families: tuple[str, ...],
    size: str,
    seeds: int | None,
    out: str,
    jobs: int,
    evaluation: str | None,
) -> None:
    """Run methods on worlds whose causes are known, score them, and write the board into a folder."""
    from mrinterp.bench import run_bench
    from mrinterp.report.board_page import write_board

    board = run_bench(methods, families or None, size, seeds=seeds, out=out, jobs=jobs, evaluation=evaluation)
    told = [
        ("methods", ",".join(methods or [])),
        *(("families", n) for n in families),
        ("seeds", seeds),
    ]
    words = [f"--{k} {f'{chr(34)}{v}{chr(34)}' if ' ' in str(v) else v}" for k, v in told if v]
    words += [] if size == "quick" else [f"--size {size}"]
    written = write_board(board, out, " ".join(["mrinterp bench", *words]))
    tell(f"written: {', '.join(str(p) for p in written.values())}")
    answer(
        lambda: str(board),
        {"scores": board.scores.to_dict("records"), "paired": board.paired.to_dict("records")},
    )
