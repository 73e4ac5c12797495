"""What a bench is known by: finished shards of one bench must not be taken for those of another."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

if TYPE_CHECKING:
    from mrinterp.knockouts._bench import Bench

__all__ = ["bench_digest"]


def bench_digest(bench: Bench) -> str:
    """SHA-256 of everything that edited runs depend on: network, inputs, features as read and written, outcomes."""
    h = hashlib.sha256(bench.adapter.hash.encode())
    plain = (bench.site, bench.first, str(bench.rule), bench.block, bench.view.names, bench.outcome.names)
    h.update(repr((*plain, bench.outcome.sampling)).encode())
    masks = {"the mask": bench.inputs.mask, "the classes": bench.inputs.classes}
    for name, tensor in sorted({**bench.inputs.tensors, **masks}.items()):
        if tensor is not None:
            h.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
            h.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    for values in (bench.values, bench.computed, bench.clean, _written(bench)):
        h.update(np.ascontiguousarray(values).tobytes())
    return h.hexdigest()


def _written(bench: Bench) -> NDArray[np.float64]:
    """The first input's activation with every feature moved by one unit: how the view writes."""
    inputs = bench.inputs.take(np.arange(1))
    with torch.inference_mode():
        h = bench.adapter.run(inputs.tensors, read=[bench.site]).activations[bench.site]
        wanted = torch.from_numpy(bench.values[:1].reshape(1, -1) + 1.0).to(h.device)
        return np.asarray(bench.view.write(h, wanted, inputs.at(bench.rule)).double().cpu().numpy())
