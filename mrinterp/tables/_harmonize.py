"""Two tables, one instrument order, one effect allele: every instrument that is lost has a reason."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.errors import InputError
from mrinterp.core.mrdata import MRData
from mrinterp.tables._align_alleles import align_alleles
from mrinterp.tables._traits import TraitTable

__all__ = ["harmonize"]


def _drop_duplicates(table: TraitTable, drop: dict[str, str]) -> pd.DataFrame:
    """One row per instrument: identical repeats collapse, contradicting ones are dropped."""
    frame = table.frame
    repeated = frame["instrument"].duplicated(keep=False)
    if repeated.any():
        columns = ["instrument", "effect_allele", "other_allele", "beta", "se"]
        distinct = frame.loc[repeated, columns].drop_duplicates()
        for name, count in distinct["instrument"].value_counts().items():
            if count > 1:
                drop.setdefault(str(name), f"{count} contradicting rows in {table.where}")
        frame = frame.drop_duplicates("instrument")
    incomplete = frame["beta"].isna() | frame["se"].isna()
    for name in frame.loc[incomplete, "instrument"]:
        drop.setdefault(str(name), f"effect or standard error missing in {table.where}")
    infinite = np.isinf(frame["beta"]) | np.isinf(frame["se"])
    for name in frame.loc[infinite, "instrument"]:
        drop.setdefault(str(name), f"effect or standard error infinite in {table.where}")
    return frame.set_index("instrument", drop=False)


def harmonize(
    exposures: TraitTable | Sequence[TraitTable],
    outcomes: TraitTable | Sequence[TraitTable],
    *,
    action: int = 2,
    tolerance: float = 0.08,
) -> MRData:
    """Align tables of one trait each by instrument, allele and dose.

    Parameters
    ----------
    exposures, outcomes : TraitTable or sequence of TraitTable
        From `read_trait`. Effects are put on the alleles and the dose of the first exposure.
    action : {1, 2, 3}
        Strands. 1: all alleles are on the forward strand. 2: strands are inferred, those of palindromic
        alleles (A/T, C/G) from the frequencies. 3: strands are inferred, palindromic alleles dropped.
    tolerance : float
        Frequencies this close to 0.5 do not tell the strand of palindromic alleles: action 2 drops them.

    Returns
    -------
    MRData
        The instruments that every table has; ``info`` tells what was swapped and flipped,
        ``dropped`` the reason for every instrument of an exposure that was lost.

    Raises
    ------
    InputError
        For an unknown action, a trait given twice, or where no instrument is left.

    Notes
    -----
    Not valid where frequencies come from populations that differ: the strand of palindromic alleles is
    then guessed wrong. Where a table has no alleles, instruments are matched by name alone.

    References
    ----------
    Hemani et al. 2018, eLife, doi:10.7554/eLife.34408.

    Examples
    --------
    >>> import pandas as pd
    >>> from mrinterp import tables
    >>> x = {"SNP": ["a"], "effect_allele": ["A"], "other_allele": ["G"], "beta": [0.1], "se": [0.01]}
    >>> y = {"SNP": ["a"], "effect_allele": ["G"], "other_allele": ["A"], "beta": [0.3], "se": [0.01]}
    >>> x, y = (tables.read_trait(pd.DataFrame(t), name) for t, name in ((x, "bmi"), (y, "chd")))
    >>> tables.harmonize(x, y).beta_y  # the effect of the same allele
    array([[-0.3]])
    """
    xs = [exposures] if isinstance(exposures, TraitTable) else list(exposures)
    ys = [outcomes] if isinstance(outcomes, TraitTable) else list(outcomes)
    if action not in (1, 2, 3):
        raise InputError(
            "harmonize action", repr(action), "Use 1 (forward strand), 2 (infer) or 3 (drop palindromes)"
        )
    for side in (xs, ys):
        for position, table in enumerate(side):
            if table.trait in [t.trait for t in side[:position]]:
                raise InputError(
                    table.where,
                    f"trait {table.trait!r} is given twice",
                    "Give each trait once, under its own name",
                )
    drop: dict[str, str] = {}
    frames = [_drop_duplicates(t, drop) for t in [*xs, *ys]]
    first = frames[0]
    for table, frame in zip([*xs, *ys][1:], frames[1:], strict=True):
        for name in first.index.difference(frame.index):
            drop.setdefault(str(name), f"not in {table.where}")
    asked = list(first.index)
    for frame in frames[1 : len(xs)]:
        elsewhere = [n for n in frame.index if n not in first.index]
        drop.update({str(n): f"not in {xs[0].where}" for n in elsewhere})
        asked += elsewhere
    names = [n for n in first.index if n not in drop]
    beta, se, info = _align_all(frames, names, action, tolerance, drop)
    kept = np.array([n not in drop for n in names], dtype=bool)
    dropped = pd.DataFrame(
        [(n, drop[n]) for n in dict.fromkeys(asked) if n in drop], columns=["instrument", "reason"]
    )
    if not kept.any():
        detail = (
            f"; first: {dropped['instrument'].iloc[0]}: {dropped['reason'].iloc[0]}" if len(dropped) else ""
        )
        raise InputError(
            f"{xs[0].where} and {ys[0].where}",
            f"no instrument is left of {len(first)}{detail}",
            "Check that both tables name the instruments alike and report the same alleles",
        )
    F = len(xs)
    n = np.array([f["n"].median() if f["n"].notna().any() else np.nan for f in frames])
    return MRData(
        beta_x=beta[:F, kept],
        se_x=se[:F, kept],
        beta_y=beta[F:, kept],
        se_y=se[F:, kept],
        exposures=tuple(t.trait for t in xs),
        outcomes=tuple(t.trait for t in ys),
        instruments=tuple(n for n, k in zip(names, kept, strict=True) if k),
        n_x=None if np.isnan(n[:F]).all() else n[:F],
        n_y=None if np.isnan(n[F:]).all() else n[F:],
        info=info.loc[kept].reset_index(drop=True),
        dropped=dropped,
        meta={"harmonize": {"action": action, "tolerance": tolerance}},
    )


def _align_all(
    frames: list[pd.DataFrame], names: list[str], action: int, tolerance: float, drop: dict[str, str]
) -> tuple[NDArray[np.float64], NDArray[np.float64], pd.DataFrame]:
    first = frames[0].loc[names]
    beta, se = np.empty((len(frames), len(names))), np.empty((len(frames), len(names)))
    beta[0], se[0] = first["beta"], first["se"]
    info = first[["instrument", "effect_allele", "other_allele", "eaf"]].reset_index(drop=True)
    for t, frame in enumerate(frames[1:], start=1):
        second = frame.loc[names]
        scale = (first["dose"] / second["dose"]).fillna(1.0).to_numpy(float)
        pair = pd.DataFrame({"instrument": names, "beta_y": second["beta"].to_numpy(float) * scale})
        for side, table in (("x", first), ("y", second)):
            for name in ("effect_allele", "other_allele", "eaf"):
                pair[f"{name}_{side}"] = table[name].to_numpy()
        aligned = align_alleles(pair, action, tolerance)
        beta[t], se[t] = aligned["beta_y"], second["se"].to_numpy(float) * np.abs(scale)
        for name, reason in zip(names, aligned["reason"], strict=True):
            if reason:
                drop.setdefault(name, reason)
        if t == len(frames) - 1:
            for name in ("effect_allele_y", "other_allele_y", "eaf_y", "swapped", "flipped", "palindromic"):
                info[name] = aligned[name].to_numpy()
    return beta, se, info
