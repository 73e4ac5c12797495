"""Every family of worlds by its name: the one list that benchmarks and tests read."""

from __future__ import annotations

from mrinterp.worlds._codes import CODE_FAMILIES
from mrinterp.worlds._company import COMPANY_FAMILIES
from mrinterp.worlds._decisions import DECISION_FAMILIES
from mrinterp.worlds._encoders import ENCODER_FAMILIES
from mrinterp.worlds._organisms import ORGANISM_FAMILIES
from mrinterp.worlds._program_worlds import PROGRAM_FAMILIES
from mrinterp.worlds._run_worlds import RUN_FAMILIES
from mrinterp.worlds._sparse_codes import SPARSE_FAMILIES
from mrinterp.worlds._summary_worlds import SUMMARY_FAMILIES
from mrinterp.worlds._switches import SWITCH_FAMILIES
from mrinterp.worlds._trained_text import TEXT_FAMILIES
from mrinterp.worlds._trained_vision import VISION_FAMILIES
from mrinterp.worlds._world import WorldFamily

__all__ = ["world_families"]

FAMILIES: tuple[WorldFamily, ...] = (
    *RUN_FAMILIES,
    *SUMMARY_FAMILIES,
    *COMPANY_FAMILIES,
    *SWITCH_FAMILIES,
    *DECISION_FAMILIES,
    *CODE_FAMILIES,
    *SPARSE_FAMILIES,
    *PROGRAM_FAMILIES,
    *ORGANISM_FAMILIES,
    *TEXT_FAMILIES,
    *VISION_FAMILIES,
    *ENCODER_FAMILIES,
)


def world_families() -> dict[str, WorldFamily]:
    """All families of worlds by name, those for development first.

    Returns
    -------
    dict of str to WorldFamily
        What each family is, and how a world of it is drawn.

    Examples
    --------
    >>> import mrinterp
    >>> mrinterp.worlds.world_families()["linear network"]
    WorldFamily(name='linear network', part='development')
    """
    return {f.name: f for f in sorted(FAMILIES, key=lambda f: (f.part != "development", f.name))}
