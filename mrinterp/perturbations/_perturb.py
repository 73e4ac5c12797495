"""Randomized perturbations of inputs that are arrays: images, rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mrinterp.core.errors import InputError

__all__ = ["Perturbation", "PerturbedInputs", "perturb"]

Array = NDArray[np.float64]


class Perturbation(Protocol):
    """One kind of perturbation: its instruments, and how their doses change an input."""

    @property
    def kind(self) -> str:
        """Name of the kind; different in every perturbation of a design."""
        ...

    def instruments(self, shape: tuple[int, ...]) -> list[str]:
        """Names of the J instruments on inputs of this shape; refuses a shape it does not fit."""
        ...

    def draw(self, rng: np.random.Generator, inputs: Array, clean: NDArray[np.int_]) -> tuple[Array, Array]:
        """Perturbed copies of ``inputs[clean]`` (n, ...), and the dose of every instrument (n, J)."""
        ...


@dataclass(frozen=True, eq=False)
class PerturbedInputs:
    """Inputs as they are to be run, and what was done to them.

    Parameters
    ----------
    inputs : ndarray (N, ...)
    doses : ndarray (N, J)
    instruments : tuple of str
    prompt : ndarray (N,) of int
        Row of the input that a run was made from.
    family : ndarray (N,)
        That input's family, the cluster of all errors.
    kind : ndarray (N,) of str
        ``clean`` or the kind of perturbation.
    placebo : tuple of str
        Instruments that edit nothing.
    """

    inputs: Array
    doses: Array
    instruments: tuple[str, ...]
    prompt: NDArray[np.int_]
    family: NDArray[Any]
    kind: NDArray[Any]
    placebo: tuple[str, ...] = ()

    def rows(self, *kinds: str) -> NDArray[np.int_]:
        """The clean runs and the runs of some kinds.

        Raises
        ------
        InputError
            For a kind that was not run.
        """
        for kind in kinds:
            if kind not in self.kind:
                raise InputError("kind", repr(kind), f"Kinds: {', '.join(sorted(set(self.kind)))}")
        return np.flatnonzero(np.isin(self.kind, [*kinds, "clean"]))

    def columns(self, rows: NDArray[np.int_] | None = None) -> dict[str, Any]:
        """What `mrinterp.from_arrays` needs beside features and outcomes.

        Instruments that no chosen run has a dose of are left out.
        """
        chosen = np.arange(len(self.kind)) if rows is None else rows
        used = np.flatnonzero((self.doses[chosen] != 0).any(axis=0))
        names = [self.instruments[i] for i in used]
        return {
            "doses": self.doses[np.ix_(chosen, used)],
            "instruments": names,
            "prompt": self.prompt[chosen],
            "family": self.family[chosen],
            "kind": self.kind[chosen],
            "clean": self.kind[chosen] == "clean",
            "placebo": [p for p in self.placebo if p in names],
        }


def perturb(
    inputs: ArrayLike,
    perturbations: Sequence[Perturbation],
    runs_per_input: int,
    *,
    family: ArrayLike | None = None,
    placebos: int = 1,
    seed: int = 0,
) -> PerturbedInputs:
    """Run every input once clean, and ``runs_per_input`` times under each kind of perturbation.

    Parameters
    ----------
    inputs : array (n, ...)
    perturbations : sequence
        One per kind; at least two kinds, so that one can be held out for replication.
    family : array (n,), optional
        Family of every input (a patient, a scene); default every input its own.
    placebos : int
        Instruments that get a dose of 0 or 1 in every perturbed run and edit nothing.
    seed : int
        Kinds draw from streams of their own: adding one at the end changes no other.

    Raises
    ------
    InputError
        For inputs that are not finite, families that do not match, two perturbations of one kind, or
        inputs whose shape a perturbation does not fit.
    """
    x = np.asarray(inputs, dtype=float)
    families = np.arange(len(x)) if family is None else np.asarray(family)
    _check(x, families, perturbations, runs_per_input)
    clean = np.repeat(np.arange(len(x)), runs_per_input)
    parts, names = [x], [p.instruments(x.shape[1:]) for p in perturbations]
    doses, start = np.zeros((len(x) + len(clean) * len(perturbations), sum(map(len, names)) + placebos)), 0
    for i, perturbation in enumerate(perturbations):
        made, dose = perturbation.draw(np.random.default_rng([seed, i]), x, clean)
        rows = slice(len(x) + i * len(clean), len(x) + (i + 1) * len(clean))
        doses[rows, start : start + len(names[i])] = dose
        start += len(names[i])
        parts.append(made)
    if placebos:
        size = (len(doses) - len(x), placebos)
        doses[len(x) :, start:] = np.random.default_rng([seed, len(perturbations), 1]).integers(0, 2, size)
    prompt = np.concatenate([np.arange(len(x)), np.tile(clean, len(perturbations))])
    kind = np.repeat(
        ["clean", *(p.kind for p in perturbations)], [len(x)] + [len(clean)] * len(perturbations)
    )
    dummy = tuple(f"placebo:{i}" for i in range(placebos))
    instruments = (
        *(f"{p.kind}:{n}" for p, group in zip(perturbations, names, strict=True) for n in group),
        *dummy,
    )
    return PerturbedInputs(
        np.concatenate(parts), doses, instruments, prompt, families[prompt], kind.astype(object), dummy
    )


def _check(x: Array, families: NDArray[Any], perturbations: Sequence[Perturbation], runs: int) -> None:
    if x.ndim < 2 or not len(x):
        raise InputError("inputs", f"shape {x.shape}", "Give one input per row")
    if not np.isfinite(x).all():
        row = int(np.argwhere(~np.isfinite(x))[0, 0])
        raise InputError(
            f"inputs, row {row}", "a value that is not finite", "Fill it in or leave the row out"
        )
    if families.shape != (len(x),):
        raise InputError(
            "family", f"shape {families.shape} for {len(x)} inputs", "Give every input one family"
        )
    if runs < 1:
        raise InputError("runs_per_input", str(runs), "Give at least one")
    kinds = [p.kind for p in perturbations]
    if not kinds or len(set(kinds)) < len(kinds) or {"clean", "placebo"} & set(kinds):
        raise InputError(
            "perturbations",
            f"kinds {kinds}",
            "Give at least one, each under a kind of its own (not clean or placebo)",
        )
