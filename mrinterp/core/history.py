"""The record of a run: which step came when, what it read and wrote, and what that proves about the knockouts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from mrinterp.core.storage import digest

__all__ = [
    "OUTCOME_NUMBERS",
    "Order",
    "appended",
    "families_in_words",
    "how_planned",
    "order_of",
    "uses_outcomes",
]

OUTCOME_NUMBERS = (
    "panel",
    "sumstats",
    "checks.json",
    "borrowed",
    "estimates",
    "rank_path.parquet",
    "scale_path.parquet",
    "kinds",
    "equivalence.parquet",
    "agreement",
    "results.json",
    "results.parquet",
    "rungs.parquet",
    "grades",
    "other_runs",
    "figures",
    "report.html",
    "report",
    "report_cards",
)
"""What a run folder holds that is computed from outcomes of families beyond discovery."""

MADE_BEFORE = "the folder keeps no record of the order of its steps (an older version of mrinterp made it)"
CHANGED = "the record of the order of its steps was changed after it was written"


def families_in_words(runs: pd.DataFrame, families: list[str]) -> dict[str, Any]:
    """Whole splits of a design by name, single families by theirs, with count and digest of all."""
    left, splits = set(families), []
    for split, group in runs.groupby("split", sort=True):
        whole = set(group["family"].astype(str))
        if whole <= set(families):
            splits.append(str(split))
            left -= whole
    return {"splits": splits, "names": sorted(left), "count": len(families), "digest": digest(families)}


def uses_outcomes(name: str) -> bool:
    """Whether a part of the run folder is a number that uses outcomes of families beyond discovery."""
    return name.split("/")[0] in OUTCOME_NUMBERS


def appended(
    history: list[dict[str, Any]], step: str, read: Iterable[str], wrote: Mapping[str, str], **more: Any
) -> list[dict[str, Any]]:
    """The record with one more event at its end.

    Every event carries a hash over itself and the hash of the event before it, so that one that is changed,
    moved or taken out later breaks the chain. This finds mistakes, not forgers, who can compute hashes too.
    """
    event = {"number": len(history) + 1, "step": step, "read": list(read), "wrote": dict(wrote), **more}
    return [*history, event | {"link": _link(history[-1]["link"] if history else "", event)}]


def _link(before: str, event: Mapping[str, Any]) -> str:
    return digest({"before": before, "event": {k: v for k, v in event.items() if k != "link"}})


def _unbroken(history: list[dict[str, Any]]) -> bool:
    before = ""
    for number, event in enumerate(history, start=1):
        if event.get("number") != number or event.get("link") != _link(before, event):
            return False
        before = event["link"]
    return True


@dataclass(frozen=True)
class Order:
    """What the record of a run proves about the order of its steps.

    Parameters
    ----------
    doubts : tuple of str
        Why the study's knockouts are not shown to be blind, in words; empty where they are.
    rules_first : bool
        The rules were hashed before discovery was read.
    candidates_first : bool
        Candidates, dictionary and rank were hashed before any outcome of other families was read.
    frozen_first : bool
        The digest of the knockouts was frozen before any number that uses outcomes of other families existed.
    """

    doubts: tuple[str, ...]
    rules_first: bool = False
    candidates_first: bool = False
    frozen_first: bool = False

    @property
    def blind(self) -> bool:
        """Whether the study's knockouts were planned and run before any such number existed."""
        return not self.doubts


def order_of(header: Mapping[str, Any]) -> Order:
    """What the header of a run folder proves; nothing where it keeps no record, or a changed one."""
    history = header.get("history") or []
    if not history or not _unbroken(history):
        return Order((CHANGED if history else MADE_BEFORE,))
    freeze = _first(history, "freeze")
    names = freeze["names"] if freeze else sorted(header.get("knockouts", {}))
    doubts = dict.fromkeys(d for name in names for d in doubts_about(header, name))
    if freeze is None:
        doubts["the digests of the knockouts were never frozen"] = None
    numbers = _place(history, lambda e: any(uses_outcomes(n) for n in e["wrote"]))
    plans = _place(history, lambda e: e["step"] == "plan knockouts")
    candidates = _place(history, lambda e: e["step"] == "candidates" and not e["existed"])
    return Order(
        tuple(doubts),
        _place(history, lambda e: e["step"] == "rules" and not e["existed"])
        < _place(history, lambda e: "basis" in e["wrote"]),
        candidates < min(numbers, plans),
        _place(history, lambda e: e["step"] == "freeze" and not e["existed"]) < numbers,
    )


def how_planned(header: Mapping[str, Any], name: str) -> str:
    """``blind`` where the record proves it of a stored knockout, else ``selected``."""
    return "selected" if doubts_about(header, name) else "blind"


def doubts_about(header: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Why one stored knockout is not shown to be blind, in words; empty where it is."""
    history = header.get("history") or []
    if not history or not _unbroken(history):
        return (CHANGED if history else MADE_BEFORE,)
    freeze, key = _first(history, "freeze"), f"knockouts/{name}"
    plan = next((e for e in history if e["step"] == "plan knockouts" and name in e["names"]), None)
    kept = next((e for e in history if e["step"] == "keep knockout" and key in e["wrote"]), None)
    if plan is None or kept is None:
        return (f"no {'plan' if plan is None else 'result'} of the knockout {name!r} stands in the record",)
    if freeze is None or name not in freeze["names"]:
        return (f"the digest of the knockout {name!r} was not frozen together with the study's others",)
    found = []
    existed = [*dict.fromkeys([*plan["existed"], *kept["existed"], *freeze["existed"]])]
    if existed:
        found.append(f"when the knockouts were planned, run or frozen there were already {_listed(existed)}")
    elif "selected" in (plan["planned"], kept["planned"]):
        found.append(f"the knockout {name!r} was not chosen by a rule that had been hashed beforehand")
    if any(uses_outcomes(n) for e in history[: freeze["number"]] for n in e["wrote"]):
        found.append(
            "numbers that use outcomes of other families were stored before the knockouts were frozen"
        )
    if header.get("knockouts", {}).get(name) != kept["wrote"][key]:
        found.append(f"the digest of the knockout {name!r} is not the one in the record")
    return tuple(found)


def _first(history: list[dict[str, Any]], step: str) -> dict[str, Any] | None:
    return next((e for e in history if e["step"] == step), None)


def _place(history: list[dict[str, Any]], which: Callable[[dict[str, Any]], bool]) -> float:
    """Number of the first such event; infinite where there is none."""
    return float(next((e["number"] for e in history if which(e)), "inf"))


def _listed(names: list[str], most: int = 4) -> str:
    """The first names in words, and how many more there are."""
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
