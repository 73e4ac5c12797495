"""Interchange: the value that a feature has on a paired counterfactual input."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.core.errors import InputError, near_misses
from mrinterp.knockouts._bench import Bench
from mrinterp.knockouts._clean_values import written_tokens
from mrinterp.knockouts._kinds.kind import Kind, Targets

__all__ = ["Interchange"]


@dataclass(frozen=True)
class Interchange(Kind):
    """Every input's value set to the one that its counterfactual has.

    Parameters
    ----------
    counterfactual : ModelInputs
        One per input of the bench, in the same order. Where every token has a value of its own, token by
        token among an input's own tokens, so pairs must have the same number of them.

    Notes
    -----
    Source: Geiger, Lu, Icard & Potts 2021, arXiv:2106.02997; activation patching, Vig et al. 2020,
    arXiv:2004.12265.

    Examples
    --------
    >>> import mrinterp
    >>> world, other = (mrinterp.worlds.gated_world(seed, families=10) for seed in (0, 1))
    >>> swap = mrinterp.knockouts.Interchange(other.inputs)
    >>> mrinterp.knock_out(world.bench(), swap, "linear").effect.round(6)
    array([[1.]])
    """

    name: ClassVar[str] = "interchange"
    counterfactual: ModelInputs | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        given = self.counterfactual
        if given is not None and not isinstance(given, ModelInputs):
            raise InputError(
                "counterfactual", f"a {type(given).__name__}", "Give a ModelInputs, one input per prompt"
            )

    @property
    def label(self) -> str:
        """Words for tables and figures."""
        return "interchanged with a paired counterfactual input"

    @property
    def options(self) -> dict[str, Any]:
        """Inputs are not plain values: how many there are."""
        return {"counterfactuals": 0 if self.counterfactual is None else len(self.counterfactual)}

    def targets(self, bench: Bench) -> Targets:
        """Values read on the counterfactual inputs, once."""
        if self.counterfactual is None:
            raise InputError("counterfactual", "none given", "Give a ModelInputs, one input per prompt")
        if len(self.counterfactual) != bench.prompts:
            raise InputError(
                "counterfactual",
                f"{len(self.counterfactual)} inputs for {bench.prompts} prompts",
                "Give every prompt its own, in the same order",
            )
        _check_names(self.counterfactual, bench.inputs)
        values = bench.read(self.counterfactual)
        if bench.each:
            values = _align(values, written_tokens(bench, self.counterfactual), written_tokens(bench))
        return lambda features: np.moveaxis(values[..., features], -1, 0)[:, None]


def _check_names(theirs: ModelInputs, ours: ModelInputs) -> None:
    """Refuse inputs that the network could not take in place of its own."""
    for name in sorted(set(theirs.tensors) ^ set(ours.tensors)):
        found = "not among the bench's inputs" if name in theirs.tensors else "missing"
        fix = near_misses(name, ours.tensors) if name in theirs.tensors else ""
        raise InputError(
            f"counterfactual, tensor {name!r}", found, fix or f"Give {', '.join(sorted(ours.tensors))}"
        )
    if (theirs.mask is None) != (ours.mask is None):
        raise InputError(
            "counterfactual, mask",
            "none given" if theirs.mask is None else "given, though the bench's inputs have none",
            "Give a mask exactly where the bench's inputs have one",
        )


def _align(values: np.ndarray, theirs: np.ndarray, ours: np.ndarray) -> np.ndarray:
    """Values (P, T', F) moved to the places (P, T, F) of our own tokens, in order; nan on padding."""
    lengths = np.stack([ours.sum(axis=1), theirs.sum(axis=1)])
    differ = np.flatnonzero(lengths[0] != lengths[1])
    if len(differ):
        row = int(differ[0])
        raise InputError(
            f"counterfactual {row}",
            f"{lengths[1, row]} tokens, its prompt has {lengths[0, row]}",
            "Give pairs of the same length, or read one value per input (a class, the mean over tokens)",
        )
    out = np.full((*ours.shape, values.shape[-1]), np.nan)
    out[ours] = values[theirs]
    return out
