"""A permanent knockout: a network whose weights were edited, checked against the same ablation at run time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_model, save_model

from mrinterp.adapters._adapter import Edit
from mrinterp.adapters._duplicate import duplicate
from mrinterp.adapters._torch_module import TorchAdapter
from mrinterp.core.errors import InputError
from mrinterp.core.storage import (
    FORMAT_VERSION,
    check_format,
    check_sums,
    read_json,
    whole_folder,
    write_json,
)

__all__ = [
    "WeightEdit",
    "checked",
    "input_axis",
    "is_linear",
    "output_axis",
    "replace_parameter",
]

ROUNDINGS = 256
"""Outputs may differ by this many roundings of the largest one: sums are taken in another order, layer after layer."""

LARGEST = 0.05
"""And by no more than this share of it: half-precision weights are rounded coarsely, but not that coarsely."""

HEADER = "weight_edit.json"


@dataclass(frozen=True, eq=False)
class WeightEdit:
    """An edited copy of a network.

    Parameters
    ----------
    module : torch.nn.Module
        The copy; the network that was given is untouched.
    label : str
        What was done, in words.
    changed : tuple of str
        Parameters whose values differ.
    sites : tuple of str
        Where the run-time ablation that it equals is done, at every token.
    difference : float
        Largest difference of any output between the two, on the example inputs.
    scale : float
        Largest output there, in the same units.

    Notes
    -----
    ``difference`` is measured on the example only. It is not valid for inputs that take another way through the
    network (another length, another branch).

    Examples
    --------
    >>> from mrinterp.edits import WeightEdit, cut_units
    >>> import torch
    >>> network = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1)).eval()
    >>> example = {"input": torch.randn(4, 2)}
    >>> edit = cut_units(network, "1", [0], example)
    >>> isinstance(edit, WeightEdit), edit.changed
    (True, ('2.weight',))
    """

    module: torch.nn.Module
    label: str
    changed: tuple[str, ...]
    sites: tuple[str, ...]
    difference: float
    scale: float

    def __str__(self) -> str:
        return (
            f"{self.label}: {len(self.changed)} parameter{'s' * (len(self.changed) != 1)} changed; outputs differ from the run-time ablation by"
            f" {self.difference:.2g} at most, where the largest output is {self.scale:.3g}."
        )

    def save(self, folder: Path) -> None:
        """Write the network as a model of its own, whole or not at all.

        A Hugging Face network is written by its ``save_pretrained`` (open it with `load_network`), any other
        as ``model.safetensors`` (open it with `reopen`); a note of the edit lies beside it. A tokenizer is not
        part of a network: ``tokenizer.save_pretrained`` it into the folder for studies of text.
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
        check_sums(folder)
        header = read_json(folder / HEADER)
        check_format(str(folder), header, "weight edit")
        module = duplicate(like)
        try:
            # An edited parameter is no longer tied to another one, so it needs memory of its own before loading.
            for name in header["changed"]:
                path, _, leaf = name.rpartition(".")
                owner = module.get_submodule(path)
                replace_parameter(owner, leaf, owner.get_parameter(leaf).detach().clone())
            load_model(module, str(folder / "model.safetensors"))
        except (AttributeError, RuntimeError, FileNotFoundError) as e:
            first = str(e).strip().splitlines()[0]
            raise InputError(str(folder), first, "Give a network of the same architecture") from None
        return module


def replace_parameter(owner: torch.nn.Module, name: str, value: torch.Tensor) -> None:
    """Give a module a parameter of its own: one that it shared with others stays theirs."""
    old = getattr(owner, name)
    new = torch.nn.Parameter(value.to(old.dtype).to(old.device), requires_grad=old.requires_grad)
    setattr(owner, name, new)


def is_linear(module: torch.nn.Module) -> bool:
    """Whether a module is a `torch.nn.Linear` or a ``Conv1D`` (GPT-2's linear layer, weights turned round)."""
    return isinstance(module, torch.nn.Linear) or type(module).__name__ == "Conv1D"


def input_axis(layer: torch.nn.Module) -> int:
    """Axis of a linear layer's weight that runs over what it reads."""
    return 1 if isinstance(layer, torch.nn.Linear) else 0


def output_axis(layer: torch.nn.Module) -> int:
    """Axis of a linear layer's weight that runs over what it writes."""
    return 1 - input_axis(layer)


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
    if not any(bool(value.isfinite().any()) for value in wanted.values()):
        raise InputError(
            label,
            "the network's output holds no finite number that could be compared with the run-time ablation",
            "Wrap the network so that it returns a tensor, a tuple or a mapping of tensors, and check the example",
        )
    difference, scale, eps = _compared(wanted, got)
    # 1e-30: outputs that are all zero allow no difference at all.
    if not difference <= min(ROUNDINGS * eps, LARGEST) * max(scale, 1e-30):
        raise InputError(
            label,
            f"outputs differ from the run-time ablation by {difference:.3g} (largest output {scale:.3g})",
            "Something else reads or writes what was ablated: name every module that does, or ablate at run time",
        )
    _tell_untied(edited)
    before, after = dict(original.state_dict()), edited.state_dict()
    changed = tuple(n for n, v in after.items() if n not in before or not torch.equal(v, before[n]))
    return WeightEdit(edited, label, changed, tuple(ablation), difference, scale)


def _tell_untied(edited: torch.nn.Module) -> None:
    """Let the configuration say so where an edit untied the embeddings: loading would tie them again. Where they
    are still tied it must not say so, because then only one of the two is saved."""
    config = getattr(edited, "config", None)
    if not getattr(config, "tie_word_embeddings", False):
        return
    layers: list[Any] = []
    for name in ("get_input_embeddings", "get_output_embeddings"):
        try:
            layers.append(getattr(edited, name)())
        except (AttributeError, NotImplementedError):
            return
    weights = [getattr(layer, "weight", None) for layer in layers]
    if None not in layers and weights[0] is not weights[1]:
        config.tie_word_embeddings = False  # type: ignore[union-attr]


def _compared(
    wanted: Mapping[str, torch.Tensor], got: Mapping[str, torch.Tensor]
) -> tuple[float, float, float]:
    """Largest difference (nan where one alone is not a number), largest finite output, coarsest rounding."""
    differences, scales = [0.0], [0.0]
    for name, value in wanted.items():
        a, b = value.double().flatten(), got[name].double().flatten()
        same = (a == b) | (a.isnan() & b.isnan())  # masked logits are infinite in both
        differences += (a - b)[~same].abs().max(0, keepdim=True).values.tolist() if not same.all() else []
        scales += a[a.isfinite()].abs().max(0, keepdim=True).values.tolist() if a.isfinite().any() else []
    eps = max(float(torch.finfo(value.dtype).eps) for value in wanted.values())
    return float(np.max(differences)), float(np.max(scales)), eps


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
    elif is_dataclass(output) and not isinstance(output, type):
        for item in fields(output):
            yield from _tensors(getattr(output, item.name), f"{name}.{item.name}")
