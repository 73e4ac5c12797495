"""The verb ``scan``: effects of instruments on very many features, from arrays in a file or from a study's network."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mrinterp.cli.study_verbs import agree, allow_code_option
from mrinterp.cli.verbs import answer, answering, example, tell, voice
from mrinterp.core.errors import InputError

if TYPE_CHECKING:
    from mrinterp.results._scan.feature_scan import FeatureScan

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
@click.argument("features", required=False)
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
@click.option("--split", help="Of a study: whose runs; by default those of discovery.")
@click.option("--kind", help="Of a study: kind of perturbation; by default that of its estimates.")
@click.option("--p-threshold", type=float, help="Keep only pairs with at most this p.")
@click.option("--draws", type=int, default=20, show_default=True, help="Permutations for the calibration.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the permutations.")
@click.option("--device", help="Device of torch, such as cuda.")
@click.option("--workers", type=click.IntRange(1), help="Processes of this machine that share the work.")
@click.option("--scheduler", help="Address of a scheduler of dask whose workers share it instead.")
@click.option(
    "--dry-run", is_flag=True, help="Check what is given, say what memory and disk it takes, and stop."
)
@click.option("--figure", help="File for the figure of p-values (.svg, .png or .pdf).")
@allow_code_option
@answering
def scan(runs: str, features: str | None, out: str, figure: str | None, **options: Any) -> None:
    """Scan FEATURES (.npy, memory-mapped; a sparse .npz; or a folder of parts) by the doses in RUNS, or all features of a study.

    RUNS is an .npz file with the arrays doses, outcomes, prompt and family, and where there are any kind, clean and
    covariates: one row per run. Or it is a study file, without FEATURES: its runs go through the network, and all latents of
    its autoencoder (without one, all dimensions of its site) are scanned. Effects go to --out, in shards that can be read
    while the scan runs.
    """
    of_study = {name: options.pop(name) for name in ("split", "kind", "allow_code")}
    if features is None and not runs.endswith(".npz"):
        found = _scan_study(runs, out, options, **of_study | {"split": of_study["split"] or "discovery"})
    else:
        for name in ("split", "kind"):
            if of_study[name] is not None:
                raise InputError(f"--{name}", "given with arrays", "Leave it out, or give a study file alone")
        found = _scan_arrays(runs, features, out, options)
    if found is None:
        return
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


def _scan_arrays(runs: str, features: str | None, out: str, options: dict[str, Any]) -> FeatureScan | None:
    """A scan of arrays; nothing after a dry run."""
    from mrinterp.core.shown import bytes_in_words
    from mrinterp.scan import scan_features, scan_memory
    from mrinterp.scan._feature_files import opened_features

    if features is None:
        fix = "Give a file of features after it; or a study file alone"
        raise InputError("features", f"none, beside the runs in {runs}", fix)
    given = _arrays(Path(runs))
    rows, count = opened_features(features).shape
    instruments, outcomes = (given[n].shape[1] if given[n].ndim == 2 else 1 for n in ("doses", "outcomes"))
    memory = scan_memory(rows, instruments, count, outcomes, os.cpu_count() or 1)
    words = f"{rows:,} runs, {count:,} features, {instruments:,} instruments: about {bytes_in_words(memory)}"
    if options.pop("dry_run"):
        answer(f"{words} of memory beside the features.", {"runs": rows, "features": count, "bytes": memory})
        return None
    tell(f"{words} of memory beside the features")
    return scan_features(out, features=features, **given, **options)


def _scan_study(
    study: str, out: str, options: dict[str, Any], split: str, kind: str | None, allow_code: bool
) -> FeatureScan | None:
    """A scan of all features of a study's site; nothing after a dry run."""
    from mrinterp.core.shown import bytes_in_words
    from mrinterp.study._study_scan import StudyScan

    if options.pop("paired"):
        raise InputError("--paired", "given with a study", "Leave it out: the kind of perturbation says it")
    made = StudyScan.of(study, out, allow_code=allow_code)
    made.allow_code = agree(made.plan, made.source, study, made.allow_code)
    if not options.pop("dry_run"):
        return made.scan(split, kind, **options)
    sizes = made.sizes(split, kind)
    kept = "dense" if sizes["entries"] is None else f"about {sizes['entries']:,.0f} of them not zero in a run"
    answer(
        f"{sizes['runs']:,} runs of {sizes['families']:,} {split} families, {sizes['features']:,} features ({kept}),"
        f" {sizes['instruments']:,} instruments: passes hold about {bytes_in_words(sizes['held_by_a_part'])} beside the network,"
        f" the scan {bytes_in_words(sizes['bytes'])}; features take {bytes_in_words(sizes['disk'])} of disk.",
        sizes,
    )
    return None


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
