"""Frozen results that save and reopen themselves: arrays as .npy, tables as Parquet, the rest as JSON."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from mrinterp.core.storage import (
    FORMAT_VERSION,
    read_header,
    read_table,
    whole_folder,
    write_json,
    write_table,
)

__all__ = ["Stored"]


class Stored(ABC):
    """Base of frozen dataclasses whose fields are arrays, tables, names and numbers.

    A subclass sets ``KIND`` and gives `to_frame`; that table is written beside the fields, for readers
    who have no mrinterp.
    """

    KIND: ClassVar[str] = ""

    @abstractmethod
    def to_frame(self) -> pd.DataFrame:
        """The result as one table."""

    def save(self, folder: Path) -> None:
        """Write into ``folder``, whole or not at all."""
        header: dict[str, Any] = {"kind": self.KIND, "format_version": FORMAT_VERSION}
        places: dict[str, str] = {}
        with whole_folder(Path(folder)) as partial:
            for item in fields(self):  # type: ignore[arg-type]
                value = getattr(self, item.name)
                if isinstance(value, np.ndarray) and value.dtype != object:
                    np.save(partial / f"{item.name}.npy", value)
                    places[item.name] = "array"
                elif isinstance(value, pd.DataFrame):
                    write_table(partial / f"{item.name}.parquet", value)
                    places[item.name] = "table"
                else:
                    header[item.name] = value
                    places[item.name] = "words" if isinstance(value, np.ndarray) else "plain"
            write_table(partial / f"{self.KIND.replace(' ', '_')}.parquet", self.to_frame())
            write_json(partial / "header.json", {**header, "places": places})

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Reopen what `save` wrote.

        Raises
        ------
        InputError
            For a folder of another kind, or of a newer version.
        """
        folder = Path(folder)
        header = read_header(folder / "header.json", cls.KIND)
        given: dict[str, Any] = {}
        for item in fields(cls):  # type: ignore[arg-type]
            place = header["places"][item.name]
            if place == "array":
                given[item.name] = np.load(folder / f"{item.name}.npy")
            elif place == "table":
                given[item.name] = read_table(folder / f"{item.name}.parquet")
            elif place == "words":
                given[item.name] = np.array(header[item.name], dtype=object)
            else:
                given[item.name] = _restored(header[item.name], str(item.type))
        return cls(**given)


def _restored(value: Any, annotation: str) -> Any:
    """What JSON turned into lists and nulls, as the field's annotation has it."""
    if annotation == "float":
        return np.nan if value is None else float(value)
    if annotation.startswith("tuple"):
        return _tuples(value)
    return value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
