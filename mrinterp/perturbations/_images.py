"""Perturbations of images: occluded patches, noise on the pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mrinterp.core.errors import InputError

__all__ = ["Occlusion", "PixelNoise", "opposite_pairs", "pixel_blocks"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Occlusion:
    """Patches of a grid, each covered at random; dose 1 where covered.

    Images are (height, width) or (channels, height, width); all channels of a patch are covered.
    Patches at the right and lower edge may be smaller.

    Parameters
    ----------
    patch : int
        Side of a patch in pixels.
    probability : float
        Chance of every patch to be covered; at least one is.
    fill : float
        Value of a covered pixel.
    kind : str
        Name of this kind of perturbation in a design.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.perturbations import Occlusion, perturb
    >>> made = perturb(np.ones((5, 4, 4)), [Occlusion(patch=2)], runs_per_input=1, placebos=0)
    >>> made.instruments
    ('occlusion:r0c0', 'occlusion:r0c1', 'occlusion:r1c0', 'occlusion:r1c1')
    """

    patch: int
    probability: float = 0.2
    fill: float = 0.0
    kind: str = "occlusion"

    def instruments(self, shape: tuple[int, ...]) -> list[str]:
        """One per patch, named by its row and column in the grid."""
        rows, columns = self._grid(shape)
        return [f"r{r}c{c}" for r in range(rows) for c in range(columns)]

    def draw(self, rng: np.random.Generator, inputs: Array, clean: NDArray[np.int_]) -> tuple[Array, Array]:
        """Covered images, and which patches are covered."""
        rows, columns = self._grid(inputs.shape[1:])
        covered = rng.random((len(clean), rows * columns)) < self.probability
        forced = rng.integers(0, rows * columns, len(clean))
        none = ~covered.any(axis=1)
        covered[np.flatnonzero(none), forced[none]] = True
        height, width = inputs.shape[-2:]
        grid = covered.reshape(len(clean), rows, columns)
        pixels = grid.repeat(self.patch, axis=1).repeat(self.patch, axis=2)[:, :height, :width]
        pixels = pixels.reshape(len(clean), *([1] * (inputs.ndim - 3)), height, width)
        return np.where(pixels, self.fill, inputs[clean]), covered.astype(float)

    def _grid(self, shape: tuple[int, ...]) -> tuple[int, int]:
        height, width = image_size(shape)
        if not 1 <= self.patch <= min(height, width):
            raise InputError(
                "Occlusion.patch",
                f"{self.patch} pixels on images of {height} x {width}",
                "Give a patch that fits",
            )
        if not 0 < self.probability < 1:
            raise InputError(
                "Occlusion.probability", f"{self.probability:g}", "Give a number between 0 and 1"
            )
        return -(-height // self.patch), -(-width // self.patch)


@dataclass(frozen=True)
class PixelNoise:
    """Noise along fixed random patterns: the dose of each pattern is standard normal.

    Parameters
    ----------
    scale : float
        Standard deviation of the noise per pixel, all patterns together.
    patterns : int
        Number of patterns (instruments).
    seed : int
        With which the patterns are drawn, once.
    kind : str
        Name of this kind of perturbation in a design.
    antithetic : bool
        Whether the runs of an input come in pairs of opposite doses.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.perturbations import PixelNoise, perturb
    >>> made = perturb(np.zeros((50, 8, 8)), [PixelNoise(scale=0.5, patterns=16)], runs_per_input=4)
    >>> float(made.inputs[50:].std().round(1))
    0.5
    """

    scale: float
    patterns: int = 32
    seed: int = 0
    kind: str = "pixel_noise"
    antithetic: bool = False

    def instruments(self, shape: tuple[int, ...]) -> list[str]:
        """One per pattern."""
        image_size(shape)
        if not self.scale > 0 or self.patterns < 1:
            raise InputError(
                "PixelNoise",
                f"scale {self.scale:g}, {self.patterns} patterns",
                "Give a positive scale and at least one pattern",
            )
        return [f"pattern{i}" for i in range(self.patterns)]

    def draw(self, rng: np.random.Generator, inputs: Array, clean: NDArray[np.int_]) -> tuple[Array, Array]:
        """Noisy images, and the doses."""
        # 17 tells the stream of the patterns from those that `perturb` draws doses from with the same seed.
        drawn = np.random.default_rng([self.seed, 17]).standard_normal(
            (self.patterns, int(np.prod(inputs.shape[1:])))
        )
        doses = rng.standard_normal((len(clean), self.patterns))
        doses = opposite_pairs(doses, clean) if self.antithetic else doses
        noise = doses @ (drawn * self.scale / np.sqrt(self.patterns))
        return inputs[clean] + noise.reshape(len(clean), *inputs.shape[1:]), doses


def opposite_pairs(doses: Array, clean: NDArray[np.int_]) -> Array:
    """Doses (n, J) in pairs: every second run of an input has those of the one before it with the other sign."""
    first = np.searchsorted(clean, clean)  # runs of one input stand side by side
    second = (np.arange(len(clean)) - first) % 2 == 1
    made = doses.copy()
    made[second] = -doses[np.flatnonzero(second) - 1]
    return made


def image_size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of an image's shape.

    Raises
    ------
    InputError
        For anything but two or three dimensions.
    """
    if len(shape) not in (2, 3):
        raise InputError(
            "images", f"one image of shape {shape}", "Give (height, width) or (channels, height, width)"
        )
    return shape[-2], shape[-1]


def pixel_blocks(shape: tuple[int, ...], blocks: int) -> tuple[NDArray[np.int_], NDArray[np.int_], list[str]]:
    """A grid of blocks on images, all channels of a pixel in one block.

    Parameters
    ----------
    shape : (channels, height, width)
    blocks : int
        Blocks along each side.

    Returns
    -------
    number, within : ndarray (channels * height * width,) of int
        Block of every value of an image, and its number within the block.
    names : list of str
        Of the blocks, by their row and column in the grid.

    Raises
    ------
    InputError
        For more blocks than pixels along a side.
    """
    channels, height, width = shape
    if blocks > min(height, width):
        raise InputError(
            "instruments.noise.blocks",
            f"{blocks} on images of {height} x {width}",
            "Give at most one per pixel",
        )
    row, column = np.arange(height) * blocks // height, np.arange(width) * blocks // width
    number = np.broadcast_to(row[:, None] * blocks + column, shape).reshape(-1)
    order = np.argsort(number, kind="stable")
    counts = np.bincount(number)
    within = np.empty(len(number), dtype=int)
    within[order] = np.arange(len(number)) - np.repeat(np.cumsum(counts) - counts, counts)
    return number.copy(), within, [f"r{r}c{c}" for r in range(blocks) for c in range(blocks)]
