"""Total effects split into direct and mediated ones by two regressions, with jackknife errors over clusters."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["mediated_parts"]

Array = NDArray[np.float64]


def mediated_parts(
    whole: tuple[Array, Array], clusters: Iterable[tuple[Array, Array]], sizes: tuple[int, int, int]
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Split the effects of F columns into what M later columns carry, what others carry, and what is left.

    Parameters
    ----------
    whole : tuple of ndarray (D, D) and (D, O)
        Products of the columns with one another and with the outcomes, over all rows. Columns: F early ones, r that are held
        beside them, M later ones, and the rest of the later site.
    clusters : iterable of the same
        Over the rows of one cluster each.
    sizes : tuple of int
        F, r and M.

    Returns
    -------
    tuple of dict
        ``total, direct, mediated, rest, share`` (F, O) and ``through`` (F, M, O); their standard errors, by the delete-one-cluster
        jackknife.

    Raises
    ------
    numpy.linalg.LinAlgError
        Where columns cannot be told apart.

    Notes
    -----
    With a the effects of the early columns on later ones and b those of the later ones beside the early ones (least squares),
    total = direct + a b, exactly.
    """
    estimate = _split(*whole, sizes)
    square = {name: np.zeros_like(value) for name, value in estimate.items()}
    count = 0
    for products, out in clusters:
        count += 1
        again = _split(whole[0] - products, whole[1] - out, sizes)
        for name, value in again.items():
            square[name] += (value - estimate[name]) ** 2
    factor = (count - 1) / max(count, 1)
    return estimate, {name: np.sqrt(factor * value) for name, value in square.items()}


def _split(products: Array, out: Array, sizes: tuple[int, int, int]) -> dict[str, Array]:
    F, r, M = sizes
    scale = 1.0 / np.sqrt(np.maximum(np.diag(products), 1e-300))
    products, out = products * np.outer(scale, scale), out * scale[:, None]
    early = slice(0, F + r)
    on_later = np.linalg.solve(products[early, early], products[early, F + r :])[:F]
    total = np.linalg.solve(products[early, early], out[early])[:F]
    effect = np.linalg.solve(products, out)
    parts = on_later[:, :, None] * effect[None, F + r :] * scale[:F, None, None]
    through, direct, total = parts[:, :M], effect[:F] * scale[:F, None], total * scale[:F, None]
    mediated, rest = through.sum(axis=1), parts[:, M:].sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = mediated / total
    return {
        "total": total,
        "direct": direct,
        "through": through,
        "mediated": mediated,
        "rest": rest,
        "share": share,
    }
