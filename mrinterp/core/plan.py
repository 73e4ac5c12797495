"""The study file: every choice that is fixed before anything is read."""

from __future__ import annotations

import tomllib
from itertools import compress
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import Field, ValidationError, field_validator, model_validator

from mrinterp.core.errors import InputError, near_misses
from mrinterp.core.plan_inputs import (
    InputsSection,
    InstrumentsSection,
    Perturbation,
    for_inputs,
    refuse_misfits,
)
from mrinterp.core.plan_kind import KindSection
from mrinterp.core.plan_model import FeaturesSection, ModelSection
from mrinterp.core.plan_outcome import OutcomeSection
from mrinterp.core.section import Section
from mrinterp.core.storage import digest

__all__ = [
    "FEWEST_FAMILIES",
    "HELD_OUT",
    "MIN_FAMILIES",
    "NOISE_MOVES",
    "PILOT_FAMILIES",
    "TWO_SITES",
    "Plan",
    "differences",
    "read_plan",
    "read_study_file",
    "study_path",
]

MIN_FAMILIES = 40
"""Families per split below which default inference is refused (errors are clustered by family)."""

NOISE_MOVES = (0.5, 1.5)
"""Natural standard deviations that a noise should move a feature by, for its local slope to be one of natural changes."""


class PromptsSection(Section):
    """Templates with slots, or ready prompts from a file."""

    templates: str | None = Field(
        default=None,
        description="Text file with one template per line, such as `The {person} said {when} that`; each line is one"
        " family. Give this or `table`.",
    )
    per_family: int = Field(
        default=12,
        ge=1,
        le=100_000,
        description="Prompts per family in the discovery, estimation and replication splits: drawn from a template, or"
        " at most so many of a table.",
    )
    fillers: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        description="For each slot of the templates, the words that can fill it (at least two); the first is the one"
        " that the others are compared with.",
    )
    table: str | None = Field(
        default=None,
        description="CSV or JSONL file with a column `prompt`, and optionally `family` (template or topic), `corrupted` (the"
        " corrupted partner of a pair), `perturbation` (its name), `label`, `wrong` (right and wrong answer) and `continuation`"
        " (what an outcome compares the output with). The common other names are known, such as `clean`, `correct_idx`,"
        " `incorrect_idx`; which column was read as what is said. Give this or `templates`.",
    )
    columns: dict[str, str] = Field(
        default_factory=dict,
        exclude_if=lambda columns: not columns,
        description="For `table`: which column is read as what, where names leave it open, such as"
        ' `{label = "correct_idx"}`.',
    )
    families: Literal["auto", "each"] = Field(
        default="auto",
        exclude_if=lambda families: families == "auto",
        description="For `table`: `auto` takes the column `family`, and without one finds templates (prompts of one share at"
        " least three words in five on average); `each` makes every prompt a family of its own, which is right only"
        " where prompts have nothing in common.",
    )

    @field_validator("fillers")
    @classmethod
    def _in_name_order(cls, value: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        # Random draws go through the slots one by one: their order must not depend on the file's.
        return dict(sorted(value.items()))


class SplitsSection(Section):
    """How many families each split gets."""

    discovery: int = Field(
        default=0,
        ge=0,
        description="Families from which features, bypass and settings are learned; 0 takes an equal share of the"
        " families that no other split asks for.",
    )
    estimation: int = Field(
        default=0,
        ge=0,
        description="Families on which effects are estimated; 0 takes an equal share of the rest.",
    )
    replication: int = Field(
        default=0,
        ge=0,
        description="Families on which the estimates are repeated; 0 takes an equal share of the rest.",
    )
    knockout: int = Field(
        default=0,
        ge=0,
        description="Families on which features are knocked out; 0 takes an equal share of the rest. Of those beyond 50 (or"
        " `knockouts.families`), up to 10 are read by nothing, so that a knockout chosen after the run can judge.",
    )
    min_families: int = Field(
        default=MIN_FAMILIES,
        ge=2,
        description="Smallest number of families in a split for estimates by instruments. Claims on contrasts need 10 in each"
        " split and 40 in all; with fewer than this number a study starts, is marked as small, and its estimates by instruments"
        " as not for inference. Lower it for rehearsals only.",
    )


class EstimationSection(Section):
    """The primary analysis."""

    kind: Perturbation = Field(
        default="noise",
        description="Perturbations of the primary estimate: `noise` on the word embeddings, `slot` substitutions, `pair`"
        " (clean and corrupted prompts of a table), or another of `[instruments]`. The other kinds are kept for replication.",
    )
    covariance: Literal["CR1", "CR3", "bootstrap"] = Field(
        default="CR3",
        description="Covariance of the estimates, always clustered by family: `CR1` (sandwich), `CR3` (jackknife over"
        " families) or `bootstrap` (resampled families).",
    )
    max_rank: int = Field(
        default=450,
        ge=0,
        le=100_000,
        description="Most components of the bypass that are adjusted for; discovery chooses how many are used.",
    )
    runs_per_column: float = Field(
        default=6.0,
        ge=2,
        description="Fewest estimation runs per regressor (feature or component of the bypass), which also limits the"
        " rank.",
    )
    rope: float = Field(
        default=0.02,
        gt=0,
        description="Half-width of the region of practical equivalence: effects closer to zero count as none, in"
        " standard deviations of the outcome per natural standard deviation of the feature (a contrast over 2.563).",
    )
    rests_on: Literal["auto", "contrast", "mr"] = Field(
        default="auto",
        description="What claims rest on: `contrast` (knockouts to the high and the low natural value of each token, made"
        " more precise by a gradient where there is one), `mr` (instruments, widened by their measured bias: a local slope,"
        " which can never show that there is no effect) or `auto`, the one with the weakest assumptions: `contrast`.",
    )
    bootstrap_draws: int = Field(
        default=200,
        ge=20,
        le=1_000_000,
        description="Draws of the bootstrap, where `covariance` asks for one.",
    )


FEWEST_FAMILIES, PILOT_FAMILIES = 10, 5
"""Families below which a contrast carries no claim, and discovery families that a pilot knocks out."""

HELD_OUT = ("judge", "again")
"""Contrasts on replication families: one half judges the claim, the other half estimates it once more."""


RANDOM_CONTROLS = 16
"""Random directions that are knocked out beside the features, where the site has as many dimensions."""


class KnockoutsSection(Section):
    """The blind knockouts."""

    families: int = Field(
        default=0,
        ge=0,
        description="Families of the knockout split on which features are knocked out, at least 10 for a claim; 0 takes as"
        " many as `width` needs by a pilot on 5 discovery families, whose numbers are not used again, and up to 20 where"
        " features move on some prompts only, so that they move in ten families.",
    )
    width: float = Field(
        default=0.5,
        gt=0,
        description="Half-width of the intervals of contrasts that the pilot aims at, in half-widths of the region of"
        " practical equivalence.",
    )
    prompts_per_family: int = Field(
        default=4, ge=1, description="Prompts per family that are knocked out, at most so many of a table."
    )
    size: float = Field(
        default=1.0,
        gt=0,
        description="Size of the matched shift, up and down, in standard deviations of the feature over the discovery"
        " split.",
    )
    kinds: tuple[KindSection, ...] = Field(
        default=(KindSection(kind="resample"), KindSection(kind="mean")),
        min_length=1,
        description="Kinds of knockout that are run beside the matched shift, as names or as tables with options; they"
        " are shown side by side, never pooled.",
    )
    donors: int = Field(
        default=2,
        ge=1,
        le=1000,
        description="For `resample`: how many other prompts give each prompt their values, one after the other.",
    )
    random_controls: int = Field(
        default=RANDOM_CONTROLS,
        ge=0,
        le=10_000,
        description="Random directions within the site's variation that are knocked out beside the features, as a"
        " control; 0 leaves them out. A site with fewer than 16 dimensions has as many as it has dimensions, where 16 are asked for.",
    )
    permuted_controls: int = Field(
        default=0,
        ge=0,
        le=10_000,
        exclude_if=lambda count: not count,
        description="Write directions of features with their coordinates permuted, shifted as a control; 0 leaves them out.",
    )
    redrawn_network: bool = Field(
        default=False,
        exclude_if=lambda drawn: not drawn,
        description="Repeat the matched shifts in the network with its weights drawn anew, as a control, for as many passes.",
    )

    def controls(self, width: int) -> int:
        """Random directions of a site of this width: by default no more than it has dimensions."""
        most = width if self.random_controls == RANDOM_CONTROLS else self.random_controls
        return min(self.random_controls, most)

    @property
    def names(self) -> tuple[str, ...]:
        """What the study's knockouts are called in tables and in the run folder, in the order they are run."""
        own = ("contrast", *HELD_OUT, "shift", *(k.named for k in self.kinds))
        asked = (self.random_controls, self.permuted_controls, self.redrawn_network)
        return (*own, *compress(("random", "permuted", "redrawn"), asked))

    @field_validator("kinds")
    @classmethod
    def _told_apart(cls, value: tuple[KindSection, ...]) -> tuple[KindSection, ...]:
        names = [k.named for k in value]
        for i, name in enumerate(names):
            if name in names[:i]:
                raise InputError(f"{i}.name", f"{name!r} is used twice", "Give each kind a different name")
        return value


TWO_SITES = (
    "latents of a transcoder are read at one site and written at another: no cut holds them, and what else goes from the one to"
    " the other cannot be adjusted for"
)
"""Why there is no Mendelian randomization of such features."""


class Plan(Section):
    """A whole study, as read from its TOML file."""

    title: str = Field(description="Heading of the study's page.")
    seed: int = Field(
        default=0, ge=0, description="Seed of every random draw: prompts, splits, noise, components, donors."
    )
    model: ModelSection = Field(description="The network, and where it is read and written.")
    features: FeaturesSection = Field(
        default=FeaturesSection(), description="What is read and written at the site."
    )
    outcome: tuple[OutcomeSection, ...] = Field(
        min_length=1,
        description="What is measured at the network's output: one `[outcome]`, or several as `[[outcomes]]`.",
    )
    prompts: PromptsSection = Field(default=PromptsSection(), description="Where the prompts come from.")
    inputs: InputsSection | None = Field(
        default=None,
        exclude_if=lambda inputs: inputs is None,
        description="Inputs that are no texts, in place of prompts.",
    )
    splits: SplitsSection = Field(default=SplitsSection(), description="How many families each split gets.")
    instruments: InstrumentsSection = Field(
        default=InstrumentsSection(), description="The perturbations that serve as instruments."
    )
    estimation: EstimationSection = Field(default=EstimationSection(), description="The primary analysis.")
    knockouts: KnockoutsSection = Field(default=KnockoutsSection(), description="The blind knockouts.")

    @model_validator(mode="before")
    @classmethod
    def _outcomes_as_a_list(cls, data: Any) -> Any:
        if isinstance(data, dict):
            data = dict(data)
            if "outcomes" in data and "outcome" in data:
                raise InputError("outcomes", "given together with outcome", "Keep one of the two")
            if "outcomes" in data:
                data["outcome"] = data.pop("outcomes")
            if isinstance(data.get("outcome"), dict):
                data["outcome"] = [data["outcome"]]
        return data

    @model_validator(mode="before")
    @classmethod
    def _noise_on_the_inputs(cls, data: Any) -> Any:
        """Images and tables have no word embedding: unless another place is named, noise goes on the inputs themselves."""
        inputs = data.get("inputs") if isinstance(data, dict) else None
        if isinstance(inputs, dict) and inputs.get("kind") in ("images", "table"):
            model = data.get("model")
            if isinstance(model, dict) and "embedding" not in model:
                data = {**data, "model": {**model, "embedding": "input"}}
        return data

    @model_validator(mode="after")
    def _texts_or_arrays(self) -> Self:
        given = self.model_fields_set
        if self.inputs is None and "prompts" not in given:
            raise InputError(
                "prompts", "missing", "Add [prompts] (texts) or [inputs] (token arrays, images, a table)"
            )
        if self.inputs is not None and "prompts" in given:
            raise InputError("inputs", "given together with prompts", "Keep one of the two")
        refuse_misfits(self.inputs, self.instruments, self.estimation.kind, self.outcome, self.features.kind)
        return self

    @model_validator(mode="after")
    def _one_cut(self) -> Self:
        """Features that are read elsewhere than they are written have no cut: nothing that needs one."""
        if self.features.kind == "transcoder" and self.estimation.rests_on == "mr":
            raise InputError("estimation.rests_on", f"'mr', and {TWO_SITES}", "Leave it out")
        if self.features.kind == "transcoder" and self.model.beside is not None:
            found = f"given, and there is no bypass that it would join: {TWO_SITES}"
            raise InputError("model.beside", found, "Leave it out")
        return self

    @field_validator("outcome")
    @classmethod
    def _distinct_names(cls, value: tuple[OutcomeSection, ...]) -> tuple[OutcomeSection, ...]:
        names = [o.name for o in value]
        for i, name in enumerate(names):
            if name in names[:i]:
                raise InputError("name", f"{name!r} is used twice", "Give each outcome a different name")
        return value

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary of the keys that apply; with `digest` the rules of the study."""
        return for_inputs(self.model_dump(mode="json"))

    @property
    def per_family(self) -> int:
        """Prompts, or inputs, per family outside the knockout split."""
        return self.prompts.per_family if self.inputs is None else self.inputs.per_family

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
    return _validated(read_study_file(path), path.name), path.resolve().parent


def read_study_file(path: Path) -> dict[str, Any]:
    """What a study file says, before any key of it is checked.

    Raises
    ------
    InputError
        For a file that is missing, cannot be read, or is no TOML.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
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
        raise InputError(
            str(path), f"not valid TOML ({e})", "Correct the line that the message names"
        ) from None


def _refuse_null(value: Any, place: str, key: str = "") -> None:
    """Refuse the character that ends a file's name, and any text, for the system: no word, no path may hold it."""
    if isinstance(value, dict):
        for name, inner in value.items():
            _refuse_null(inner, place, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list | tuple):
        for inner in value:
            _refuse_null(inner, place, key)
    elif isinstance(value, str) and "\0" in value:
        raise InputError(f"{place}, key {key!r}", "holds a null character", "Take it out")


def _validated(data: dict[str, Any], place: str) -> Plan:
    _refuse_null(data, place)
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


SHIPPED = Path(__file__).parents[1] / "studies"
"""Study files that come with the package."""


def study_path(name: str | Path) -> Path:
    """The study file of that path or bare name.

    Raises
    ------
    InputError
        For a bare name that is neither a file nor shipped, with near misses.
    """
    path = Path(name)
    try:
        if path.exists() or path.suffix == ".toml":
            return path
    except OSError as e:
        found = f"no path ({e.strerror or e})"
        raise InputError(f"{str(name)[:60]!r} ...", found, "Give the path of a TOML study file") from None
    shipped = {p.stem: p for p in sorted(SHIPPED.glob("*.toml"))}
    if str(name) in shipped:
        return shipped[str(name)]
    other = near_misses(str(name), shipped) or f"Or one that ships with the package: {', '.join(shipped)}"
    raise InputError(str(name), "no such study file", f"Give the path of a TOML study file. {other}")
