"""The verb ``scan``: effects of instruments on very many features, from arrays in a file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from mrinterp.cli.verbs import answer, answering, example, tell, voice
from mrinterp.core.errors import InputError

__all__ = ["scan"]

ARRAYS = ("doses", "outcomes", "prompt", "family", "kind", "clean", "covariates")
NEEDED = ("doses", "outcomes", "prompt", "family")
SHOWN = 10
"""Pairs in the short answer; ``--verbose`` lists more."""


@click.command(
    "scan",
    short_help="Effects of instruments on very many features, stored in shards.",
    epilog=example("mrinterp scan runs.npz features.npy --out scan --draws 5"),
)
@click.argument("runs")
@click.argument("features")
@click.option("--out", required=True, help="Folder for the effects; an interrupted scan goes on there.")
@click.option(
    "--errors",
    type=click.Choice(["CR3", "CR1", "HC3", "HC1", "homoskedastic"]),
    default="CR3",
    show_default=True,
    help="Clustered by family (jackknife or sandwich), by run, or alike in all runs.",
)
@click.option("--joint", is_flag=True, help="Effects of every dose with the others held fixed.")
@click.option("--paired", is_flag=True, help="Changes against the clean run (array `clean`).")
@click.option("--p-threshold", type=float, help="Keep only pairs with at most this p.")
@click.option("--draws", type=int, default=20, show_default=True, help="Permutations for the calibration.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the permutations.")
@click.option("--device", help="Device of torch, such as cuda.")
@click.option("--workers", type=click.IntRange(1), help="Processes of this machine that share the work.")
@click.option("--scheduler", help="Address of a scheduler of dask whose workers share it instead.")
@click.option("--dry-run", is_flag=True, help="Check the arrays, say what memory it takes, and stop.")
@click.option("--figure", help="File for the figure of p-values (.svg, .png or .pdf).")
@answering
def scan(
    runs: str,
    features: str,
    out: str,
    p_threshold: float | None,
    dry_run: bool,
    figure: str | None,
    **options: Any,
) -> None:
    """Scan FEATURES (.npy, memory-mapped; a sparse .npz; or a folder of parts) by the doses in RUNS.

    RUNS is an .npz file with the arrays doses, outcomes, prompt and family, and where there are any kind, clean and
    covariates: one row per run. Effects go to --out, in shards that can be read while the scan runs.
    """
    from mrinterp.core.shown import bytes_in_words
    from mrinterp.scan import scan_features, scan_memory
    from mrinterp.scan._scan_inputs import opened_features

    given = _arrays(Path(runs))
    rows, count = opened_features(features).shape
    instruments, outcomes = (given[n].shape[1] if given[n].ndim == 2 else 1 for n in ("doses", "outcomes"))
    memory = scan_memory(rows, instruments, count, outcomes, os.cpu_count() or 1)
    words = f"{rows:,} runs, {count:,} features, {instruments:,} instruments: about {bytes_in_words(memory)}"
    if dry_run:
        answer(f"{words} of memory beside the features.", {"runs": rows, "features": count, "bytes": memory})
        return
    tell(f"{words} of memory beside the features")
    found = scan_features(out, features=features, p_threshold=p_threshold, **given, **options)
    if figure:
        from mrinterp.plots import plot

        plot(found, figure)
    top = found.pairs.head(50 if voice().verbose else SHOWN)
    record = {
        "folder": out,
        "features": found.features,
        "kept": found.kept,
        "inflation_permuted": found.inflation_permuted,
        "pairs": top.to_dict("records"),
    }
    answer(lambda: f"{found}\n\n{top.to_string(index=False, float_format=lambda v: f'{v:.4g}')}", record)


def _arrays(path: Path) -> dict[str, Any]:
    """Arrays of a file of runs, by name."""
    import numpy as np

    if path.suffix != ".npz" or not path.is_file():
        raise InputError(str(path), "no .npz file", f"Give one with the arrays {', '.join(NEEDED)}")
    try:
        with np.load(path, allow_pickle=False) as held:
            arrays = {name: held[name] for name in held.files}
    except (OSError, ValueError) as e:
        raise InputError(
            str(path), f"cannot be read ({e})", "Write it with numpy.savez; text as fixed-width strings"
        ) from None
    lacking = [n for n in NEEDED if n not in arrays]
    if lacking:
        fix = f"It needs {', '.join(NEEDED)}; it has {', '.join(sorted(arrays)) or 'none'}"
        raise InputError(str(path), f"no array {lacking[0]!r}", fix)
    unknown = sorted(set(arrays) - set(ARRAYS))
    if unknown:
        tell(f"{path}: arrays not used: {', '.join(unknown)}")
    return {n: arrays[n] for n in ARRAYS if n in arrays}
