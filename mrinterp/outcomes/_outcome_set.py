"""Several outcomes of the same runs: computed, sampled, generated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mrinterp.adapters._adapter import Adapter, Edit
from mrinterp.adapters._model_inputs import ModelInputs
from mrinterp.core.errors import InputError
from mrinterp.outcomes._generated_text import GeneratedOutcome
from mrinterp.outcomes._outcome import Outcome, Sampling, check_is_outcome, outcome_values

__all__ = ["OutcomeSet"]

Array = NDArray[np.float64]


class OutcomeSet:
    """Several outcomes of the same runs.

    Parameters
    ----------
    parts : sequence of Outcome or GeneratedOutcome
        One with a method ``take`` is tied to the inputs: ``take(rows)`` gives it for the rows of each block.
    sampling : sequence of Sampling or None, optional
        Per part, how it is sampled.

    Raises
    ------
    InputError
        For no outcome, two of one name, or something that is not an outcome (a plain function).

    Examples
    --------
    >>> import torch
    >>> from mrinterp.outcomes import Logit, LogitDifference, OutcomeSet
    >>> both = OutcomeSet([Logit(0), LogitDifference(0, 1)])
    >>> both.names, both(torch.tensor([[3.0, 1.0]]), torch.ones(1, 1)).tolist()
    (('logit', 'logit_difference'), [[3.0, 2.0]])
    """

    def __init__(
        self, parts: Sequence[Outcome | GeneratedOutcome], sampling: Sequence[Sampling | None] | None = None
    ) -> None:
        self.parts = tuple(parts)
        for part in self.parts:
            check_is_outcome(part)
        self.sampling = tuple(sampling) if sampling is not None else (None,) * len(self.parts)
        self.names = tuple(name for part in self.parts for name in part.names)
        if not self.names or len(set(self.names)) < len(self.names):
            raise InputError(
                "outcomes", f"names {self.names}", "Give at least one outcome, and no name twice"
            )

    def __repr__(self) -> str:
        return f"OutcomeSet({', '.join(self.names)})"

    @property
    def sampled(self) -> bool:
        """Whether some outcome is drawn, so that two runs of one input differ."""
        return self.generated or any(s is not None for s in self.sampling)

    @property
    def sampled_names(self) -> tuple[str, ...]:
        """Outcomes that are drawn, by name."""
        drawn = zip(self.parts, self.sampling, strict=True)
        return tuple(n for p, s in drawn if s is not None or isinstance(p, GeneratedOutcome) for n in p.names)

    @property
    def computed(self) -> OutcomeSet:
        """The outcomes that are not drawn, for which gradients exist."""
        drawn = zip(self.parts, self.sampling, strict=True)
        return OutcomeSet([p for p, s in drawn if s is None and not isinstance(p, GeneratedOutcome)])

    @property
    def flat_at_clean_names(self) -> tuple[str, ...]:
        """Outcomes with their minimum or maximum at the clean run (``flat_at_clean = True``): they have no slope there."""
        return tuple(n for p in self.parts if getattr(p, "flat_at_clean", False) for n in p.names)

    def redrawn(self, step: int) -> OutcomeSet:
        """The same outcomes, sampled ones with noise of their own: seeds moved by ``step``."""
        moved = [None if s is None else replace(s, seed=s.seed + step) for s in self.sampling]
        return OutcomeSet(self.parts, moved)

    @property
    def generated(self) -> bool:
        """Whether some outcome is a judgement of generated text, which needs runs of its own."""
        return any(isinstance(part, GeneratedOutcome) for part in self.parts)

    @property
    def new_tokens(self) -> int:
        """Tokens that are generated beyond an input."""
        return max((p.new_tokens for p in self.parts if isinstance(p, GeneratedOutcome)), default=0)

    def take(self, rows: Any) -> OutcomeSet:
        """The same outcomes of some of the inputs."""
        if not any(hasattr(part, "take") for part in self.parts):
            return self
        index = torch.from_numpy(np.array(rows, dtype=np.int64))
        taken = [part.take(index) if hasattr(part, "take") else part for part in self.parts]
        return OutcomeSet(taken, self.sampling)

    def __call__(self, output: Any, mask: torch.Tensor) -> torch.Tensor:
        """Outcomes (runs, O) as computed: no draws.

        Raises
        ------
        InputError
            Where one is generated: it is not a function of one forward pass.
        """
        for part in self.parts:
            if isinstance(part, GeneratedOutcome):
                raise InputError(
                    f"outcome {part.name!r}",
                    "is generated, not computed from one forward pass",
                    "Use values()",
                )
        return torch.cat([_columns(part(output, mask)) for part in self.parts], dim=1)  # type: ignore[operator]

    def differentiable(self, output: Any, mask: torch.Tensor) -> torch.Tensor:
        """Outcomes (runs, O) as computed, with zeros for those that no gradient passes through."""
        columns = []
        for part in self.parts:
            if isinstance(part, GeneratedOutcome):
                columns.append(torch.zeros(len(mask), 1, dtype=torch.float64, device=mask.device))
            else:
                columns.append(torch.as_tensor(part(output, mask)).double())
        return torch.cat(columns, dim=1)

    def values(
        self,
        adapter: Adapter,
        inputs: ModelInputs,
        output: Any,
        write: Mapping[str, Edit],
        draw: tuple[int, NDArray[np.int_]] | None,
    ) -> Array:
        """Outcomes (runs, O) of a block, checked; sampled ones are drawn where ``draw`` is given.

        Parameters
        ----------
        write : mapping of site to edit
            What was edited: generated texts are generated under the same edits.
        draw : (int, ndarray (N,)), optional
            Stream and run numbers that key the draws.

        Raises
        ------
        InputError
            For an outcome that is not one finite number per run; names it and the run.
        """
        columns = []
        for part, sampling in zip(self.parts, self.sampling, strict=True):
            if isinstance(part, GeneratedOutcome):
                stream, runs = (0, np.arange(len(inputs))) if draw is None else draw
                columns.append(part.draw(adapter, inputs.tensors, runs, stream, write))
                continue
            value = outcome_values(part, output, inputs.mask_or_ones)
            columns.append(value if sampling is None or draw is None else sampling.draw(value, *draw))
        return np.concatenate(columns, axis=1)

    def without_gradient(self, output: Any, mask: torch.Tensor) -> dict[str, str]:
        """Outcomes that no gradient passes through, by name, and why."""
        found: dict[str, str] = {}
        for part, sampling in zip(self.parts, self.sampling, strict=True):
            if isinstance(part, GeneratedOutcome):
                reason = "it is a judgement of generated text"
            elif sampling is not None:
                reason = "it is sampled: there is no backward pass through a draw"
            elif not torch.as_tensor(part(output, mask)).requires_grad:
                reason = "its values do not depend on the network's output by differentiable steps"
            else:
                continue
            found |= dict.fromkeys(part.names, reason)
        return found


def _columns(values: Any) -> torch.Tensor:
    """Values (runs, O) in float64; one number per run may come without the second axis."""
    found = torch.as_tensor(values).double()
    return found.unsqueeze(-1) if found.ndim == 1 else found
