"""What every section of a study file shares: unknown keys are refused, values are frozen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from mrinterp.core.errors import InputError

__all__ = ["Fraction", "Section", "is_none", "refuse_unused_keys"]

Fraction = Annotated[float, Field(gt=0, le=1)]

Keys = tuple[str, ...]


class Section(BaseModel):
    """One table of a study file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def is_none(value: Any) -> bool:
    """Whether a key was left out: for ``exclude_if``, so that plans without a newer key keep the hash they had."""
    return value is None


def refuse_unused_keys(section: Section, kinds: Mapping[str, tuple[Keys, Keys]], common: Keys) -> None:
    """Refuse a section that lacks a key its ``kind`` needs, or has one that its ``kind`` does not use.

    Parameters
    ----------
    section : Section
        With a key ``kind``.
    kinds : mapping
        For each value of ``kind``: (keys that it needs, keys that it may have).
    common : tuple of str
        Keys that every value of ``kind`` may have.

    Raises
    ------
    InputError
        Its place is the key within the section.
    """
    kind: Any = getattr(section, "kind")  # noqa: B009
    needed, optional = kinds[kind]
    given = section.model_fields_set
    for key in needed:
        if getattr(section, key) in (None, ()):
            raise InputError(key, f"missing for kind {kind!r}", f"Add {key} = ...")
    for key in sorted(given - {"kind", *needed, *optional, *common}):
        if getattr(section, key) == type(section).model_fields[key].get_default(call_default_factory=True):
            continue
        users = [k for k, (a, b) in kinds.items() if key in (*a, *b)]
        raise InputError(
            key, f"not used by kind {kind!r}", f"Leave it out, or choose kind {' or '.join(map(repr, users))}"
        )
