"""Two tables, one instrument order, one effect allele: every instrument that is lost has a reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.errors import InputError
from mrinterp.core.mrdata import MRData
from mrinterp.tables.traits import TraitTable

__all__ = ["align_alleles", "harmonize"]

_COMPLEMENT = str.maketrans("ACGT", "TGCA")
Mask = NDArray[np.bool_]


def _other_strand(alleles: NDArray[np.object_]) -> NDArray[np.object_]:
    """Alleles as read on the other strand: complement, in reverse order."""
    return np.array(
        [a.translate(_COMPLEMENT)[::-1] if set(a) <= set("ACGT") else a for a in alleles], dtype=object
    )


def _as_indel(a: NDArray[np.object_], b: NDArray[np.object_], rows: Mask) -> None:
    """Recode sequences of unequal length as I (the longer) and D, in place."""
    for i in np.flatnonzero(rows):
        if a[i] and b[i] and len(a[i]) != len(b[i]):
            a[i], b[i] = ("I", "D") if len(a[i]) > len(b[i]) else ("D", "I")


def _match_indels(pair: pd.DataFrame) -> tuple[NDArray[np.object_], ...]:
    a1, a2, b1, b2 = (
        pair[name].to_numpy(dtype=object).copy()
        for name in ("effect_allele_x", "other_allele_x", "effect_allele_y", "other_allele_y")
    )

    def coded(p: NDArray[np.object_], q: NDArray[np.object_]) -> Mask:
        return np.array([u in ("I", "D") or v in ("I", "D") for u, v in zip(p, q, strict=True)], dtype=bool)

    x_coded, y_coded = coded(a1, a2), coded(b1, b2)
    _as_indel(a1, a2, y_coded & ~x_coded)
    _as_indel(b1, b2, x_coded & ~y_coded)
    return a1, a2, b1, b2


def align_alleles(pair: pd.DataFrame, action: int = 2, tolerance: float = 0.08) -> pd.DataFrame:
    """Put the effects of the second trait on the effect alleles of the first.

    Parameters
    ----------
    pair : DataFrame
        ``instrument, beta_y, effect_allele_x, other_allele_x, eaf_x, effect_allele_y,
        other_allele_y, eaf_y``, one row per instrument; unknown alleles are empty.
    action : {1, 2, 3}
        1: all alleles are on the forward strand. 2: infer the strand of palindromic alleles
        (A/T, C/G) from the frequencies. 3: drop palindromic alleles.
    tolerance : float
        Palindromic alleles with a frequency within this of 0.5 are ambiguous (actions 2 and 3).

    Returns
    -------
    DataFrame
        The rows of ``pair`` with the second trait aligned and the columns ``swapped, flipped,
        palindromic, ambiguous, remove, keep, reason`` (empty where kept).

    Notes
    -----
    Where one of the two alleles is unknown, effect alleles are compared with whatever is known,
    on the strand as given. Where all are unknown, instruments are matched by name alone.
    The rules are those of the harmonization step of two-sample MR (Hemani 2018 eLife,
    10.7554/eLife.34408).
    """
    a1, a2, b1, b2 = _match_indels(pair)
    beta, f_y = pair["beta_y"].to_numpy(float).copy(), pair["eaf_y"].to_numpy(float).copy()
    f_x = pair["eaf_x"].to_numpy(float)
    full = (a1 != "") & (a2 != "") & (b1 != "") & (b2 != "")
    blank = (a1 == "") & (a2 == "") | (b1 == "") & (b2 == "")
    swapped, flipped = np.zeros(len(pair), bool), np.zeros(len(pair), bool)

    def swap(rows: Mask) -> None:
        b1[rows], b2[rows] = b2[rows], b1[rows]
        beta[rows], f_y[rows] = -beta[rows], 1.0 - f_y[rows]
        swapped[rows] ^= True

    def same() -> Mask:
        return np.asarray((a1 == b1) & (a2 == b2))

    def crossed() -> Mask:
        return np.asarray((a1 == b2) & (a2 == b1))

    palindromic = full & (a1 == _other_strand(a2)) & (a1 != a2)
    swap(full & crossed())
    strand = full & ~palindromic & ~same()
    b1[strand], b2[strand] = _other_strand(b1[strand]), _other_strand(b2[strand])
    flipped |= strand
    swap(strand & crossed())
    partial = ~full & ~blank
    swap(partial & _partly(a1, a2, b1, b2, crossed=True) & ~_partly(a1, a2, b1, b2, crossed=False))
    remove = (full & ~same()) | (partial & ~_partly(a1, a2, b1, b2, crossed=False))
    p_x, p_y = np.where(np.isnan(f_x), 0.5, f_x), np.where(np.isnan(f_y), 0.5, f_y)
    near = (np.abs(p_x - 0.5) < tolerance) | (np.abs(p_y - 0.5) < tolerance)
    ambiguous = palindromic & near
    if action == 2:
        other = palindromic & ~remove & ((p_x - 0.5) * (p_y - 0.5) < 0)
        beta[other], f_y[other] = -beta[other], 1.0 - f_y[other]
        flipped |= other
    out = pair.copy()
    out["beta_y"], out["eaf_y"] = beta, f_y
    out["effect_allele_x"], out["other_allele_x"] = a1, a2
    out["effect_allele_y"], out["other_allele_y"] = b1, b2
    out["swapped"], out["flipped"] = swapped, flipped & ~remove
    out["palindromic"], out["ambiguous"], out["remove"] = palindromic, ambiguous, remove
    out["reason"] = _reasons(out, action)
    out["keep"] = out["reason"] == ""
    return out


def _partly(a1: Any, a2: Any, b1: Any, b2: Any, *, crossed: bool) -> Mask:
    """Whether known alleles agree (directly or crossed) with at least one known pair."""
    c1, c2 = (b2, b1) if crossed else (b1, b2)
    agree1, agree2 = (a1 == c1) & (a1 != ""), (a2 == c2) & (a2 != "")
    clash1 = (a1 != c1) & (a1 != "") & (c1 != "")
    clash2 = (a2 != c2) & (a2 != "") & (c2 != "")
    return np.asarray((agree1 | agree2) & ~clash1 & ~clash2, dtype=bool)


def _reasons(out: pd.DataFrame, action: int) -> list[str]:
    reasons = []
    for row in out.itertuples(index=False):
        alleles = f"{row.effect_allele_x}/{row.other_allele_x}"
        if row.remove:
            reasons.append(f"alleles do not match: {alleles} and {row.effect_allele_y}/{row.other_allele_y}")
        elif action == 3 and row.palindromic:
            reasons.append(f"palindromic alleles {alleles} (action 3 drops them)")
        elif action == 2 and row.ambiguous:
            seen = (
                f"{row.eaf_x:g} and {row.eaf_y:g}"
                if np.isfinite(np.array([row.eaf_x, row.eaf_y], float)).all()
                else "not known"
            )
            reasons.append(f"palindromic alleles {alleles}, strand not told by the frequencies ({seen})")
        else:
            reasons.append("")
    return reasons


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
    return frame.set_index("instrument", drop=False)


def harmonize(
    exposures: TraitTable | Sequence[TraitTable],
    outcomes: TraitTable | Sequence[TraitTable],
    action: int = 2,
    tolerance: float = 0.08,
) -> MRData:
    """Align tables of one trait each by instrument, allele and dose.

    Parameters
    ----------
    exposures, outcomes : TraitTable or sequence of TraitTable
        Effects are put on the alleles and the dose of the first exposure.
    action : {1, 2, 3}
        What to do with palindromic alleles; see `align_alleles`.
    tolerance : float
        Frequencies this close to 0.5 do not tell the strand.

    Returns
    -------
    MRData
        The instruments that every table has; ``info`` tells what was swapped and flipped,
        ``dropped`` the reason for every instrument of the first exposure that was lost.

    Raises
    ------
    InputError
        For an unknown action, or where no instrument is left.
    """
    xs = [exposures] if isinstance(exposures, TraitTable) else list(exposures)
    ys = [outcomes] if isinstance(outcomes, TraitTable) else list(outcomes)
    if action not in (1, 2, 3):
        raise InputError(
            "harmonize action", repr(action), "Use 1 (forward strand), 2 (infer) or 3 (drop palindromes)"
        )
    drop: dict[str, str] = {}
    frames = [_drop_duplicates(t, drop) for t in [*xs, *ys]]
    first = frames[0]
    for table, frame in zip([*xs, *ys][1:], frames[1:], strict=True):
        for name in first.index.difference(frame.index):
            drop.setdefault(str(name), f"not in {table.where}")
    names = [n for n in first.index if n not in drop]
    beta, se, info = _align_all(frames, names, action, tolerance, drop)
    kept = np.array([n not in drop for n in names], dtype=bool)
    dropped = pd.DataFrame([(n, drop[n]) for n in first.index if n in drop], columns=["instrument", "reason"])
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
        beta[:F, kept],
        se[:F, kept],
        beta[F:, kept],
        se[F:, kept],
        tuple(t.trait for t in xs),
        tuple(t.trait for t in ys),
        tuple(n for n, k in zip(names, kept, strict=True) if k),
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
