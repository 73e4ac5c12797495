"""A text network with a cut: the site's activations reduced to token mean and class deviations."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.core.errors import InputError
from mrinterp.models.adapter import Edit
from mrinterp.models.outcomes import Outcome, Sampling, check_outcome
from mrinterp.models.text import TokenArrays
from mrinterp.models.torch_module import TorchAdapter

__all__ = ["CutNetwork", "CutReading"]

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CutReading:
    """What one block of runs showed.

    ``mean`` (N, width): token mean of the site. ``deviation`` (N, C * width): per position class
    (1/T) sum over its tokens of (h_t - mean), zero for an absent class. ``outcome`` (N, O).
    """

    mean: Array
    deviation: Array
    outcome: Array


class CutNetwork:
    """A network read and written at one site, its inputs perturbed at the word embedding.

    Parameters
    ----------
    adapter : TorchAdapter
    site, embedding : str
        Dotted paths; the cut is the site's output at every position.
    outcome : Outcome
    sampling : Sampling, optional
        Makes the outcome a sampled one.
    """

    def __init__(
        self,
        adapter: TorchAdapter,
        site: str,
        embedding: str,
        outcome: Outcome,
        sampling: Sampling | None = None,
    ) -> None:
        adapter.submodule(site)
        adapter.submodule(embedding)
        self.adapter, self.site, self.embedding, self.outcome = adapter, site, embedding, outcome
        self.sampling = sampling
        self._tuple = False

    @property
    def embedding_width(self) -> int:
        """Width of the word embedding."""
        weight = getattr(self.adapter.submodule(self.embedding), "weight", None)
        if weight is None:
            raise InputError(
                f"embedding {self.embedding!r}", "has no weight", "Give the path of an embedding module"
            )
        return int(weight.shape[-1])

    def run(
        self,
        tokens: TokenArrays,
        noise: NDArray[np.float32] | None = None,
        shift: Array | None = None,
        draw: tuple[int, NDArray[np.int_]] | None = None,
        start: torch.Tensor | None = None,
    ) -> CutReading:
        """One forward pass of a block.

        Parameters
        ----------
        tokens : TokenArrays
            The block's N inputs.
        noise : ndarray (N, C, width), optional
            Added to the word embedding of every token of each position class.
        shift : ndarray (N, width), optional
            Added to the site at every token.
        draw : (int, ndarray (N,)), optional
            Stream and run numbers that key the draws of a sampled outcome; without it the outcome
            is the computed one.
        start : tensor (N, length, width), optional
            Unedited activation of the site (`activation`): the layers before it are not run again.
        """
        ids, mask = torch.from_numpy(tokens.ids), torch.from_numpy(tokens.mask)
        classes = torch.from_numpy(tokens.classes.astype(np.int64))
        write: dict[str, Edit] = {}
        if noise is not None:
            write[self.embedding] = _add_per_class(torch.from_numpy(np.ascontiguousarray(noise)), classes)
        if shift is not None:
            step = torch.from_numpy(np.ascontiguousarray(shift, dtype=np.float32))[:, None, :]
            write[self.site] = lambda h: h + step.to(h.dtype)
        begin = nullcontext() if start is None else self.adapter.resumed(self.site, start, self._tuple)
        with torch.inference_mode(), begin:
            result = self.adapter.run(
                {"input_ids": ids, "attention_mask": mask}, read=[self.site], write=write
            )
            h = result.activations[self.site]
            if h.ndim != 3 or h.shape[:2] != ids.shape:
                raise InputError(
                    f"site {self.site!r}",
                    f"activation of shape {tuple(h.shape)}",
                    "Choose a site with one vector per token",
                )
            outcome = self.outcome(result.output, mask).double().numpy()
            mean, deviation = _reduce(h.double(), mask, classes, len(tokens.class_names))
        if self.sampling is not None and draw is not None:
            outcome = self.sampling.draw(outcome, *draw)
        check_outcome(outcome, self.outcome.names, len(ids))
        return CutReading(mean.numpy(), deviation.numpy(), outcome)

    def activation(self, tokens: TokenArrays) -> torch.Tensor | None:
        """Activation of the site (N, length, width) to start edited runs from; None where a run that
        starts there does not equal a full run bit for bit."""
        if not self.adapter.can_resume(self.site):
            return None
        inputs = {"input_ids": torch.from_numpy(tokens.ids), "attention_mask": torch.from_numpy(tokens.mask)}
        kept: list[bool] = []
        module = self.adapter.submodule(self.site)
        handle = module.register_forward_hook(lambda _m, _i, out: kept.append(isinstance(out, tuple)))
        try:
            with torch.inference_mode():
                full = self.adapter.run(inputs, read=[self.site])
                value = full.activations[self.site]
                self._tuple = kept[0]
                with self.adapter.resumed(self.site, value, self._tuple):
                    again = self.adapter.run(inputs)
                mask = inputs["attention_mask"]
                same = torch.equal(self.outcome(full.output, mask), self.outcome(again.output, mask))
        except (TypeError, AttributeError, IndexError, RuntimeError):
            return None
        finally:
            handle.remove()
        return value if same else None

    def token_moments(self, tokens: TokenArrays) -> tuple[float, Array, Array]:
        """Number, sum (width,) and second moment (width, width) of single-token activations."""
        ids, mask = torch.from_numpy(tokens.ids), torch.from_numpy(tokens.mask)
        with torch.inference_mode():
            h = self.adapter.run({"input_ids": ids, "attention_mask": mask}, read=[self.site]).activations[
                self.site
            ]
            flat = h[mask.bool()].double()
            return float(len(flat)), flat.sum(0).numpy(), (flat.T @ flat).numpy()

    def gradient(self, tokens: TokenArrays) -> Array:
        """Gradient of every outcome by a shift of all tokens of the site, (N, O, width).

        The directional derivative along a feature's write direction is its product with it.
        """
        ids, mask = torch.from_numpy(tokens.ids), torch.from_numpy(tokens.mask)
        box: dict[str, torch.Tensor] = {}

        def open_leaf(h: torch.Tensor) -> torch.Tensor:
            box["h"] = h.detach().requires_grad_(True)
            return box["h"]

        with torch.enable_grad():
            result = self.adapter.run(
                {"input_ids": ids, "attention_mask": mask}, write={self.site: open_leaf}
            )
            y = self.outcome(result.output, mask)
            parts = []
            for o in range(y.shape[1]):
                (g,) = torch.autograd.grad(y[:, o].sum(), box["h"], retain_graph=o + 1 < y.shape[1])
                parts.append((g * mask.unsqueeze(-1).to(g.dtype)).double().sum(1))
        return torch.stack(parts, 1).numpy()


def _add_per_class(noise: torch.Tensor, classes: torch.Tensor) -> Edit:
    def edit(embedded: torch.Tensor) -> torch.Tensor:
        index = classes.clamp(min=0)[:, :, None].expand(-1, -1, noise.shape[-1])
        per_token = torch.gather(noise, 1, index) * (classes >= 0)[:, :, None]
        return embedded + per_token.to(embedded.dtype)

    return edit


def _reduce(h: torch.Tensor, mask: torch.Tensor, classes: torch.Tensor, count: int) -> tuple[Any, Any]:
    weight = mask.to(h.dtype)
    total = weight.sum(1)
    mean = torch.einsum("btd,bt->bd", h, weight) / total[:, None]
    member = torch.nn.functional.one_hot(classes.clamp(min=0), count).to(h.dtype) * weight[:, :, None]
    sums = torch.einsum("btc,btd->bcd", member, h)
    deviation = (sums - member.sum(1)[:, :, None] * mean[:, None, :]) / total[:, None, None]
    return mean, deviation.flatten(1)
