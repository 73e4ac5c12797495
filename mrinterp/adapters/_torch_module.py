"""Any ``torch.nn.Module``, its sites addressed by dotted path: the reference adapter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from mrinterp.adapters._adapter import Edit, Run, weights_hash
from mrinterp.adapters._freed_memory import keep_freed_memory
from mrinterp.adapters._held_activations import HeldActivations, OverwrittenSites, held_pass
from mrinterp.adapters._hookable import check_hookable, check_still_hookable
from mrinterp.adapters._site_address import INPUT, module_path
from mrinterp.adapters._site_output import edited, first_tensor, with_first
from mrinterp.core.errors import InputError, near_misses

__all__ = ["INPUT", "TorchAdapter"]

_ABSENT = object()
"""Stands for a ``forward`` that is not on the instance."""


class TorchAdapter:
    """Read and edit the outputs of submodules through forward hooks.

    Parameters
    ----------
    module : torch.nn.Module
        In evaluation mode and not compiled: see Raises.

    Raises
    ------
    InputError
        For a module in training mode (dropout on), one that torch.compile or TorchScript has compiled, or a
        ``DataParallel``.

    Notes
    -----
    A site's activation is the module's output, or the first entry of a tuple, dict or dataclass that it returns; with
    ``:input`` after the path it is the module's first input (at ``h.0.attn.c_proj:input`` the outputs of
    the attention heads are concatenated). Of a module that a pass runs several times (a shared layer, a loop) each
    call is a site of its own: ``layer@1``, ``layer@2``, ``layer@2:input``; the path alone is then refused.
    Edits replace the activation of every run of the batch; hooks are gone when `run` returns or raises.
    What the network changes in place after a site (a residual added to it, an in-place layer) is read as it was at the
    site. A pass in which that is noticed for the first time is run twice, edits included.

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
        check_hookable(module)
        keep_freed_memory()
        self.module = module
        self._parts = tuple(module.named_modules())
        # A module under two names is one site; both names address it.
        self._modules = {name: m for name, m in module.named_modules(remove_duplicate=False) if name}
        self._overwritten = OverwrittenSites()
        # Made in inference mode, they can be changed in place in inference mode only.
        self._inference_only = any(t.is_inference() for t in (*module.parameters(), *module.buffers()))

    def sites(self) -> list[str]:
        """Dotted paths of all submodules."""
        return [name for name, _ in self._parts if name]

    def submodule(self, site: str) -> torch.nn.Module:
        """The submodule of a site.

        Raises
        ------
        InputError
            With near misses, where there is none.
        """
        path = module_path(site)
        if path not in self._modules:
            fix = near_misses(path, self._modules) or "List the sites with adapter.sites()"
            raise InputError(f"site {site!r}", f"no such module in {type(self.module).__name__}", fix)
        return self._modules[path]

    @property
    def hash(self) -> str:
        """SHA-256 over names, shapes and values of all weights."""
        return weights_hash(self.module)

    def check(self, site: str) -> None:
        """Refuse a site that does not exist, with near misses."""
        self.submodule(site)

    def can_resume(self, site: str) -> bool:
        """Whether the site is a layer of a stack whose earlier layers can be passed over."""
        parent, _, index = site.rpartition(".")
        return index.isdigit() and isinstance(self._modules.get(parent), torch.nn.ModuleList)

    def layers_until(self, site: str) -> list[torch.nn.Module]:
        """The layers of a stack from the first to the one at ``site``."""
        parent, _, index = site.rpartition(".")
        stack = self._modules[parent]
        assert isinstance(stack, torch.nn.ModuleList)
        return list(stack)[: int(index) + 1]

    @contextmanager
    def resumed(self, site: str, value: torch.Tensor, as_tuple: bool = False) -> Iterator[None]:
        """Inside the block the network starts at ``site``, which holds ``value`` before any edit.

        The earlier layers of its stack pass on what they get; the later ones run as always. This equals
        a full run bit for bit where the stack is a plain sequence, which callers check by comparing once.
        ``as_tuple`` for layers that return a tuple.
        """
        layers = self.layers_until(site)
        # What stands on the instance (a library's or the user's own forward) is put back, not taken away.
        stood = [(layer, vars(layer).get("forward", _ABSENT)) for layer in dict.fromkeys(layers)]

        def hand_on(hidden: torch.Tensor, *_: Any, **__: Any) -> Any:
            return (hidden,) if as_tuple else hidden

        def start(_hidden: torch.Tensor, *_: Any, **__: Any) -> Any:
            first = value.clone()  # the network may change it in place
            return (first,) if as_tuple else first

        try:
            for layer in layers:
                vars(layer)["forward"] = start if layer is layers[-1] else hand_on
            yield
        finally:
            for layer, forward in stood:
                vars(layer).pop("forward", None) if forward is _ABSENT else vars(layer).update(
                    forward=forward
                )

    def run(
        self,
        inputs: Mapping[str, torch.Tensor],
        read: Sequence[str] = (),
        write: Mapping[str, Edit] | None = None,
    ) -> Run:
        """Run the module once: see `Adapter.run`."""
        write = write or {}
        sites = list(dict.fromkeys([*read, *write]))
        modules = [self.submodule(site) for site in sites]
        check_still_hookable(self._parts)
        # Tensors made in inference mode cannot be changed in place outside it.
        given = {name: value.clone() if value.is_inference() else value for name, value in inputs.items()}

        def forward(held: HeldActivations) -> Any:
            with ExitStack() as hooks:
                for site, module in zip(sites, modules, strict=True):
                    if site.endswith(INPUT):
                        before = _input_hook(site, held, write.get(site))
                        handle = module.register_forward_pre_hook(before, with_kwargs=True)
                    else:
                        handle = module.register_forward_hook(_hook(site, held, write.get(site)))
                    hooks.callback(handle.remove)
                return self.module(**given)

        output, held = held_pass(forward, read, self._overwritten, self._inference_only)
        return Run(output, held.activations(sites, read, by_call=True))


def _hook(site: str, held: HeldActivations, edit: Edit | None) -> Any:
    def hook(_module: torch.nn.Module, _inputs: Any, output: Any) -> Any:
        if not held.is_meant(site):
            return None
        value = first_tensor(output, site)
        if edit is None:
            held.keep(site, value, False)
            return None
        return with_first(output, held.keep(site, edited(edit, value, site), True))

    return hook


def _input_hook(site: str, held: HeldActivations, edit: Edit | None) -> Any:
    def hook(_module: torch.nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if not held.is_meant(site):
            return None
        key = None if inputs else next(iter(named), None)
        value = first_tensor(inputs if key is None else (named[key],), site)
        if edit is None:
            held.keep(site, value, False)
            return None
        value = held.keep(site, edited(edit, value, site), True)
        return ((value, *inputs[1:]), named) if key is None else (inputs, {**named, key: value})

    return hook
