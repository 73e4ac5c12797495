"""Any ``torch.nn.Module``, its sites addressed by dotted path: the reference adapter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from mrinterp.adapters._adapter import Edit, Run, weights_hash
from mrinterp.adapters._freed_memory import keep_freed_memory
from mrinterp.adapters._site_output import check_reached, edited, first_tensor, with_first
from mrinterp.core.errors import InputError, near_misses

__all__ = ["INPUT", "TorchAdapter"]

INPUT = ":input"
"""After a module's path: the site is what goes into the module, not what comes out."""


class TorchAdapter:
    """Read and edit the outputs of submodules through forward hooks.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode: a module in training mode (dropout on) is refused.

    Notes
    -----
    A site's activation is the module's output, or the first tensor of a tuple it returns; with
    ``:input`` after the path it is the module's first input (at ``h.0.attn.c_proj:input`` the outputs of
    the attention heads are concatenated). Edits replace the activation of every run of the batch; hooks are gone when `run` returns or raises.
    Where the module has in-place layers, what is read is copied before they overwrite it.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.adapters import TorchAdapter
    >>> adapter = TorchAdapter(torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU()).eval())
    >>> run = adapter.run({"input": torch.ones(4, 2)}, read=["1"], write={"0": lambda h: torch.full_like(h, -1.0)})
    >>> adapter.sites(), run.activations["1"].abs().sum().item()
    (['0', '1'], 0.0)
    """

    def __init__(self, module: torch.nn.Module) -> None:
        if any(m.training for m in module.modules()):
            raise InputError("model", "in training mode (dropout is on)", "Call model.eval() first")
        keep_freed_memory()
        self.module = module
        self._in_place = any(getattr(m, "inplace", False) for m in module.modules())
        self._modules = {name: m for name, m in module.named_modules() if name}

    def sites(self) -> list[str]:
        """Dotted paths of all submodules."""
        return list(self._modules)

    def submodule(self, site: str) -> torch.nn.Module:
        """The submodule at a dotted path.

        Raises
        ------
        InputError
            With near misses, where there is none.
        """
        if site not in self._modules:
            fix = near_misses(site, self._modules) or "List the sites with adapter.sites()"
            raise InputError(f"site {site!r}", f"no such module in {type(self.module).__name__}", fix)
        return self._modules[site]

    @property
    def hash(self) -> str:
        """SHA-256 over names, shapes and values of all weights."""
        return weights_hash(self.module)

    def check(self, site: str) -> None:
        """Refuse a site that does not exist, with near misses."""
        self.submodule(site.removesuffix(INPUT))

    def can_resume(self, site: str) -> bool:
        """Whether the site is a layer of a stack whose earlier layers can be passed over."""
        parent, _, index = site.rpartition(".")
        return index.isdigit() and isinstance(self._modules.get(parent), torch.nn.ModuleList)

    @contextmanager
    def resumed(self, site: str, value: torch.Tensor, as_tuple: bool = False) -> Iterator[None]:
        """Inside the block the network starts at ``site``, which holds ``value`` before any edit.

        The earlier layers of its stack pass on what they get; the later ones run as always. This equals
        a full run bit for bit where the stack is a plain sequence, which callers check by comparing once.
        ``as_tuple`` for layers that return a tuple.
        """
        parent, _, index = site.rpartition(".")
        stack = self._modules[parent]
        assert isinstance(stack, torch.nn.ModuleList)
        layers = list(stack)[: int(index) + 1]

        def hand_on(hidden: torch.Tensor, *_: Any, **__: Any) -> Any:
            return (hidden,) if as_tuple else hidden

        def start(_hidden: torch.Tensor, *_: Any, **__: Any) -> Any:
            return (value,) if as_tuple else value

        try:
            for layer in layers:
                layer.forward = start if layer is layers[-1] else hand_on  # type: ignore[method-assign,assignment]
            yield
        finally:
            for layer in layers:
                vars(layer).pop("forward", None)

    def run(
        self,
        inputs: Mapping[str, torch.Tensor],
        read: Sequence[str] = (),
        write: Mapping[str, Edit] | None = None,
    ) -> Run:
        """Run the module once: see `Adapter.run`."""
        write = write or {}
        kept: dict[str, torch.Tensor] = {}
        handles = []
        sites = list(dict.fromkeys([*read, *write]))
        try:
            for site in sites:
                copy = self._in_place and site in read
                if site.endswith(INPUT):
                    before = _input_hook(site, kept, write.get(site), copy)
                    module = self.submodule(site.removesuffix(INPUT))
                    handles.append(module.register_forward_pre_hook(before, with_kwargs=True))
                else:
                    hook = _hook(site, kept, write.get(site), copy)
                    handles.append(self.submodule(site).register_forward_hook(hook))
            output = self.module(**inputs)
        finally:
            for handle in handles:
                handle.remove()
        check_reached(sites, kept)
        return Run(output, {site: kept[site] for site in read})


def _hook(site: str, keep: dict[str, torch.Tensor], edit: Edit | None, copy: bool) -> Any:
    def hook(_module: torch.nn.Module, _inputs: Any, output: Any) -> Any:
        value = first_tensor(output, site)
        if edit is not None:
            value = edited(edit, value, site)
        keep[site] = value.clone() if copy else value
        return None if edit is None else with_first(output, value)

    return hook


def _input_hook(site: str, keep: dict[str, torch.Tensor], edit: Edit | None, copy: bool) -> Any:
    def hook(_module: torch.nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
        key = None if inputs else next(iter(named), None)
        value = first_tensor(inputs if key is None else (named[key],), site)
        if edit is not None:
            value = edited(edit, value, site)
        keep[site] = value.clone() if copy else value
        if edit is None:
            return None
        return ((value, *inputs[1:]), named) if key is None else (inputs, {**named, key: value})

    return hook
