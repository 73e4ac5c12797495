"""What goes into a network: keyword tensors of N inputs, with the mask and classes of their tokens."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.core.errors import InputError
from mrinterp.positions import Position, SelectedTokens, checked_mask

__all__ = ["ModelInputs"]


@dataclass(frozen=True, eq=False)
class ModelInputs:
    """N inputs of a network, padded to one length so that results do not depend on the batch.

    Parameters
    ----------
    tensors : mapping of str to tensor (N, ...)
        Keyword arguments of the network.
    mask : tensor (N, tokens), optional
        One on an input's own tokens, zero on padding; None for inputs without a token axis.
    classes : tensor (N, tokens) of int, optional
        Token class of every token, -1 on padding.
    class_names : tuple of str
        Names of the token classes.

    Raises
    ------
    InputError
        For tensors that do not hold the same number of inputs, or a mask that is not 0/1 or marks tokens which the
        network's ``attention_mask`` hides.

    Examples
    --------
    >>> import torch
    >>> from mrinterp.adapters import ModelInputs
    >>> inputs = ModelInputs({"input_ids": torch.tensor([[5, 2, 0], [7, 3, 1]])}, torch.tensor([[1, 1, 0], [1, 1, 1]]))
    >>> len(inputs), inputs.take([1]).tensors["input_ids"].tolist()
    (2, [[7, 3, 1]])
    """

    tensors: Mapping[str, torch.Tensor]
    mask: torch.Tensor | None = None
    classes: torch.Tensor | None = None
    class_names: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        self._check_sizes()
        if self.mask is not None:
            object.__setattr__(self, "mask", _own_tokens(self.mask, self.tensors.get("attention_mask")))

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def take(self, rows: Sequence[int] | NDArray[np.int_]) -> ModelInputs:
        """Some inputs, in the given order."""
        index = torch.from_numpy(np.array(rows, dtype=np.int64))
        taken = self._cut(lambda part: part[index.to(part.device)])
        taken._check_sizes()
        return taken

    @property
    def lengths(self) -> NDArray[np.int_] | None:
        """Tokens (N,) of every input, up to its last own one; None where some tensor is not input by token."""
        if self.mask is None:
            return None
        shape = tuple(self.mask.shape)
        if any(tuple(t.shape[:2]) != shape for t in self.tensors.values()):
            return None
        places = torch.arange(1, shape[1] + 1, device=self.mask.device)
        return np.asarray((self.mask.bool() * places).amax(1).cpu().numpy())

    def first_tokens(self, count: int) -> ModelInputs:
        """The inputs without what follows their first ``count`` tokens, which must be padding."""
        if self.mask is None or count >= self.mask.shape[1]:
            return self
        return self._cut(lambda part: part[:, :count].contiguous())

    def _cut(self, some: Callable[[torch.Tensor], torch.Tensor]) -> ModelInputs:
        """The inputs, every tensor reduced to some of itself; the mask is known to be good."""
        cut = copy.copy(self)
        object.__setattr__(cut, "tensors", {name: some(value) for name, value in self.tensors.items()})
        for name in ("mask", "classes"):
            part = getattr(self, name)
            object.__setattr__(cut, name, None if part is None else some(part))
        return cut

    def _check_sizes(self) -> None:
        parts = {**self.tensors, "mask": self.mask, "classes": self.classes}
        sizes = {name: len(value) for name, value in parts.items() if value is not None}
        if not self.tensors or len(set(sizes.values())) != 1 or not len(self):
            raise InputError(
                "inputs",
                ", ".join(f"{n} of {name}" for name, n in sizes.items()) or "none given",
                "Give every tensor one row per input, at least one input",
            )

    def at(self, position: Position | None) -> SelectedTokens | None:
        """The tokens that a position selects in these inputs; None without a token axis.

        Raises
        ------
        InputError
            For a position on inputs without tokens, or no position on inputs that have them.
        """
        if position is None and self.mask is None:
            return None
        if position is None or self.mask is None:
            found = "none given" if position is None else f"{position} on inputs without a token axis"
            fix = "Give a position where inputs have tokens" if position is None else "Leave the position out"
            raise InputError("position", found, fix)
        return position.at(self.mask, self.classes)

    @property
    def mask_or_ones(self) -> torch.Tensor:
        """The mask (N, tokens), or one column of ones where there is no token axis: what outcomes take."""
        if self.mask is not None:
            return self.mask
        first = next(iter(self.tensors.values()))
        return torch.ones(len(self), 1, dtype=torch.long, device=first.device)


def _own_tokens(mask: torch.Tensor, hidden: torch.Tensor | None) -> torch.Tensor:
    """The mask as whole numbers or truth values (sums in half precision end at 2048), checked."""
    if mask.ndim != 2:
        raise InputError(
            "mask", f"shape {tuple(mask.shape)}", "Give (inputs, tokens), 1 on an input's own tokens"
        )
    checked = checked_mask(mask)
    if hidden is not None and hidden.shape == mask.shape and bool(((hidden == 0) | (hidden == 1)).all()):
        padding = mask.bool().to(hidden.device) & (hidden == 0)
        if bool(padding.any()):
            row, token = padding.nonzero()[0].tolist()
            raise InputError(
                f"mask, input {row}, token {token}",
                "1, where attention_mask is 0: the network does not see that token",
                "Give 1 on an input's own tokens and 0 on padding (some libraries mark padding instead)",
            )
    return checked if checked.dtype in (torch.bool, torch.int64) else checked.long()
