"""Every family of worlds by its name: the one list that benchmarks and tests read."""

from __future__ import annotations

import numpy as np

from mrinterp.worlds._linear import linear_world
from mrinterp.worlds._world import Truth, World, WorldFamily

__all__ = ["world_families"]


def _linear_network(seed: int, small: bool) -> World:
    """`linear_world` as a world: the twin borrows from the cause, the copy cannot be told from it."""
    drawn = linear_world(seed, families=60 if small else 160)
    effects, names = drawn.effects[:, None], drawn.panel.feature_names
    truth = Truth(
        names,
        drawn.panel.outcome_names,
        effects != 0,
        borrows_from=np.where(np.array(names) == "twin", names.index("cause"), -1),
        group=np.array([names.index("cause") if n == "copy" else k for k, n in enumerate(names)]),
        effects={"slope": effects},
    )
    return World("linear network", f"seed {seed}", seed, truth, panel=drawn.panel)


FAMILIES = (
    WorldFamily(
        "linear network",
        "development",
        "One cause, a twin that moves with it, an exact copy, and a bypass moved by the same instruments.",
        _linear_network,
    ),
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
