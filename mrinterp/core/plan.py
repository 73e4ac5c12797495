"""The study file: every choice that is fixed before anything is read."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from mrinterp.core.errors import InputError, near_misses
from mrinterp.core.storage import digest

__all__ = ["MIN_FAMILIES", "Plan", "differences", "read_plan"]

MIN_FAMILIES = 40
"""Families per split below which default inference is refused (errors are clustered by family)."""

Fraction = Annotated[float, Field(gt=0, le=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelSection(_Section):
    """Which network, and where it is read and written."""

    package: str | None = None
    """Installed Python package that carries the network (no download)."""
    folder: str | None = None
    """Folder of the network: inside the package, or on its own path."""
    site: str
    """Dotted path of the module whose output is the site."""
    embedding: str = "embeddings.word_embeddings"
    """Dotted path of the word embedding, where noise is added."""
    padded_length: int = Field(default=32, ge=4, le=4096)
    block: int = Field(default=64, ge=1, le=4096)
    """Canonical run block: how many runs share a forward pass."""


class FeaturesSection(_Section):
    """The dictionary of features learned on the discovery split."""

    kind: Literal["independent_components", "principal_components"] = "independent_components"
    count: int = Field(default=48, ge=1, le=100_000)
    labels: str | None = None
    """CSV file of imported labels: columns ``feature, label``."""


class OutcomeSection(_Section):
    """One number per run."""

    name: str
    kind: Literal["anchor_contrast", "anchor_similarity"] = "anchor_contrast"
    positive: tuple[str, ...] = Field(min_length=1)
    negative: tuple[str, ...] = ()
    sampling: Literal["none", "normal", "bernoulli"] = "none"
    """none: as computed. normal: a judge whose score is the value plus noise. bernoulli: a judge who
    answers yes with probability 1 / (1 + exp(-(value - midpoint) / noise))."""
    replicates: int = Field(default=1, ge=1, le=100_000)
    """Seeded draws per run of a sampled outcome; their mean is the run's outcome, so that their
    noise enters every error."""
    noise: float = Field(default=0.0, ge=0)
    """Standard deviation of a normal judge's noise, or width of a bernoulli judge's threshold."""
    midpoint: float = 0.0
    """Value at which a bernoulli judge says yes half of the time."""


class PromptsSection(_Section):
    """Templates with slots, or ready prompts from a file."""

    templates: str | None = None
    """Text file with one template per line; each line is a family."""
    per_family: int = Field(default=12, ge=1, le=100_000)
    fillers: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    """Slot name to its fillers."""
    table: str | None = None
    """CSV or JSONL with ``prompt, family`` and optionally ``corrupted`` (clean/corrupted pairs)."""

    @field_validator("fillers")
    @classmethod
    def _in_name_order(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        # Random draws go through the slots one by one: their order must not depend on the file's.
        return dict(sorted(value.items()))


class SplitsSection(_Section):
    """Families per split (0: an equal share)."""

    discovery: int = Field(default=0, ge=0)
    estimation: int = Field(default=0, ge=0)
    replication: int = Field(default=0, ge=0)
    knockout: int = Field(default=0, ge=0)
    min_families: int = Field(default=MIN_FAMILIES, ge=2)
    """Lower it only for rehearsals: intervals are then marked as not for inference."""


class SlotSection(_Section):
    """Slot substitution."""

    runs_per_prompt: int = Field(default=3, ge=0, le=10_000)
    probability: Fraction = 0.5
    """Chance that a run substitutes a given slot."""


class NoiseSection(_Section):
    """Noise on the word embeddings along fixed directions, paired with the clean run."""

    runs_per_prompt: int = Field(default=10, ge=0, le=10_000)
    directions_per_class: int = Field(default=96, ge=1, le=10_000)
    scale: float = Field(default=0.04, gt=0)
    """Standard deviation of the noise per coordinate of an embedding."""
    split_at: str | None = None
    """Slot at which the tokens outside slots are divided into before and after."""


class PlaceboSection(_Section):
    """No-op instruments: doses are drawn, nothing is edited."""

    count: int = Field(default=20, ge=0, le=10_000)


class InstrumentsSection(_Section):
    """The kinds of perturbation."""

    slot: SlotSection = SlotSection()
    noise: NoiseSection = NoiseSection()
    placebo: PlaceboSection = PlaceboSection()


class EstimationSection(_Section):
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


class KnockoutsSection(_Section):
    """The blind knockouts."""

    prompts_per_family: int = Field(default=4, ge=1)
    size: float = Field(default=1.0, gt=0)
    """Size of the matched shift, in natural standard deviations."""
    donors: int = Field(default=2, ge=1, le=1000)
    """Donor prompts per prompt for resampling."""
    random_controls: int = Field(default=16, ge=0, le=10_000)
    """Random on-support directions knocked out beside the features."""


class Plan(_Section):
    """A whole study, as read from its TOML file."""

    title: str
    seed: int = Field(default=0, ge=0)
    model: ModelSection
    features: FeaturesSection = FeaturesSection()
    outcome: OutcomeSection
    prompts: PromptsSection
    splits: SplitsSection = SplitsSection()
    instruments: InstrumentsSection = InstrumentsSection()
    estimation: EstimationSection = EstimationSection()
    knockouts: KnockoutsSection = KnockoutsSection()

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
        key = ".".join(str(p) for p in first["loc"])
        if first["type"] == "extra_forbidden":
            known = _keys_at(first["loc"][:-1])
            fix = near_misses(str(first["loc"][-1]), known) or f"Known keys here: {', '.join(sorted(known))}"
            raise InputError(f"{place}, key {key!r}", "unknown key", fix) from None
        if first["type"] == "missing":
            raise InputError(
                f"{place}, key {key!r}", "missing", f"Add {key.rsplit('.', 1)[-1]} = ..."
            ) from None
        found = f"{first['msg'][0].lower()}{first['msg'][1:]}, found {str(first.get('input'))[:60]!r}"
        raise InputError(f"{place}, key {key!r}", found, "Change the value") from None


def _keys_at(location: tuple[Any, ...]) -> list[str]:
    model: Any = Plan
    for part in location:
        field = getattr(model, "model_fields", {}).get(part)
        model = field.annotation if field is not None else None
    return list(getattr(model, "model_fields", {}))


def differences(old: Any, new: Any, at: str = "") -> list[str]:
    """What differs between two plans (as dictionaries), one line a key."""
    if isinstance(old, dict) and isinstance(new, dict):
        out: list[str] = []
        for key in sorted(set(old) | set(new)):
            out += differences(old.get(key), new.get(key), f"{at}.{key}" if at else key)
        return out
    return [] if old == new else [f"{at}: {str(old)[:40]} there, {str(new)[:40]} here"]
