"""Python that a study file names: shown and agreed to before anything of it is imported.

A study file can name a function of any module (``module = "os:system"``), and a run folder holds such a file. Importing
runs code, so what is named is looked up here without importing it, and a hash of what a person has agreed to is kept.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mrinterp.core.errors import InputError
from mrinterp.core.plan import Plan
from mrinterp.core.printable import printable
from mrinterp.core.storage import digest, digest_file, write_json

__all__ = ["check_agreed", "named_code", "own_file", "remember"]

LIBRARIES = tuple(Path(p).resolve() for p in (sys.prefix, sys.base_prefix, os.path.dirname(os.__file__)))
"""Where installed modules lie: they are known by their names, all others by their bytes too."""


@dataclass(frozen=True)
class NamedCode:
    """One function that a plan names.

    Parameters
    ----------
    key : str
        Of the study file.
    name : str
        ``package.module:function``, or the installed package that a network's files are taken from.
    place : Path, optional
        Source file that would be imported; None where none is found.
    arguments : dict
        What the function would be called with, as far as the study file says it.
    files : dict
        Digest of each source file of its folder that it could import, by path; empty for installed modules.
    """

    key: str
    name: str
    place: Path | None
    arguments: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        given = f" with {json.dumps(self.arguments, default=str)}" if self.arguments else ""
        where = f" from {self.place}" if self.place else ", which is not found"
        return printable(f"{self.key} = {self.name!r}{given}{where}")


def named_code(plan: Plan, folder: Path) -> tuple[NamedCode, ...]:
    """Everything that a plan would import; nothing is imported to find it.

    Parameters
    ----------
    folder : Path
        Of the study file, whose modules are found too.
    """
    model = plan.model
    named: list[tuple[str, str, dict[str, Any]]] = []
    if model.module is not None:
        named.append(("model.module", model.module, model.arguments))
    if model.package is not None and "." in model.package:  # to find a part of a package imports the whole
        named.append(("model.package", model.package, {}))
    named += [
        (f"outcome {o.name!r}, function", o.function, {}) for o in plan.outcome if o.function is not None
    ]
    return tuple(_found(key, name, arguments, Path(folder)) for key, name, arguments in named)


def _found(key: str, name: str, arguments: dict[str, Any], folder: Path) -> NamedCode:
    place = _source(name.partition(":")[0], folder)
    own = place is not None and not any(place.is_relative_to(library) for library in LIBRARIES)
    files: dict[str, str] = {}
    if own and place is not None:
        files = {str(p): digest_file(p) for p in sorted({place, *_beside(place, folder)})}
    return NamedCode(key, name, place, arguments, files)


def own_file(module: str, folder: Path) -> Path | None:
    """File of a module (its first part) that lies beside the study file; None where none does."""
    spec = importlib.machinery.PathFinder.find_spec(module.partition(".")[0], [str(Path(folder).resolve())])
    return None if spec is None or not spec.has_location else Path(str(spec.origin)).resolve()


def _source(module: str, folder: Path) -> Path | None:
    """File of a module, found package by package as the import would, but without running any of them."""
    if module.partition(".")[0] in sys.builtin_module_names:
        return Path(sys.executable).resolve()
    path: list[str] = [str(folder.resolve()), *sys.path]
    found: Path | None = None
    parts = module.split(".")
    for i, part in enumerate(parts):
        try:
            beside = own_file(part, folder) if i == 0 else None
            loaded = None if beside else sys.modules.get(".".join(parts[: i + 1]))
            spec = getattr(loaded, "__spec__", None)
            spec = spec or importlib.machinery.PathFinder.find_spec(part, path)
            # What is installed for development has a finder of its own; a name without dots imports nothing.
            spec = spec or (importlib.util.find_spec(part) if i == 0 else None)
        except (ImportError, ValueError, OSError):
            return None
        if spec is None:
            return None
        places = list(spec.submodule_search_locations or [])
        origin = getattr(loaded, "__file__", None) or (spec.origin if spec.has_location else None)
        found = Path(origin).resolve() if origin else Path(places[0]).resolve() if places else found
        path = places
    return found


def _beside(place: Path, folder: Path) -> Iterator[Path]:
    """Python files that the module could import from the study's folder and from its own package."""
    for root in {folder.resolve(), place if place.is_dir() else place.parent}:
        yield from (p.resolve() for p in root.glob("*.py") if p.is_file())
        for package in (p.parent for p in root.glob("*/__init__.py")):
            yield from (p.resolve() for p in package.rglob("*.py") if p.is_file())


def _hash(code: tuple[NamedCode, ...], folder: Path) -> str:
    """Of everything that the agreement is about: names, arguments, places, and bytes of what is not installed."""
    said = [[c.key, c.name, c.arguments, str(c.place), c.files] for c in code]
    return digest(json.loads(json.dumps([str(folder.resolve()), said], default=str)))


def agreed_file() -> Path:
    """Where agreements are kept: ``$MRINTERP_CONFIG``, else ``mrinterp`` in the user's folder of settings."""
    own = os.environ.get("MRINTERP_CONFIG")
    if own:
        return Path(own) / "agreed_code.json"
    base = os.environ.get("APPDATA" if os.name == "nt" else "XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "mrinterp" / "agreed_code.json"


def _agreed() -> dict[str, Any]:
    try:
        found = json.loads(agreed_file().read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError):  # nothing agreed to yet, or no home
        return {}
    return found if isinstance(found, dict) else {}


def remember(code: tuple[NamedCode, ...], folder: Path) -> bool:
    """Keep the hash of what a person has agreed to; says whether that was possible."""
    try:
        place = agreed_file()
        place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_json(place, _agreed() | {_hash(code, folder): [str(c) for c in code]})
    except (OSError, RuntimeError, InputError):
        return False
    return True


def check_agreed(code: tuple[NamedCode, ...], folder: Path, place: str) -> None:
    """Refuse Python that nobody has agreed to.

    Parameters
    ----------
    place : str
        The study file or run folder, for the message.

    Raises
    ------
    InputError
        Names all that would be imported, and how to agree.
    """
    if not code or _hash(code, folder) in _agreed():
        return
    raise InputError(
        printable(place),
        f"would import and run Python: {'; '.join(map(str, code))}",
        "Read that code; if you trust it, give --allow-code (in Python: allow_code=True)",
    )
