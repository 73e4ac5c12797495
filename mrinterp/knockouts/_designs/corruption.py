"""Corruption upstream of a feature, to be rescued from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from mrinterp.adapters._adapter import Edit
from mrinterp.adapters._kept_activations import KeptActivations
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.core.array_checks import checked_values
from mrinterp.core.checks import checked_number, checked_seed
from mrinterp.core.errors import InputError
from mrinterp.core.storage import digest
from mrinterp.features._feature_view import FeatureView
from mrinterp.knockouts._bench import Bench
from mrinterp.positions import AllTokens, Position

__all__ = ["Corruption"]

Rows = NDArray[np.int_]


@dataclass(frozen=True, eq=False)
class Corruption:
    """What is done to the network upstream of a feature, to be rescued from: see `rescue`.

    Made by one of its three ways - `noise`, `inputs`, `features` - or from edits of your own. The bench must
    begin no later than the corrupted site (its ``first``).

    Parameters
    ----------
    label : str
        Words for it, in tables and figures.
    edits : callable
        ``edits(prompt)`` gives the edits, by site, of the prompts (n,) of a block.
    key : str
        Digest of everything that ``edits`` depends on.

    Examples
    --------
    >>> import mrinterp
    >>> bench = mrinterp.worlds.gated_world(families=10).bench(first="units")
    >>> mrinterp.knockouts.Corruption.noise(bench, "units", scale=2.0).label
    'noise of 2 sd at units'
    """

    label: str
    edits: Callable[[Rows], Mapping[str, Edit]]
    key: str

    @classmethod
    def noise(cls, bench: Bench, site: str, scale: float = 3.0, seed: int = 0) -> Corruption:
        """Normal noise on every token's activation, ``scale`` times the standard deviation of the site.

        The same prompt gets the same noise in every arm. Source: Meng et al. 2022, arXiv:2202.05262.

        Parameters
        ----------
        bench : Bench
        site : str
            Where the noise is added, no later than the bench's site.
        scale : float
            In standard deviations of the site's own values, above 0.
        seed : int
            Of the noise.

        Returns
        -------
        Corruption

        Raises
        ------
        InputError
            For a scale that is not positive.
        """
        checked_seed(seed, "corruption: seed")
        if not checked_number(scale, "corruption: scale", least=0, unit="in sd of the site"):
            raise InputError("corruption: scale", "0", "Give a positive multiple of the site's sd")
        clean = bench.activations([site])[site]
        size = scale * _own_sd(clean, bench.inputs)
        noise = KeptActivations(bench.prompts)
        for start, part in clean.parts():
            drawn = np.stack(
                [
                    np.random.default_rng([seed, p]).standard_normal(part.shape[1:])
                    for p in range(start, start + len(part))
                ]
            )
            noise.put(
                np.arange(start, start + len(part)),
                torch.where(_own(part, start, bench.inputs), torch.from_numpy(size * drawn).to(part), 0),
            )

        def edits(prompt: Rows) -> Mapping[str, Edit]:
            return {site: lambda h: h + noise.take(prompt).to(h)}

        return cls(f"noise of {scale:g} sd at {site}", edits, digest(["noise", site, scale, seed]))

    @classmethod
    def inputs(cls, bench: Bench, site: str, other: ModelInputs) -> Corruption:
        """The site's activation replaced by the one on other inputs, prompt by prompt (corrupted prompts).

        Parameters
        ----------
        bench : Bench
        site : str
            Where activations are replaced, no later than the bench's site.
        other : ModelInputs
            One input per prompt, with tokens in the same places.

        Returns
        -------
        Corruption

        Raises
        ------
        InputError
            For another number of inputs, or tokens that are not in the same places.
        """
        mine, theirs = bench.inputs.mask, other.mask
        same_places = mine is theirs or (
            mine is not None and theirs is not None and torch.equal(mine, theirs)
        )
        if len(other) != bench.prompts or not same_places:
            raise InputError(
                "corruption: inputs",
                f"{len(other)} inputs for {bench.prompts} prompts, or tokens in other places",
                "Give one input per prompt, of the same tokens' length",
            )
        held = bench.activations([site], other)[site]

        def edits(prompt: Rows) -> Mapping[str, Edit]:
            return {site: lambda h: held.take(prompt).to(h)}

        made = hashlib.sha256()
        for _, part in held.parts():
            made.update(part.cpu().double().numpy().tobytes())
        return cls(f"other inputs at {site}", edits, digest(["inputs", site, made.hexdigest()]))

    @classmethod
    def features(
        cls, bench: Bench, site: str, view: FeatureView, values: ArrayLike, position: Position | None = None
    ) -> Corruption:
        """A knockout of features of another site.

        Parameters
        ----------
        bench : Bench
        site : str
            Where the features are, no later than the bench's site.
        view : FeatureView
            The F features.
        values : array
            Written there; broadcast to (P, F), or (P, T, F) where ``position`` gives every token its own.
        position : Position, optional
            At which tokens; default that of the bench.

        Raises
        ------
        InputError
            For values of another shape, or infinite ones.
        """
        position = bench.position if position is None else position
        tokens = (bench.inputs.mask_or_ones.shape[1],) if isinstance(position, AllTokens) else ()
        shape = (bench.prompts, *tokens, len(view.names))
        new = checked_values(values, "corruption: values", shape)
        held = torch.from_numpy(new.reshape(bench.prompts, -1))

        def edits(prompt: Rows) -> Mapping[str, Edit]:
            positions, rows = bench.inputs.take(prompt).at(position), torch.from_numpy(prompt.copy())
            return {site: lambda h: view.write(h, held[rows].to(h.device), positions)}

        label = f"knockout of {', '.join(view.names[:4])}{' ...' if len(view.names) > 4 else ''} at {site}"
        written = hashlib.sha256(new.tobytes()).hexdigest()
        return cls(label, edits, digest(["features", site, view.names, written, str(position)]))


def _own(part: torch.Tensor, start: int, inputs: ModelInputs) -> torch.Tensor:
    """Which values of a part (n, ...) belong to an input and not to its padding; broadcasts to the part."""
    mask = inputs.mask
    if part.ndim != 3 or mask is None or mask.shape[1] != part.shape[1]:
        return torch.ones(1, dtype=torch.bool, device=part.device)
    return mask[start : start + len(part)].bool().unsqueeze(-1).to(part.device)


def _own_sd(clean: KeptActivations, inputs: ModelInputs) -> float:
    """Standard deviation of all values of a site, padding left out."""

    def own() -> Iterator[torch.Tensor]:
        for start, part in clean.parts():
            yield part.double()[_own(part, start, inputs).expand(part.shape)]

    count = sum(part.numel() for part in own())
    mean = sum(float(part.sum()) for part in own()) / count
    return float(np.sqrt(sum(float(((part - mean) ** 2).sum()) for part in own()) / (count - 1)))
