"""Begin edited runs at the layer before the first edited site, where that changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from mrinterp.adapters._adapter import Adapter, Edit, Run
from mrinterp.adapters._held_activations import same_bits
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._paired_sites import PairedSites
from mrinterp.adapters._site_address import INPUT, call_number, module_path
from mrinterp.adapters._site_output import first_tensor
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.errors import InputError
from mrinterp.outcomes._outcome import Outcome

__all__ = ["Resumption", "far_values"]


class Resumption:
    """A layer of a stack after which a run of the network can begin, so that earlier layers are not run again.

    Parameters
    ----------
    adapter : TorchAdapter
    layer : str
        Dotted path of the layer whose stored output runs begin with.
    """

    def __init__(self, adapter: TorchAdapter, layer: str) -> None:
        self.adapter, self.layer = adapter, layer
        self._tuple = self._tried_edited = False

    @classmethod
    def before(cls, adapter: Adapter, site: str) -> Resumption | None:
        """The last layer that has run when ``site`` is reached; None where there is none to start from.

        Where the site is itself a layer of the stack, runs begin with its output, which is then edited.
        """
        if isinstance(adapter, PairedSites):  # what is read at the first site must be run too
            return cls.before(adapter.inner, adapter.reads if site == adapter.site else site)
        if not isinstance(adapter, TorchAdapter) or call_number(site) is not None:
            return None
        if not site.endswith(INPUT) and adapter.can_resume(site):
            return cls(adapter, site)
        parts = module_path(site).split(".")
        for stop in range(len(parts), 0, -1):
            enclosing = ".".join(parts[:stop])
            if parts[stop - 1].isdigit() and adapter.can_resume(enclosing):
                earlier = int(parts[stop - 1]) - 1
                layer = ".".join([*parts[: stop - 1], str(earlier)])
                return cls(adapter, layer) if earlier >= 0 else None
        return None

    def activation(
        self, inputs: ModelInputs, outcome: Outcome, run: Run | None = None
    ) -> torch.Tensor | None:
        """The layer's output on these inputs; None where a run begun there is not, bit for bit, a full run.

        Tried on these inputs as they are and, the first time, with a large edit of the layer as well: what is passed
        over may matter only once something is edited.

        Parameters
        ----------
        run : Run, optional
            A run of these inputs without edits. Where it has read the layer, it is not run again, but for the first time.
        """
        try:
            with torch.inference_mode():
                value: torch.Tensor | None
                if run is not None and self._tried_edited and self.layer in run.activations:
                    value, output = run.activations[self.layer].clone(), run.output
                else:
                    value, output = self._stored(inputs)
                if value is None or not self._alike(inputs, outcome, output, value, {}):
                    return None
                if not self._tried_edited:
                    far: dict[str, Edit] = {self.layer: far_values}
                    output = self.adapter.run(inputs.tensors, write=far).output
                    self._tried_edited = self._alike(inputs, outcome, output, value, far)
                return value if self._tried_edited else None
        # Whatever a shortened run trips over: the whole network is then run.
        except (TypeError, AttributeError, LookupError, RuntimeError, ValueError, AssertionError):
            return None

    def _stored(self, inputs: ModelInputs) -> tuple[torch.Tensor | None, Any]:
        """The layer's output (None where the layers up to it do not run once each, in their order) and the network's."""
        ran: list[torch.nn.Module] = []
        handles = []
        try:
            for layer in dict.fromkeys(self.adapter.layers_until(self.layer)):
                handles.append(layer.register_forward_pre_hook(lambda module, _: ran.append(module)))
            outputs: list[object] = []
            layer = self.adapter.submodule(self.layer)
            handles.append(layer.register_forward_hook(lambda _m, _i, output: outputs.append(output)))
            full = self.adapter.run(inputs.tensors, read=[self.layer])
        finally:
            for handle in handles:
                handle.remove()
        passes, layers = len(outputs), self.adapter.layers_until(self.layer)
        if not passes or [id(m) for m in ran] != [id(m) for m in layers] * passes:
            return None, full.output
        self._tuple = isinstance(outputs[0], tuple)
        return full.activations[self.layer].clone(), full.output

    def _alike(
        self, inputs: ModelInputs, outcome: Outcome, full: Any, value: torch.Tensor, write: dict[str, Edit]
    ) -> bool:
        """Whether a run begun at the layer gives the same outcomes and the same output as a full one did."""
        with self.begin(value):
            again = self.adapter.run(inputs.tensors, write=write).output
        mask = inputs.mask_or_ones
        found = [torch.as_tensor(outcome(output, mask)) for output in (full, again)]
        if not same_bits(*found):
            return False
        try:
            # An outcome that is a label or a comparison may be alike where the output is not.
            return same_bits(first_tensor(full, "output"), first_tensor(again, "output"))
        except InputError:
            return True

    @contextmanager
    def begin(self, value: torch.Tensor) -> Iterator[None]:
        """Inside the block, runs start after the layer, which holds ``value``."""
        with self.adapter.resumed(self.layer, value, self._tuple):
            yield


def far_values(h: torch.Tensor) -> torch.Tensor:
    """An edit that leaves no value as it was, several times as large and different from place to place."""
    ramp = torch.linspace(-1, 1, h.shape[-1], device=h.device).to(h.dtype)
    return 1.5 * h.flip(-1) + (1 + 4 * h.abs().amax()) * ramp
