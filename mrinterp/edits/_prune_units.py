"""Take units out of a network: their rows where they are written, their columns where they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike
from safetensors.torch import load_model, save_model

from mrinterp.adapters._duplicate import duplicate
from mrinterp.adapters._site_address import INPUT, call_number
from mrinterp.adapters._site_order import site_order
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.errors import InputError
from mrinterp.core.storage import (
    FORMAT_VERSION,
    check_format,
    check_sums,
    read_json,
    whole_folder,
    write_json,
)
from mrinterp.edits._cut_units import cut_units, linear_readers
from mrinterp.edits._weight_edit import (
    checked,
    input_axis,
    is_linear,
    output_axis,
    replace_parameter,
)

__all__ = ["PrunedNetwork", "prune_units"]

HEADER = "pruned_network.json"


@dataclass(frozen=True, eq=False)
class PrunedNetwork:
    """A smaller copy of a network.

    Parameters
    ----------
    module : torch.nn.Module
        The copy; the network that was given is untouched.
    label : str
        What was done, in words.
    site : str
        Where the units were.
    units : tuple of int
        The units that were taken out, by their numbers in the network that was given.
    writers, readers : tuple of str
        Linear layers that lost rows, and columns.
    difference, scale : float
        Largest difference of any output from the run-time ablation on the example, and largest output.

    Notes
    -----
    ``difference`` is measured on the example only. What pruning costs on other inputs: `measure_pruning`.

    Examples
    --------
    >>> from mrinterp.edits import PrunedNetwork, prune_units
    >>> import torch
    >>> network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1)).eval()
    >>> example = {"input": torch.randn(4, 2)}
    >>> pruned = prune_units(network, "1", [0], example)
    >>> isinstance(pruned, PrunedNetwork), pruned.writers, pruned.readers
    (True, ('0',), ('2',))
    """

    module: torch.nn.Module
    label: str
    site: str
    units: tuple[int, ...]
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    difference: float
    scale: float

    def __str__(self) -> str:
        return (
            f"{self.label}: rows of {', '.join(self.writers)} and columns of {', '.join(self.readers)} taken out;"
            f" outputs differ from the run-time ablation by {self.difference:.2g} at most, where the largest"
            f" output is {self.scale:.3g}."
        )

    def save(self, folder: Path) -> None:
        """Write weights and what was taken out, whole or not at all.

        Layers of one model then have unlike widths, which no Hugging Face configuration can say: open the
        folder with `reopen`.
        """
        with whole_folder(Path(folder)) as partial:
            save_model(self.module, str(partial / "model.safetensors"))
            write_json(
                partial / HEADER,
                {
                    "kind": "pruned network",
                    "format_version": FORMAT_VERSION,
                    "label": self.label,
                    "site": self.site,
                    "units": list(self.units),
                    "writers": list(self.writers),
                    "readers": list(self.readers),
                },
            )

    @staticmethod
    def reopen(folder: Path, like: torch.nn.Module) -> torch.nn.Module:
        """A copy of ``like`` with the same units taken out, and the saved weights.

        Raises
        ------
        InputError
            For a folder without a pruned network, or weights that do not fit ``like``.
        """
        folder = Path(folder)
        check_sums(folder)
        header = read_json(folder / HEADER)
        check_format(str(folder), header, "pruned network")
        module = duplicate(like)
        try:
            _take_out(module, header["writers"], header["readers"], header["units"])
            load_model(module, str(folder / "model.safetensors"))
        except (AttributeError, IndexError, RuntimeError, FileNotFoundError) as e:
            first = str(e).strip().splitlines()[0]
            raise InputError(str(folder), first, "Give the network that was pruned") from None
        return module


def prune_units(
    module: torch.nn.Module,
    site: str,
    units: Sequence[int],
    example: Mapping[str, torch.Tensor],
    *,
    values: ArrayLike = 0.0,
    writers: Sequence[str] | None = None,
) -> PrunedNetwork:
    """A copy of a network without some units of a site.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode; it is not changed.
    site : str
        Where the units are, between linear layers: a hidden layer's output, or ``path:input`` of the layer
        that reads it.
    units : sequence of int
        Their numbers at the site, from 0.
    example : mapping of str to tensor
        Keyword inputs on which the copy is compared with the run-time ablation.
    values : float or array (k,)
        What each unit is held at: zero, or its mean, which goes into the readers' biases.
    writers : sequence of str, optional
        Linear layers whose rows the units are. Default: the last one of the site's width before the site, or
        the last two (gated layers).

    Returns
    -------
    PrunedNetwork
        The smaller network, compared with the run-time ablation on the example.

    Raises
    ------
    InputError
        As `cut_units`; for all units of the site, or where taking the rows out does not do what the
        ablation does (a normalization over the units stands between).

    Examples
    --------
    >>> from mrinterp.edits import prune_units
    >>> import torch
    >>> network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1)).eval()
    >>> example = {"input": torch.randn(4, 2)}
    >>> prune_units(network, "1", [0, 2], example).module
    Sequential(
      (0): Linear(in_features=2, out_features=1, bias=True)
      (1): ReLU()
      (2): Linear(in_features=1, out_features=1, bias=True)
    )
    """
    cut = cut_units(module, site, units, example, values=values)
    adapter = TorchAdapter(module)
    activation, readers = linear_readers(adapter, site, example)
    chosen = sorted(int(u) for u in units)
    width = int(activation.shape[-1])
    if len(chosen) == width:
        raise InputError("units", f"all {width} units of {site!r}", "Keep at least one")
    given = [tuple(writers)] if writers is not None else _candidates(adapter, site, width, example)
    for path in writers or ():
        adapter.submodule(path)
    order = np.argsort([int(u) for u in units])
    held = np.broadcast_to(np.asarray(values, dtype=float), (len(chosen),))[order]

    def ablated(h: torch.Tensor) -> torch.Tensor:
        new = h.clone()
        new[..., chosen] = torch.from_numpy(held.copy()).to(h)
        return new

    label = f"{len(chosen)} of {width} units of {site} pruned"
    for paths in given:
        pruned = duplicate(cut.module)
        try:
            _take_out(pruned, paths, readers, chosen)
            made = checked(module, pruned, {site: ablated}, example, label)
        except (RuntimeError, IndexError, InputError) as e:
            reason = str(e).splitlines()[0]
            continue
        return PrunedNetwork(
            pruned, label, site, tuple(chosen), tuple(paths), readers, made.difference, made.scale
        )
    found = f"no linear layers of width {width} before it" if not given else reason
    raise InputError(
        f"site {site!r}", found, "Name the linear layers that write the units, or cut them off (cut_units)"
    )


def _candidates(
    adapter: TorchAdapter, site: str, width: int, example: Mapping[str, torch.Tensor]
) -> list[tuple[str, ...]]:
    """Linear layers that may write the site: the last of its width before it, then the last two."""
    order = site_order(adapter, example)
    # A module that is the site, or holds it, is filled no earlier than what is inside it.
    at = order.get(site, order.get(site.removesuffix(INPUT), len(order)))
    before = [
        path
        for path, place in sorted(order.items(), key=lambda item: item[1])
        if place <= at
        and not path.endswith(INPUT)
        and call_number(path) is None  # a layer that runs several times writes elsewhere too
        and _rows(adapter, path) == width
    ]
    return [tuple(before[-k:]) for k in (1, 2) if len(before) >= k]


def _rows(adapter: TorchAdapter, path: str) -> int:
    """Outputs of a linear layer, 0 for any other module."""
    layer = adapter.submodule(path)
    return int(layer.get_parameter("weight").shape[output_axis(layer)]) if is_linear(layer) else 0


def _take_out(
    module: torch.nn.Module, writers: Sequence[str], readers: Sequence[str], units: Sequence[int]
) -> None:
    """Remove rows of the writers and columns of the readers; every linear layer states its new size."""
    for path in writers:
        layer = module.get_submodule(path)
        _narrow(layer, "weight", units, output_axis(layer))
        if getattr(layer, "bias", None) is not None:
            _narrow(layer, "bias", units, 0)
        _renumber(layer, "out_features", "nf", len(units))
    for path in readers:
        layer = module.get_submodule(path)
        _narrow(layer, "weight", units, input_axis(layer))
        _renumber(layer, "in_features", "nx", len(units))


def _narrow(layer: torch.nn.Module, name: str, units: Sequence[int], axis: int) -> None:
    old = layer.get_parameter(name).detach()
    kept = torch.ones(old.shape[axis], dtype=torch.bool)
    kept[list(units)] = False
    index = kept.nonzero().flatten().to(old.device)
    replace_parameter(layer, name, old.index_select(axis, index).contiguous())


def _renumber(layer: torch.nn.Module, linear: str, convolution: str, fewer: int) -> None:
    name = linear if hasattr(layer, linear) else convolution
    setattr(layer, name, getattr(layer, name) - fewer)
