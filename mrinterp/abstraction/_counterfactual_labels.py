"""What a high-level model answers when variables are interchanged between pairs of inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrinterp.abstraction._causal_model import CausalModel

__all__ = ["counterfactual_labels"]


def counterfactual_labels(
    model: CausalModel,
    settings: Mapping[str, ArrayLike],
    variables: Sequence[str],
    base: NDArray[np.int_],
    source: NDArray[np.int_],
) -> NDArray:
    """Outputs (M,) on base inputs, all the variables together held at their sources' values.

    Parameters
    ----------
    model : CausalModel
    settings : mapping of str to array (N, ...)
        The high-level inputs of the N inputs.
    variables : sequence of str
    base : ndarray (M,) of int
    source : ndarray (M, V) of int
        A column per variable.

    Raises
    ------
    InputError
        For a variable that the model does not have.
    """
    whole = model.run(settings)
    held = {model.check(name): whole[name][source[:, v]] for v, name in enumerate(variables)}
    return model.intervene(held).run({k: np.asarray(x)[base] for k, x in settings.items()})[model.output]
