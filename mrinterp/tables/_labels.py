"""Imported feature labels: what people already know about a feature."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mrinterp.core.errors import InputError
from mrinterp.core.printable import printable

__all__ = ["read_labels"]


def read_labels(path: Path) -> dict[str, str]:
    """Read a CSV with the columns ``feature, label``: label by feature.

    Raises
    ------
    InputError
        Names the file, the row and the fix.
    """
    path = Path(path)
    try:
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
    except FileNotFoundError:
        raise InputError(
            str(path), "no such file", "Give features.labels a path relative to the study file"
        ) from None
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as e:
        raise InputError(str(path), f"cannot be read ({e})", "Give a CSV file in UTF-8") from None
    missing = [c for c in ("feature", "label") if c not in frame]
    if missing:
        raise InputError(path.name, f"no column {missing[0]!r}", "The columns are feature, label")
    repeated = frame["feature"].duplicated().to_numpy()
    if repeated.any():
        row = int(repeated.argmax())
        raise InputError(
            f"{path.name}, row {row + 1}",
            f"{frame['feature'][row]!r} appears twice",
            "Keep one row per feature",
        )
    for column in ("feature", "label"):
        for row, name in enumerate(frame[column]):
            if printable(name) != name:
                raise InputError(
                    f"{path.name}, row {row + 1}",
                    f"{name!r} holds a control character",
                    "Use visible characters only",
                )
    return dict(zip(frame["feature"], frame["label"], strict=True))
