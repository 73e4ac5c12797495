"""The study file: every choice that is fixed before anything is read."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError, field_validator, model_validator

from mrinterp.core.errors import InputError, near_misses
from mrinterp.core.plan_kind import KindSection
from mrinterp.core.plan_model import FeaturesSection, ModelSection
from mrinterp.core.plan_outcome import OutcomeSection
from mrinterp.core.section import Fraction, Section
from mrinterp.core.storage import digest

__all__ = ["MIN_FAMILIES", "Plan", "differences", "read_plan"]

MIN_FAMILIES = 40
"""Families per split below which default inference is refused (errors are clustered by family)."""


class PromptsSection(Section):
    """Templates with slots, or ready prompts from a file."""

    templates: str | None = None
    """Text file with one template per line; each line is a family."""
    per_family: int = Field(default=12, ge=1, le=100_000)
    fillers: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Slot name to its fillers."""
    table: str | None = None
    """CSV or JSONL with ``prompt, family`` and optionally ``corrupted`` (clean/corrupted pairs),
    ``label`` and ``continuation`` (for outcomes that are held against them)."""

    @field_validator("fillers")
    @classmethod
    def _in_name_order(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        # Random draws go through the slots one by one: their order must not depend on the file's.
        return dict(sorted(value.items()))


class SplitsSection(Section):
    """Families per split (0: an equal share)."""

    discovery: int = Field(default=0, ge=0)
    estimation: int = Field(default=0, ge=0)
    replication: int = Field(default=0, ge=0)
    knockout: int = Field(default=0, ge=0)
    min_families: int = Field(default=MIN_FAMILIES, ge=2)
    """Lower it only for rehearsals: intervals are then marked as not for inference."""


class SlotSection(Section):
    """Slot substitution."""

    runs_per_prompt: int = Field(default=3, ge=0, le=10_000)
    probability: Fraction = 0.5
    """Chance that a run substitutes a given slot."""


class NoiseSection(Section):
    """Noise on the word embeddings along fixed directions, paired with the clean run."""

    runs_per_prompt: int = Field(default=10, ge=0, le=10_000)
    directions_per_class: int = Field(default=96, ge=1, le=10_000)
    scale: float = Field(default=0.04, gt=0)
    """Standard deviation of the noise per coordinate of an embedding."""
    split_at: str | None = None
    """Slot at which the tokens outside slots are divided into before and after."""


class PlaceboSection(Section):
    """No-op instruments: doses are drawn, nothing is edited."""

    count: int = Field(default=20, ge=0, le=10_000)


class InstrumentsSection(Section):
    """The kinds of perturbation."""

    slot: SlotSection = SlotSection()
    noise: NoiseSection = NoiseSection()
    placebo: PlaceboSection = PlaceboSection()


class EstimationSection(Section):
    """The primary analysis."""

    kind: Literal["noise", "slot", "pair"] = "noise"
    """Kind of perturbation of the primary estimate; the other kind is held out for replication."""
    covariance: Literal["CR1", "CR3", "bootstrap"] = "CR3"
    max_rank: int = Field(default=450, ge=0, le=100_000)
    runs_per_column: float = Field(default=6.0, ge=2)
    """The rank never exceeds estimation runs divided by this number."""
    rope: float = Field(default=0.02, gt=0)
    """Region of practical equivalence, in sd(outcome) per sd(feature)."""
    bootstrap_draws: int = Field(default=200, ge=20, le=1_000_000)


class KnockoutsSection(Section):
    """The blind knockouts."""

    prompts_per_family: int = Field(default=4, ge=1)
    size: float = Field(default=1.0, gt=0)
    """Size of the matched shift, in natural standard deviations."""
    kinds: tuple[KindSection, ...] = Field(
        default=(KindSection(kind="resample"), KindSection(kind="mean")), min_length=1
    )
    """Kinds of knockout beside the matched shift, by name or as tables with options; shown side by side,
    never pooled."""
    donors: int = Field(default=2, ge=1, le=1000)
    """Donor prompts per prompt for resampling."""
    random_controls: int = Field(default=16, ge=0, le=10_000)
    """Random on-support directions knocked out beside the features."""

    @field_validator("kinds")
    @classmethod
    def _told_apart(cls, value: tuple[KindSection, ...]) -> tuple[KindSection, ...]:
        names = [k.named for k in value]
        for i, name in enumerate(names):
            if name in names[:i]:
                raise InputError(f"{i}.name", f"{name!r} stands twice", "Give each a name of its own")
        return value


class Plan(Section):
    """A whole study, as read from its TOML file."""

    title: str
    seed: int = Field(default=0, ge=0)
    model: ModelSection
    features: FeaturesSection = FeaturesSection()
    outcome: tuple[OutcomeSection, ...] = Field(min_length=1)
    """One ``[outcome]``, or several as ``[[outcomes]]``."""
    prompts: PromptsSection
    splits: SplitsSection = SplitsSection()
    instruments: InstrumentsSection = InstrumentsSection()
    estimation: EstimationSection = EstimationSection()
    knockouts: KnockoutsSection = KnockoutsSection()

    @model_validator(mode="before")
    @classmethod
    def _outcomes_as_a_list(cls, data: Any) -> Any:
        if isinstance(data, dict):
            data = dict(data)
            if "outcomes" in data and "outcome" in data:
                raise InputError("outcomes", "given beside outcome", "Keep one of the two")
            if "outcomes" in data:
                data["outcome"] = data.pop("outcomes")
            if isinstance(data.get("outcome"), dict):
                data["outcome"] = [data["outcome"]]
        return data

    @field_validator("outcome")
    @classmethod
    def _distinct_names(cls, value: tuple[OutcomeSection, ...]) -> tuple[OutcomeSection, ...]:
        names = [o.name for o in value]
        for i, name in enumerate(names):
            if name in names[:i]:
                raise InputError("name", f"{name!r} stands twice", "Give every outcome a name of its own")
        return value

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary; with `digest` the rules of the study."""
        return self.model_dump(mode="json")

    @property
    def digest(self) -> str:
        """Hash of the plan's text."""
        return digest(self.to_dict())


def read_plan(source: Path | dict[str, Any]) -> tuple[Plan, Path]:
    """Read a study file; returns the plan and the folder that its relative paths start from.

    Raises
    ------
    InputError
        Names the key, what was found and the fix; unknown keys come with near misses.
    """
    if isinstance(source, dict):
        return _validated(source, "study"), Path.cwd()
    path = Path(source)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(str(path), "no such study file", "Give the path of a TOML study file") from None
    except (IsADirectoryError, PermissionError) as e:
        raise InputError(
            str(path), f"cannot be read ({e.strerror})", "Give the path of a TOML study file"
        ) from None
    except UnicodeDecodeError as e:
        raise InputError(
            str(path), f"not UTF-8 text ({e.reason} at byte {e.start})", "Save it as UTF-8"
        ) from None
    except (tomllib.TOMLDecodeError, RecursionError) as e:
        raise InputError(str(path), f"not valid TOML ({e})", "Mend the line it names") from None
    return _validated(data, path.name), path.resolve().parent


def _validated(data: dict[str, Any], place: str) -> Plan:
    try:
        return Plan.model_validate(data)
    except ValidationError as e:
        first = e.errors()[0]
        location = _as_written(first["loc"], data)
        key = ".".join(str(p) for p in location)
        if first["type"] == "extra_forbidden":
            known = _keys_at(first["loc"][:-1])
            fix = near_misses(str(first["loc"][-1]), known) or f"Known keys here: {', '.join(sorted(known))}"
            raise InputError(f"{place}, key {key!r}", "unknown key", fix) from None
        if first["type"] == "missing":
            raise InputError(
                f"{place}, key {key!r}", "missing", f"Add {key.rsplit('.', 1)[-1]} = ..."
            ) from None
        reason = first.get("ctx", {}).get("error")
        if isinstance(reason, InputError):
            key = ".".join(str(p) for p in (*location, reason.where))
            raise InputError(f"{place}, key {key!r}", reason.found, reason.fix) from None
        found = f"{first['msg'][0].lower()}{first['msg'][1:]}, found {str(first.get('input'))[:60]!r}"
        raise InputError(f"{place}, key {key!r}", found, "Change the value") from None


def _as_written(location: tuple[Any, ...], data: dict[str, Any]) -> tuple[Any, ...]:
    """The place of a key as the study file has it: one ``[outcome]`` is not numbered."""
    if location[:1] == ("outcome",) and len(location) > 1:
        return ("outcomes", *location[1:]) if "outcomes" in data else _single(location, data)
    return location


def _single(location: tuple[Any, ...], data: dict[str, Any]) -> tuple[Any, ...]:
    return (location[0], *location[2:]) if isinstance(data.get("outcome"), dict) else location


def _keys_at(location: tuple[Any, ...]) -> list[str]:
    model: Any = Plan
    for part in location:
        if isinstance(part, int):
            continue
        field = getattr(model, "model_fields", {}).get(part)
        model = field.annotation if field is not None else None
        model = next(iter(get_args(model)), model)
    return list(getattr(model, "model_fields", {}))


def differences(old: Any, new: Any, at: str = "") -> list[str]:
    """What differs between two plans (as dictionaries), one line a key."""
    if isinstance(old, dict) and isinstance(new, dict):
        out: list[str] = []
        for key in sorted(set(old) | set(new)):
            out += differences(old.get(key), new.get(key), f"{at}.{key}" if at else key)
        return out
    return [] if old == new else [f"{at}: {str(old)[:40]} there, {str(new)[:40]} here"]
