"""What kernels list by position (modes, credible sets, models, confidence sets), put into names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["Findings", "is_listing", "named"]


def is_listing(value: Any) -> bool:
    """Whether an entry of ``meta`` is a list of findings, one dictionary each."""
    return isinstance(value, list) and all(isinstance(v, dict) for v in value)


def named(value: Any, exposures: Sequence[str], outcomes: Sequence[str], instruments: Sequence[str]) -> Any:
    """The same with names for positions, however deep they lie.

    Parameters
    ----------
    value : list, dict or anything
        Positions stand under ``exposure``, ``exposures``, ``outcome``, ``instruments`` and ``direct_paths``.
    exposures, outcomes, instruments : sequence of str
        Names of what the kernel was given, which may be less than the whole table.
    """
    known = {
        "exposure": exposures,
        "exposures": exposures,
        "outcome": outcomes,
        "instruments": instruments,
        "direct_paths": instruments,
    }
    return _named(value, known)


def _named(value: Any, known: Mapping[str, Sequence[str]]) -> Any:
    if isinstance(value, list):
        return [_named(v, known) for v in value]
    if not isinstance(value, dict):
        return value
    out = {}
    for key, inner in value.items():
        if key not in known:
            out[key] = _named(inner, known)
        elif isinstance(inner, list):
            out[key] = [known[key][i] for i in inner]
        else:
            out[key] = known[key][inner]
    return out


class Findings:
    """The findings in a result's ``meta``, looked up by exposure and outcome."""

    def __init__(self, meta: Mapping[str, Any]) -> None:
        self._names = [k for k, v in meta.items() if v and is_listing(v)]
        self._at: dict[tuple[str | None, str | None], dict[str, list[Any]]] = {}
        for name in self._names:
            for entry in meta[name]:
                cell = self._at.setdefault((entry.get("exposure"), entry.get("outcome")), {})
                rest = {k: v for k, v in entry.items() if k not in ("exposure", "outcome")}
                cell.setdefault(name, []).extend(next(iter(rest.values())) if len(rest) == 1 else [rest])

    def of_cell(self, exposure: str, outcome: str) -> dict[str, list[Any]]:
        """By their name in ``meta``; what holds one thing beside the names of its cell stands for that."""
        cells = [self._at.get(key, {}) for key in ((exposure, outcome), (None, outcome))]
        return {name: [f for cell in cells for f in cell.get(name, [])] for name in self._names}
