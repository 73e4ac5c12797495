"""The protocol through which every network is read and edited."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

__all__ = ["Adapter", "Edit", "Run", "weights_hash"]


class Edit(Protocol):
    """What is done to a site's activation: any function from the activation to the edited one.

    It gets the whole activation (runs first) and returns one of the same shape.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.adapters import Edit
    >>> double: Edit = lambda activation: 2 * activation
    >>> double(torch.ones(1, 2)).tolist()
    [[2.0, 2.0]]
    """

    def __call__(self, activation: torch.Tensor, /) -> torch.Tensor:
        """The edited activation, in the shape it came in."""
        ...


@dataclass(frozen=True, eq=False)
class Run:
    """What one forward pass showed.

    Parameters
    ----------
    output : object
        What the network returned.
    activations : dict of str to tensor
        Activation of every site that was read.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.adapters import TorchAdapter
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU()).eval()
    >>> run = TorchAdapter(net).run({"input": torch.ones(5, 2)}, read=["0"])
    >>> run.output.shape, list(run.activations)
    (torch.Size([5, 3]), ['0'])
    """

    output: Any
    activations: dict[str, torch.Tensor]


class Adapter(Protocol):
    """A network that can be read and edited at named sites: what an adapter of your own has to offer.

    A class with these five members is an adapter; it need not inherit from anything. `TorchAdapter` is the one to
    read as a model, and the one to compare with: the same network behind both must give the same activations.

    Examples
    --------
    A network that is a plain function, with one site:

    >>> import torch
    >>> from mrinterp.adapters import Run
    >>> class Doubler:
    ...     module, hash = None, "doubler-1"
    ...     def sites(self):
    ...         return ["twice"]
    ...     def check(self, site):
    ...         assert site in self.sites()
    ...     def run(self, inputs, read=(), write=None):
    ...         edit = (write or {}).get("twice", lambda activation: activation)
    ...         twice = edit(2 * inputs["x"])
    ...         return Run(twice.sum(1), {"twice": twice})
    >>> Doubler().run({"x": torch.ones(1, 3)}, write={"twice": torch.zeros_like}).output
    tensor([0.])
    """

    @property
    def module(self) -> Any:
        """The network behind the adapter, where it is a ``torch.nn.Module``."""
        ...

    @property
    def hash(self) -> str:
        """By what the network is recognized: SHA-256 over its weights."""
        ...

    def check(self, site: str) -> None:
        """Refuse a site that does not exist, with near misses."""
        ...

    def sites(self) -> list[str]:
        """Addresses that can be read and written."""
        ...

    def run(
        self,
        inputs: Mapping[str, torch.Tensor],
        read: Sequence[str] = (),
        write: Mapping[str, Edit] | None = None,
    ) -> Run:
        """Run the network once.

        Parameters
        ----------
        inputs : mapping of str to tensor
            Keyword arguments of the network.
        read : sequence of str
            Sites whose activation is returned (after the edit, where there is one).
        write : mapping of site to edit, optional
            An edit takes the site's activation and returns the one to go on with.

        Returns
        -------
        Run

        Raises
        ------
        InputError
            For an unknown site, one that the forward pass does not run, or an edit that returns
            another shape.
        """
        ...


def weights_hash(module: torch.nn.Module) -> str:
    """SHA-256 over names, shapes, dtypes and values of all weights."""
    h = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        if not isinstance(value, torch.Tensor):
            continue
        h.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        if value.numel():
            h.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return h.hexdigest()
