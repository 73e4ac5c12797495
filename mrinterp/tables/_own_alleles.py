"""One table whose traits carry alleles of their own: the traits of a row are put on the alleles of the first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from mrinterp.core.errors import InputError
from mrinterp.core.mrdata import MRData
from mrinterp.tables._align_alleles import align_alleles
from mrinterp.tables._alleles import Alleles
from mrinterp.tables._harmonize import NOT_HARMONIZED

__all__ = ["align_own_alleles"]


def align_own_alleles(
    data: MRData, alleles: Sequence[Alleles], action: int, where: str, no_alleles: bool = False
) -> MRData:
    """Put every trait's effects on the alleles of the first; rows that do not match are dropped with the reason.

    Parameters
    ----------
    data : MRData
        Effects as the table has them.
    alleles : sequence (F + O,) of Alleles
        Of each trait's effects, exposures first.
    action : {1, 2, 3}
        Palindromic alleles, see `harmonize`.
    where : str
        The table, for messages.
    no_alleles : bool
        Leave effects as they are and say so.

    Raises
    ------
    InputError
        Where some traits have alleles and others none, or no row is left.
    """
    if no_alleles and any(a.known for a in alleles):
        return replace(data, meta={**data.meta, "notes": [NOT_HARMONIZED, *data.meta.get("notes", [])]})
    if all(a is alleles[0] for a in alleles) or not any(a.known for a in alleles):
        return data
    traits = (*data.exposures, *data.outcomes)
    if not all(a.known for a in alleles):
        lacking, known = (
            next(t for t, a in zip(traits, alleles, strict=True) if a.known is k) for k in (False, True)
        )
        raise InputError(
            where,
            f"alleles of the effects on {known!r}, and none of those on {lacking!r}",
            f"Add 'effect_allele_{lacking}' and 'other_allele_{lacking}', one 'effect_allele' and 'other_allele' for all, or"
            " take effects as they are (--no-alleles, in Python no_alleles=True)",
        )
    beta, reason = (
        np.concatenate([data.beta_x, data.beta_y]),
        np.full(len(data.instruments), "", dtype=object),
    )
    first = alleles[0]
    for t, own in enumerate(alleles[1:], start=1):
        pair = pd.DataFrame({"instrument": list(data.instruments), "beta_y": beta[t]})
        for side, of in (("x", first), ("y", own)):
            pair[f"effect_allele_{side}"], pair[f"other_allele_{side}"], pair[f"eaf_{side}"] = (
                of.effect,
                of.other,
                of.eaf,
            )
        aligned = align_alleles(pair, action)
        beta[t] = aligned["beta_y"]
        reason = np.where(reason == "", aligned["reason"], reason)
    kept, F = reason == "", len(data.exposures)
    if not kept.any():
        raise InputError(
            where, f"no instrument is left; first: {data.instruments[0]}: {reason[0]}", "Check the alleles"
        )
    lost = pd.DataFrame(
        {"instrument": np.array(data.instruments, dtype=object)[~kept], "reason": reason[~kept]}
    )
    info = data.info.assign(effect_allele=first.effect, other_allele=first.other, eaf=first.eaf)
    dropped = pd.concat([data.dropped, lost], ignore_index=True) if len(lost) else data.dropped
    whole = replace(data, beta_x=beta[:F], beta_y=beta[F:], info=info)
    return replace(
        whole.select(instruments=kept), dropped=dropped, meta={**data.meta, "harmonize": {"action": action}}
    )
