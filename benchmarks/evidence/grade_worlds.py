"""Families of small networks whose causes are known, for the calibration of grades; no rule was chosen on them.

Each network reads its inputs into a site, whose units (or directions) are the features, and computes an outcome from the site.
About one feature in seven is a cause; half of the others have effects too small to matter, half none, and most move with causes.
The families differ in what comes in (a table of numbers, rows of tokens, images), in what features are (units, channels,
directions that are not orthogonal) and in what lies between feature and outcome: a second layer of rectified units, products of
pairs, a maximum over tokens, gates that are rarely open, or a path past the site that decides nearly everything, so that causes are
as small as the region of practical equivalence and features without an effect go with the outcome.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]

ROWS = 3
"""Inputs of a family."""
OUTCOMES = 4
"""Outcomes of a network, each with causes of its own."""
SMALL = 0.01
"""Largest weight of a unit that is no cause."""
SIZES = (1.0, 1.0, 1.0, 1.0, 1.0, 0.1, 0.04)
"""Weights of causes before a random factor of 2/3 to 3/2, the last ones near the region of practical equivalence."""


class World(torch.nn.Module):
    """A network with a site named ``units``, and outcomes with causes of their own."""

    width: int = 50
    causes: int = 7
    rests_on: str = "auto"

    def __init__(self, seed: int) -> None:
        super().__init__()
        rng = np.random.default_rng([seed, *type(self).__name__.encode()])
        order = np.array([rng.permutation(self.width) for _ in range(OUTCOMES)])
        self.cause = torch.from_numpy(order[:, : self.causes].copy())
        shape = (OUTCOMES, self.causes)
        sizes = np.array(SIZES[: self.causes]) * 1.5 ** rng.uniform(-1, 1, shape)
        weight = rng.uniform(-SMALL, SMALL, order.shape) * (rng.random(order.shape) < 0.5)
        np.put_along_axis(weight, order[:, : self.causes], 0.0, axis=1)
        self.small = constant(weight.T)
        self.weight = constant(sizes * rng.choice([-1.0, 1.0], shape))
        self.built(rng)

    def chosen(self) -> Any:
        """The features, as a study is given them."""
        return list(range(self.width))

    def built(self, rng: np.random.Generator) -> None:
        """The parts that a family has of its own."""
        turn = np.linalg.qr(rng.standard_normal((self.width, self.width)))[0]
        self.units = layer(0.25 * turn + 0.9 * np.eye(self.width))

    def draw(self, rng: np.random.Generator, families: int) -> NDArray[Any]:
        """Inputs: those of one family are alike, columns of a group move together."""
        groups = self.width // 5
        shared = rng.standard_normal((families, 1, groups)) + rng.standard_normal((families, ROWS, groups))
        own = rng.standard_normal((families, ROWS, self.width))
        rows = 0.65 * np.repeat(shared / np.sqrt(2), 5, axis=2) + 0.75 * own
        return rows.reshape(families * ROWS, self.width).astype(np.float32)

    def strong(self, units: torch.Tensor, o: int) -> torch.Tensor:
        """What the causes of one outcome do to it, (N,)."""
        raise NotImplementedError

    def answer(self, units: torch.Tensor) -> torch.Tensor:
        """The outcomes (N, O) of what the site holds."""
        strong = torch.stack([self.strong(units, o) for o in range(OUTCOMES)], -1)
        return strong + self.level(units) @ self.small

    def level(self, units: torch.Tensor) -> torch.Tensor:
        """What small effects are read from, (N, width)."""
        return units

    def beside(self, rows: torch.Tensor) -> Any:
        """What reaches the outcome past the site."""
        return 0.0

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.answer(self.units(rows)) + self.beside(rows)


def constant(values: Array) -> torch.nn.Parameter:
    return torch.nn.Parameter(torch.from_numpy(np.asarray(values)).float(), requires_grad=False)


def layer(weight: Array, *after: torch.nn.Module) -> torch.nn.Sequential:
    made = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    made.weight.data = torch.from_numpy(weight).float()
    return torch.nn.Sequential(made, *(after or (torch.nn.Tanh(),)))


class Layers(World):
    """A table of numbers; causes act through a second layer of rectified units, which saturates some and mixes all."""

    def built(self, rng: np.random.Generator) -> None:
        super().built(rng)
        self.second = constant(rng.standard_normal((12, self.causes)) / np.sqrt(self.causes))
        self.offset = constant(0.4 * rng.standard_normal(12))
        self.out = constant(rng.standard_normal(12) / np.sqrt(12))

    def strong(self, units: torch.Tensor, o: int) -> torch.Tensor:
        read = self.weight[o] * units[..., self.cause[o]]
        return torch.relu(read @ self.second.T + self.offset) @ self.out + 0.5 * read.sum(-1)


class Pairs(World):
    """A table of numbers; causes multiply each other, so that the sign of some hangs on others."""

    def strong(self, units: torch.Tensor, o: int) -> torch.Tensor:
        read, weight = units[..., self.cause[o]], self.weight[o]
        plain = (weight[[0, 1, 5, 6]] * read[..., [0, 1, 5, 6]]).sum(-1)
        product = read[..., 2] * (1.0 + 0.8 * read[..., 0]) + read[..., 3] * read[..., 4] + 0.7 * read[..., 3]
        return plain + weight[2] * product


class Directions(World):
    """A table of numbers with long tails, mixed; features are directions of the site that are not orthogonal."""

    width, causes = 30, 6

    def built(self, rng: np.random.Generator) -> None:
        turn = np.linalg.qr(rng.standard_normal((self.width, self.width)))[0]
        mixing = turn @ (
            np.eye(self.width) + 0.25 * rng.standard_normal((self.width, self.width)) / np.sqrt(self.width)
        )
        self.units = layer(mixing, torch.nn.Identity())
        self.back = constant(np.linalg.inv(mixing).T)

    def chosen(self) -> Any:
        return self.back.detach().numpy().T.copy()

    def draw(self, rng: np.random.Generator, families: int) -> NDArray[Any]:
        shared = rng.laplace(size=(families, 1, self.width))
        rows = 0.5 * shared + 0.5 * rng.laplace(size=(families, ROWS, self.width))
        return rows.reshape(families * ROWS, self.width).astype(np.float32)

    def level(self, units: torch.Tensor) -> torch.Tensor:
        return units @ self.back

    def strong(self, units: torch.Tensor, o: int) -> torch.Tensor:
        read = (self.weight[o] * (units @ self.back)[..., self.cause[o]]).sum(-1)
        return torch.tanh(0.5 * read) + 0.3 * read


class Rare(World):
    """A table of numbers; half of the causes act only on the few inputs where another unit is on."""

    def strong(self, units: torch.Tensor, o: int) -> torch.Tensor:
        read, weight = units[..., self.cause[o]], self.weight[o]
        gate = torch.sigmoid(12 * (read[..., 1] - 0.75))
        rare = 3.0 * (weight[2:5] * read[..., 2:5]).sum(-1) * gate
        return rare + (weight[[0, 5, 6]] * read[..., [0, 5, 6]]).sum(-1)


class Faint(World):
    """A table of numbers; nearly all of the outcome goes past the site, causes are near the region of practical equivalence."""

    def built(self, rng: np.random.Generator) -> None:
        super().built(rng)
        sizes = rng.uniform(0.02, 0.12, tuple(self.weight.shape))
        self.weight.data = torch.from_numpy(sizes).float() * self.weight.sign()
        self.past = constant(rng.standard_normal((self.width, OUTCOMES)) / np.sqrt(self.width))

    def beside(self, rows: torch.Tensor) -> Any:
        return rows @ self.past

    def strong(self, units: torch.Tensor, o: int) -> torch.Tensor:
        return units[..., self.cause[o]] @ self.weight[o]


class Slopes(Layers):
    """As layers, and the claims rest on instruments: local slopes, judged by matched shifts."""

    rests_on = "mr"


class Tokens(World):
    """Rows of five tokens; causes are read at the last token, as a mean, as a maximum, and behind a gate at the first."""

    width, causes, vocabulary, length = 36, 5, 60, 5

    def built(self, rng: np.random.Generator) -> None:
        group = rng.standard_normal((self.vocabulary, self.width // 4))
        own = rng.standard_normal((self.vocabulary, self.width))
        table = 0.6 * np.repeat(group, 4, axis=1) + 0.8 * own
        turn = np.linalg.qr(rng.standard_normal((self.width, self.width)))[0]
        self.embedding = torch.nn.Embedding.from_pretrained(torch.from_numpy(table).float())
        self.units = layer(0.25 * turn + 0.8 * np.eye(self.width))

    def draw(self, rng: np.random.Generator, families: int) -> NDArray[Any]:
        start = rng.integers(0, self.vocabulary, (families, 1, self.length))
        fresh = rng.integers(0, self.vocabulary, (families, ROWS, self.length))
        rows = np.where(rng.random((families, ROWS, self.length)) < 0.5, start, fresh)
        return rows.reshape(families * ROWS, self.length)

    def level(self, units: torch.Tensor) -> torch.Tensor:
        return units.mean(1)

    def strong(self, units: torch.Tensor, o: int) -> torch.Tensor:
        read = units[..., self.cause[o]]
        parts = [
            read[:, -1, 0],
            read[:, :, 1].mean(1),
            read[:, :, 2].max(1).values,
            torch.sigmoid(4 * read[:, 0, 4]) * read[:, -1, 3],
            read[:, 2, 4],
        ]
        return torch.stack(parts, -1) @ self.weight[o]

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        return self.answer(self.units(self.embedding(input_ids)))


class Images(World):
    """Images of 8 by 8 pixels; features are channels, read as a mean, a maximum, a corner and a product of two means."""

    width, causes = 24, 4

    def built(self, rng: np.random.Generator) -> None:
        made = torch.nn.Conv2d(2, self.width, 3, padding=1)
        made.weight.data = torch.from_numpy(rng.standard_normal((self.width, 2, 3, 3)) / 3).float()
        made.bias.data = torch.from_numpy(0.3 * rng.standard_normal(self.width)).float()
        self.units = torch.nn.Sequential(made, torch.nn.Tanh())

    def draw(self, rng: np.random.Generator, families: int) -> NDArray[Any]:
        base = rng.random((families, 1, 2, 8, 8))
        rows = 0.5 * base + 0.5 * rng.random((families, ROWS, 2, 8, 8))
        return rows.reshape(families * ROWS, 2, 8, 8).astype(np.float32)

    def level(self, units: torch.Tensor) -> torch.Tensor:
        return units.mean((2, 3))

    def strong(self, units: torch.Tensor, o: int) -> torch.Tensor:
        read = units[:, self.cause[o]]
        mean = read.mean((2, 3))
        parts = [
            mean[:, 0],
            read[:, 1, :3, :3].mean((1, 2)),
            read[:, 2].amax((1, 2)),
            mean[:, 3] * (1 + mean[:, 0]),
        ]
        return 3.0 * torch.stack(parts, -1) @ self.weight[o]


WORLDS: dict[str, type[World]] = {
    "layers": Layers,
    "pairs": Pairs,
    "directions": Directions,
    "rare": Rare,
    "faint": Faint,
    "slopes": Slopes,
    "tokens": Tokens,
    "images": Images,
}


@dataclass(frozen=True)
class Edited:
    """A world's site on fresh inputs, rows last: values of features can be set at every token, and the outcome read."""

    world: World
    site: torch.Tensor
    beside: Any
    read: torch.Tensor
    write: torch.Tensor
    center: torch.Tensor

    @classmethod
    def of(cls, world: World, rows: NDArray[Any], read: Array, write: Array, center: Array) -> Edited:
        """The clean site of some inputs, (N, T, width), in double precision."""
        world = world.double()
        with torch.no_grad():
            given = torch.from_numpy(rows)
            given = world.embedding(given) if isinstance(world, Tokens) else given.double()
            site, beside = world.units(given), world.beside(given)
        if site.ndim == 4:
            site = site.flatten(2).transpose(1, 2)
        site = site[:, None] if site.ndim == 2 else site
        return cls(
            world, site, beside, *(torch.from_numpy(np.asarray(x)).double() for x in (read, write, center))
        )

    def outcome(self, site: torch.Tensor) -> Array:
        """The outcomes (N, O) of an edited site."""
        if isinstance(self.world, Images):
            site = site.transpose(1, 2).unflatten(2, (8, 8))
        elif not isinstance(self.world, Tokens):
            site = site[:, 0]
        with torch.no_grad():
            return np.asarray((self.world.answer(site) + self.beside).numpy(), dtype=float)

    def values(self, k: int) -> torch.Tensor:
        """Values of feature k, (N, T)."""
        return (self.site - self.center) @ self.read[k]

    def setting(self, k: int, values: torch.Tensor) -> Array:
        """The outcomes with feature k set to values that broadcast to (N, T), every other feature left as it is."""
        return self.outcome(self.site + (values - self.values(k))[..., None] * self.write[k])
