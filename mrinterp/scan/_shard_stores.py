"""How finished shards of a step lie in a folder: one file each, or arrays that are memory-mapped."""

from __future__ import annotations

import os
import shutil
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mrinterp.core.errors import DamagedError, InputError
from mrinterp.core.storage import (
    FORMAT_VERSION,
    read_arrays,
    read_header,
    whole_folder,
    write_arrays,
    write_json,
)

__all__ = ["SHARD_FILES", "MappedShards", "ShardStore"]

HEADER = "part.json"
KIND = "part"


class ShardStore(Protocol):
    """How shards lie in a folder."""

    def place(self, folder: Path, number: int) -> Path:
        """Where a shard lies."""

    def joined(self, found: list[dict[str, Any]]) -> dict[str, Any]:
        """Arrays of a shard from those of its blocks."""

    def write(self, path: Path, arrays: dict[str, Any], apart: bool) -> dict[str, Any]:
        """Store a shard whole or not at all, and give its arrays; ``apart``: another process may be writing the same."""

    def read(self, path: Path) -> dict[str, Any]:
        """A shard's arrays, held against their digest."""


def _rows_below(found: list[dict[str, Any]]) -> dict[str, Any]:
    """Rows of one block below those of the other."""
    return {k: np.concatenate([x[k] for x in found]) for k in found[0]}


class ShardFiles:
    """One file for every shard, read whole."""

    def place(self, folder: Path, number: int) -> Path:
        """Where a shard lies."""
        return folder / f"shard-{number:05d}.npz"

    def joined(self, found: list[dict[str, Any]]) -> dict[str, Any]:
        """Rows of one block below those of the other."""
        return _rows_below(found)

    def write(self, path: Path, arrays: dict[str, Any], apart: bool) -> dict[str, Any]:
        """Store a shard."""
        own = path.with_name(f".{uuid.uuid4().hex}.npz") if apart else path
        write_arrays(own, arrays)
        if apart:
            os.replace(own, path)
        return arrays

    def read(self, path: Path) -> dict[str, Any]:
        """A shard's arrays."""
        return read_arrays(path)


SHARD_FILES = ShardFiles()


@dataclass(frozen=True)
class MappedShards:
    """A folder of arrays for every shard, memory-mapped: who goes through all of them holds what is asked for.

    Parameters
    ----------
    of : str
        What the shards are of; those of something else are refused.
    """

    of: str = ""

    def place(self, folder: Path, number: int) -> Path:
        """Where a shard lies."""
        return folder / f"part-{number:05d}"

    def joined(self, found: list[dict[str, Any]]) -> dict[str, Any]:
        """Rows of one block below those of the other."""
        return _rows_below(found)

    def files(self, arrays: dict[str, Any]) -> dict[str, Any]:
        """What is stored of a shard, by the names of its files."""
        return arrays

    def write(self, path: Path, arrays: dict[str, Any], apart: bool) -> dict[str, Any]:
        """Store a shard."""
        own = path.with_name(f".{uuid.uuid4().hex}") / path.name if apart else path
        files = self.files(arrays)
        with whole_folder(own) as partial:
            for name, value in files.items():
                np.save(partial / f"{name}.npy", value)
            header = {"kind": KIND, "format_version": FORMAT_VERSION, "of": self.of, "arrays": sorted(files)}
            write_json(partial / HEADER, header)
        if apart:
            with suppress(OSError):  # the other one was faster: its bytes are the same
                os.rename(own, path)
            shutil.rmtree(own.parent)
        return {name: np.load(path / f"{name}.npy", mmap_mode="r") for name in files}

    def read(self, path: Path) -> dict[str, Any]:
        """A shard's arrays.

        Raises
        ------
        DamagedError
            Where its bytes are not those that were written: says what to delete.
        InputError
            Where it is of something else.
        """
        try:
            header = read_header(path / HEADER, KIND)
        except DamagedError as e:
            fix = f"Delete {path} and run again: only its own part is repeated"
            raise DamagedError(e.where, e.found, fix) from None
        if header["of"] != self.of:
            fix = "Give another folder, or move it elsewhere"
            raise InputError(str(path), "a part of something else (another network, design or split)", fix)
        return {name: np.load(path / f"{name}.npy", mmap_mode="r") for name in header["arrays"]}
