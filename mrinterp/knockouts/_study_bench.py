"""A study's knockout split as a bench, and the random directions that are knocked out beside its features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.basis import Basis, Dictionary
from mrinterp.core.design import Design
from mrinterp.core.errors import InputError
from mrinterp.features._feature_view import ChannelMap
from mrinterp.knockouts._bench import Bench
from mrinterp.models._cut import CutNetwork

__all__ = ["clean_runs", "permuted_dictionary", "random_dictionary", "study_bench"]


def study_bench(
    network: CutNetwork,
    design: Design,
    dictionary: Dictionary,
    folder: Path | None = None,
    split: str | Sequence[str] = "knockout",
    rows: NDArray[np.int_] | None = None,
) -> Bench:
    """The clean prompts of one split, or of several, with the dictionary's features.

    Parameters
    ----------
    network : CutNetwork
        On all inputs of the design.
    folder : Path, optional
        Where finished shards are kept.
    split : str or sequence of str
        Of the design.
    rows : ndarray of int, optional
        Which of these prompts, by number; default all.

    Raises
    ------
    InputError
        For a split that the design does not have.
    """
    runs = clean_runs(design, split)
    runs = runs if rows is None else runs.iloc[rows]
    inputs = runs["input"].to_numpy()
    view = network.dictionary_view(dictionary)
    linear = dictionary.read is not None  # directions lie at the site that is written
    return Bench(
        network.adapter,
        network.site if linear else network.view_site,
        ChannelMap(view) if network.is_map else view,
        network.inputs.take(inputs),
        network.outcome.take(inputs),
        position=network.position,
        prompt=runs["prompt"].to_numpy(),
        family=runs["family"].to_numpy(),
        block=int(design.settings["block"]),
        folder=folder,
    )


def clean_runs(design: Design, split: str | Sequence[str]) -> pd.DataFrame:
    """Clean runs of some splits, one after the other.

    Raises
    ------
    InputError
        For a split that the design does not have.
    """
    found = []
    for name in [split] if isinstance(split, str) else split:
        rows = design.rows(name, ("clean",))
        if not len(rows):
            known = ", ".join(dict.fromkeys(design.runs["split"].astype(str)))
            raise InputError("split", f"{name!r} is not in the design", f"Choose one of {known}")
        found.append(design.runs.iloc[rows])
    return pd.concat(found)


def random_dictionary(basis: Basis, count: int, seed: int) -> Dictionary:
    """Random directions within the natural variation of tokens, scaled like the features.

    Their effects are the baseline that a claim must stand out from. Each is a standard normal draw
    with the covariance of single-token activations, scaled to the median length of the features'
    write directions.

    Raises
    ------
    InputError
        For no directions at all, or more than the site has dimensions.
    """
    width = basis.dictionary.write.shape[1]
    if not 0 < count <= width:
        raise InputError(
            "knockouts.random_controls",
            f"{count} directions of a site of width {width}",
            f"Ask for 1 to {width}",
        )
    # 8: a stream of its own under the study's seed, shared with no other step.
    rng = np.random.default_rng([seed, 8])
    raw = rng.standard_normal((count, len(basis.support))) @ (
        np.sqrt(basis.support_variance)[:, None] * basis.support
    )
    length = np.median(np.linalg.norm(basis.dictionary.write, axis=1))
    write = raw / np.linalg.norm(raw, axis=1, keepdims=True) * length
    return _controls(basis, "random", write)


def permuted_dictionary(basis: Basis, count: int, seed: int) -> Dictionary:
    """Directions that features are written along, each with its coordinates permuted: as long and as sparse, and none of the
    network's own.

    Parameters
    ----------
    basis : Basis
    count : int
        Directions: of features drawn without replacement, and again from all where more are asked for.
    seed : int

    Raises
    ------
    InputError
        For no directions at all, or more than the site has dimensions.
    """
    write = basis.dictionary.write
    if not 0 < count <= write.shape[1]:
        raise InputError(
            "knockouts.permuted_controls",
            f"{count} directions of a site of width {write.shape[1]}",
            f"Ask for 1 to {write.shape[1]}",
        )
    # 9: a stream of its own under the study's seed, shared with no other step.
    rng = np.random.default_rng([seed, 9])
    rounds = [rng.permutation(len(write)) for _ in range(-(-count // len(write)))]
    return _controls(basis, "permuted", rng.permuted(write[np.concatenate(rounds)[:count]], axis=1))


def _controls(basis: Basis, name: str, write: NDArray[np.float64]) -> Dictionary:
    return Dictionary(
        names=tuple(f"{name}:{i:02d}" for i in range(len(write))),
        read=np.asarray(np.linalg.pinv(write).T, dtype=np.float64),
        write=write,
        center=basis.dictionary.center,
        unit=basis.dictionary.unit,
    )
