"""A permanent knockout: a network whose weights were edited, checked against the same ablation at run time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model

from mrinterp.core.errors import InputError
from mrinterp.core.storage import FORMAT_VERSION, check_format, read_json, whole_folder, write_json
from mrinterp.models.adapter import Edit
from mrinterp.models.torch_module import TorchAdapter

__all__ = ["WeightEdit", "checked", "replace_parameter"]

ROUNDINGS = 256
"""Outputs may differ by this many roundings of the largest one: sums are taken in another order."""

HEADER = "weight_edit.json"


@dataclass(frozen=True, eq=False)
class WeightEdit:
    """An edited copy of a network.

    Parameters
    ----------
    module : torch.nn.Module
        The copy; the network that was given is untouched.
    label : str
    changed : tuple of str
        Parameters whose values differ.
    sites : tuple of str
        Where the run-time ablation that it equals is done, at every token.
    difference : float
        Largest difference of any output between the two, on the example inputs.
    scale : float
        Largest output there, in the same units.
    """

    module: torch.nn.Module
    label: str
    changed: tuple[str, ...]
    sites: tuple[str, ...]
    difference: float
    scale: float

    def __str__(self) -> str:
        return (
            f"{self.label}: {len(self.changed)} parameters changed; outputs differ from the run-time ablation by"
            f" {self.difference:.2g} at most, where the largest output is {self.scale:.3g}."
        )

    def save(self, folder: Path) -> None:
        """Write the network as a model of its own, whole or not at all.

        A Hugging Face network is written by its ``save_pretrained`` (open it with `load_network`), any other
        as ``model.safetensors`` (open it with `reopen`); a note of the edit lies beside it.
        """
        with whole_folder(Path(folder)) as partial:
            save = getattr(self.module, "save_pretrained", None)
            if save is not None:
                save(partial)
            else:
                save_model(self.module, str(partial / "model.safetensors"))
            header = {"kind": "weight edit", "format_version": FORMAT_VERSION, "label": self.label}
            note = {"changed": self.changed, "sites": self.sites, "difference": self.difference}
            write_json(partial / HEADER, {**header, **note})

    @staticmethod
    def reopen(folder: Path, like: torch.nn.Module) -> torch.nn.Module:
        """A saved network that is not a Hugging Face one: a copy of ``like`` with the saved weights.

        Raises
        ------
        InputError
            For a folder without an edited network, or weights that ``like`` has no place for.
        """
        folder = Path(folder)
        check_format(str(folder), read_json(folder / HEADER), "weight edit")
        module = duplicate(like)
        try:
            load_model(module, str(folder / "model.safetensors"))
        except (RuntimeError, FileNotFoundError) as e:
            first = str(e).strip().splitlines()[0]
            raise InputError(str(folder), first, "Give a network of the same architecture") from None
        return module


def duplicate(module: torch.nn.Module) -> torch.nn.Module:
    """A copy that shares no memory, with parameters tied as they were."""
    import copy

    return copy.deepcopy(module)


def replace_parameter(owner: torch.nn.Module, name: str, value: torch.Tensor) -> None:
    """Give a module a parameter of its own: one that it shared with others stays theirs."""
    old = getattr(owner, name)
    new = torch.nn.Parameter(value.to(old.dtype).to(old.device), requires_grad=old.requires_grad)
    setattr(owner, name, new)


def checked(
    original: torch.nn.Module,
    edited: torch.nn.Module,
    ablation: Mapping[str, Edit],
    example: Mapping[str, torch.Tensor],
    label: str,
) -> WeightEdit:
    """The edited network, compared with the run-time ablation of the original.

    Raises
    ------
    InputError
        Where outputs differ by more than rounding: the edit does not do what the ablation does.
    """
    with torch.inference_mode():
        wanted = dict(_tensors(TorchAdapter(original).run(example, write=dict(ablation)).output))
        got = dict(_tensors(TorchAdapter(edited).run(example).output))
    difference = scale = 0.0
    eps = 0.0
    for name, value in wanted.items():
        difference = max(difference, float((value - got[name]).abs().max()))
        scale = max(scale, float(value.abs().max()))
        eps = max(eps, float(torch.finfo(value.dtype).eps))
    if not difference <= ROUNDINGS * eps * max(scale, 1e-30):
        raise InputError(
            label,
            f"outputs differ from the run-time ablation by {difference:.3g} (largest output {scale:.3g})",
            "Something else reads or writes what was ablated: name every module that does, or ablate at run time",
        )
    before, after = dict(original.state_dict()), edited.state_dict()
    changed = tuple(n for n, v in after.items() if n not in before or not torch.equal(v, before[n]))
    return WeightEdit(edited, label, changed, tuple(ablation), difference, scale)


def _tensors(output: Any, name: str = "output") -> Iterator[tuple[str, torch.Tensor]]:
    """Floating-point tensors of an output, by where they stand in it."""
    if isinstance(output, torch.Tensor):
        if output.is_floating_point():
            yield name, output
    elif isinstance(output, Mapping):
        for key, value in output.items():
            yield from _tensors(value, f"{name}.{key}")
    elif isinstance(output, tuple | list):
        for i, value in enumerate(output):
            yield from _tensors(value, f"{name}.{i}")
