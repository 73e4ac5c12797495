"""Summary statistics whose causes are known: the scenarios under which estimators are scored, and their families."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.mrdata import MRData
from mrinterp.worlds._world import Part, Truth, World, WorldFamily

__all__ = ["JOINT", "SINGLE", "SUMMARY_FAMILIES"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Scenario:
    """How one data set is drawn.

    ``effects`` (outcomes, exposures). ``correlation`` of the exposures' true effects, whose spread is 1;
    ``overlap`` the correlation of an exposure's error with the outcome's (0: two samples); ``se_x, se_y``
    the size of the errors; ``balanced`` the deviation of pleiotropy of every instrument, in outcome errors;
    ``invalid`` the share of instruments with a large effect of their own, ``kind`` whether it is directional
    (one sign once instruments are oriented to the first exposure) or correlated (through a confounder
    that also moves the exposures); ``ld`` the correlation of neighbouring instruments (autoregressive).

    ``design`` "between": errors are noise, correlated as ``overlap`` says. "paired": the exposures' errors
    are changes that act on the outcome as any others do, and the outcome has noise of its own beside them.
    """

    name: str
    effects: tuple[tuple[float, ...], ...] = ((0.3, -0.2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),)
    instruments: int = 150
    correlation: float = 0.85
    overlap: float = 0.5
    se_x: float = 0.15
    se_y: float = 0.1
    balanced: float = 0.0
    invalid: float = 0.0
    kind: str = "directional"
    ld: float = 0.0
    design: str = "between"


_NULL = ((0.0,) * 8,)
_ONE = ((0.3,), (0.0,))


def _named(
    effects: tuple[tuple[float, ...], ...], null: tuple[tuple[float, ...], ...]
) -> tuple[Scenario, ...]:
    """The scenarios that every estimator meets."""
    return (
        Scenario("two samples", effects, overlap=0.0),
        Scenario("overlap", effects),
        Scenario("weak", effects, se_x=0.5),
        Scenario("very weak", effects, se_x=0.7),
        Scenario("balanced", effects, balanced=1.5),
        Scenario("directional", effects, invalid=0.1),
        Scenario("correlated", effects, invalid=0.1, kind="correlated"),
        Scenario("null", null),
        Scenario("null, balanced", null, balanced=1.5),
        Scenario("LD", effects, instruments=60, ld=0.6),
    )


JOINT = _named(Scenario("").effects, _NULL)
"""Eight exposures that co-activate (true effects correlate .85), one outcome."""

SINGLE = _named(_ONE, ((0.0,), (0.0,)))
"""One exposure; an outcome that it acts on and one that it does not."""


def simulate(scenario: Scenario, rng: np.random.Generator) -> tuple[MRData, Array]:
    """One data set with its true direct effects (F, O)."""
    theta = np.array(scenario.effects)
    (O, F), J = theta.shape, scenario.instruments
    shape = np.full((F, F), scenario.correlation) + (1.0 - scenario.correlation) * np.eye(F)
    beta = np.linalg.cholesky(shape) @ rng.standard_normal((F, J))
    corr = np.full((F + O, F + O), 0.5) + 0.5 * np.eye(F + O)
    corr[:F, F:] = corr[F:, :F] = scenario.overlap
    size = np.exp(0.2 * rng.standard_normal(J))
    se_x, se_y = np.tile(scenario.se_x * size, (F, 1)), np.tile(scenario.se_y * size, (O, 1))
    direct = scenario.balanced * scenario.se_y * rng.standard_normal(J)
    bad = np.flatnonzero(rng.random(J) < scenario.invalid)
    if scenario.kind == "correlated":
        confounder = rng.standard_normal(len(bad))
        beta[:, bad] += confounder
        direct[bad] += 0.7 * confounder
    else:
        direct[bad] += np.sign(beta[0, bad]) * scenario.se_y * (5.0 + np.abs(rng.standard_normal(len(bad))))
    gamma = theta @ beta + direct
    errors = rng.standard_normal((F + O, J))
    ld = None
    if scenario.ld:
        ld = scenario.ld ** np.abs(np.subtract.outer(np.arange(J), np.arange(J)))
        errors = errors @ np.linalg.cholesky(ld).T
        # Marginal effects pick up the neighbours'; on the scale of z-scores, as where errors differ by frequency.
        beta, gamma = (beta / size) @ ld * size, (gamma / size) @ ld * size
    sigma = None
    if scenario.design == "paired":
        noise = np.linalg.cholesky(corr[:F, :F]) @ errors[:F] * se_x
        own = errors[F:] * se_y
        xx = np.einsum("fj,fg,gj->jfg", se_x, corr[:F, :F], se_x)
        xy = np.einsum("jfg,og->jfo", xx, theta)
        yy = np.einsum("of,jfp->jop", theta, xy) + np.einsum("oj,op->jop", se_y**2, np.eye(O))
        sigma = np.concatenate(
            [np.concatenate([xx, xy], 2), np.concatenate([xy.transpose(0, 2, 1), yy], 2)], 1
        )
        x, y = beta + noise, gamma + theta @ noise + own
        se_y = np.sqrt(np.einsum("joo->oj", yy))
        corr = None  # type: ignore[assignment]
    else:
        drawn = np.linalg.cholesky(corr) @ errors
        x, y = beta + se_x * drawn[:F], gamma + se_y * drawn[F:]
    names = [tuple(f"{c}{i + 1}" for i in range(n)) for c, n in (("x", F), ("y", O), ("g", J))]
    return MRData(
        beta_x=x, se_x=se_x, beta_y=y, se_y=se_y, exposures=names[0], outcomes=names[1], instruments=names[2], error_corr=corr, sigma=sigma, ld=ld, design=scenario.design
    ), theta.T  # fmt: skip


ROPE = 0.02
"""Per unit of an exposure; the planted effects are .15 to .3."""

_TWO_SAMPLES = Scenario("two samples", overlap=0.0)
_SCENARIOS: tuple[tuple[str, Part, str, Scenario, frozenset[str]], ...] = (
    (
        "co-activation",
        "development",
        "Eight exposures whose true effects correlate .85; two are causes, six only move with them.",
        _TWO_SAMPLES,
        frozenset(),
    ),
    (
        "bypass",
        "development",
        "Co-activation, and three paths beside the features, listed as exposures 9 to 11: left out, they bias the rest.",
        replace(
            _TWO_SAMPLES,
            effects=((0.3, -0.2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.25, -0.2, 0.15),),
            correlation=0.6,
        ),
        frozenset(),
    ),
    (
        "overlap",
        "development",
        "Exposures and outcome are measured on the same prompts: their errors correlate .5.",
        replace(_TWO_SAMPLES, overlap=0.5),
        frozenset({"independent errors"}),
    ),
    (
        "weak instruments",
        "development",
        "Errors of the exposures' effects half as large as the effects, and correlated with the outcome's.",
        replace(_TWO_SAMPLES, overlap=0.5, se_x=0.5),
        frozenset({"relevance", "independent errors"}),
    ),
    (
        "balanced pleiotropy",
        "development",
        "Every instrument also acts beside the features, up as often as down.",
        replace(_TWO_SAMPLES, overlap=0.5, balanced=1.5),
        frozenset({"exclusion", "independent errors"}),
    ),
    (
        "unmeasured common driver",
        "development",
        "Every instrument moves a driver that nobody reads, and it moves all exposures and the outcome.",
        replace(_TWO_SAMPLES, overlap=0.5, invalid=1.0, kind="correlated"),
        frozenset({"exclusion", "independent errors"}),
    ),
    (
        "null",
        "development",
        "The null: eight exposures that co-activate, none of which does anything.",
        replace(_TWO_SAMPLES, effects=_NULL, overlap=0.5),
        frozenset({"independent errors"}),
    ),
    (
        "directional pleiotropy",
        "evaluation",
        "A tenth of the instruments act beside the features, always in the direction of the first one.",
        replace(_TWO_SAMPLES, overlap=0.5, invalid=0.1),
        frozenset({"exclusion", "independent errors"}),
    ),
    (
        "correlated pleiotropy",
        "evaluation",
        "A tenth of the instruments act through a confounder of all features and the outcome.",
        replace(_TWO_SAMPLES, overlap=0.5, invalid=0.1, kind="correlated"),
        frozenset({"exclusion", "independent errors"}),
    ),
)


def _draw(name: str, scenario: Scenario, broken: frozenset[str]) -> Callable[[int, bool], World]:
    def draw(seed: int, small: bool) -> World:
        rng = np.random.default_rng([seed, crc32(name.encode())])
        planted = np.array(scenario.effects) * rng.uniform(0.5, 1.2) * rng.choice([-1.0, 1.0])
        sized = replace(
            scenario,
            effects=tuple(tuple(row) for row in planted.tolist()),
            instruments=scenario.instruments * (1 if small else 2),
        )
        data, effects = simulate(sized, rng)
        causal = effects != 0
        # All exposures correlate alike: one without effect shows, above all, that of the largest cause.
        largest = int(np.abs(effects[:, 0]).argmax())
        borrows = np.where(causal.any(axis=1) | ~causal.any(), -1, largest)
        truth = Truth(
            data.exposures, data.outcomes, causal, borrows, effects={"slope": effects}, rope=np.array([ROPE])
        )
        return World(name, f"seed {seed}", seed, truth, mr_data=data, broken=broken)

    return draw


SUMMARY_FAMILIES = tuple(
    WorldFamily(f"{name} (tables)", part, about, _draw(f"{name} (tables)", scenario, broken))
    for name, part, about, scenario, broken in _SCENARIOS
)
"""Worlds of summary statistics alone: no runs, no network."""
