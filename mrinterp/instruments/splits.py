"""Families divided into splits before anything is read."""

from __future__ import annotations

import numpy as np

from mrinterp.core.design import SPLITS
from mrinterp.core.errors import InputError
from mrinterp.core.plan import FEWEST_FAMILIES, MIN_FAMILIES, SplitsSection

__all__ = ["READ", "split_families", "unread_families"]

READ = 50
"""Families of the knockout split that the study reads; of those beyond, up to 10 are left unread."""


def split_families(
    families: list[str], wanted: SplitsSection, seed: int, by_contrasts: bool = True
) -> dict[str, list[str]]:
    """Divide families at random into discovery, estimation, replication and knockout.

    A count of 0 takes an equal share of the families that the other counts do not take.

    Parameters
    ----------
    families : list of str
        Names of all families.
    wanted : SplitsSection
        Families per split, and the smallest number allowed.
    seed : int
        Of the random division.
    by_contrasts : bool
        Whether claims may rest on contrasts: they need 10 families in each split and 40 in all; instruments need
        ``wanted.min_families`` in each.

    Returns
    -------
    dict of str to list of str
        Families of every split, sorted.

    Raises
    ------
    InputError
        If a split would hold fewer families than inference needs.
    """
    counts = {s: getattr(wanted, s) for s in SPLITS}
    open_splits = [s for s in SPLITS if counts[s] == 0]
    left = len(families) - sum(counts.values())
    if left < 0:
        raise InputError(
            "splits",
            f"{sum(counts.values())} families asked for, {len(families)} exist",
            "Ask for fewer, or add families",
        )
    for i, s in enumerate(open_splits):
        counts[s] = left // len(open_splits) + (i < left % len(open_splits))
    least = wanted.min_families
    if by_contrasts and len(families) >= MIN_FAMILIES:
        least = min(least, FEWEST_FAMILIES)
    for s in SPLITS:
        if counts[s] < least:
            enough = MIN_FAMILIES if by_contrasts else 4 * wanted.min_families
            each = min(wanted.min_families, FEWEST_FAMILIES) if by_contrasts else wanted.min_families
            raise InputError(
                f"splits.{s}",
                f"{counts[s]} families ({len(families)} in all); inference needs at least {each} in each split,"
                f" {enough} in all",
                f"Add families or take some from other splits ({4 * MIN_FAMILIES} or more in all also serve estimates by"
                " instruments; lower splits.min_families for a rehearsal)",
            )
    # 1 is the stream of the seed that splits are drawn from: see `noise_directions`.
    order = np.random.default_rng([seed, 1]).permutation(len(families))
    out, start = {}, 0
    for s in SPLITS:
        out[s] = sorted(families[i] for i in order[start : start + counts[s]])
        start += counts[s]
    return out


def unread_families(knockout: list[str], asked: int, seed: int) -> list[str]:
    """Families of the knockout split that are left unread, for knockouts chosen after the results were read.

    Parameters
    ----------
    knockout : list of str
        Families of the split.
    asked : int
        Families that the plan itself wants knocked out; 0 where a pilot says it.
    seed : int
        Of the random choice.

    Returns
    -------
    list of str
        Those beyond the first 50 (or ``asked``, if that is more), at most 10: so many as a claim needs.
    """
    spare = min(FEWEST_FAMILIES, len(knockout) - max(READ, asked))
    # 31: a stream of its own under the study's seed, shared with no other step.
    order = np.random.default_rng([seed, 31]).permutation(len(knockout))
    return sorted(knockout[i] for i in order[: max(spare, 0)])
