"""Networks with TransformerLens's hook points: anything with ``hook_dict`` and ``run_with_hooks``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from mrinterp.adapters._adapter import Edit, Run, weights_hash
from mrinterp.adapters._held_activations import HeldActivations, OverwrittenSites, held_pass
from mrinterp.adapters._hookable import check_hookable, check_still_hookable
from mrinterp.adapters._site_output import edited
from mrinterp.core.errors import InputError, near_misses

__all__ = ["TransformerLensAdapter"]


class TransformerLensAdapter:
    """Read and edit hook points (``blocks.4.hook_resid_post``); the package itself is never imported.

    Parameters
    ----------
    model : HookedRootModule, TransformerBridge, HookedTransformer, or anything alike
        In evaluation mode. ``input_ids`` becomes its first argument, all else is passed by name.

    Raises
    ------
    InputError
        For an object without hook points, or one in training mode.

    Notes
    -----
    Several names of one hook point are one site: an edit under one of them is seen under all.

    Examples
    --------
    Any module with ``hook_dict`` and ``run_with_hooks`` serves, here a stand-in with one hook point (with
    TransformerLens: ``TransformerLensAdapter(model.eval())``):

    >>> import torch
    >>> from mrinterp.adapters import TransformerLensAdapter
    >>> class Hooked(torch.nn.Module):
    ...     hook_dict = {"hook_mid": None}
    ...     def run_with_hooks(self, x, fwd_hooks):
    ...         mid = 2 * x
    ...         for _, hook in fwd_hooks:
    ...             edited = hook(mid)
    ...             mid = mid if edited is None else edited
    ...         return mid.sum(1)
    >>> adapter = TransformerLensAdapter(Hooked().eval())
    >>> adapter.run({"input_ids": torch.ones(1, 3)}, write={"hook_mid": torch.zeros_like}).output
    tensor([0.])
    """

    def __init__(self, model: Any) -> None:
        for attribute in ("hook_dict", "run_with_hooks"):
            if not hasattr(model, attribute):
                raise InputError(
                    "model",
                    f"{type(model).__name__} has no {attribute}",
                    "Give a HookedRootModule or a bridge, or use TorchAdapter",
                )
        if isinstance(model, torch.nn.Module):
            check_hookable(model)
        self.model = model
        self._overwritten = OverwrittenSites()

    @property
    def module(self) -> torch.nn.Module:
        """The model, which is a module."""
        module: torch.nn.Module = self.model
        return module

    @property
    def hash(self) -> str:
        """SHA-256 over names, shapes and values of all weights."""
        return weights_hash(self.module)

    def check(self, site: str) -> None:
        """Refuse a hook point that does not exist, with near misses."""
        self._point(site)

    def sites(self) -> list[str]:
        """Names of all hook points."""
        return list(self.model.hook_dict)

    def run(
        self,
        inputs: Mapping[str, torch.Tensor],
        read: Sequence[str] = (),
        write: Mapping[str, Edit] | None = None,
    ) -> Run:
        """Run the model once under hooks: see `Adapter.run`."""
        write = write or {}
        names = list(dict.fromkeys([*read, *write]))
        points: dict[int, list[str]] = {}
        for name in names:
            points.setdefault(id(self._point(name)), []).append(name)
        if isinstance(self.model, torch.nn.Module):
            check_still_hookable(self.model.named_modules())
        rest = dict(inputs)
        first = [rest.pop("input_ids")] if "input_ids" in rest else []

        def forward(held: HeldActivations) -> Any:
            hooks = [(same[0], _hook(same, held, write)) for same in points.values()]
            return self.model.run_with_hooks(*first, fwd_hooks=hooks, **rest)

        output, held = held_pass(forward, read, self._overwritten)
        return Run(output, held.activations(names, read))

    def _point(self, name: str) -> Any:
        if name not in self.model.hook_dict:
            fix = near_misses(name, self.model.hook_dict) or "List the hook points with adapter.sites()"
            raise InputError(f"site {name!r}", f"no such hook point in {type(self.model).__name__}", fix)
        return self.model.hook_dict[name]


def _hook(names: list[str], held: HeldActivations, write: Mapping[str, Edit]) -> Any:
    def hook(tensor: torch.Tensor, hook: Any = None) -> torch.Tensor | None:
        meant = [held.is_meant(name) for name in names]  # every name counts the call
        if not all(meant):
            return None
        value, changed = tensor, False
        for name in names:
            if name in write:
                value, changed = edited(write[name], value, name), True
        for name in names:
            value = held.keep(name, value, changed)
        return value if changed else None

    return hook
