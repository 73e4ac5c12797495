"""Every number of a result as plain lists, what is kept of them, and where two of them differ."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

FOLDER = Path(__file__).parent / "values"
MOST = 60
"""Longer arrays are kept as five sums with weights."""
RELATIVE = 1e-6
"""Iterative fits end this close to each other on other machines; float32 has no part in what is kept."""
LEFT_OUT = {"provenance", "versions", "created", "seconds", "run_seconds"}


def numbers(value: Any, name: str = "", depth: int = 0) -> dict[str, list[float]]:
    """Name of a field to its numbers; words count as `_words` has them, other objects as their fields."""
    if value is None or callable(value) or depth > 6:
        return {}
    if isinstance(value, str):
        return {name: _words([value])} if name.endswith(("status", "verdict")) else {}
    if isinstance(value, bool | int | float | np.number | np.bool_):
        return {name: [float(value)]}
    if isinstance(value, pd.DataFrame):
        value = {str(c): value[c].to_numpy() for c in value}
    if isinstance(value, np.ndarray):
        return {name: _array(value, name)} if value.size else {}
    parts: list[tuple[str, Any]] = []
    if isinstance(value, Mapping):
        parts = [(str(k), v) for k, v in value.items()]
    elif is_dataclass(value):
        parts = [(f.name, getattr(value, f.name)) for f in fields(value)]
    elif isinstance(value, tuple | list):
        if value and all(isinstance(v, bool | int | float | np.number) for v in value):
            return {name: _array(np.asarray(value, float), name)}
        parts = [(str(k), v) for k, v in enumerate(value)]
    found: dict[str, list[float]] = {}
    for key, part in parts:
        if key not in LEFT_OUT:
            found |= numbers(part, f"{name}.{key}" if name else key, depth + 1)
    return {k: v for k, v in found.items() if v}


def _array(value: np.ndarray, name: str) -> list[float]:
    if value.dtype.kind in "OUS":
        plain = [v for v in value.ravel() if isinstance(v, bool | int | float | np.number)]
        if len(plain) < value.size:
            return _words([str(v) for v in value.ravel()[:MOST]])
        value = np.asarray(plain)
    if value.dtype.kind not in "fiub":
        return []
    flat = value.astype(float).ravel()
    if len(flat) <= MOST:
        return flat.tolist()
    known = np.isfinite(flat)
    weights = np.random.default_rng(len(flat)).uniform(0.5, 1.5, (3, len(flat)))
    sums = weights @ np.where(known, flat, 0.0)
    return [float(len(flat)), float(known.sum()), *sums.tolist()]


def _words(said: list[str]) -> list[float]:
    """Verdicts and names, which are a word or two, by what they are; sentences by which of them are the same."""
    places = {text: k for k, text in reversed(list(enumerate(said)))}
    return [zlib.crc32(t.encode()) / 2**32 if len(t.split()) <= 2 else 2.0 + places[t] for t in said]


def moved(before: dict[str, list[float]], now: dict[str, list[float]]) -> list[str]:
    """Names of what is not the same within the tolerance."""
    lines = [f"{k}: was there" for k in before.keys() - now.keys()]
    lines += [f"{k}: is new" for k in now.keys() - before.keys()]
    for key in before.keys() & now.keys():
        a, b = np.array(before[key], dtype=float), np.array(now[key], dtype=float)
        if a.shape != b.shape:
            lines.append(f"{key}: {len(a)} numbers became {len(b)}")
            continue
        size = max(float(np.abs(a[np.isfinite(a)]).max(initial=0.0)), 1e-9)
        same = np.isclose(a, b, rtol=RELATIVE, atol=RELATIVE * 1e-3 * size, equal_nan=True)
        if not same.all():
            worst = int(np.flatnonzero(~same)[0])
            lines.append(f"{key}[{worst}]: {a[worst]:.10g} became {b[worst]:.10g}")
    return sorted(lines)


def read(room: str) -> dict[str, dict[str, list[float]]]:
    """What is kept of a room."""
    path = FOLDER / f"{room}.json"
    kept: dict[str, dict[str, list[float]]] = json.loads(path.read_text()) if path.exists() else {}
    return kept


def write(room: str, found: dict[str, dict[str, list[float]]]) -> None:
    """Keep a room's numbers, with ten digits and a case to a line."""
    FOLDER.mkdir(exist_ok=True)
    rows = [
        f"{json.dumps(case)}: {json.dumps({k: [float(f'{v:.10g}') for v in values] for k, values in of.items()})}"
        for case, of in sorted(found.items())
    ]
    (FOLDER / f"{room}.json").write_text("{\n" + ",\n".join(rows) + "\n}\n")
