"""Randomized perturbations of inputs that are arrays: tokens, embeddings, images, rows of a table."""

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
    """One kind of perturbation: its instruments, and how their doses change an input.

    What a perturbation of your own has to offer; it need not inherit from anything. One that edits tokens says so by an
    attribute ``whole_numbers = True``: it gets, and gives, whole numbers.

    Examples
    --------
    The brightness of an image, as one instrument:

    >>> import numpy as np
    >>> from mrinterp.perturbations import perturb
    >>> class Brightness:
    ...     kind = "brightness"
    ...     def instruments(self, shape):
    ...         return ["all"]
    ...     def draw(self, rng, inputs, clean):
    ...         dose = rng.normal(size=(len(clean), 1))
    ...         return inputs[clean] + dose[:, :, None], dose
    >>> perturb(np.zeros((5, 2, 2)), [Brightness()], runs_per_input=3, placebos=0).instruments
    ('brightness:all',)
    """

    @property
    def kind(self) -> str:
        """Name of the kind; each perturbation of a design needs a different one."""
        ...

    def instruments(self, shape: tuple[int, ...]) -> list[str]:
        """Names of the J instruments on inputs of this shape; refuses a shape it does not fit."""
        ...

    def draw(
        self, rng: np.random.Generator, inputs: NDArray[Any], clean: NDArray[np.int_]
    ) -> tuple[NDArray[Any], Array]:
        """Perturbed copies of ``inputs[clean]`` (n, ...), and the dose of every instrument (n, J)."""
        ...


@dataclass(frozen=True, eq=False)
class PerturbedInputs:
    """Inputs as they are to be run, and what was done to them; what `perturb` returns.

    Parameters
    ----------
    inputs : ndarray (N, ...)
        Clean inputs first, then the perturbed copies kind by kind.
    doses : ndarray (N, J)
        Dose of every instrument in every run.
    instruments : tuple of str
        Names of the J instruments.
    prompt : ndarray (N,) of int
        Row of the input that a run was made from.
    family : ndarray (N,)
        That input's family, the cluster of all errors.
    kind : ndarray (N,) of str
        ``clean`` or the kind of perturbation.
    placebo : tuple of str
        Instruments that edit nothing.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.perturbations import ColumnNoise, ColumnResampling, perturb
    >>> table = np.random.default_rng(0).normal(size=(10, 2))
    >>> made = perturb(table, [ColumnNoise(), ColumnResampling()], runs_per_input=3)
    >>> len(made.inputs), len(made.rows("noise")), sorted(made.columns())
    (70, 40, ['clean', 'doses', 'family', 'instruments', 'kind', 'placebo', 'prompt'])
    """

    inputs: NDArray[Any]
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
        """Keyword arguments of `mrinterp.from_arrays`, for some rows; features and outcomes are its other ones.

        Instruments whose dose is zero in all chosen runs are left out.
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
        Token numbers (inputs, tokens), embeddings (inputs, tokens, width), images, or rows of a table.
    perturbations : sequence of Perturbation
        One per kind; two kinds or more, where one is to be held out for replication.
    runs_per_input : int
        Perturbed copies of every input under each kind.
    family : array (n,), optional
        Family of every input (a patient, a scene): the cluster of all errors; default, each input is a family.
    placebos : int
        Instruments that get a dose of 0 or 1 in every perturbed run and edit nothing.
    seed : int
        Of all draws. Each kind has its own stream: adding a kind at the end changes no other.

    Returns
    -------
    PerturbedInputs
        n clean inputs, then n * ``runs_per_input`` runs of each kind; of kinds that edit tokens, less the runs of inputs
        that hold nothing which the kind could edit.

    Raises
    ------
    InputError
        For inputs that are not finite, families that do not match, two perturbations of one kind,
        inputs whose shape a perturbation does not fit, tokens that are no whole numbers, edits of tokens together with
        perturbations of other numbers, or a kind that can edit none of the inputs.

    Examples
    --------
    >>> import numpy as np
    >>> from mrinterp.perturbations import ColumnNoise, ColumnResampling, perturb
    >>> table = np.random.default_rng(0).normal(size=(10, 2))
    >>> made = perturb(table, [ColumnNoise(), ColumnResampling()], runs_per_input=3, placebos=1)
    >>> made.inputs.shape, made.instruments
    ((70, 2), ('noise:0', 'noise:1', 'resampling:0', 'resampling:1', 'placebo:0'))
    """
    x = _as_given(inputs, perturbations)
    families = np.arange(len(x)) if family is None else np.asarray(family)
    _check(x, families, perturbations, runs_per_input)
    clean = np.repeat(np.arange(len(x)), runs_per_input)
    parts, names = [x], [p.instruments(x.shape[1:]) for p in perturbations]
    doses, start = np.zeros((len(x) + len(clean) * len(perturbations), sum(map(len, names)) + placebos)), 0
    kept = np.ones(len(doses), dtype=bool)
    for i, perturbation in enumerate(perturbations):
        made, dose = perturbation.draw(np.random.default_rng([seed, i]), x, clean)
        _check_drawn(perturbation, made, dose, (len(clean), *x.shape[1:]), len(names[i]))
        rows = slice(len(x) + i * len(clean), len(x) + (i + 1) * len(clean))
        doses[rows, start : start + len(names[i])] = dose
        start += len(names[i])
        parts.append(made)
        if _edits_tokens(perturbation):
            kept[rows] = (dose != 0).any(axis=1)
            if not kept[rows].any():
                found = "no input holds a token that it could edit"
                raise InputError(f"perturbation {perturbation.kind!r}", found, "Leave it out")
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
    prompt, kind = prompt[kept], kind[kept]
    return PerturbedInputs(
        np.concatenate(parts)[kept],
        doses[kept],
        instruments,
        prompt,
        families[prompt],
        kind.astype(object),
        dummy,
    )


def _edits_tokens(perturbation: Perturbation) -> bool:
    return bool(getattr(perturbation, "whole_numbers", False))


def _as_given(inputs: ArrayLike, perturbations: Sequence[Perturbation]) -> NDArray[Any]:
    """Inputs as whole numbers where tokens are edited, else as floating-point numbers."""
    tokens = [_edits_tokens(p) for p in perturbations]
    if not any(tokens):
        return np.asarray(inputs, dtype=float)
    if not all(tokens):
        found = f"{perturbations[tokens.index(False)].kind!r} together with edits of tokens"
        raise InputError("perturbations", found, "Embed the tokens for it, and perturb the embeddings apart")
    x = np.asarray(inputs)
    if not np.issubdtype(x.dtype, np.integer):
        raise InputError("inputs", f"an array of {x.dtype}", "Give tokens as whole numbers")
    return x


def _check(x: NDArray[Any], families: NDArray[Any], perturbations: Sequence[Perturbation], runs: int) -> None:
    if x.ndim < 2 or not len(x):
        raise InputError("inputs", f"shape {x.shape}", "Give one input per row")
    if not np.isfinite(x).all():
        row = int(np.argwhere(~np.isfinite(x))[0, 0])
        raise InputError(
            f"inputs, row {row}", "a value that is not finite", "Fill it in or leave the row out"
        )
    if families.shape != (len(x),):
        raise InputError("family", f"shape {families.shape} for {len(x)} inputs", "Give one family per input")
    if runs < 1:
        raise InputError("runs_per_input", str(runs), "Give at least one")
    kinds = [p.kind for p in perturbations]
    if not kinds or len(set(kinds)) < len(kinds) or {"clean", "placebo"} & set(kinds):
        raise InputError(
            "perturbations",
            f"kinds {kinds}",
            "Give at least one, and no kind twice (nor the names clean and placebo)",
        )


def _check_drawn(
    perturbation: Perturbation, made: Any, dose: Any, inputs: tuple[int, ...], instruments: int
) -> None:
    """Refuse what a perturbation of one's own gave, where it is not one input and one row of doses a run."""
    for what, value, wanted in (("inputs", made, inputs), ("doses", dose, (inputs[0], instruments))):
        if np.shape(value) != wanted:
            found = f"its draw gave {what} of shape {np.shape(value)} for {inputs[0]} runs"
            raise InputError(f"perturbation {perturbation.kind!r}", found, f"Give an array of shape {wanted}")
