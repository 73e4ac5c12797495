"""Two sites of a network as one: what is read at the first, and what is written at the second."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from mrinterp.adapters._adapter import Adapter, Edit, Run
from mrinterp.core.errors import InputError

__all__ = ["PairedSites"]


class PairedSites:
    """An adapter with one more site, ``site``: the activation of ``reads`` and that of ``writes`` side by side.

    Its activation is (..., width in + 2 width out): what ``reads`` holds, what ``writes`` holds, and by how much that was
    edited in this run (zero without edits). Of what an edit returns, the second part is written at ``writes``; the
    first is not written, since ``reads`` has been run by then. Everything else is the inner adapter's.

    Parameters
    ----------
    inner : Adapter
    reads, writes : str
        Sites of it; ``reads`` is reached before ``writes``.
    width_in, width_out : int
        Their widths.
    """

    def __init__(self, inner: Adapter, reads: str, writes: str, width_in: int, width_out: int) -> None:
        self.inner, self.reads, self.writes = inner, reads, writes
        self.width_in, self.width_out = width_in, width_out
        self.site = f"{reads} -> {writes}"

    @classmethod
    def of(cls, inner: Adapter, reads: str, writes: str, inputs: Mapping[str, torch.Tensor]) -> PairedSites:
        """The pair of two sites of a network, whose widths are those on these inputs.

        Raises
        ------
        InputError
            For unknown sites, one site twice, or sites without one vector per token (or per run) each.
        """
        for site in (reads, writes):
            inner.check(site)
        if reads == writes:
            fix = 'Give the site that it writes, or use kind "sae" (Latents)'
            raise InputError("reads", f"{reads!r} is also where it writes", fix)
        with torch.inference_mode():
            held = inner.run(inputs, read=[reads, writes]).activations
        one, other = held[reads], held[writes]
        if one.ndim not in (2, 3) or one.shape[:-1] != other.shape[:-1]:
            raise InputError(
                f"sites {reads!r} and {writes!r}",
                f"activations of shape {tuple(one.shape)} and {tuple(other.shape)}",
                "Choose two sites with one vector per token each",
            )
        return cls(inner, reads, writes, one.shape[-1], other.shape[-1])

    @property
    def module(self) -> Any:
        """The network behind the adapter."""
        return self.inner.module

    @property
    def hash(self) -> str:
        """The inner adapter's."""
        return self.inner.hash

    def sites(self) -> list[str]:
        """The inner adapter's sites, and the pair."""
        return [*self.inner.sites(), self.site]

    def check(self, site: str) -> None:
        """Refuse a site that does not exist."""
        if site != self.site:
            self.inner.check(site)

    def read_part(self, h: torch.Tensor) -> torch.Tensor:
        """What ``reads`` holds, of the pair's activation."""
        return h[..., : self.width_in]

    def written_part(self, h: torch.Tensor) -> torch.Tensor:
        """What ``writes`` holds, of the pair's activation."""
        return h[..., self.width_in : self.width_in + self.width_out]

    def padded(self, step: torch.Tensor) -> torch.Tensor:
        """A step (..., width out) of ``writes`` as a step of the pair."""
        return torch.cat([step.new_zeros(*step.shape[:-1], self.width_in), step, step], dim=-1)

    def run(
        self,
        inputs: Mapping[str, torch.Tensor],
        read: Sequence[str] = (),
        write: Mapping[str, Edit] | None = None,
    ) -> Run:
        """Run the network once: see `Adapter.run`."""
        others = dict(write or {})
        edit = others.pop(self.site, None)
        if edit is None and self.site not in read:
            return self.inner.run(inputs, read, others)
        run = _PairedRun(self, edit, others.get(self.reads), others.get(self.writes))
        others |= {self.reads: run.see, self.writes: run.write}
        wanted = [*(site for site in read if site != self.site)]
        found = self.inner.run(inputs, read=wanted, write=others)
        held = {s: run.joined() if s == self.site else found.activations[s] for s in read}
        return Run(found.output, held)


class _PairedRun:
    """What one run does at the two sites: other edits of either go before the pair's own."""

    def __init__(
        self, pair: PairedSites, edit: Edit | None, at_reads: Edit | None, at_writes: Edit | None
    ) -> None:
        self.pair, self.edit, self.at_reads, self.at_writes = pair, edit, at_reads, at_writes
        self.inside: torch.Tensor | None = None
        self.parts: tuple[torch.Tensor, ...] = ()

    def see(self, h: torch.Tensor) -> torch.Tensor:
        self.inside = h if self.at_reads is None else self.at_reads(h)
        return self.inside

    def write(self, h: torch.Tensor) -> torch.Tensor:
        if self.inside is None:
            raise InputError(
                f"reads {self.pair.reads!r}",
                f"is not reached before {self.pair.writes!r}",
                "Give the site that the transcoder reads, upstream of what it writes",
            )
        inside, self.inside = self.inside, None
        held = h if self.at_writes is None else self.at_writes(h)
        if self.edit is not None:
            edited = self.edit(torch.cat([inside.to(held.dtype), held, held - h], dim=-1))
            held = self.pair.written_part(edited).to(h.dtype)
        self.parts = (inside.to(held.dtype), held, held - h)
        return held

    def joined(self) -> torch.Tensor:
        """The pair's activation, as the last pass left it."""
        return torch.cat(self.parts, dim=-1)
