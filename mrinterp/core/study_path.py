"""Path of a study file, from a path or the bare name of one that ships with the package."""

from __future__ import annotations

from pathlib import Path

from mrinterp.core.errors import InputError, near_misses

__all__ = ["study_path"]

SHIPPED = Path(__file__).parents[1] / "studies"


def study_path(name: str | Path) -> Path:
    """The study file of that path or bare name.

    Raises
    ------
    InputError
        For a bare name that is neither a file nor shipped, with near misses.
    """
    path = Path(name)
    try:
        if path.exists() or path.suffix == ".toml":
            return path
    except OSError as e:
        found = f"no path ({e.strerror or e})"
        raise InputError(f"{str(name)[:60]!r} ...", found, "Give the path of a TOML study file") from None
    shipped = {p.stem: p for p in sorted(SHIPPED.glob("*.toml"))}
    if str(name) in shipped:
        return shipped[str(name)]
    other = near_misses(str(name), shipped) or f"Or one that ships with the package: {', '.join(shipped)}"
    raise InputError(str(name), "no such study file", f"Give the path of a TOML study file. {other}")
