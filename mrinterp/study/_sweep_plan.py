"""A study file that names several sites, positions or dictionaries, and the studies that it stands for."""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from mrinterp.core.errors import InputError, near_misses

__all__ = ["SweepMember", "is_sweep", "sweep_members"]

_PLAIN = re.compile(r"[^\w.@-]+")


@dataclass(frozen=True)
class SweepMember:
    """One study of a sweep.

    Parameters
    ----------
    name : str
        Name of its run folder.
    site, position, dictionary : str
        Where it reads, at which tokens, and from which features, in the words of the study file.
    data : dict
        Its study file.
    """

    name: str
    site: str
    position: str
    dictionary: str
    data: dict[str, Any]


def is_sweep(data: dict[str, Any]) -> bool:
    """Whether a study file stands for several studies."""
    model, features = data.get("model"), data.get("features")
    site = model.get("site") if isinstance(model, dict) else None
    positions = features.get("position") if isinstance(features, dict) else None
    return (
        isinstance(site, list)
        or "*" in str(site)
        or isinstance(features, list)
        or isinstance(positions, list)
    )


def sweep_members(data: dict[str, Any], known: Callable[[], Iterable[str]]) -> list[SweepMember]:
    """The studies of a sweep, in the order of the network's sites, then of dictionaries and positions in the file.

    Parameters
    ----------
    data : dict
        What the study file says: ``model.site`` a site, a pattern (a star stands for one part of a path) or a list of
        them; ``features`` one table or several; ``features.position`` one or a list. ``{site}`` in a folder or file of
        features stands for the site.
    known : callable
        Sites of the network; called only where a pattern has to be resolved.

    Raises
    ------
    InputError
        For a list without entries or with one twice, and for a pattern that fits no site.
    """
    model = data.get("model")
    if not isinstance(model, dict) or "site" not in model:
        raise InputError(
            "model.site", "missing", "Give a site, a pattern such as 'transformer.h.*', or a list"
        )
    sites = _sites(_listed(model["site"], "model.site"), known)
    tables = _listed(data.get("features", {}), "features")
    members: list[SweepMember] = []
    for site, (number, table) in itertools.product(sites, enumerate(tables, 1)):
        if not isinstance(table, dict):
            raise InputError("features", repr(table), "Give a table, or several as [[features]]")
        for position in _listed(table.get("position", "auto"), "features.position"):
            one = copy.deepcopy({**data, "features": {**table, "position": position}})
            one["model"]["site"] = site
            for key in ("folder", "file"):
                if isinstance(table.get(key), str):
                    one["features"][key] = table[key].replace("{site}", site)
            words = _dictionary(table, number, len(tables))
            parts = [site, words if len(tables) > 1 else "", str(position) if _several(tables) else ""]
            name = "--".join(_PLAIN.sub("_", p) for p in parts if p)
            members.append(SweepMember(name, site, str(position), words, one))
    names = [m.name for m in members]
    for k, name in enumerate(names):
        if name in names[:k]:
            raise InputError(
                "sweep", f"two studies would lie in {name!r}", "Name sites that differ in letters"
            )
    return members


def _several(tables: list[Any]) -> bool:
    return len({str(p) for t in tables for p in _listed(t.get("position", "auto"), "features.position")}) > 1


def _listed(value: Any, key: str) -> list[Any]:
    """The entries of a list, or the one value; refuses none, and one twice."""
    values = value if isinstance(value, list) else [value]
    if not values:
        raise InputError(key, "an empty list", "Give at least one entry")
    for k, one in enumerate(values):
        if one in values[:k]:
            raise InputError(key, f"{str(one)[:60]!r} is given twice", "Give each once")
    return values


def _sites(wanted: list[Any], known: Callable[[], Iterable[str]]) -> list[str]:
    found: list[str] = []
    for pattern in map(str, wanted):
        if "*" not in pattern:
            found += [pattern] if pattern not in found else []
            continue
        path, end = re.fullmatch(r"(.*?)((?:@\d+)?(?::input)?)", pattern).groups()  # type: ignore[union-attr]
        fits = re.compile("[^.]+".join(map(re.escape, path.split("*"))))
        every = list(known())
        matched = sorted((s for s in every if fits.fullmatch(s)), key=_natural)
        if not matched:
            near = (
                near_misses(path.replace("*", "0"), every) or f"The network has {', '.join(every[:6])}, ..."
            )
            raise InputError("model.site", f"{pattern!r} fits no site of the network", near)
        found += [s + end for s in matched if s + end not in found]
    return found


def _natural(site: str) -> list[tuple[int, str]]:
    """Layer 10 comes after layer 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", site)]


def _dictionary(table: dict[str, Any], number: int, count: int) -> str:
    """Features of one table in words; numbered where the file has several of the kind."""
    kind = str(table.get("kind", "independent_components"))
    source = table.get("folder") or table.get("file")
    if source:
        return f"{kind} {str(source).rstrip('/').rsplit('/', 1)[-1]}"
    return f"{kind} {number}" if count > 1 else kind
