"""A network whose gates hide its causes from gradients: a clamp, a step, and a silent companion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.features._units import Units
from mrinterp.knockouts._bench import Bench
from mrinterp.outcomes._outcome import Outcome
from mrinterp.outcomes._projection_and_callable import CallableOutcome

__all__ = ["GatedNetwork", "GatedWorld", "gated_world"]

NAMES = ("linear", "silent", "saturated", "threshold", "idle")


class GatedNetwork(torch.nn.Module):
    """Five units, float64; the output is ``linear + clamp(4 saturated, -1, 1) + [threshold > 1/2]``.

    ``silent`` and ``idle`` reach nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.units = torch.nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Outputs (runs, 1) of inputs (runs, 5)."""
        linear, silent, saturated, threshold, idle = self.units(x).unbind(-1)
        nothing = 0.0 * (silent + idle)
        y = linear + (4.0 * saturated).clamp(-1.0, 1.0) + (threshold > 0.5).to(x.dtype) + nothing
        return y.unsqueeze(-1)


@dataclass(frozen=True, eq=False)
class GatedWorld:
    """The network with inputs, ready for a bench, and what setting each unit to zero must do.

    Attributes
    ----------
    adapter : TorchAdapter
        The network, ready to be run and edited.
    site : str
        Where its five units are read and written.
    view : Units
        The units by name: ``linear, silent, saturated, threshold, idle``.
    inputs : ModelInputs
        P inputs, no tokens.
    outcome : Outcome
        The network's one output.
    family : ndarray (P,) of int
        The family of every input.
    zero_change : ndarray (F,)
        Mean outcome change over the inputs when each unit is set to zero, as it must be.

    Examples
    --------
    >>> mrinterp.worlds.gated_world(families=10).bench().prompts
    40
    """

    adapter: TorchAdapter
    site: str
    view: Units
    inputs: ModelInputs
    outcome: Outcome
    family: NDArray[np.int_]
    zero_change: NDArray[np.float64]

    def bench(self, **options: Any) -> Bench:
        """A bench of the network on its inputs.

        Parameters
        ----------
        **options
            Of `mrinterp.knockouts.Bench`, such as ``block`` or ``folder``.

        Returns
        -------
        Bench
            Five features and one outcome on P inputs, errors clustered by family.
        """
        given = {"family": self.family, **options}
        return Bench(self.adapter, self.site, self.view, self.inputs, self.outcome, **given)


def gated_world(
    seed: int = 0, families: int = 40, per_family: int = 4, co_activation: float = 0.95
) -> GatedWorld:
    """Draw inputs on which the clamp is saturated and the step is on.

    Parameters
    ----------
    seed : int
    families, per_family : int
    co_activation : float
        Correlation of ``silent`` with ``linear``.

    Notes
    -----
    ``saturated`` and ``threshold`` lie between 1 and 2, where the output is flat in them: their
    gradient is exactly zero, and setting them to zero takes exactly 1 off the output.
    """
    rng = np.random.default_rng(seed)
    count = families * per_family
    linear = 1.0 + rng.standard_normal(count)
    silent = 1.0 + co_activation * (linear - 1.0) + np.sqrt(1 - co_activation**2) * rng.standard_normal(count)
    gates = rng.uniform(1.0, 2.0, (count, 2))
    x = np.column_stack([linear, silent, gates, rng.standard_normal(count)])
    return GatedWorld(
        TorchAdapter(GatedNetwork().eval()),
        "units",
        Units(range(5), 5, NAMES),
        ModelInputs({"x": torch.from_numpy(x)}),
        CallableOutcome("output", lambda output, _mask: output[:, 0]),
        np.repeat(np.arange(families), per_family),
        np.array([-linear.mean(), 0.0, -1.0, -1.0, 0.0]),
    )
