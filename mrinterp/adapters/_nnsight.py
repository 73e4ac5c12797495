"""Networks wrapped by nnsight, read and edited inside its traces."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch

from mrinterp.adapters._adapter import Edit, Run, weights_hash
from mrinterp.adapters._held_activations import HeldActivations, OverwrittenSites
from mrinterp.adapters._hookable import check_hookable, check_still_hookable
from mrinterp.adapters._site_output import edited, first_tensor, with_first
from mrinterp.core.errors import InputError, near_misses

__all__ = ["NNsightAdapter"]


class NNsightAdapter:
    """Read and edit module outputs through ``model.trace``; sites are dotted module paths.

    Parameters
    ----------
    model : nnsight.NNsight or torch.nn.Module
        A plain module is wrapped (this imports nnsight). In evaluation mode.

    Raises
    ------
    InputError
        For a module in training mode, or a plain module where nnsight is not installed.

    Notes
    -----
    Every site has an invoke of its own, so that sites can be asked for in any order.

    Examples
    --------
    Needs nnsight; without it, or for a network in training mode, the reason is given. A network that nnsight has
    wrapped is anything with ``trace`` and ``_module``:

    >>> import torch
    >>> from types import SimpleNamespace
    >>> from mrinterp.adapters import NNsightAdapter
    >>> net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU()).eval()
    >>> wrapped = SimpleNamespace(trace=None, _module=net)  # with nnsight: nnsight.NNsight(net)
    >>> NNsightAdapter(wrapped).sites()
    ['0', '1']
    """

    def __init__(self, model: Any) -> None:
        if not hasattr(model, "trace"):
            try:
                from nnsight import NNsight
            except ImportError:
                raise InputError(
                    "model", "nnsight is not installed", "pip install nnsight, or use TorchAdapter"
                ) from None
            model = NNsight(model)
        module: torch.nn.Module = model._module
        check_hookable(module)
        self.model = model
        self._sites = [name for name, _ in module.named_modules() if name]

    @property
    def module(self) -> torch.nn.Module:
        """The wrapped module."""
        module: torch.nn.Module = self.model._module
        return module

    @property
    def hash(self) -> str:
        """SHA-256 over names, shapes and values of all weights."""
        return weights_hash(self.module)

    def check(self, site: str) -> None:
        """Refuse a site that does not exist, with near misses."""
        if site not in self._sites:
            fix = near_misses(site, self._sites) or "List the sites with adapter.sites()"
            raise InputError(f"site {site!r}", "no such module", fix)

    def sites(self) -> list[str]:
        """Dotted paths of all submodules."""
        return list(self._sites)

    def run(
        self,
        inputs: Mapping[str, torch.Tensor],
        read: Sequence[str] = (),
        write: Mapping[str, Edit] | None = None,
    ) -> Run:
        """Run the model once inside a trace: see `Adapter.run`."""
        write = write or {}
        sites = list(dict.fromkeys([*read, *write]))
        for site in sites:
            self.check(site)
        model, result = self.model, {}
        check_still_hookable(self.module.named_modules())
        # nnsight hands out a module's first call; calls are counted, and what is read is always copied.
        held = HeldActivations(read, OverwrittenSites())
        with ExitStack() as counting:
            for site in sites:
                module = self.module.get_submodule(site)
                counting.callback(module.register_forward_pre_hook(_counted(site, held)).remove)
            with model.trace() as tracer:
                with tracer.invoke(**inputs):
                    result["output"] = model.output
                for site in sites:
                    with tracer.invoke():
                        envoy = model.get(site)
                        output = envoy.output
                        value = first_tensor(output, site)
                        if site in write:
                            value = held.keep(site, edited(write[site], value, site), True)
                            envoy.output = with_first(output, value)
                        else:
                            held.keep(site, value, False)
        return Run(result["output"], held.activations(sites, read))


def _counted(site: str, held: HeldActivations) -> Any:
    def hook(*_: Any) -> None:
        held.is_meant(site)

    return hook
