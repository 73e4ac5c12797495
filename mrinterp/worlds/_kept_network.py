"""Networks that are trained from a seed, on one thread, and kept in a folder so that they are trained once."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

__all__ = ["kept_network", "schedule"]


def kept_network(
    name: str,
    seed: int,
    settings: object,
    folder: str | Path | None,
    build: Callable[[], torch.nn.Module],
    train: Callable[[Any], None],
) -> torch.nn.Module:
    """A network built and trained from a seed; from its folder where the same settings were trained before.

    ``settings`` is everything that the weights depend on, as something whose ``repr`` says it; torch's version
    is added. Built and trained with one thread and torch's random numbers seeded;
    returned in evaluation mode, its weights fixed.
    """
    digest = hashlib.sha256(repr((settings, torch.__version__)).encode()).hexdigest()[:12]
    kept = None if folder is None else Path(folder) / f"{name}-{seed}-{digest}.safetensors"
    with torch.random.fork_rng(devices=[]), _one_thread():
        torch.manual_seed(seed)
        network = build()
        if kept is not None and kept.is_file():
            network.load_state_dict(load_file(kept))
        else:
            train(network)
            if kept is not None:
                _keep(network, kept)
    return network.eval().requires_grad_(False)


def _keep(network: torch.nn.Module, kept: Path) -> None:
    """Written beside its place and then renamed: a file that is there is whole."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as making:
        made = Path(making) / kept.name
        save_file({name: value.detach().clone() for name, value in network.state_dict().items()}, made)
        os.replace(made, kept)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Inside the block torch divides no sum by the number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def schedule(optimizer: Any, rate: float, step: int, steps: int, rise: int = 50) -> None:
    """A short rise of the step size, then down to zero."""
    for group in optimizer.param_groups:
        group["lr"] = rate * min(1.0, (step + 1) / rise) * (1 - step / steps)
