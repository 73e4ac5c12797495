"""Dictionaries of directions, in units of their spread over the discovery split's natural sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.decomposition import PCA, FastICA

from mrinterp.core.basis import Dictionary
from mrinterp.core.errors import InputError

__all__ = [
    "describe_features",
    "feature_names",
    "given_dictionary",
    "head_dictionary",
    "learn_dictionary",
]

Array = NDArray[np.float64]


def learn_dictionary(means: Array, kind: str, count: int, seed: int, site: str) -> Dictionary:
    """Independent (or principal) components of token means, with their dual write directions.

    Parameters
    ----------
    means : ndarray (N, width)
        Token means of natural sentences of the discovery split.
    kind : {"independent_components", "principal_components"}
    count : int
        Number of features F.

    Notes
    -----
    One unit of a feature is its standard deviation over these sentences. The write direction of a
    component is its column of the mixing matrix, so that reading after writing gives the identity.
    Components are ordered by the variance they explain and oriented so that their skewness is
    positive. Source: Hyvarinen 1999, 10.1109/72.761722.
    """
    N, width = means.shape
    spectrum = np.linalg.svd(means - means.mean(axis=0), compute_uv=False)
    dimensions = min(int((spectrum > 1e-9 * spectrum[0]).sum()), N - 1, width)
    if count > dimensions:
        raise InputError(
            "features.count",
            f"{count} components from {N} sentences of width {width}, which vary in {dimensions} dimensions",
            f"Ask for at most {dimensions}",
        )
    if kind == "independent_components":
        model = FastICA(count, whiten="unit-variance", random_state=seed, max_iter=2000, tol=1e-3)
        model.fit(means)
        read, write = model.components_, model.mixing_.T
    else:
        model = PCA(count, svd_solver="full").fit(means)
        sd = np.sqrt(model.explained_variance_)[:, None]
        read, write = model.components_ / sd, model.components_ * sd
    found = given_dictionary(feature_names(site, count), read, write, means, oriented=True)
    order = np.argsort(-np.einsum("fd,fd->f", found.write, found.write), kind="stable")
    assert found.read is not None
    return replace(found, read=found.read[order], write=found.write[order])


def given_dictionary(
    names: tuple[str, ...], read: Array, write: Array, means: Array, oriented: bool = False
) -> Dictionary:
    """Directions in units of their standard deviation over natural sentences, zero at their mean.

    Parameters
    ----------
    read, write : ndarray (F, width)
        Dual to each other.
    means : ndarray (N, width)
        What is read of the site on natural sentences of the discovery split.
    oriented : bool
        Whether signs are free: each feature is then turned so that its skewness is positive.

    Raises
    ------
    InputError
        For a feature that does not vary over these sentences.
    """
    center = means.mean(axis=0)
    scores = (means - center) @ read.T
    sd = scores.std(axis=0)
    flat = np.flatnonzero(~(sd > 1e-9 * max(float(sd.max(initial=0.0)), 1e-30)))
    if len(flat):
        raise InputError(
            f"feature {names[flat[0]]!r}",
            "does not vary over the natural sentences of the discovery split",
            "Leave it out",
        )
    sign = np.where((scores**3).mean(axis=0) < 0, -1.0, 1.0) if oriented else np.ones(len(sd))
    turn = sign[:, None]
    return Dictionary(
        names=names,
        read=read / sd[:, None] * turn,
        write=write * sd[:, None] * turn,
        center=center,
        unit="sd",
    )


def head_dictionary(names: tuple[str, ...], heads: Sequence[NDArray[np.int_]], means: Array) -> Dictionary:
    """One feature per attention head: the direction of its own output that varies most.

    Parameters
    ----------
    heads : sequence of ndarray (head width,) of int
        Coordinates of each head at the site.
    """
    rows = np.zeros((len(heads), means.shape[1]))
    for f, coordinates in enumerate(heads):
        part = means[:, coordinates] - means[:, coordinates].mean(axis=0)
        rows[f, coordinates] = np.linalg.svd(part, full_matrices=False)[2][0]
    return given_dictionary(names, rows, rows, means, oriented=True)


def feature_names(site: str, count: int) -> tuple[str, ...]:
    """Names of the dictionary's features: the site and a number, largest variance first."""
    return tuple(f"{site}:c{i:02d}" for i in range(count))


def describe_features(values: Array, doses: NDArray, instruments: pd.DataFrame) -> tuple[str, ...]:
    """Per feature, the slot filler that moves it most, with the mean difference in units.

    Parameters
    ----------
    values : ndarray (N, F)
        Feature values of natural sentences.
    doses : ndarray (N, J)
        Their slot doses.
    """
    slot = np.flatnonzero((instruments["kind"] == "slot").to_numpy())
    if not len(slot):
        return ("",) * values.shape[1]
    present = np.asarray(doses[:, slot], dtype=float)
    share = present.mean(axis=0)
    usable = (share > 0.01) & (share < 0.99)
    with np.errstate(divide="ignore", invalid="ignore"):
        with_allele = (present.T @ values) / present.sum(axis=0)[:, None]
        without = ((1 - present).T @ values) / (1 - present).sum(axis=0)[:, None]
    difference = np.where(usable[:, None], with_allele - without, 0.0)
    best = np.abs(difference).argmax(axis=0)
    names = instruments["instrument"].to_numpy()[slot]
    return tuple(f"{names[b]} {difference[b, f]:+.1f}" for f, b in enumerate(best))
