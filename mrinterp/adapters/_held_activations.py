"""What the sites of one pass held: counted call by call, and kept as it was even where it is overwritten later."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from mrinterp.adapters._site_address import INPUT, call_number, module_path
from mrinterp.core.errors import InputError

__all__ = ["HeldActivations", "OverwrittenSites", "held_pass", "same_bits"]


class OverwrittenSites:
    """Which sites of a network hold a tensor that is changed in place after the site (a residual added to it).

    Each site is found out once: its tensor is copied on the first pass and compared at the end. Sites that came out
    unchanged are then watched by their tensors' version counters, which costs nothing.
    """

    def __init__(self) -> None:
        self._known: dict[str, bool] = {}

    def found(self, site: str) -> bool | None:
        """Whether a site is overwritten later; None where that is not yet known."""
        return self._known.get(site)

    def note(self, site: str, overwritten: bool) -> None:
        """Remember a finding; once overwritten is always overwritten."""
        self._known[site] = overwritten or self._known.get(site, False)


class HeldActivations:
    """Activations of one pass by site, put in by hooks.

    Parameters
    ----------
    read : collection of str
        Sites whose activation is wanted afterwards.
    sites : OverwrittenSites
        Of the same network.
    """

    def __init__(self, read: Collection[str], sites: OverwrittenSites) -> None:
        self._read, self._sites = set(read), sites
        self._calls: dict[str, int] = {}
        self._held: dict[str, torch.Tensor] = {}
        self._passed_on: dict[str, torch.Tensor] = {}
        self._versions: dict[str, int] = {}

    def is_meant(self, site: str) -> bool:
        """Count a call of the site's module; whether it is the one that the address means."""
        self._calls[site] = self._calls.get(site, 0) + 1
        return self._calls[site] == (call_number(site) or 1)

    def keep(self, site: str, value: torch.Tensor, edited: bool) -> torch.Tensor:
        """Keep what a site holds; what the network is to go on with (the same numbers).

        An edit may return a tensor that its caller holds: where the network changes it in place, it gets a copy.
        """
        if site not in self._read:
            # Neither may be changed in place by the network: what was made in inference mode, and a gradient's leaf.
            return value.clone() if value.is_inference() or (value.is_leaf and value.requires_grad) else value
        found = self._sites.found(site)
        # With gradients, what is read stays the tensor that the network goes on with, unless that is overwritten.
        if value.is_inference() or found or (found is None and not value.requires_grad):
            copy = value.clone()
            self._held[site], passed_on = (value, copy) if edited else (copy, value)
            self._passed_on[site] = passed_on
            return passed_on
        self._held[site], self._versions[site] = value, value._version
        return value

    def overwritten(self) -> list[str]:
        """Sites that were read as they were after a later change, once the pass is over: read them again."""
        for site, passed_on in self._passed_on.items():
            self._sites.note(site, not same_bits(passed_on, self._held[site]))
        late = [site for site, version in self._versions.items() if self._held[site]._version != version]
        for site in late:
            self._sites.note(site, True)
        return late

    def activations(
        self, wanted: Sequence[str], read: Sequence[str], by_call: bool = False
    ) -> dict[str, torch.Tensor]:
        """What was read, by site, in the given order; ``by_call`` where sites can be addressed call by call.

        Raises
        ------
        InputError
            For a site that the pass did not run, or ran several times where the address does not say which is meant.
        """
        for site in wanted:
            count = self._calls.get(site, 0)
            if count == 0:
                raise InputError(
                    f"site {site!r}",
                    "the forward pass does not run it",
                    "Choose a site on the way from input to output",
                )
            number = call_number(site)
            if number is None and count > 1:
                path, at = module_path(site), INPUT if site.endswith(INPUT) else ""
                fix = f"Name the one that is meant: {path + '@1' + at!r} to {f'{path}@{count}{at}'!r}"
                raise InputError(
                    f"site {site!r}",
                    f"the forward pass runs it {count} times (a layer that is shared, or a loop)",
                    fix
                    if by_call
                    else "Use TorchAdapter, where each run has an address of its own (@1, @2, ...)",
                )
            if number is not None and not 1 <= number <= count:
                raise InputError(
                    f"site {site!r}",
                    f"the forward pass runs it {count} time{'s' * (count > 1)}",
                    f"Calls count from @1 to @{count}",
                )
        return {site: self._held[site] for site in read}


def held_pass(
    forward: Callable[[HeldActivations], Any],
    read: Collection[str],
    sites: OverwrittenSites,
    inference_only: bool = False,
) -> tuple[Any, HeldActivations]:
    """One pass and what its sites held; run again where a site is found to be overwritten for the first time.

    Parameters
    ----------
    forward : callable
        Runs the network with hooks that put into what it is given.
    inference_only : bool
        Whether the network's own tensors were made in inference mode, and can be changed in that mode only.
    """
    with _versions_counted(inference_only):
        held = HeldActivations(read, sites)
        output = forward(held)
        if held.overwritten():
            held = HeldActivations(read, sites)
            output = forward(held)
            held.overwritten()
    return output, held


@contextmanager
def _versions_counted(inference_only: bool) -> Iterator[None]:
    """Without gradients as in inference mode, but with tensors that count how often they are changed in place."""
    if torch.is_inference_mode_enabled() and not inference_only:
        with torch.inference_mode(False), torch.no_grad():
            yield
    else:
        yield


def same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    """Whether two tensors are alike bit for bit, not-a-number included."""
    return torch.equal(a, b) or (a.is_floating_point() and torch.allclose(a, b, 0.0, 0.0, equal_nan=True))
