"""Noise on embedded tokens, along fixed directions of every place, in pairs of opposite sign."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrinterp.core.errors import InputError
from mrinterp.perturbations._images import opposite_pairs

__all__ = ["EmbeddingNoise"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class EmbeddingNoise:
    """Noise on embedded tokens along fixed random directions of each place: every direction's dose is standard normal.

    The runs of an input come in pairs of opposite noise (antithetic), so that what is even in the noise cancels.

    Parameters
    ----------
    scale : float
        Standard deviation of the noise on each coordinate, all directions of a place together.
    directions : int
        Directions of every place; each is an instrument.
    mask : array (n, tokens) of bool, optional
        Tokens that get noise; default all. Padding should get none.
    seed : int
        With which the directions are drawn, once.
    antithetic : bool
        Whether runs come in pairs; ``runs_per_input`` is then best even.
    kind : str
        Name of this kind of perturbation in a design.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.perturbations import EmbeddingNoise, perturb
    >>> embedded = np.zeros((5, 3, 8))  # five texts of three tokens, as the model embeds them
    >>> made = perturb(embedded, [EmbeddingNoise(0.1, directions=2)], runs_per_input=2, placebos=0)
    >>> made.instruments[:3], bool(np.allclose(made.inputs[5::2], -made.inputs[6::2]))
    (('noise:token0.0', 'noise:token0.1', 'noise:token1.0'), True)
    """

    scale: float
    directions: int = 32
    mask: ArrayLike | None = None
    seed: int = 0
    antithetic: bool = True
    kind: str = "noise"

    def instruments(self, shape: tuple[int, ...]) -> list[str]:
        """One per place and direction."""
        if len(shape) != 2:
            found = f"one input of shape {shape}"
            raise InputError(
                "embeddings", found, "Give (inputs, tokens, width), as the model embeds its tokens"
            )
        if not self.scale > 0 or self.directions < 1:
            found = f"scale {self.scale:g}, {self.directions} directions"
            raise InputError("EmbeddingNoise", found, "Give a positive scale and at least one direction")
        return [f"token{t}.{d}" for t in range(shape[0]) for d in range(self.directions)]

    def draw(self, rng: np.random.Generator, inputs: Array, clean: NDArray[np.int_]) -> tuple[Array, Array]:
        """Noisy embeddings, and the doses; zero where a token gets no noise."""
        _, tokens, width = inputs.shape
        # 19 tells the stream of the directions from those that `perturb` draws doses from with the same seed.
        fixed = np.random.default_rng([self.seed, 19]).standard_normal((tokens, self.directions, width))
        doses = rng.standard_normal((len(clean), tokens * self.directions))
        doses = opposite_pairs(doses, clean) if self.antithetic else doses
        by_place = doses.reshape(len(clean), tokens, self.directions)
        if self.mask is not None:
            mask = np.asarray(self.mask, dtype=bool)
            if mask.shape != inputs.shape[:2]:
                found = f"shape {mask.shape}; inputs have {inputs.shape[:2]}"
                raise InputError("EmbeddingNoise.mask", found, "Give one truth value per token")
            by_place = by_place * mask[clean][:, :, None]
        noise = np.einsum("ntd,tdw->ntw", by_place, fixed) * (self.scale / np.sqrt(self.directions))
        return inputs[clean] + noise, by_place.reshape(len(clean), -1)
