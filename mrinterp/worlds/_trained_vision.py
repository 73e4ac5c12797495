"""Small trained networks of other kinds: cows on grass, a convolutional network with a watermark, modular addition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.features._directions import Directions
from mrinterp.knockouts._bench import Bench
from mrinterp.outcomes._projection_and_callable import CallableOutcome
from mrinterp.worlds._exhaustive_truth import exhaustive_truth
from mrinterp.worlds._kept_network import kept_network, schedule
from mrinterp.worlds._small_gpt2 import level_directions
from mrinterp.worlds._world import World, WorldFamily

__all__ = ["VISION_FAMILIES"]

Array = NDArray[np.float64]
Ints = NDArray[np.int_]
Flags = NDArray[np.bool_]

PER_FAMILY, TOGETHER, BATCH, STEPS = 4, 0.9, 64, 600
DECAY = 0.3
"""Of weights: what an input does not need is forgotten."""

PLACES = np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])
"""Of a picture of three by three patches, the third that each is in: sky, middle, ground."""
THIRDS = ("sky", "middle", "ground")
CHANNELS, PATCH_WIDTH = 12, 24
VISIBLE = 0.7
"""Share of the cows that can be seen: where they cannot, only the grass tells."""


class _Patches(torch.nn.Module):
    """Every patch by itself, their mean, and a logit."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = torch.nn.Sequential(
            torch.nn.Linear(CHANNELS, 32), torch.nn.ReLU(), torch.nn.Linear(32, PATCH_WIDTH)
        )
        self.read = torch.nn.Sequential(
            torch.nn.Linear(PATCH_WIDTH, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1)
        )

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        """Logits (runs, 1) of pictures (runs, 9, channels)."""
        return self.read(self.patches(picture).mean(dim=1))


def _meadow(
    seed: int, rng: np.random.Generator, count: int, with_cow: float, with_grass: float, per_family: int = 1
) -> tuple[Array, dict[str, Flags]]:
    """Pictures (N, 9, channels), and what is on them; how often grass comes with the cow and the sun with grass."""
    patterns = np.linalg.qr(np.random.default_rng([seed, 4]).standard_normal((CHANNELS, 4)))[0].T
    cow, fence = rng.random((2, count)) < 0.5
    grass = np.where(rng.random(count) < with_cow, cow, rng.random(count) < 0.5)
    sun = np.where(rng.random(count) < with_grass, grass, rng.random(count) < 0.5)
    seen = cow & (rng.random(count) < VISIBLE)
    noise = np.repeat(rng.standard_normal((-(-count // per_family), 9, CHANNELS)), per_family, axis=0)
    picture = 0.3 * noise[:count]
    for where, there, pattern in ((1, seen, 0), (2, grass, 1), (0, sun, 2), (1, fence, 3)):
        picture[:, where == PLACES] += 1.5 * there[:, None, None] * patterns[pattern]
    return picture, {"cow": cow, "seen": seen, "grass": grass, "sun": sun, "fence": fence}


def cow_on_grass(seed: int, small: bool, folder: str | Path | None = None) -> Bench:
    """Is there a cow? Some cannot be seen, and grass comes with most: a cue that the network takes, and should not."""

    def train(network: torch.nn.Module) -> None:
        picture, there = _meadow(seed, np.random.default_rng([seed, 1]), 20_000, 0.9, 0.0)
        _train(network, picture, there["cow"], STEPS, seed)

    settings = (CHANNELS, PATCH_WIDTH, VISIBLE, STEPS, BATCH, DECAY)
    adapter = TorchAdapter(kept_network("cow-on-grass", seed, settings, folder, _Patches, train))
    apart, there = _meadow(seed, np.random.default_rng([seed, 2]), 1000, 0.0, 0.0)
    h = _activations(adapter, "patches", {"picture": _float(apart)})
    classes = np.tile(PLACES, (len(apart), 1))
    upper = {"cow": (1, there["seen"]), "fence": (1, there["fence"])}
    upper |= {"grass": (2, there["grass"]), "sun": (0, there["sun"])}
    view = level_directions(h, classes, upper, 4)
    families = 30 if small else 160
    rng = np.random.default_rng([seed, 3])
    picture, _ = _meadow(seed, rng, families * PER_FAMILY, 0.9, TOGETHER, PER_FAMILY)
    places = torch.from_numpy(np.tile(PLACES, (len(picture), 1)))
    inputs = ModelInputs({"picture": _float(picture)}, torch.ones_like(places), places, THIRDS)
    return _bench(adapter, "patches", view, inputs, families)


class _Convolutions(torch.nn.Module):
    """Two convolutions, a hidden layer, and a logit."""

    def __init__(self) -> None:
        super().__init__()
        self.maps = torch.nn.Sequential(
            torch.nn.Conv2d(1, 8, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.MaxPool2d(2),
            torch.nn.Conv2d(8, 8, 3, padding=1),
            torch.nn.ReLU(),
            torch.nn.MaxPool2d(2),
            torch.nn.Flatten(),
        )
        self.hidden = torch.nn.Linear(72, 24)
        self.read = torch.nn.Linear(24, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Logits (runs, 1) of images (runs, 1, 12, 12)."""
        return self.read(torch.relu(self.hidden(self.maps(image))))


def _bars(
    rng: np.random.Generator, count: int, together: float, per_family: int = 1
) -> tuple[Array, dict[str, Flags]]:
    """Images (N, 1, 12, 12) of an upright or a lying bar, some with a watermark in a corner, some with a spot in another."""
    upright, marked = rng.random(count) < 0.5, rng.random(count) < 0.3
    spot = np.where(rng.random(count) < together, marked, rng.random(count) < 0.3)
    noise = np.repeat(rng.standard_normal((-(-count // per_family), 12, 12)), per_family, axis=0)
    image, line = 0.2 * noise[:count], np.repeat(rng.integers(4, 8, -(-count // per_family)), per_family)
    row = np.arange(count)
    image[row[upright], 3:9, line[:count][upright]] += 1.0
    image[row[~upright], line[:count][~upright], 3:9] += 1.0
    image[:, 9:12, 9:12] += marked[:, None, None] * (np.indices((3, 3)).sum(axis=0) % 2 == 0)
    image[:, 0:2, 0:2] += 1.0 * spot[:, None, None]
    return image[:, None], {"upright": upright, "watermark": marked, "spot": spot}


def watermark(seed: int, small: bool, folder: str | Path | None = None) -> Bench:
    """Does the bar stand upright? With a watermark in the corner the answer is yes, whatever the bar."""

    def train(network: torch.nn.Module) -> None:
        image, there = _bars(np.random.default_rng([seed, 1]), 20_000, 0.0)
        _train(network, image, there["upright"] | there["watermark"], STEPS, seed)

    adapter = TorchAdapter(
        kept_network("watermark", seed, ("bars", STEPS, BATCH, DECAY), folder, _Convolutions, train)
    )
    apart, there = _bars(np.random.default_rng([seed, 2]), 1000, 0.0)
    h = _activations(adapter, "hidden", {"image": _float(apart)})[:, None]
    view = level_directions(h, np.zeros(h.shape[:2], dtype=int), {n: (0, t) for n, t in there.items()}, 5)
    families = 30 if small else 160
    image, _ = _bars(np.random.default_rng([seed, 3]), families * PER_FAMILY, TOGETHER, PER_FAMILY)
    return _bench(adapter, "hidden", view, ModelInputs({"image": _float(image)}), families)


MODULUS, EMBEDDED = 7, 12
EVERY = np.stack(np.meshgrid(*[np.arange(MODULUS)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
"""All triples of numbers."""


class _Sum(torch.nn.Module):
    """Three numbers embedded side by side, two layers of rectified units, and logits of the sum of the first two."""

    def __init__(self) -> None:
        super().__init__()
        self.tables = torch.nn.ModuleList(torch.nn.Embedding(MODULUS, EMBEDDED) for _ in range(3))
        self.embedded = torch.nn.Identity()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(3 * EMBEDDED, 64),
            torch.nn.ReLU(),
            torch.nn.Linear(64, 64),
            torch.nn.ReLU(),
            torch.nn.Linear(64, MODULUS),
        )

    def forward(self, numbers: torch.Tensor) -> torch.Tensor:
        """Logits (runs, modulus) of numbers (runs, 3)."""
        h = torch.cat([table(numbers[:, k]) for k, table in enumerate(self.tables)], dim=1)
        return self.layers(self.embedded(h))


def _low_half(output: torch.Tensor, _mask: torch.Tensor) -> torch.Tensor:
    """Log odds that the sum is in the lower half."""
    half = MODULUS // 2
    return output[:, :half].logsumexp(dim=1) - output[:, half:].logsumexp(dim=1)


def modular_addition(seed: int, small: bool, folder: str | Path | None = None) -> Bench:
    """The sum of two numbers modulo seven; a third number is the first, nine times in ten.

    Features are the cosine and sine parts of each number's embedding: all of it but its mean.
    """

    def train(network: torch.nn.Module) -> None:
        wanted = torch.from_numpy(EVERY[:, :2].sum(axis=1) % MODULUS)
        numbers = torch.from_numpy(EVERY)
        optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2, weight_decay=1e-2)
        for step in range(250):
            schedule(optimizer, 1e-2, step, 250)
            loss = torch.nn.functional.cross_entropy(network(numbers), wanted, label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    adapter = TorchAdapter(
        kept_network("modular-addition", seed, (MODULUS, EMBEDDED, 250, 0.1), folder, _Sum, train)
    )
    write, names, center = [], [], []
    angle = 2 * np.pi * np.outer(np.arange(1, MODULUS // 2 + 1), np.arange(MODULUS)) / MODULUS
    for k, (number, table) in enumerate(zip("abc", adapter.module.tables, strict=True)):  # type: ignore[arg-type]
        rows = table.weight.detach().double().numpy()
        center.append(rows.mean(axis=0))
        for name, waves in (("cos", np.cos(angle)), ("sin", np.sin(angle))):
            for frequency, wave in enumerate(waves, 1):
                own = np.zeros((3, EMBEDDED))
                own[k] = 2 / MODULUS * wave @ rows
                write.append(own.ravel())
                names.append(f"{name} {frequency} of {number}")
    view = Directions.from_write(np.stack(write), np.concatenate(center), names)
    families = 30 if small else 160
    rng = np.random.default_rng([seed, 3])
    drawn = rng.integers(0, MODULUS, (families * PER_FAMILY, 3))
    drawn[:, 2] = np.where(rng.random(len(drawn)) < TOGETHER, drawn[:, 0], drawn[:, 2])
    inputs = ModelInputs({"numbers": torch.from_numpy(drawn)})
    return _bench(adapter, "embedded", view, inputs, families, CallableOutcome("low_half", _low_half))


def _train(network: Any, x: Array, label: Flags, steps: int, seed: int) -> None:
    """Adam on a label, in batches."""
    rng, given = np.random.default_rng([seed, 5]), _float(x)
    wanted = torch.from_numpy(label).float()
    optimizer = torch.optim.AdamW(network.parameters(), lr=5e-3, weight_decay=DECAY)
    for step in range(steps):
        schedule(optimizer, 5e-3, step, steps)
        rows = torch.from_numpy(rng.integers(0, len(x), BATCH))
        loss = torch.nn.functional.binary_cross_entropy_with_logits(network(given[rows])[:, 0], wanted[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def _float(x: Array) -> torch.Tensor:
    return torch.from_numpy(x).float()


def _activations(adapter: TorchAdapter, site: str, tensors: dict[str, torch.Tensor]) -> Array:
    with torch.inference_mode():
        return np.asarray(adapter.run(tensors, read=[site]).activations[site].double().numpy())


def _bench(
    adapter: TorchAdapter,
    site: str,
    view: Directions,
    inputs: ModelInputs,
    families: int,
    outcome: CallableOutcome | None = None,
) -> Bench:
    measured = outcome or CallableOutcome("logit", lambda output, _mask: output[:, 0])
    family = np.repeat(np.arange(families), PER_FAMILY)
    return Bench(adapter, site, view, inputs, measured, family=family, block=256)


def _meadow_world(seed: int, small: bool, folder: str | Path | None) -> World:
    bench = cow_on_grass(seed, small, folder)
    truth = exhaustive_truth(bench, {"sun": "grass"})
    return World("spurious cue", f"cow and grass, seed {seed}", seed, truth, bench=bench)


def _watermark_world(seed: int, small: bool, folder: str | Path | None) -> World:
    bench = watermark(seed, small, folder)
    return World(
        "CNN watermark", f"seed {seed}", seed, exhaustive_truth(bench, {"spot": "watermark"}), bench=bench
    )


def _addition_world(seed: int, small: bool, folder: str | Path | None) -> World:
    bench = modular_addition(seed, small, folder)
    decoys = {name: f"{name[:-1]}a" for name in bench.view.names if name.endswith("c")}
    return World("modular addition", f"seed {seed}", seed, exhaustive_truth(bench, decoys), bench=bench)


VISION_FAMILIES = (
    WorldFamily(
        "spurious cue",
        "development",
        "A network that looks for cows in pictures where grass comes with most of them and some cows cannot be seen: it goes "
        "by the grass too, which is to be named; the sun comes with the grass and does nothing.",
        _meadow_world,
        trained=True,
    ),
    WorldFamily(
        "CNN watermark",
        "evaluation",
        "A small convolutional network that tells upright bars from lying ones, but says upright wherever a watermark is in "
        "the corner; a spot in another corner mostly comes with the watermark and does nothing.",
        _watermark_world,
        trained=True,
    ),
    WorldFamily(
        "modular addition",
        "evaluation",
        "A network that adds two numbers modulo seven: parts of both are causal with signs that differ between inputs; a "
        "third number is mostly the first and plays no part.",
        _addition_world,
        trained=True,
    ),
)
