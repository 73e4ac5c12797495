"""Hand-built networks that add up their causes: what tempts a method is the company that the causes keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mrinterp.worlds._hand_built import (
    Built,
    Sizes,
    family_of_networks,
    noisy_inputs,
    weights_of,
    wired,
)

__all__ = ["COMPANY_FAMILIES", "companions", "effect_sizes"]

Array = NDArray[np.float64]


def companions(count: int, pairs: Mapping[int, tuple[int, float]]) -> Array:
    """Inputs to coordinates (C, C): each independent, but those that accompany another one at a correlation."""
    mix = np.eye(count)
    for one, (other, correlation) in pairs.items():
        mix[one] = correlation * mix[other] + np.sqrt(1 - correlation**2) * mix[one]
    return mix


def effect_sizes(rng: np.random.Generator, count: int) -> Array:
    """Planted effects (count,): .5 to 1.2 of either sign."""
    return np.asarray(rng.uniform(0.5, 1.2, count) * rng.choice([-1.0, 1.0], count))


def _added(
    rng: np.random.Generator,
    sizes: Sizes,
    seed: int,
    names: tuple[str, ...],
    mix: Array,
    plain: Mapping[int, float],
    listed: Sequence[int],
    apart: int | None = None,
    **more: object,
) -> Built:
    """A network whose answer is ``plain`` of its coordinates, those of ``listed`` being the bypass of the panel."""
    x = sizes.normal(rng, len(mix))
    bench, coordinates, rest = wired(x, sizes.family, names, mix, rng, plain=plain, apart=apart)
    weights = weights_of(plain, len(mix))
    return Built(
        bench,
        coordinates(x),
        lambda c: np.asarray(c @ weights),
        noisy_inputs(bench.inputs, seed, rest),
        bypass=lambda given: coordinates(given)[:, list(listed)],
        **more,  # type: ignore[arg-type]
    )


def _twins(rng: np.random.Generator, sizes: Sizes, seed: int) -> Built:
    names = ("cause", "twin", "other", "far twin", "bystander", "idle")
    near, far = rng.uniform(0.88, 0.96), rng.uniform(0.6, 0.8)
    mix = companions(9, {1: (0, near), 3: (2, far), 6: (0, 0.5), 7: (4, 0.5)})
    a, b, c, d = effect_sizes(rng, 4)
    plain = {0: a, 2: rng.uniform(0.2, 1.0) * b, 6: 0.5 * c, 7: 0.5 * d}
    impostors = {"twin": "cause", "far twin": "other"}
    return _added(rng, sizes, seed, names, mix, plain, (6, 7), impostors=impostors)


def _copies(rng: np.random.Generator, sizes: Sizes, seed: int) -> Built:
    names = ("cause", "copy", "twin", "other", "idle")
    mix = companions(8, {2: (0, 0.9), 5: (0, 0.5)})
    mix[1] = mix[0]
    a, b, c = effect_sizes(rng, 3)
    plain = {0: 0.6 * a, 1: 0.4 * a, 3: b, 5: 0.5 * c}
    return _added(
        rng,
        sizes,
        seed,
        names,
        mix,
        plain,
        (5, 6),
        impostors={"twin": "cause"},
        copies=("cause", "copy"),
        broken=frozenset({"distinct features"}),
    )


def _inseparable(rng: np.random.Generator, sizes: Sizes, seed: int) -> Built:
    names = ("cause", "impostor", "other", "idle")
    mix = companions(7, {1: (0, 0.999), 4: (0, 0.5)})
    a, b, c = effect_sizes(rng, 3)
    return _added(
        rng, sizes, seed, names, mix, {0: a, 2: b, 4: 0.5 * c}, (4, 5), impostors={"impostor": "cause"}
    )


def _echo(rng: np.random.Generator, sizes: Sizes, seed: int) -> Built:
    """The echo is written before the site from everything that the answer is made of; nothing after it reads it."""
    names = ("cause", "other", "echo", "twin", "idle")
    mix = companions(8, {3: (0, 0.9)})
    a, b, c, d = effect_sizes(rng, 4)
    plain = {0: a, 1: b, 5: c, 6: d}
    mix[2] = weights_of(plain, 8) @ mix + 0.3 * mix[2]
    impostors = {"twin": "cause", "echo": "cause" if abs(a) > abs(b) else "other"}
    return _added(
        rng, sizes, seed, names, mix, plain, (), 2, impostors=impostors, broken=frozenset({"direction"})
    )


def _left_out(rng: np.random.Generator, sizes: Sizes, seed: int) -> Built:
    names = ("cause", "twin", "impostor", "idle")
    mix = companions(7, {1: (0, 0.9), 2: (4, 0.85)})
    a, b, c = effect_sizes(rng, 3)
    plain = {0: a, 4: b, 5: 0.3 * c}
    return _added(
        rng,
        sizes,
        seed,
        names,
        mix,
        plain,
        (5,),
        impostors={"twin": "cause"},
        broken=frozenset({"complete features"}),
    )


def _null(rng: np.random.Generator, sizes: Sizes, seed: int) -> Built:
    names = ("one", "two", "three", "four", "five")
    mix = companions(8, {0: (5, 0.8), 1: (0, 0.9), 2: (6, 0.6), 3: (2, 0.8)})
    a, b = effect_sizes(rng, 2)
    return _added(rng, sizes, seed, names, mix, {5: a, 6: b}, (5, 6))


TOKENS, SLOT = 4, 2


def _one_position(rng: np.random.Generator, sizes: Sizes, seed: int) -> Built:
    """Features vary at four tokens; the answer reads the third one. What a mean over tokens hides is in the bypass."""
    names = ("cause", "twin", "other", "idle")
    mix = companions(7, {1: (0, 0.9), 4: (0, 0.5)})
    C, F = 7, len(names)
    a, b, c = effect_sizes(rng, 3)
    plain = {0: a, 2: b, 4: 0.5 * c}
    x = np.stack([sizes.normal(rng, C) for _ in range(TOKENS)], axis=1)
    bench, coordinates, rest = wired(x, sizes.family, names, mix, rng, plain=plain, token=SLOT)
    weights = weights_of(plain, C)
    at = coordinates(x)

    def bypass(given: Array) -> Array:
        c = coordinates(given)[..., :-1]
        return np.concatenate([c[:, SLOT] - c.mean(axis=1), c.mean(axis=1)[:, F:]], axis=1)

    return Built(
        bench,
        at[:, SLOT],
        lambda c: np.asarray(c @ weights),
        noisy_inputs(bench.inputs, seed, rest),
        values=at.mean(axis=1)[:, :F],
        placed=at[:, SLOT, :F],
        bypass=bypass,
        impostors={"twin": "cause"},
    )


COMPANY_FAMILIES = (
    family_of_networks(
        "twins",
        "development",
        "Two causes, each with a twin that moves with it (correlations .9 and .7) and does nothing; a listed bypass.",
        _twins,
    ),
    family_of_networks(
        "copies",
        "development",
        "A cause that the network holds twice and reads both times: instruments tell only the set of the two.",
        _copies,
    ),
    family_of_networks(
        "inseparable impostor",
        "development",
        "A feature correlated .999 with a cause does nothing: knockouts tell the two apart, instruments hardly ever.",
        _inseparable,
    ),
    family_of_networks(
        "downstream echo",
        "development",
        "Two causes, and a feature written from everything that the answer is made of, which nothing reads.",
        _echo,
    ),
    family_of_networks(
        "left-out cause",
        "development",
        "Two causes, one of them not among the features; a feature correlated .85 with it stands in for it.",
        _left_out,
    ),
    family_of_networks(
        "null (network)",
        "development",
        "The null: five features that move with each other and with the causes, which are not among them but listed.",
        _null,
    ),
    family_of_networks(
        "one position",
        "development",
        "Features vary at four tokens; two are causes at the third token and nowhere else.",
        _one_position,
    ),
)
"""Worlds whose network is linear from the site on."""
