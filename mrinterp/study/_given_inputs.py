"""Inputs that are no texts, as they are given to `describe` and `init`: a file, a folder of images, or ``[inputs]``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mrinterp.core.errors import InputError, near_misses
from mrinterp.core.plan import read_plan
from mrinterp.core.plan_inputs import InputsSection
from mrinterp.instruments.families_found import families_in_words
from mrinterp.instruments.input_files import GivenInputs, read_inputs
from mrinterp.models._opened_network import OpenedNetwork, array_batch

__all__ = ["DescribedInputs", "is_inputs_file", "read_described_inputs"]

ARRAYS = (".npy", ".npz")
MISSING = "Give .npy, .npz, .csv or .parquet, or a folder of PNG files"
FAMILY_NAMES = ("family", "group", "topic", "patient", "scene", "subject")
"""Columns that are taken for the family where none is named."""
SHAPES = {"tokens": "{1} tokens", "images": "{1} channels, {2} x {3} pixels", "table": "{1} columns"}


@dataclass(frozen=True, eq=False)
class DescribedInputs:
    """Inputs of a file, as a study reads them.

    Parameters
    ----------
    section : dict
        ``[inputs]`` of a study file.
    read : GivenInputs
    beside : tuple of str
        Columns or arrays that could say the family.
    """

    section: dict[str, Any]
    read: GivenInputs
    beside: tuple[str, ...]

    @property
    def families(self) -> int:
        """How many there are; 0 where nothing says which input is of which."""
        if self.section.get("family") is None and self.section.get("families") is None:
            return 0
        return len(np.unique(self.read.family))

    @property
    def source(self) -> str:
        """What was read, in words."""
        kind, values = self.section["kind"], self.read.values
        names = f" ({', '.join(self.read.names[:8])}{', ...' if len(self.read.names) > 8 else ''})"
        shape = SHAPES[kind].format(*values.shape) + (names if self.read.names else "")
        said = f"{self.section.get('file') or self.section.get('folder')}: {len(values)} inputs of kind {kind}: {shape}"
        if kind == "tokens":
            return f"{said}, numbers {values.min()} to {values.max()}"
        return f"{said}, values {values.min():.2g} to {values.max():.2g}"

    def notes(self) -> list[str]:
        """What is to be said about them."""
        if self.families:
            return [families_in_words(self.families)]
        known = f"Columns: {', '.join(self.beside)}. " if self.beside else ""
        return [
            f"Errors are clustered by family (patient, scene, topic). {known}Name the one that says it (family),"
            " or say each where inputs have nothing in common."
        ]

    def batch(self, opened: OpenedNetwork, count: int) -> dict[str, Any]:
        """So many inputs, repeated where there are fewer, as the network takes them."""
        return array_batch(opened, _checked(self.section), self.read.values, count)


def read_described_inputs(inputs: str | Path | Mapping[str, Any], takes_tokens: bool) -> DescribedInputs:
    """Read inputs from a file or folder, whose kind is told from it, or as ``[inputs]`` of a study file says.

    Parameters
    ----------
    inputs : path or mapping
        Of ``[inputs]`` only ``file`` or ``folder`` must be there; ``family = "each"`` is ``families = "each"``.
    takes_tokens : bool
        Whether the network looks up numbers of tokens: whole numbers of a CSV file are then tokens, else a table.

    Raises
    ------
    InputError
        For a file that is not there, cannot be read, or is of no known kind.
    """
    if isinstance(inputs, Mapping):
        given = dict(inputs)
    else:
        given = {"folder" if Path(inputs).is_dir() else "file": str(inputs)}
    section = {"kind": given.get("kind") or _kind(given, takes_tokens)} | given
    if section.get("family") == "each":
        section["families"] = section.pop("family")
    beside = _columns_beside(section)
    if "family" not in section and "families" not in section:
        found = next((c for c in beside if c.lower() in FAMILY_NAMES), None)
        section |= {} if found is None else {"family": found}
    if section.get("family") not in (None, *beside):
        known = near_misses(section["family"], beside) or f"Columns: {', '.join(beside) or 'none'}; or each"
        raise InputError(f"family {section['family']!r}", "no such column or array", known)
    section |= _numbers_only(section)
    read = read_inputs(_checked(section), Path())
    return DescribedInputs(section, read, beside)


def is_inputs_file(name: str | Path) -> bool:
    """Whether a file holds arrays, images or numbers, and not prompts."""
    path = Path(name)
    if path.is_dir() or path.suffix.lower() in (*ARRAYS, ".parquet"):
        return True
    if path.suffix.lower() != ".csv" or not path.is_file():
        return False
    frame = _frame(path)
    texts = [c for c in frame if frame[c].dtype.kind not in "iufb"]
    spaced = any(frame[c].astype(str).str.strip().str.contains(" ").mean() > 0.5 for c in texts)
    return len(frame.columns) - len(texts) > 1 and not spaced


def _columns_beside(section: Mapping[str, Any]) -> tuple[str, ...]:
    """Columns or arrays of the file, or of its index, that could say the family: texts, and whole numbers that repeat."""
    if section.get("index"):
        return tuple(map(str, _frame(Path(section["index"])).columns))
    if section.get("file") is None:
        return ()
    path = Path(section["file"])
    if path.suffix.lower() in ARRAYS:
        arrays = _arrays(path)
        return tuple(name for name, a in arrays.items() if name and a.ndim == 1)
    frame = _table(path)
    return tuple(str(c) for c in frame if frame[c].dtype.kind != "f")


def _checked(section: Mapping[str, Any]) -> InputsSection:
    """``[inputs]`` as a study file would have it; each input a family of its own where nothing says which it is of."""
    known = "family" in section or "families" in section
    plan, _ = read_plan(
        {
            "title": "inputs",
            "model": {"kind": "module", "module": "a:b", "site": "none"},
            "outcome": {"name": "none", "kind": "kl_to_clean"},
            "inputs": dict(section) if known else {**section, "families": "each"},
        }
    )
    assert plan.inputs is not None
    return plan.inputs


def _numbers_only(section: Mapping[str, Any]) -> dict[str, Any]:
    """``columns`` of a table's file that holds other texts than family and label, which are no inputs."""
    path = Path(section.get("file") or "")
    if "columns" in section or path.suffix.lower() not in (".csv", ".parquet"):
        return {}
    frame, others = _table(path), (section.get("family"), section.get("label"))
    left = [c for c in frame if c not in others]
    numbers = [str(c) for c in left if frame[c].dtype.kind in "iufb"]
    return {"columns": numbers} if 0 < len(numbers) < len(left) else {}


def _kind(given: Mapping[str, Any], takes_tokens: bool) -> str:
    """Kind of inputs, from what the file holds."""
    if given.get("folder") is not None:
        return "images"
    path = Path(str(given.get("file", "")))
    if path.suffix.lower() not in ARRAYS:
        frame = _table(path)
        others = {
            given.get("family"),
            given.get("label"),
            *(c for c in frame if str(c).lower() in FAMILY_NAMES),
        }
        numbers = frame.select_dtypes("number")
        numbers = numbers[[c for c in numbers if c not in others]].dropna(axis=1, how="all").fillna(0)
        whole = bool((numbers == numbers.round()).all(axis=None))
        return "tokens" if takes_tokens and whole and path.suffix.lower() == ".csv" else "table"
    arrays = {n: a for n, a in _arrays(path).items() if a.ndim > 1 and n != given.get("mask")}
    named = [a for n, a in arrays.items() if n in (given.get("array"), "input_ids", "pixel_values")]
    kinds = {
        "images" if a.ndim > 2 else "tokens" if a.dtype.kind in "iu" else "table"
        for a in named or arrays.values()
    }
    if len(kinds) != 1:
        shapes = ", ".join(f"{n} {a.shape}" for n, a in arrays.items()) or "none with two axes or more"
        raise InputError(
            str(path),
            f"arrays {shapes}: which are the inputs?",
            "Save them in a file of their own, with the family",
        )
    return kinds.pop()


def _arrays(path: Path) -> dict[str, Any]:
    try:
        loaded = np.load(
            path, allow_pickle=False
        )  # pickled objects are never opened: loading one runs its code
        return {"": loaded} if isinstance(loaded, np.ndarray) else {k: loaded[k] for k in loaded.files}
    except FileNotFoundError:
        raise InputError(str(path), "no such file", MISSING) from None
    except (OSError, ValueError, EOFError) as e:
        raise InputError(
            str(path), f"cannot be read ({e})", "Save it with numpy, without pickled objects"
        ) from None


def _table(path: Path) -> pd.DataFrame:
    if path.suffix.lower() == ".parquet":
        try:
            return pd.read_parquet(path)
        except FileNotFoundError:
            raise InputError(str(path), "no such file", MISSING) from None
        except (OSError, ValueError) as e:
            raise InputError(str(path), f"cannot be read ({e})", "Give a Parquet or CSV file") from None
    if path.suffix.lower() != ".csv":
        raise InputError(str(path), f"ends in {path.suffix!r}", MISSING)
    return _frame(path)


def _frame(path: Path) -> pd.DataFrame:
    try:
        return pd.read_csv(path, skipinitialspace=True)
    except FileNotFoundError:
        raise InputError(str(path), "no such file", MISSING) from None
    except (OSError, ValueError, pd.errors.ParserError) as e:
        raise InputError(str(path), f"cannot be read ({e})", "Give a CSV file") from None
