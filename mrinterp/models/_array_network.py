"""A network on inputs that are arrays: images, rows of a table."""

from __future__ import annotations

import inspect

import numpy as np
import torch
from numpy.typing import ArrayLike

from mrinterp.adapters._adapter import Adapter
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.errors import InputError
from mrinterp.models._cut import CutNetwork
from mrinterp.outcomes._outcome import Outcome
from mrinterp.outcomes._outcome_set import OutcomeSet
from mrinterp.positions import MEAN_OF_TOKENS, Position

__all__ = ["array_network"]


def array_network(
    network: torch.nn.Module | Adapter,
    site: str,
    inputs: ArrayLike,
    outcome: Outcome,
    *,
    argument: str | None = None,
    position: Position | None = None,
) -> CutNetwork:
    """Put a network on N arrays, to be read and written at one site.

    Parameters
    ----------
    network : torch.nn.Module or Adapter
        In evaluation mode.
    site : str
        Where features are read and written: one vector per input (N, width), a sequence (N, tokens, width), or a feature map (N, channels,
        height, width), whose places are its tokens.
    inputs : array (N, ...)
        Handed to the network in the dtype of its weights.
    outcome : Outcome
        For example ``ClassifierMargin(3)``.
    argument : str, optional
        Name of the network's argument; default its first.
    position : Position, optional
        Tokens at which features are read and written; default the mean over all.

    Returns
    -------
    CutNetwork
        For `mrinterp.scan.read_arrays`.

    Raises
    ------
    InputError
        For a site that does not exist or has no vector per input or token, or inputs that are not
        finite.

    Notes
    -----
    A knockout of the same features is ``knock_out(Bench(network.adapter, network.site, view,
    network.inputs.take(rows), outcome), "shift")``, the view in a `ChannelMap` where the site is a
    feature map.

    Examples
    --------
    >>> import numpy as np, torch
    >>> from mrinterp.models import array_network
    >>> from mrinterp.outcomes import LogitDifference
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2)).eval()
    >>> network = array_network(net, "1", np.zeros((10, 4)), LogitDifference(0, 1))
    >>> network.width, network.run().outcome.shape
    (3, (10, 1))
    """
    adapter: Adapter = TorchAdapter(network) if isinstance(network, torch.nn.Module) else network
    adapter.check(site)
    first = next(adapter.module.parameters(), torch.zeros(()))
    values = np.asarray(inputs)
    if not np.isfinite(values).all():
        row = int(np.argwhere(~np.isfinite(values))[0, 0])
        raise InputError(
            f"inputs, row {row}", "a value that is not finite", "Fill it in or leave the row out"
        )
    tensor = torch.from_numpy(np.ascontiguousarray(values)).to(first.device)
    tensor = tensor.to(first.dtype) if values.dtype.kind == "f" else tensor
    name = argument or next(iter(inspect.signature(adapter.module.forward).parameters))
    with torch.inference_mode():
        shape = adapter.run({name: tensor[:1]}, read=[site]).activations[site].shape
    places = {2: 0, 3: shape[1], 4: int(np.prod(shape[2:]))}.get(len(shape))
    if places is None:
        raise InputError(
            f"site {site!r}",
            f"activation of shape {tuple(shape)}",
            "Choose a site with one vector per input or token",
        )
    if not places:
        return CutNetwork(adapter, site, ModelInputs({name: tensor}), OutcomeSet([outcome]))
    # Each place gets its own token class: images of one size are aligned place by place.
    mask = torch.ones(len(tensor), places, dtype=torch.long, device=tensor.device)
    classes = torch.arange(places, device=tensor.device).expand(len(tensor), -1)
    made = ModelInputs({name: tensor}, mask, classes, tuple(f"place{i}" for i in range(places)))
    return CutNetwork(adapter, site, made, OutcomeSet([outcome]), position or MEAN_OF_TOKENS)
