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

__all__ = ["NOT_HARMONIZED", "harmonize"]

NOT_HARMONIZED = (
    "NOT HARMONIZED: instruments are matched by name alone (--no-alleles); an effect that belongs to the other"
    " allele has the wrong sign."
)
_SAME = ["instrument", "effect_allele", "other_allele", "beta", "se"]
_NONE, _SEVERAL = -1, -2


def _usable(table: TraitTable, drop: dict[str, str]) -> pd.DataFrame:
    """Rows with effect and error by instrument; the others are dropped with the reason."""
    frame = table.frame
    known = frame["beta"].notna() & frame["se"].notna()
    finite = ~(np.isinf(frame["beta"]) | np.isinf(frame["se"]))
    good = set(frame.loc[known & finite, "instrument"])
    for bad, word in ((~known, "missing"), (known & ~finite, "infinite")):
        for name in frame.loc[bad, "instrument"]:
            if name not in good:
                drop.setdefault(str(name), f"effect or standard error {word} in {table.where}")
    return frame[known & finite]


def _one_row_each(
    frames: list[pd.DataFrame], tables: list[TraitTable], drop: dict[str, str], by_name: bool
) -> tuple[list[pd.DataFrame], list[str]]:
    """One row per instrument, and the first table's instruments.

    Rows of one name (a site with several alleles) are told apart by their alleles; equal rows collapse.
    """
    frames = [frame.drop_duplicates(_SAME) for frame in frames]
    several = {n for f in frames for n in f.loc[f["instrument"].duplicated(), "instrument"]}
    several &= set(frames[0]["instrument"])
    many = [frame[frame["instrument"].isin(several)] for frame in frames]
    alone = [frame[~frame["instrument"].isin(several)].drop_duplicates("instrument") for frame in frames]
    asked = list(frames[0]["instrument"].unique()) if not several else list(alone[0]["instrument"])
    if several:
        first = many[0]
        label = first["instrument"].to_numpy(dtype=object).copy()
        repeated = first["instrument"].duplicated(keep=False).to_numpy()
        alleles = first["effect_allele"] + "_" + first["other_allele"]
        label[repeated] = (first["instrument"] + "_" + alleles).to_numpy()[repeated]
        rows = np.array([_matches(first, frame, by_name) for frame in many])
        for j in np.flatnonzero((rows < 0).any(axis=0)):
            t = int(np.argmax(rows[:, j] < 0))
            own = first["instrument"].iloc[j]
            pair = alleles.iloc[j].replace("_", "/")
            if rows[t, j] == _SEVERAL:
                label[j], reason = own, "contradicting rows"
            else:
                reason = (
                    f"no row with its alleles ({pair})" if (many[t]["instrument"] == own).any() else "not"
                )
            drop.setdefault(str(label[j]), f"{reason} in {tables[t].where}")
        kept = (rows >= 0).all(axis=0)
        asked += list(label)
        alone = [
            pd.concat([a, m.iloc[r[kept]].assign(instrument=label[kept])])
            for a, m, r in zip(alone, many, rows, strict=True)
        ]
    return [frame.set_index("instrument", drop=False) for frame in alone], asked


def _matches(first: pd.DataFrame, second: pd.DataFrame, by_name: bool) -> NDArray[np.int_]:
    """Row of the second that has the name and the alleles of each row of the first; negative for none, or several."""
    left, right = first.assign(left=range(len(first))), second.assign(right=range(len(second)))
    pairs = left.merge(right, on="instrument", suffixes=("_x", "_y"))
    pairs = pairs[~align_alleles(pairs, by_name=by_name)["remove"].to_numpy()]
    count = np.bincount(pairs["left"], minlength=len(first))
    out = np.where(count == 0, _NONE, _SEVERAL)
    single = pairs[count[pairs["left"]] == 1]
    out[single["left"]] = single["right"]
    return out


def harmonize(
    exposures: TraitTable | Sequence[TraitTable],
    outcomes: TraitTable | Sequence[TraitTable],
    *,
    action: int = 2,
    tolerance: float = 0.08,
    no_alleles: bool = False,
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
    no_alleles : bool
        Match instruments by name alone, whatever alleles the tables name. Effects may then have the wrong sign.

    Returns
    -------
    MRData
        The instruments that every table has; ``info`` tells what was swapped and flipped,
        ``dropped`` the reason for every instrument of an exposure that was lost, ``meta["notes"]`` what was
        converted or taken by convention.

    Raises
    ------
    InputError
        For an unknown action, a trait given twice, tables of which some name alleles and others do not, or
        where no instrument is left.

    Notes
    -----
    Not valid where frequencies come from populations that differ: the strand of palindromic alleles is
    then guessed wrong. Rows of one name are told apart by their alleles and then called ``rs1_A_G``. Where no
    table has alleles, instruments are matched by name alone.

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
        _refuse_twice(side)
    tables = [*xs, *ys]
    by_name = _by_name(tables, no_alleles)
    drop: dict[str, str] = {}
    frames, asked = _one_row_each([_usable(t, drop) for t in tables], tables, drop, by_name)
    lost = [str(n) for n in dict.fromkeys(xs[0].frame["instrument"]) if str(n) in drop]
    first = frames[0]
    for table, frame in zip(tables[1:], frames[1:], strict=True):
        for name in first.index.difference(frame.index):
            drop.setdefault(str(name), f"not in {table.where}")
    asked = list(dict.fromkeys([*asked, *lost]))
    for frame in frames[1 : len(xs)]:
        elsewhere = [n for n in frame.index if n not in first.index]
        drop.update({str(n): f"not in {xs[0].where}" for n in elsewhere})
        asked += elsewhere
    names = [n for n in first.index if n not in drop]
    beta, se, info = _align_all(frames, names, action, tolerance, drop, by_name)
    kept = np.array([n not in drop for n in names], dtype=bool)
    contrary = [n for n, k in zip(names, kept & info.pop("contrary").to_numpy(), strict=True) if k]
    dropped = pd.DataFrame(
        [(n, drop[n]) for n in dict.fromkeys(asked) if n in drop], columns=["instrument", "reason"]
    )
    if not kept.any():
        detail = (
            f"; first: {dropped['instrument'].iloc[0]}: {dropped['reason'].iloc[0]}" if len(dropped) else ""
        )
        raise InputError(
            f"{xs[0].where} and {ys[0].where}",
            f"no instrument is left of {len(asked)}{detail}",
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
        meta={
            "harmonize": {"action": action, "tolerance": tolerance, "by_name": by_name},
            "notes": _notes(tables, by_name, no_alleles) + _contrary(contrary),
        },
    )


def _refuse_twice(side: list[TraitTable]) -> None:
    """Refuse two tables of one trait on the same side."""
    for position, table in enumerate(side):
        if table.trait in [t.trait for t in side[:position]]:
            raise InputError(
                table.where,
                f"trait {table.trait!r} is given twice",
                "Give each trait once, under its own name",
            )


def _by_name(tables: list[TraitTable], no_alleles: bool) -> bool:
    """Whether alleles are not compared: because no table has them, or because that was asked for."""
    known = [t for t in tables if t.alleles_known]
    unknown = [t for t in tables if not t.alleles_known]
    if known and unknown and not no_alleles:
        raise InputError(
            unknown[0].where,
            f"no alleles, while {known[0].where} has them: effects of the other allele would get the wrong sign",
            "Add the columns 'effect_allele' and 'other_allele', or match by name alone (--no-alleles, in Python"
            " no_alleles=True)",
        )
    return no_alleles or not known


def _contrary(names: list[str]) -> list[str]:
    """A word about palindromic alleles that were taken as given against what their frequencies say."""
    if not names:
        return []
    return [
        f"Careful: of {len(names):,} instruments with palindromic alleles (first {names[0]}) the frequencies lie on two"
        " sides of 0.5; action 1 takes them as given, and if the strands differ their effects have the wrong sign."
    ]


def _notes(tables: list[TraitTable], by_name: bool, no_alleles: bool) -> list[str]:
    notes = [note for table in tables for note in table.notes]
    if no_alleles:
        return [NOT_HARMONIZED, *notes]
    if by_name:
        return ["No table names alleles: instruments are matched by name, effects taken as they are.", *notes]
    return notes


def _align_all(
    frames: list[pd.DataFrame],
    names: list[str],
    action: int,
    tolerance: float,
    drop: dict[str, str],
    by_name: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64], pd.DataFrame]:
    first = frames[0].loc[names]
    beta, se = np.empty((len(frames), len(names))), np.empty((len(frames), len(names)))
    beta[0], se[0] = first["beta"], first["se"]
    info = first[
        ["instrument", "effect_allele", "other_allele", "eaf", "chromosome", "position"]
    ].reset_index(drop=True)
    contrary = np.zeros(len(names), bool)
    for t, frame in enumerate(frames[1:], start=1):
        second = frame.loc[names]
        scale = (first["dose"] / second["dose"]).fillna(1.0).to_numpy(float)
        pair = pd.DataFrame({"instrument": names, "beta_y": second["beta"].to_numpy(float) * scale})
        for side, table in (("x", first), ("y", second)):
            for name in ("effect_allele", "other_allele", "eaf"):
                pair[f"{name}_{side}"] = table[name].to_numpy()
        aligned = align_alleles(pair, action, tolerance, by_name=by_name)
        beta[t], se[t] = aligned["beta_y"], second["se"].to_numpy(float) * np.abs(scale)
        for name, reason in zip(names, aligned["reason"], strict=True):
            if reason:
                drop.setdefault(name, reason)
        contrary |= aligned["contrary"].to_numpy()
        if t == len(frames) - 1:
            for name in ("effect_allele_y", "other_allele_y", "eaf_y", "swapped", "flipped", "palindromic"):
                info[name] = aligned[name].to_numpy()
    info["contrary"] = contrary
    return beta, se, info
