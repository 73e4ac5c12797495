"""The kinds of knockout of a study file, by name or as a table with options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, model_serializer, model_validator

from mrinterp.core.errors import InputError
from mrinterp.core.section import Section, refuse_unused_keys

__all__ = ["KindSection"]

# For each kind: keys that it needs, keys that it may have.
KIND_KEYS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "resample": ((), ("donors",)),
    "mean": ((), ()),
    "zero": ((), ()),
    "clamp": ((), ("value", "quantile")),
    "scale": (("factor",), ()),
    "steer": (("amount",), ()),
}


class KindSection(Section):
    """One kind of knockout beside the matched shift: ``"mean"``, or ``{kind = "clamp", quantile = 0.9}``."""

    kind: Literal["resample", "mean", "zero", "clamp", "scale", "steer"] = Field(
        description="What a feature's value is replaced with: `resample` (values of other prompts), `mean` (its mean over"
        " clean prompts), `zero`, `clamp` (one value for every prompt), `scale` (the value times `factor`) or `steer`"
        " (the value plus `amount`).",
    )
    name: str = Field(
        default="",
        pattern=r"^([A-Za-z0-9][A-Za-z0-9_.-]*)?$",
        description="Name in tables and in the run folder; left out, the kind. Two knockouts of one kind need different"
        " names.",
    )
    donors: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="For `resample`: how many other prompts give each prompt their values; left out,"
        " `knockouts.donors`.",
    )
    value: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="For `clamp`: the value that every prompt gets, in units of the features. Give this or `quantile`.",
    )
    quantile: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="For `clamp`: the quantile, between 0 and 1, of the feature's clean values that every prompt gets;"
        " it never lies outside the values that occur. Give this or `value`.",
    )
    factor: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="For `scale`: the factor that every value is multiplied by.",
    )
    amount: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="For `steer`: what is added to every value, in standard deviations of the feature over the discovery"
        " split.",
    )
    allow_off_support: bool = Field(
        default=False,
        description="Whether to run, and flag, values far outside those that occur in clean prompts; false refuses them.",
    )

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, data: Any) -> Any:
        if not isinstance(data, str | dict | KindSection):
            fix = 'Give a name, or a table such as {kind = "clamp", quantile = 0.9}'
            raise InputError("kind", f"{data!r}", fix)
        return {"kind": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _keys_of_the_kind(self) -> Self:
        refuse_unused_keys(self, KIND_KEYS, ("name", "allow_off_support"))
        if self.kind == "clamp" and (self.value is None) == (self.quantile is None):
            found = "neither value nor quantile" if self.value is None else "a value and a quantile"
            raise InputError("kind", f"a clamp with {found}", "Give either value or quantile")
        if self.named in ("contrast", "judge", "again", "shift", "random", "permuted", "redrawn"):
            raise InputError(
                "name", f"{self.name!r} is reserved for the study's own knockouts", "Choose another name"
            )
        return self

    @model_serializer(mode="wrap")
    def _as_written(self, whole: Any) -> Any:
        """A bare name where there is nothing else, so that plans without options keep their hash."""
        given = {
            k: v for k, v in whole(self).items() if k == "kind" or v != type(self).model_fields[k].default
        }
        return self.kind if list(given) == ["kind"] else given

    @property
    def named(self) -> str:
        """What it is called in tables and in the run folder."""
        return self.name or self.kind

    def swaps(self, donors: int) -> int:
        """Runs per prompt and feature."""
        return (self.donors or donors) if self.kind == "resample" else 1

    def options(self, donors: int, seed: int) -> dict[str, Any]:
        """What `knock_out` is given; ``donors`` where a resample does not say."""
        own = {k: getattr(self, k) for k in ("value", "quantile", "factor", "amount")}
        given = {k: v for k, v in own.items() if v is not None}
        if self.kind == "resample":
            given |= {"donors": self.swaps(donors), "seed": seed}
        if self.kind == "steer":
            given |= {"unit": "feature"}
        return given | {"allow_off_support": self.allow_off_support}
