"""The protocol through which every network is read and edited."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch

__all__ = ["Adapter", "Edit", "Run", "weights_hash"]

Edit = Callable[[torch.Tensor], torch.Tensor]
"""Takes the activation of a site (runs first) and returns the edited one."""


@dataclass(frozen=True, eq=False)
class Run:
    """One forward pass: the module's output, and the activation of every site that was read."""

    output: Any
    activations: dict[str, torch.Tensor]


class Adapter(Protocol):
    """A network that can be read and edited at named sites."""

    @property
    def module(self) -> Any:
        """The network behind the adapter, where it is a ``torch.nn.Module``."""
        ...

    @property
    def hash(self) -> str:
        """What the network is known by: SHA-256 over its weights."""
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
        write : mapping of site to edit

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
