"""A hand-built linear world: a cause, a twin that lights up beside it, an exact copy, and a bypass."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.panel import Panel
from mrinterp.tables._arrays import from_arrays

__all__ = ["LinearWorld", "linear_world"]


@dataclass(frozen=True, eq=False)
class LinearWorld:
    """The runs, and the effects that were planted.

    Attributes
    ----------
    panel : Panel
        Features, outcome, doses and bypass of every run.
    effects : ndarray (F,)
        Planted effect of each feature on the outcome, per unit.

    Examples
    --------
    >>> import mrinterp
    >>> mrinterp.worlds.linear_world(0, families=10).effects
    array([1., 0., 0., 0., 1.])
    """

    panel: Panel
    effects: NDArray[np.float64]


def linear_world(
    seed: int,
    families: int = 60,
    prompts: int = 4,
    runs: int = 10,
    instruments: int = 24,
    co_activation: float = 0.85,
    effect: float = 1.0,
    copy: bool = True,
    unequal: float = 0.2,
) -> LinearWorld:
    """Simulate a linear network under randomized perturbations.

    Features: ``cause`` (planted effect), ``twin`` (no effect, its changes correlate with the
    cause's at ``co_activation``), ``copy`` (the cause under another name), ``silent`` (no effect,
    moved by the same instruments), ``bystander`` (no effect, moved on its own).
    The bypass: three components moved by the same instruments, with effects on the outcome of
    their own. Families differ in baseline and in the size of the effect (``unequal``, relative sd).

    Parameters
    ----------
    seed : int
        Of everything drawn.
    families, prompts, runs : int
        Families, prompts per family, perturbed runs per prompt (one clean run beside them).
    instruments : int
        Doses, standard normal in every perturbed run.
    co_activation : float
        Correlation of the twin's changes with the cause's.
    effect : float
        Planted effect of the cause; 0 makes a null world.
    copy : bool
        Include the exact copy.
    unequal : float
        Relative standard deviation over families of the size of the effect.

    Returns
    -------
    LinearWorld
        The runs as a panel, and what was planted.

    Examples
    --------
    >>> import mrinterp
    >>> world = mrinterp.worlds.linear_world(0, families=10)
    >>> dict(zip(world.panel.feature_names, world.effects.tolist()))
    {'cause': 1.0, 'twin': 0.0, 'silent': 0.0, 'bystander': 0.0, 'copy': 1.0}
    """
    rng = np.random.default_rng(seed)
    P = families * prompts
    prompt = np.repeat(np.arange(P), runs + 1)
    family = prompt // prompts
    clean = np.tile(np.arange(runs + 1) == 0, P)
    N = len(prompt)
    z = rng.standard_normal((N, instruments)) * ~clean[:, None]
    moved = ~clean[:, None]

    def driven(count: int, own: float) -> NDArray[np.float64]:
        gamma = rng.standard_normal((instruments, count)) / np.sqrt(instruments)
        return np.asarray(z @ gamma + own * rng.standard_normal((N, count)) * moved)

    cause, silent, bystander = driven(1, 0.5), driven(1, 0.5), driven(1, 0.5)
    spread = np.sqrt(1 - co_activation**2)
    twin = co_activation * cause + spread * driven(1, 0.5)
    bypass = driven(3, 0.5) + 0.6 * np.concatenate([cause, silent, bystander], axis=1)
    size = effect * (1 + unequal * rng.standard_normal(families))[family]
    baseline = rng.standard_normal((P, 1))[prompt]
    y = size[:, None] * cause + bypass @ np.array([[0.7], [-0.5], [0.4]]) + 0.1 * rng.standard_normal((N, 1))
    columns = {"cause": cause, "twin": twin, "silent": silent, "bystander": bystander}
    if copy:
        columns["copy"] = cause
    x = np.concatenate(list(columns.values()), axis=1) + rng.standard_normal((P, len(columns)))[prompt]
    if copy:
        x[:, -1] = x[:, 0]
    panel = from_arrays(
        doses=z,
        features=x,
        outcomes=y + baseline,
        prompt=prompt,
        family=family,
        bypass=bypass + rng.standard_normal((P, 3))[prompt],
        clean=clean,
        feature_names=list(columns),
        outcome_names=["y"],
    )
    planted = np.array([effect if n in ("cause", "copy") else 0.0 for n in columns])
    return LinearWorld(panel, planted)
