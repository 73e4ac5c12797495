"""A scan's folder: effects of very many features in shards that are written whole, checked, and readable at any time."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.checks import checked_numbers_of
from mrinterp.core.errors import DamagedError, InputError
from mrinterp.core.shown import Shown
from mrinterp.core.storage import (
    FORMAT_VERSION,
    digest,
    read_arrays,
    read_header,
    read_json,
    read_table,
    whole_folder,
    write_arrays,
    write_json,
    write_table,
)
from mrinterp.core.sumstats import SumStats

__all__ = ["PASSES", "ScanFolder", "begun", "write_shard"]

HEADER = "scan.json"
KIND = "scan"
PARTS = ".parts"
"""Folder of a scan in which workers write their shards before these are moved into place."""
PASSES = ("study", "features")
"""Folders in which a scan of a study keeps what the network's passes gave: they may be there before the scan."""


@dataclass(frozen=True, eq=False)
class Shard:
    """Effects of features ``first`` to ``last`` - 1 on all instruments, memory-mapped.

    Either all pairs: ``beta, se`` (B, J) and ``outcome_cov`` (O, B, J); or those kept: ``beta, se`` (M,), ``outcome_cov``
    (O, M) at ``feature`` (M,) and ``instrument`` (M,). ``strength`` (B,): mean squared t of each feature.
    """

    number: int
    first: int
    last: int
    arrays: dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False, repr=False)
class ScanFolder(Shown):
    """What `scan_features` has stored: open it while the scan runs, or afterwards.

    Parameters
    ----------
    folder : Path
    header : dict
        Settings, sizes and digests of the inputs.
    instruments : DataFrame
        ``instrument, kind, locus, allele, unit, placebo``.
    outcomes : dict
        ``beta, se`` (O, J), ``cov`` (J, O, O), ``dof`` (J,) and ``ld`` (J, J).

    Notes
    -----
    Every shard is a folder with `SHA256SUMS`, renamed into place when it is whole: a reader sees whole ones only.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from mrinterp.scan import ScanFolder, scan_features
    >>> rng = np.random.default_rng(0)
    >>> z, x, prompt = rng.integers(0, 2, (80, 3)), rng.standard_normal((80, 5)), np.arange(80) // 4
    >>> where = tempfile.mkdtemp()
    >>> _ = scan_features(where, doses=z, features=x, outcomes=x[:, 0], prompt=prompt, family=prompt, draws=2)
    >>> ScanFolder.open(where).summary_statistics(["x1", "x4"]).beta.shape  # two features and the outcome
    (3, 3)
    """

    folder: Path
    header: dict[str, Any]
    instruments: pd.DataFrame
    outcomes: dict[str, NDArray[Any]]

    @classmethod
    def open(cls, folder: str | Path) -> ScanFolder:
        """Open a scan, finished or not.

        Raises
        ------
        InputError
            For a folder that holds no scan, or one of a newer version; for a damaged file.
        """
        folder = Path(folder)
        header = read_json(folder / HEADER)
        if not isinstance(header, dict) or header.get("kind") != KIND:
            raise InputError(str(folder), "holds no scan", "Give the folder that scan_features wrote")
        if int(header.get("format_version", 0)) > FORMAT_VERSION:
            raise InputError(str(folder), "written by a newer mrinterp", "Upgrade mrinterp")
        outcomes = read_arrays(folder / "outcomes.npz")
        return cls(folder, header, read_table(folder / "instruments.parquet"), outcomes)

    @property
    def plan(self) -> str:
        """Digest of everything that fixes the numbers; every shard carries it."""
        return digest(self.header["plan"])

    @property
    def feature_names(self) -> list[str]:
        """Names of all features."""
        path = self.folder / "features.parquet"
        if path.exists():
            return [str(n) for n in read_table(path)["feature"]]
        return [f"x{i}" for i in range(self.header["features"])]

    def names_of(self, which: NDArray[np.int_]) -> NDArray[Any]:
        """Names of some features; only these are made where features are numbered."""
        if (self.folder / "features.parquet").exists():
            return np.array(self.feature_names, dtype=object)[which]
        return np.array([f"x{i}" for i in which], dtype=object)

    @property
    def finished(self) -> int:
        """Shards that are there."""
        return sum(self._place(i).exists() for i in range(self.header["shards"]))

    @property
    def summary(self) -> str:
        """What it is and how large, in one line."""
        h = self.header
        return (
            f"scan of {h['features']:,} features by {len(self.instruments):,} instruments,"
            f" {self.finished} of {h['shards']} shards"
        )

    def _first_rows(self, rows: int) -> tuple[pd.DataFrame, int]:
        return self.instruments.head(rows), len(self.instruments)

    def _place(self, number: int) -> Path:
        return self.folder / f"shard-{number:05d}"

    def shards(self) -> Iterator[Shard]:
        """The shards that are there, each checked against its sums."""
        for number in range(self.header["shards"]):
            if self._place(number).exists():
                yield self.shard(number)

    def shard(self, number: int) -> Shard:
        """One shard, checked.

        Raises
        ------
        DamagedError
            Where its bytes are not those that were written: says what to delete.
        InputError
            Where it is another scan's.
        """
        place = self._place(number)
        fix = f"Delete {place} and run the scan again: only this shard is made anew"
        try:
            header = read_header(place / "shard.json", "scan shard")
        except DamagedError as e:
            raise DamagedError(e.where, e.found, fix) from None
        if header["plan"] != self.plan or header["number"] != number:
            raise InputError(
                str(place), "a shard of another scan", "Move it elsewhere and run the scan again"
            )
        arrays = {name: np.load(place / f"{name}.npy", mmap_mode="r") for name in header["arrays"]}
        return Shard(number, int(header["first"]), int(header["last"]), arrays)

    def blocks(self) -> Iterator[SumStats]:
        """Summary statistics shard by shard, outcomes with each: for estimators of one exposure at a time.

        Raises
        ------
        InputError
            Where only pairs beyond a threshold were kept.
        """
        self._all_kept()
        names = self.feature_names
        for shard in self.shards():
            which = np.arange(shard.last - shard.first)
            yield self._summary([self._rows(shard, which)], names[shard.first : shard.last])

    def summary_statistics(self, features: Sequence[str | int]) -> SumStats:
        """Effects on some features, by name or number, and on the outcomes: what `mrinterp.SumStats.to_mrdata` takes on.

        Raises
        ------
        InputError
            For an unknown feature, one whose shard is not there yet, or a scan that kept pairs beyond a threshold only.
        """
        self._all_kept()
        names = self.feature_names
        which = checked_numbers_of(list(features), "features", names)
        size = self.header["shard_features"]
        order = np.argsort(which, kind="stable")
        parts = []
        for number in np.unique(which // size):
            if not self._place(int(number)).exists():
                fix = "Run the scan again: it goes on from what is there"
                raise InputError(str(self._place(int(number))), "not scanned yet", fix)
            shard = self.shard(int(number))
            some = which[order][which[order] // size == number] - shard.first
            parts.append(self._rows(shard, some))
        back = np.argsort(order, kind="stable")
        return self._summary(parts, [names[i] for i in which], back)

    def pairs(self) -> pd.DataFrame:
        """All kept pairs so far: ``feature, instrument, beta, se``.

        Raises
        ------
        InputError
            Where all pairs were kept: there are too many for one table.
        """
        if not self.header["plan"]["threshold"]:
            raise InputError(str(self.folder), "all pairs were kept", "Use summary_statistics, or blocks")
        names = np.array(self.feature_names, dtype=object)
        instruments = self.instruments["instrument"].to_numpy()
        held = [s.arrays for s in self.shards()]
        joined = {n: np.concatenate([h[n] for h in held]) for n in ("feature", "instrument", "beta", "se")}
        return pd.DataFrame(
            {
                "feature": names[joined["feature"]],
                "instrument": instruments[joined["instrument"]],
                "beta": joined["beta"].astype(float),
                "se": joined["se"].astype(float),
            }
        )

    def _all_kept(self) -> None:
        if self.header["plan"]["threshold"]:
            found = "only pairs beyond a threshold were kept"
            raise InputError(
                str(self.folder), found, "Use pairs(), or scan the candidates again without threshold"
            )

    @staticmethod
    def _rows(shard: Shard, which: NDArray[np.int_]) -> tuple[NDArray[Any], ...]:
        """Effects, errors (B, J) and covariances (O, B, J) of some of a shard's features."""
        a = shard.arrays
        return a["beta"][which], a["se"][which], a["outcome_cov"][:, which]

    def _summary(
        self, parts: list[tuple[NDArray[Any], ...]], names: list[str], order: NDArray[np.int_] | None = None
    ) -> SumStats:
        beta, se = (np.concatenate([p[i] for p in parts]) for i in (0, 1))
        cov = np.concatenate([p[2] for p in parts], axis=1)
        if order is not None:
            beta, se, cov = beta[order], se[order], cov[:, order]
        y, outcome_names = self.outcomes, self.header["outcome_names"]
        role = ["feature"] * len(names) + ["outcome"] * len(outcome_names)
        whole = np.concatenate([cov.transpose(2, 1, 0), y["cov"]], axis=1) if len(cov) else None
        return SumStats(
            beta=np.concatenate([beta, y["beta"]]),
            se=np.concatenate([se, y["se"]]),
            traits=pd.DataFrame({"trait": [*names, *outcome_names], "role": role, "label": ""}),
            instruments=self.instruments,
            dof=y["dof"],
            clusters=int(self.header["families"]),
            outcome_cov=whole,
            meta={"kind": "all", "design": "paired", "runs": self.header["runs"]},
            ld=y.get("ld"),
        )


def begun(
    folder: Path,
    plan: dict[str, Any],
    sizes: dict[str, Any],
    instruments: pd.DataFrame,
    feature_names: tuple[str, ...] | None,
    outcomes: dict[str, NDArray[Any]],
) -> ScanFolder:
    """The folder of a scan: as it is where the same scan was begun there, else made.

    Raises
    ------
    InputError
        Where it holds a scan of something else (says what differs), or files that are no scan.
    """
    path = folder / HEADER
    if path.exists():
        found = ScanFolder.open(folder)
        held = found.header["plan"]
        other = [k for k in sorted({*held, *plan}) if held.get(k) != plan.get(k)]
        if other:
            words = "; ".join(_difference(k, held.get(k), plan.get(k)) for k in other)
            fix = "Give another folder, or the same inputs and settings"
            raise InputError(str(folder), f"holds a scan of something else ({words})", fix)
        return found
    if folder.is_dir() and any(p.name not in PASSES for p in folder.iterdir()):
        raise InputError(str(folder), "not empty, and holds no scan", "Give a folder that does not exist yet")
    folder.mkdir(parents=True, exist_ok=True)
    write_arrays(folder / "outcomes.npz", outcomes)
    write_table(folder / "instruments.parquet", instruments)
    if feature_names is not None:
        write_table(folder / "features.parquet", pd.DataFrame({"feature": list(feature_names)}))
    write_json(path, {"kind": KIND, "format_version": FORMAT_VERSION, "plan": plan, **sizes})
    return ScanFolder.open(folder)


def _difference(key: str, before: Any, now: Any) -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        return ", ".join(f"other {k}" for k in sorted({*before, *now}) if before.get(k) != now.get(k))
    return f"{key}: {before!r} there, {now!r} now"


def write_shard(
    scan: ScanFolder,
    number: int,
    first: int,
    last: int,
    arrays: dict[str, NDArray[Any]],
    apart: bool = False,
) -> None:
    """Store one shard, whole or not at all; ``apart``: another process may be writing the same."""
    place = scan.folder / f"shard-{number:05d}"
    own = scan.folder / PARTS / uuid.uuid4().hex / place.name if apart else place
    with whole_folder(own) as partial:
        for name, value in arrays.items():
            np.save(partial / f"{name}.npy", value)
        header = {
            "kind": "scan shard",
            "format_version": FORMAT_VERSION,
            "plan": scan.plan,
            "number": number,
            "first": first,
            "last": last,
            "arrays": sorted(arrays),
        }
        write_json(partial / "shard.json", header)
    if apart:
        with suppress(OSError):  # the other one was faster: its bytes are the same
            os.rename(own, place)
