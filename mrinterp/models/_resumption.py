"""Begin edited runs at the layer before the first edited site, where that changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from mrinterp.adapters._adapter import Adapter
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.adapters._site_output import first_tensor
from mrinterp.adapters._torch_module import INPUT, TorchAdapter
from mrinterp.outcomes._outcome import Outcome

__all__ = ["Resumption"]


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
        self._tuple = False

    @classmethod
    def before(cls, adapter: Adapter, site: str) -> Resumption | None:
        """The last layer that has run when ``site`` is reached; None where there is none to start from.

        Where the site is itself a layer of the stack, runs begin with its output, which is then edited.
        """
        if not isinstance(adapter, TorchAdapter):
            return None
        if not site.endswith(INPUT) and adapter.can_resume(site):
            return cls(adapter, site)
        parts = site.removesuffix(INPUT).split(".")
        for stop in range(len(parts), 0, -1):
            enclosing = ".".join(parts[:stop])
            if parts[stop - 1].isdigit() and adapter.can_resume(enclosing):
                earlier = int(parts[stop - 1]) - 1
                layer = ".".join([*parts[: stop - 1], str(earlier)])
                return cls(adapter, layer) if earlier >= 0 else None
        return None

    def activation(self, inputs: ModelInputs, outcome: Outcome) -> torch.Tensor | None:
        """The layer's output on these inputs; None where a run begun there is not, bit for bit, a full run."""
        kept: list[bool] = []
        kept_value: list[torch.Tensor] = []

        def look(_module: torch.nn.Module, _inputs: object, output: object) -> None:
            kept.append(isinstance(output, tuple))
            kept_value.append(first_tensor(output, self.layer).clone())

        handle = self.adapter.submodule(self.layer).register_forward_hook(look)
        try:
            with torch.inference_mode():
                full = self.adapter.run(inputs.tensors)
                handle.remove()
                self._tuple = kept[0]
                with self.begin(kept_value[0]):
                    again = self.adapter.run(inputs.tensors)
                mask = inputs.mask_or_ones
                same = torch.equal(
                    torch.as_tensor(outcome(full.output, mask)), torch.as_tensor(outcome(again.output, mask))
                )
        except (TypeError, AttributeError, IndexError, RuntimeError):
            return None
        finally:
            handle.remove()
        return kept_value[0] if same else None

    @contextmanager
    def begin(self, value: torch.Tensor) -> Iterator[None]:
        """Inside the block, runs start after the layer, which holds ``value``."""
        with self.adapter.resumed(self.layer, value, self._tuple):
            yield
