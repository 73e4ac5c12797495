"""Where a result comes from: enough to repeat it and to refuse a comparison that is not one."""

from __future__ import annotations

import platform
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from mrinterp.core.errors import InputError
from mrinterp.core.storage import FORMAT_VERSION, read_json
from mrinterp.core.threads import blas_in_words, thread_counts

__all__ = ["Provenance", "earlier_plans", "installed_versions"]

_PACKAGES = (
    *(
        "mrinterp",
        "numpy",
        "scipy",
        "pandas",
        "pyarrow",
        "scikit-learn",
        "statsmodels",
        "linearmodels",
        "numba",
    ),
    *("torch", "safetensors", "transformers", "tokenizers", "transformer-lens", "nnsight", "matplotlib"),
)
_SURROUNDINGS = ("versions", "threads", "machine")
"""What bytes can depend on, beside the plan and its network."""


def installed_versions() -> dict[str, str]:
    """Versions of Python, of the packages that stored bytes depend on (absent ones left out) and of their ``blas``."""
    versions = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions | {"blas": blas_in_words()}


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
    versions, machine
        Of everything that numbers depend on.
    threads : dict
        `thread_counts`.
    command : str
        What repeats the run.
    also : list of dict
        Other versions, machines or numbers of threads with which the run was gone on later.
    """

    model: str = ""
    design: str = ""
    rules: str = ""
    candidates: str = ""
    seeds: dict[str, int] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=installed_versions)
    machine: str = field(default_factory=lambda: f"{platform.system()} {platform.machine()}")
    threads: dict[str, int] = field(default_factory=thread_counts)
    command: str = ""
    also: list[dict[str, Any]] = field(default_factory=list)
    format_version: int = FORMAT_VERSION

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary for JSON."""
        return asdict(self)

    def after(self, before: dict[str, Any]) -> dict[str, Any]:
        """As `to_dict`, of a run that was begun with the provenance ``before``: what differs now stands under ``also``."""
        now = self.to_dict()
        if not before:
            return now
        known = [before, *before.get("also", [])]
        new = {k: now[k] for k in _SURROUNDINGS}
        seen = any(all(k not in old or old[k] == value for k, value in new.items()) for old in known)
        kept = {k: before[k] for k in _SURROUNDINGS if k in before}
        return now | kept | {"also": known[1:] + ([] if seen else [new])}


def earlier_plans(run: Path, model: str, outcome: dict[str, Any], rules: str) -> int:
    """Runs beside ``run`` on the same network and outcome under other rules: the looks already taken."""
    count, beside = 0, Path(run).resolve().parent
    if (beside / "sweep.json").is_file():
        return 0  # studies of one sweep are no looks at each other: the sweep counts them all
    for path in sorted(beside.glob("*/study.json")):
        try:
            other = read_json(path)
            same = other["provenance"]["model"] == model and other["plan"]["outcome"] == outcome
            count += bool(same and other["rules_hash"] != rules)
        except (InputError, KeyError, TypeError):
            continue
    return count
