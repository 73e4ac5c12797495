"""Controls that an alignment must stand out from: random subspaces, the whole site, a network with shuffled weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.abstraction._aligned_variable import AlignedVariable, position_for, source_values
from mrinterp.adapters._adapter import Adapter
from mrinterp.adapters._duplicate import duplicate
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.checks import checked_seed
from mrinterp.core.errors import InputError
from mrinterp.features._directions import Subspace
from mrinterp.features._feature_view import ChannelMap, FeatureView
from mrinterp.positions import AllTokens

__all__ = ["control_alignments", "fitting_view", "shuffled_network", "site_widths"]

Array = NDArray[np.float64]


def control_alignments(
    adapter: Adapter,
    aligned: Sequence[AlignedVariable],
    inputs: ModelInputs,
    count: int,
    rng: np.random.Generator,
    block: int,
) -> tuple[list[tuple[str, str, list[AlignedVariable]]], str]:
    """Arms to run besides the alignment (name, detail, alignment), and why there are no random ones."""
    sites = list(dict.fromkeys(a.site for a in aligned))
    widths = site_widths(adapter, sites, inputs)
    dimensions = {site: sum(len(a.view.names) for a in aligned if a.site == site) for site in sites}
    for site, total in dimensions.items():
        if total > widths[site][0] and len(aligned) > 1:
            found = f"{total} coordinates of several variables, width {widths[site][0]}"
            raise InputError(f"site {site!r}", found, "Align fewer coordinates: so many cannot be orthogonal")
    whole = [_everything(next(a for a in aligned if a.site == site), *widths[site]) for site in sites]
    arms = [("whole site", "", whole)] if len(aligned) == 1 else []
    if all(dimensions[site] >= widths[site][0] for site in sites):
        return arms, "does not apply: the alignment takes the whole site"
    if not count:
        return arms, ""
    held = {}
    for a, values in zip(whole, source_values(adapter, inputs, whole, block), strict=True):
        x = values.double().cpu().numpy().reshape(-1, widths[a.site][0])
        if isinstance(position_for(inputs, a.position), AllTokens) and inputs.mask is not None:
            x = x[inputs.mask.bool().cpu().numpy().ravel()]  # padding does not vary as activations do
        held[a.site] = x - x.mean(axis=0)
    for name in ("random subspace", "random data subspace"):
        for k in range(count):
            rows = {}
            for site, d in dimensions.items():
                drawn = rng.standard_normal((d, len(held[site]) if "data" in name else widths[site][0]))
                rows[site] = np.linalg.qr((drawn @ held[site] if "data" in name else drawn).T)[0].T
            arm = []
            for a in aligned:
                own, rows[a.site] = np.split(rows[a.site], [len(a.view.names)])
                arm.append(
                    AlignedVariable(a.variable, a.site, fitting_view(own, widths[a.site][1]), a.position)
                )
            arms.append((name, f"draw {k}", arm))
    return arms, ""


def _everything(a: AlignedVariable, width: int, feature_map: bool) -> AlignedVariable:
    """The whole site in place of a variable's own features."""
    return AlignedVariable(a.variable, a.site, fitting_view(np.eye(width), feature_map), a.position)


def site_widths(adapter: Adapter, sites: Sequence[str], inputs: ModelInputs) -> dict[str, tuple[int, bool]]:
    """Width of each site, and whether it is a feature map."""
    for site in sites:
        adapter.check(site)
    with torch.no_grad():
        held = adapter.run(inputs.take(np.arange(1)).tensors, read=sites).activations
    return {s: (h.shape[1 if h.ndim == 4 else -1], h.ndim == 4) for s, h in held.items()}


def fitting_view(rows: Array, feature_map: bool) -> FeatureView:
    """A subspace as features of a site, through its channels where it is a feature map."""
    return ChannelMap(Subspace(rows)) if feature_map else Subspace(rows)


def shuffled_network(adapter: Adapter, seed: int = 0) -> TorchAdapter:
    """A copy of the network in which every weight tensor's values are shuffled among its entries.

    Parameters
    ----------
    adapter : TorchAdapter
        The network; it is not changed.
    seed : int
        Of the shuffles.

    Returns
    -------
    TorchAdapter
        A network of the same architecture that has learned nothing, in evaluation mode.

    Raises
    ------
    InputError
        For an adapter other than `TorchAdapter`: give the random network yourself.

    Notes
    -----
    Shuffling keeps the size and the spread of every tensor, so that activations keep about their scale, and
    needs no knowledge of how the architecture is initialized. Tensors of equal entries (fresh biases and
    norms) stay as they are. Tied weights stay tied; buffers are kept.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.abstraction import shuffled_network
    >>> from mrinterp.adapters import TorchAdapter
    >>> layer = torch.nn.Linear(3, 3).eval()
    >>> weight = shuffled_network(TorchAdapter(layer)).module.weight
    >>> torch.equal(weight.flatten().sort().values, layer.weight.flatten().sort().values)
    True
    """
    checked_seed(seed)
    if not isinstance(adapter, TorchAdapter):
        raise InputError(
            "random_network",
            f"{type(adapter).__name__} cannot be copied with random weights",
            "Give the adapter of a re-initialized network, or False for no such control",
        )
    generator = torch.Generator().manual_seed(seed)
    module = duplicate(adapter.module)
    with torch.no_grad():
        for parameter in module.parameters():
            order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
            parameter.copy_(parameter.flatten()[order].view_as(parameter))
    return TorchAdapter(module.eval())
