"""The items of the STROBE-MR statement, filled from a finished study as far as a program can."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from mrinterp.core.design import SPLITS
from mrinterp.report.claims import alarms, closing, few_families, resting, ropes, rungs_in_words
from mrinterp.report.finished import FinishedStudy
from mrinterp.report.order import order_in_words

__all__ = ["BLANK", "Item", "strobe", "strobe_items"]

BLANK = "[to be written by a person]"


class Item(BaseModel):
    """One item: its number and name, what the study says of it, or a marked blank."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    number: int
    section: Literal["title", "introduction", "methods", "results", "discussion", "other"]
    item: str
    said: str


def strobe(study: FinishedStudy) -> list[Item]:
    """The 20 items; background, interpretation, funding and interests are left as marked blanks.

    Source: Skrivankova et al. 2021, 10.1001/jama.2021.18236.
    """
    plan, claims = study.header["plan"], study.claims
    families = ", ".join(f"{study.design.families(s)} {s}" for s in SPLITS)
    bearing, marked = alarms(study)
    assumed = list(dict.fromkeys(a for e in study.estimates.values() for a in e.assumes))
    instruments = study.design.instruments
    kinds = ", ".join(f"{n} {k}" for k, n in instruments["kind"].value_counts().items())
    outcomes = ", ".join(ropes(study))
    failed = (
        "; ".join(f"{c['name']}: {str(c['note']).removesuffix('.')}" for c in [*bearing, *marked])
        or "all passed"
    )
    checked = ", ".join(c["name"] for c in study.checks)
    largest = " ".join(claims.claims["sentence"].head(10))
    against = int((claims.claims["contradiction"] != "").sum())
    versions = ", ".join(f"{k} {v}" for k, v in study.header["provenance"]["versions"].items())
    hashed = f"rules {study.header['rules_hash']}, candidates {study.header['candidates_hash']}"
    rows = [
        ("title", "title and abstract", f"{plan['title']}. {closing(study)}"),
        ("introduction", "background", BLANK),
        ("introduction", "objectives", f"Which of {study.results['feature'].nunique()} features change {outcomes}, and by how much."),
        ("methods", "study design and data sources", f"Families of inputs, divided at random: {families}. Instruments: {kinds}."),
        ("methods", "assumptions", "; ".join(assumed) or "none beyond random assignment"),
        ("methods", "main analysis", resting(study)),
        ("methods", "assessment of assumptions", f"Checks: {checked}."),
        ("methods", "sensitivity and additional analyses", "Every rung: " + "; ".join(study.rungs["label"].astype(str).unique()) + "."),
        ("methods", "software and preregistration", f"{versions}. {order_in_words(study)} Hashes: {hashed}."),
        ("results", "descriptive data", f"{len(study.results)} effects tested on {families} families; outcomes {outcomes}."),
        ("results", "main results", f"{claims.summary}. {largest}"),
        ("results", "assessment of assumptions", f"Failed or warned: {failed}."),
        ("results", "sensitivity and additional analyses", "; ".join(rungs_in_words(study))),
        ("discussion", "key results", closing(study)),
        ("discussion", "limitations", _limitations(study, against)),
        ("discussion", "interpretation", BLANK),
        ("discussion", "generalizability", "To families of inputs like those that were drawn, on the network with this hash:"
         f" {study.header['provenance']['model']}. Other networks and other inputs were not tested."),
        ("other", "funding", BLANK),
        ("other", "data and data sharing", "The run folder holds every number; study.json the plan and the command that repeats it."),
        ("other", "conflicts of interest", BLANK),
    ]  # fmt: skip
    return strobe_items(rows)


def strobe_items(rows: Sequence[tuple[str, str, str]]) -> list[Item]:
    """Items by section, name and what is said, in the order of the statement."""
    return [
        Item(number=k, section=section, item=item, said=said)  # type: ignore[arg-type]
        for k, (section, item, said) in enumerate(rows, start=1)
    ]


def _limitations(study: FinishedStudy, against: int) -> str:
    """What must be said before the numbers are believed."""
    said = [*few_families(study)]
    whys = (
        study.claims.claims["ceiling_why"]
        .astype(str)
        .str.replace(r" \([^()]* do(?:es)? at least as much\)", "", regex=True)
    )
    bounded = [
        f"{n} {'claim' if n == 1 else 'claims'} by {why}"
        for why, n in whys[whys != ""].value_counts().items()
    ]
    said += [f"Best grades were bounded: {'; '.join(bounded)}."] if bounded else []
    said += [f"{against} claims are contradicted by other evidence of the same run."] if against else []
    said += ["Each interval has level 95% by itself; none is adjusted for the number of effects tested."]
    return " ".join(said)
