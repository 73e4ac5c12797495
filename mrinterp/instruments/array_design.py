"""Designs on inputs that are no texts: token numbers, images, rows of a table."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mrinterp.core.design import SPLITS, Design
from mrinterp.core.errors import InputError
from mrinterp.core.plan import Plan
from mrinterp.instruments.clean_inputs import inputs_with_clean
from mrinterp.instruments.doses import design_settings, drawn_doses, instrument_table, noise_directions
from mrinterp.instruments.input_files import GivenInputs, read_inputs
from mrinterp.instruments.splits import split_families
from mrinterp.instruments.word_edits import (
    EDIT_STREAM,
    NetworkFacts,
    Words,
    edit_instruments,
    edited_runs,
    edits_of,
)
from mrinterp.perturbations._columns import ColumnResampling, column_spread
from mrinterp.perturbations._designs import Saturation
from mrinterp.perturbations._images import Occlusion, pixel_blocks
from mrinterp.perturbations._perturb import Perturbation

__all__ = ["array_design"]

Array = NDArray[Any]
Row = tuple[str, str, str, str, str, bool]

TOKEN_CLASSES = ["first", "last", "rest"]
ARRAY_KINDS = {"images": "occlusion", "table": "resampling"}
"""The kind of perturbation, beside noise, that images and tables have."""

AT_INPUT = "input"
"""What `model.embedding` says where noise goes on pixels or columns themselves."""


def array_design(
    plan: Plan, folder: Path, width: Callable[[], int], facts: Callable[[], NetworkFacts] | None = None
) -> Design:
    """Design of a study on arrays.

    Parameters
    ----------
    plan : Plan
        With ``inputs``.
    folder : Path
        Where the plan's relative paths start.
    width : callable
        Gives the width of the word embedding, for tokens.
    facts : callable, optional
        Opens the network: asked for the shape of the activation that noise is added to, where that is a module.

    Notes
    -----
    Runs of an input: the clean one; perturbed copies, stored in the design's arrays; and noise runs, whose noise is made
    from their doses when they are run, in antithetic pairs. Values that are put in place of others are those of inputs of
    the same split.
    """
    assert plan.inputs is not None
    given = read_inputs(plan.inputs, folder)
    splits = split_families(
        sorted(set(given.family.tolist())), plan.splits, plan.seed, plan.estimation.rests_on != "mr"
    )
    builder = _Builder(plan, given)
    for number, split in enumerate(SPLITS):
        builder.add_split(split, number, set(splits[split]))
    inputs, runs, values = builder.finish()
    noise = _noise(plan, given, values, width, facts)
    rows = edit_instruments([name for _, name, _ in builder.doses])
    placebos = instrument_table([], [], plan)
    table = pd.DataFrame([*rows, *noise.rows], columns=list(placebos))
    instruments = pd.concat([table, placebos], ignore_index=True)
    doses = drawn_doses(runs, instruments, plan)
    column = {name: j for j, name in enumerate(instruments["instrument"])}
    for run, name, dose in builder.doses:
        doses[run, column[name]] = dose
    inputs, runs = inputs_with_clean(plan, inputs, runs)
    settings = design_settings(plan, noise.classes, []) | {
        "inputs": plan.inputs.kind,
        "unperturbed": noise.unperturbed,
    }
    arrays = {"values": values} | noise.arrays | builder.token_arrays(inputs)
    return Design(
        inputs=inputs,
        runs=runs,
        instruments=instruments,
        doses=doses,
        noise_directions=noise.directions,
        settings=settings,
        arrays=arrays,
    )


class _Builder:
    """Collects distinct inputs and runs in canonical order, split by split."""

    def __init__(self, plan: Plan, given: GivenInputs) -> None:
        assert plan.inputs is not None
        self.plan, self.given, self.section = plan, given, plan.inputs
        self.values: list[Array] = []
        self.own: list[Array] = []
        self.inputs: dict[tuple[bytes, bytes, str], int] = {}
        self.rows: list[dict[str, Any]] = []
        self.runs: list[tuple[Any, ...]] = []
        self.doses: list[tuple[int, str, float]] = []
        self.editable = _editable(plan, given) if self.section.kind == "tokens" else None

    def add_split(self, split: str, number: int, families: set[str]) -> None:
        """Clean and noise runs of every input of the split, then its perturbed copies kind by kind."""
        knocked = split == "knockout"
        limit = self.plan.knockouts.prompts_per_family if knocked else self.plan.per_family
        family = self.given.family
        members = [r for r in range(len(self.given)) if family[r] in families]
        counted = pd.Series(family[members]).groupby(family[members]).cumcount().to_numpy()
        # Family by family, as texts are.
        chosen = sorted(
            (r for r, c in zip(members, counted, strict=True) if c < limit), key=lambda r: (family[r], r)
        )
        clean = {}
        for row in chosen:
            clean[row] = len(self.runs)
            own = None if self.given.own is None else self.given.own[row]
            self._run(row, self.given.values[row], own, split, "clean", clean[row])
            for _ in range(0 if knocked else self.plan.instruments.noise.runs_per_prompt):
                self._run(row, self.given.values[row], own, split, "noise", clean[row])
        if knocked:
            return
        if self.section.kind == "tokens":
            self._edit_tokens(chosen, split, number, clean)
        else:
            self._perturb(chosen, split, number, clean)

    def _run(self, row: int, value: Array, own: Array | None, split: str, kind: str, clean: int) -> int:
        label = "" if self.given.label is None else str(self.given.label[row])
        key = (value.tobytes(), b"" if own is None else own.tobytes(), label)
        if key not in self.inputs:
            self.inputs[key] = len(self.rows)
            shown = _shown(self.section.kind, value, own, row, self.given.names)
            more = {} if self.given.label is None else {"label": label}
            self.rows.append({"array_row": len(self.values), "shown": shown, **more})
            self.values.append(value)
            if own is not None:
                self.own.append(own)
        run, family = len(self.runs), self.given.family[row]
        self.runs.append((run, self.inputs[key], f"p{row:05d}", family, split, kind, clean))
        return run

    def _edit_tokens(self, chosen: list[int], split: str, number: int, clean: dict[int, int]) -> None:
        if not edits_of(self.plan):
            return
        assert self.editable is not None
        assert self.given.own is not None
        prompts, length = [], self.given.values.shape[1]
        for row in chosen:
            own = np.flatnonzero(self.given.own[row])
            ids = self.given.values[row, own].tolist()
            place = tuple(f"token{t}" if self.editable[row, t] else None for t in own)
            prompts.append(Words(tuple(ids), place, (False,) * len(ids)))
        tokens, counts = np.unique(self.given.values[self.editable], return_counts=True)
        vocabulary = tokens[np.argsort(-counts, kind="stable")].tolist()
        pad = self.section.pad_id or 0
        for i, kind, edited in edited_runs(
            self.plan, prompts, number, None, vocabulary, self.section.mask_id
        ):
            ids = np.full(length, pad, dtype=np.int64)
            own = np.zeros(length, dtype=bool)
            ids[: len(edited.words)] = [w for w, _ in edited.words]
            own[: len(edited.words)] = True
            run = self._run(chosen[i], ids, own, split, kind, clean[chosen[i]])
            self.doses += [(run, name, 1.0) for name in edited.instruments]

    def _perturb(self, chosen: list[int], split: str, number: int, clean: dict[int, int]) -> None:
        kind = ARRAY_KINDS[self.section.kind]
        if not getattr(self.plan.instruments, kind).runs_per_prompt:
            return
        # 9 stands beside the kinds of edit of words, which have streams of their own.
        rng = np.random.default_rng([self.plan.seed, EDIT_STREAM, 9, number])
        x = self.given.values[chosen]
        names, copies, made, doses = self._drawn(rng, x, kind)
        for i, value, dose in zip(copies, made.astype(x.dtype), doses, strict=True):
            row = chosen[int(i)]
            run = self._run(row, value, None, split, kind, clean[row])
            self.doses += [(run, f"{kind}:{names[j]}", float(dose[j])) for j in np.flatnonzero(dose)]

    def _drawn(self, rng: np.random.Generator, x: Array, kind: str) -> tuple[list[str], Array, Array, Array]:
        """Names of the instruments, inputs that copies are made of, perturbed copies, and their doses."""
        options, images = self.plan.instruments, self.section.kind == "images"
        moves = np.arange(x.shape[1]) if images else np.flatnonzero(_varies(x))
        of: Perturbation
        if images:
            side = options.occlusion.patch or max(min(x.shape[-2:]) // 4, 1)
            of = Occlusion(side, options.occlusion.probability, options.occlusion.fill)
        else:
            of = ColumnResampling(options.resampling.probability, tuple(self.given.names[j] for j in moves))
        count, names = getattr(options, kind).runs_per_prompt, of.instruments((len(moves), *x.shape[2:]))
        if getattr(options, kind).saturation:
            of, count = Saturation(of), min(count, len(names))
        copies = np.repeat(np.arange(len(x)), count)
        made, doses = of.draw(rng, x if images else x[:, moves].astype(float), copies)
        whole = x[copies].copy()
        whole[:, moves] = made
        return names, copies, whole, doses

    def finish(self) -> tuple[pd.DataFrame, pd.DataFrame, Array]:
        """Inputs, runs, and the values of the distinct inputs."""
        names = ["run", "input", "prompt", "family", "split", "kind", "clean"]
        return pd.DataFrame(self.rows), pd.DataFrame(self.runs, columns=names), np.stack(self.values)

    def token_arrays(self, inputs: pd.DataFrame) -> dict[str, Array]:
        """Of tokens: which are an input's own, and the class of each (-1 on padding)."""
        if self.section.kind != "tokens":
            return {}
        own = np.stack(self.own)
        last = own.shape[1] - 1 - np.flip(own, 1).argmax(axis=1)
        classes = np.where(own, TOKEN_CLASSES.index("rest"), -1)
        every = np.arange(len(own))
        classes[every, last] = TOKEN_CLASSES.index("last")
        classes[every, own.argmax(axis=1)] = TOKEN_CLASSES.index("first")
        return {"own": own, "classes": classes}


def _editable(plan: Plan, given: GivenInputs) -> Array:
    """Tokens (n, tokens) that edits may touch: own ones, no special ones, of columns that hold more than one token."""
    section = plan.inputs
    assert section is not None
    assert given.own is not None
    special = [*section.special, *(t for t in (section.pad_id, section.mask_id) if t is not None)]
    changing = np.array([len(np.unique(given.values[o, t])) > 1 for t, o in enumerate(given.own.T)])
    return np.asarray(given.own & ~np.isin(given.values, special) & changing)


def _varies(x: Array) -> Array:
    """Columns of a table that are not constant."""
    spread = x.astype(float).std(axis=0)
    return np.asarray(spread > 1e-12 * (1 + np.abs(x).max(axis=0)))


def _shown(kind: str, value: Array, own: Array | None, row: int, names: tuple[str, ...]) -> str:
    """One input in a line."""
    if kind == "images":
        return f"image {row + 1} ({' x '.join(map(str, value.shape))})"
    if kind == "table":
        cells = [f"{n} = {v:.4g}" for n, v in zip(names[:8], value, strict=False)]
        return ", ".join(cells) + (" ..." if len(names) > 8 else "")
    ids = value[own].tolist()
    return " ".join(map(str, ids[:24])) + (" ..." if len(ids) > 24 else "")


@dataclass(frozen=True, eq=False)
class _Noise:
    """Noise of a design: its classes, fixed directions, instruments, and where each class lies."""

    classes: list[str]
    directions: NDArray[np.float32]
    rows: list[Row]
    arrays: dict[str, Array]
    unperturbed: list[str]


def _noise(
    plan: Plan,
    given: GivenInputs,
    values: Array,
    width: Callable[[], int],
    facts: Callable[[], NetworkFacts] | None,
) -> _Noise:
    noise, kind = plan.instruments.noise, given_kind(plan)
    if kind == "tokens":
        return _of_classes(plan, TOKEN_CLASSES, width(), {})
    if not noise.runs_per_prompt:
        return _Noise([], np.zeros((0, 1, 1), np.float32), [], {}, [])
    if plan.model.embedding == AT_INPUT and kind == "table":
        return _on_columns(plan, given)
    if plan.model.embedding == AT_INPUT:
        number, slot, names = pixel_blocks(values.shape[1:], noise.blocks)
        return _of_classes(plan, names, int(slot.max()) + 1, {"noise_class": number, "noise_slot": slot})
    if facts is None:
        raise InputError(
            "model.embedding", plan.model.embedding, 'Noise at a module needs the network; or say "input"'
        )
    places, wide = facts().noise_places({"values": values[:1]})
    number, names = _place_blocks(places, noise.blocks, kind)
    return _of_classes(plan, names, wide, {"noise_class": number})


def given_kind(plan: Plan) -> str:
    """The kind of a plan's inputs."""
    assert plan.inputs is not None
    return plan.inputs.kind


def _of_classes(plan: Plan, names: list[str], width: int, arrays: dict[str, Array]) -> _Noise:
    """Fixed random directions for every class, as texts have them for token classes."""
    made = instrument_table([], names, plan)
    rows = [tuple(r) for r in made[made["kind"] == "noise"].itertuples(index=False)]
    return _Noise(names, noise_directions(plan, names, width), rows, arrays, [])


def _on_columns(plan: Plan, given: GivenInputs) -> _Noise:
    """Each column of a table by itself, in its standard deviations; a constant one gets none."""
    moves = _varies(given.values)
    columns = np.flatnonzero(moves)
    if not len(columns):
        raise InputError("inputs", "no column varies", "Give inputs that differ")
    scale = 1.0 if plan.instruments.noise.scale == "auto" else plan.instruments.noise.scale
    directions = np.zeros((1, len(columns), len(moves)), dtype=np.float32)
    spread = column_spread(given.values[:, columns].astype(float))
    directions[0, np.arange(len(columns)), columns] = scale * spread
    rows: list[Row] = [
        (f"noise:{given.names[j]}", "noise", given.names[j], "column", "sd of the column", False)
        for j in columns
    ]
    arrays = {"noise_class": np.zeros(len(moves), dtype=int), "noise_slot": np.arange(len(moves))}
    constant = [given.names[j] for j in np.flatnonzero(~moves)]
    return _Noise(["columns"], directions, rows, arrays, constant)


def _place_blocks(places: int, blocks: int, kind: str) -> tuple[Array, list[str]]:
    """Class of every place of a module's activation: blocks of the image's grid; what stands before the grid (a class
    token) is `extra`; places of anything else are classes of their own."""
    side = int(np.sqrt(places))
    extra = places - side**2
    if kind != "images" or extra > 2:  # a class token, and one of a teacher network
        return np.arange(places), [f"place{i}" for i in range(places)] if places > 1 else ["all"]
    number, _, names = pixel_blocks((1, side, side), min(blocks, side))
    if not extra:
        return number, names
    return np.concatenate([np.full(extra, len(names)), number]), [*names, "extra"]
