"""Read features, bypass and outcomes of a network on perturbed arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from mrinterp.core.array_checks import checked_truths
from mrinterp.core.basis import Dictionary
from mrinterp.core.checks import checked_count, checked_seed, checked_type
from mrinterp.core.errors import InputError
from mrinterp.features._feature_view import TokenFeatureView
from mrinterp.models._cut import CutNetwork
from mrinterp.scan._bypass import mean_bypass, nested_order, position_bypass
from mrinterp.scan._reader import raw_reading, sharded

__all__ = ["ArrayReading", "read_arrays"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ArrayReading:
    """What was read of N runs; what `read_arrays` returns.

    Parameters
    ----------
    features : ndarray (N, F)
        Values of the features.
    outcomes : ndarray (N, O)
        Outcomes, in their own units.
    bypass : ndarray (N, R)
        Everything else at the cut that estimates adjust for, most important components first.
    feature_names, outcome_names : tuple of str
        Names of the columns.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.scan import ArrayReading
    >>> reading = ArrayReading(np.zeros((4, 1)), np.zeros((4, 1)), np.zeros((4, 2)), ("x",), ("y",))
    >>> {name: len(value) for name, value in reading.columns(np.array([0, 2])).items()}
    {'features': 2, 'outcomes': 2, 'bypass': 2, 'feature_names': 1, 'outcome_names': 1}
    """

    features: Array
    outcomes: Array
    bypass: Array
    feature_names: tuple[str, ...]
    outcome_names: tuple[str, ...]

    def columns(self, rows: NDArray[np.int_] | None = None) -> dict[str, Any]:
        """Keyword arguments of `mrinterp.from_arrays`, for some rows; the design's columns are its other ones."""
        chosen = np.arange(len(self.features)) if rows is None else rows
        return {
            "features": self.features[chosen],
            "outcomes": self.outcomes[chosen],
            "bypass": self.bypass[chosen],
            "feature_names": list(self.feature_names),
            "outcome_names": list(self.outcome_names),
        }


def read_arrays(
    network: CutNetwork,
    view: TokenFeatureView,
    *,
    clean: ArrayLike,
    learn: ArrayLike | None = None,
    rank: int = 50,
    block: int = 256,
    seed: int = 0,
) -> ArrayReading:
    """Run all inputs of a network and read features, bypass and outcomes.

    Parameters
    ----------
    network : CutNetwork
        From `array_network`.
    view : TokenFeatureView
        The features: `Units`, `Directions`, `Latents`, ...
    clean : array (N,) of int
        Row of each run's clean run (`PerturbedInputs.prompt`).
    learn : array (N,) of bool, optional
        Runs on which the bypass is learned: families that no estimate is made on. Default all, which
        is not valid for inference unless ``rank`` takes in all of the cut.
    rank : int
        Largest number of bypass components of each part (the mean over places, what varies between places).
    block : int
        Runs per forward pass.
    seed : int
        Of the randomized projection that finds bypass components.

    Returns
    -------
    ArrayReading

    Raises
    ------
    InputError
        For clean runs that do not match, or fewer than two runs to learn from.

    Notes
    -----
    Bypass components are zero on the features' write directions, so that a shift of a feature leaves
    them where they are; their order is that of double selection on the learning runs.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from mrinterp.features import Units
    >>> from mrinterp.models import array_network
    >>> from mrinterp.outcomes import Logit
    >>> from mrinterp.perturbations import ColumnNoise, perturb
    >>> from mrinterp.scan import read_arrays
    >>> made = perturb(np.random.default_rng(0).normal(size=(20, 4)), [ColumnNoise()], runs_per_input=3)
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2)).eval()
    >>> reading = read_arrays(array_network(net, "1", made.inputs, Logit(0)), Units([0], 3), clean=made.prompt)
    >>> reading.features.shape, reading.bypass.shape
    ((80, 1), (80, 2))
    """
    checked_type(network, "network", CutNetwork, "mrinterp.models.array_network makes one")
    rank, block, seed = (
        checked_count(rank, "rank", least=0),
        checked_count(block, "block"),
        checked_seed(seed),
    )
    start, count = np.asarray(clean), len(network.inputs)
    if start.dtype.kind not in "iu":
        raise InputError(
            "clean", f"entries of type {start.dtype}", "Give row numbers (whole numbers from 0), one per run"
        )
    chosen = np.ones(count, bool) if learn is None else checked_truths(learn, "learn")
    if start.shape != (count,) or chosen.shape != (count,) or start.min() < 0 or start.max() >= count:
        raise InputError(
            "clean", f"shape {start.shape}, learn {chosen.shape}, {count} runs", "Give one row number per run"
        )
    if chosen.sum() < 2:
        raise InputError("learn", f"{int(chosen.sum())} runs", "Give at least two to learn the bypass from")
    viewed = network.viewing(view)
    read = sharded(count, block, lambda a, b: raw_reading(viewed.run(np.arange(a, b))), None, "runs")
    change = {name: value[chosen] - value[start[chosen]] for name, value in read.items()}
    write = _write_rows(view, read["mean"][chosen].mean(axis=0))
    names, F = view.names, len(view.names)
    latents = Dictionary(
        names=names,
        read=None,
        write=write,
        center=np.zeros(write.shape[1]),
        latents=tuple(range(F)),
        zero=np.zeros(F),
    )
    rows = {"mean": mean_bypass(latents, change["mean"])[:rank]}
    rows["position"] = position_bypass(change["position"], rank, seed)
    bypass = np.concatenate([read[part] @ found.T for part, found in rows.items()], axis=1)
    moved = bypass[chosen] - bypass[start[chosen]]
    order = nested_order(change["features"], moved, change["outcome"])
    return ArrayReading(read["features"], read["outcome"], bypass[:, order], names, network.outcome.names)


def _write_rows(view: TokenFeatureView, at: Array) -> Array:
    """What one unit of each feature adds to a vector (F, width)."""
    one = torch.eye(len(view.names), dtype=torch.float64)
    base = torch.from_numpy(at).expand(len(one), -1)
    with torch.no_grad():
        return np.asarray((view.moved(base, one) - base).numpy())
