"""Where a result comes from: enough to repeat it and to refuse a comparison that is not one."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from mrinterp.core.errors import InputError
from mrinterp.core.storage import FORMAT_VERSION, read_json

__all__ = ["Provenance", "earlier_plans", "installed_versions"]

_PACKAGES = ("mrinterp", "numpy", "scipy", "pandas", "scikit-learn", "torch", "transformers")


def installed_versions() -> dict[str, str]:
    """Versions of Python and of the packages that numbers depend on (absent ones left out)."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


@dataclass(frozen=True)
class Provenance:
    """Hashes, seeds and versions that travel with a saved object; no clock, so that bytes repeat.

    Parameters
    ----------
    model : str
        Hash of the network's weights, or of the arrays that came instead of a network.
    design : str
        Digest of the design (prompts, instruments, doses, splits).
    rules, candidates : str
        The plan's two hashes: fixed before discovery is read, and before estimation is read.
    seeds : dict
        Every seed, by what it drives.
    command : str
        What repeats the run.
    """

    model: str = ""
    design: str = ""
    rules: str = ""
    candidates: str = ""
    seeds: dict[str, int] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=installed_versions)
    machine: str = field(default_factory=lambda: f"{platform.system()} {platform.machine()}")
    command: str = ""
    format_version: int = FORMAT_VERSION

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for JSON."""
        return asdict(self)


def earlier_plans(run: Path, model: str, outcome: dict[str, Any], rules: str) -> int:
    """Runs beside ``run`` on the same network and outcome under other rules: the looks already taken."""
    count = 0
    for path in sorted(Path(run).resolve().parent.glob("*/study.json")):
        try:
            other = read_json(path)
            same = other["provenance"]["model"] == model and other["plan"]["outcome"] == outcome
            count += bool(same and other["rules_hash"] != rules)
        except (InputError, KeyError, TypeError):
            continue
    return count
