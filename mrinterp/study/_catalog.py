"""What there is to name in a study: read off the types and registries, typed nowhere else."""

from __future__ import annotations

import importlib
import inspect
import tomllib
from collections.abc import Callable, Mapping
from typing import Any, get_args

from mrinterp.core.checks import checked_choice
from mrinterp.core.plan import SHIPPED, EstimationSection
from mrinterp.core.plan_inputs import INPUT_KEYS, InstrumentsSection
from mrinterp.core.plan_kind import KIND_KEYS
from mrinterp.core.plan_model import FEATURE_KEYS, MODEL_KEYS
from mrinterp.core.plan_outcome import OUTCOME_KEYS
from mrinterp.results._network_description import SITE_KINDS

__all__ = ["catalog"]

Rows = list[dict[str, str]]
Keys = Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]]


def catalog(what: str | None = None) -> dict[str, Rows]:
    """Everything that can be named, by subject: one dictionary per entry, its name first.

    Parameters
    ----------
    what : str, optional
        One subject; default all.

    Returns
    -------
    dict of str to list of dict
        ``studies, models, sites, inputs, features, outcomes, perturbations, estimators, knockouts``.

    Examples
    --------
    >>> from mrinterp.study import catalog
    >>> [row["name"] for row in catalog("perturbations")["perturbations"]][:3]
    ['noise', 'slot', 'pair']
    """
    makers: dict[str, Callable[[], Rows]] = {
        "studies": _studies,
        "models": lambda: _by_keys(MODEL_KEYS),
        "sites": lambda: [{"name": name, "what": words} for name, words in SITE_KINDS.items()],
        "inputs": lambda: _by_keys(INPUT_KEYS),
        "features": lambda: _by_keys(FEATURE_KEYS),
        "outcomes": lambda: _by_keys(OUTCOME_KEYS),
        "perturbations": _perturbations,
        "estimators": _estimators,
        "knockouts": _knockouts,
    }
    chosen = list(makers) if what is None else [checked_choice(what, "what", makers)]
    return {name: makers[name]() for name in chosen}


def _studies() -> Rows:
    return [
        {"name": path.stem, "what": str(tomllib.loads(path.read_text(encoding="utf-8"))["title"])}
        for path in sorted(SHIPPED.glob("*.toml"))
    ]


def _by_keys(kinds: Keys) -> Rows:
    """Kinds of a section: what each needs and may have; what only memory can give is left out."""
    return [
        {"name": n, "needs": ", ".join(needs), "may have": ", ".join(may)}
        for n, (needs, may) in kinds.items()
        if n != "given"
    ]


def _perturbations() -> Rows:
    fields = InstrumentsSection.model_fields
    pairs = "clean and corrupted prompts of a table"
    return [
        {"name": name, "what": _words(fields[name].description) if name in fields else pairs}
        for name in get_args(EstimationSection.model_fields["kind"].annotation)
    ]


def _estimators() -> Rows:
    from mrinterp.mr._engine.registry import registered

    rows = [
        {"name": name, "what": entry.label, "for": f"summary tables, {kind}"}
        for kind in ("univariable", "multivariable")
        for name, entry in registered(kind).items()
    ]
    face: Any = importlib.import_module("mrinterp.mr")
    for name in dir(face):
        value = getattr(face, name)
        if inspect.isfunction(value) and "._runs." in value.__module__:
            rows.append({"name": name, "what": _first_line(value), "for": "runs"})
    return rows


def _knockouts() -> Rows:
    """Kinds of knockout; those without a word on study files are for Python."""
    from mrinterp.knockouts._kinds.registry import KINDS

    return [
        {"name": name, "what": _first_line(kind), "in a study file": "yes" if name in KIND_KEYS else ""}
        for name, kind in KINDS.items()
    ]


def _first_line(value: Any) -> str:
    return (inspect.getdoc(value) or "").split("\n", 1)[0].rstrip(".")


def _words(text: str | None) -> str:
    return (text or "").rstrip(".")
