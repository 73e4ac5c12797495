"""What a study will cost, before it is run."""

from __future__ import annotations

import os
import shutil
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mrinterp.adapters._like_lengths import LikeLengths
from mrinterp.core.design import SPLITS, Design
from mrinterp.core.errors import InputError
from mrinterp.core.plan import FEWEST_FAMILIES, HELD_OUT, PILOT_FAMILIES, Plan
from mrinterp.models._cut import CutNetwork
from mrinterp.scan._marginal import scan_bytes
from mrinterp.scan._reader import read_runs

__all__ = ["half_scale_rows", "needed_bytes", "refuse_too_large", "scan_cost", "small_study_runs"]

Rows = NDArray[np.int_]

PATH_RUNS = 2 * 64
"""Runs that ask from which features a path leads to the outcome: 8 inputs at 8 settings, and their gradients. Features
without a slope are edited besides, as many runs each."""

HALF_SCALE_FAMILIES = 10
"""Estimation families whose noise is run at half its scale too."""


def scan_cost(network: CutNetwork, design: Design, features: int, plan: Plan) -> dict[str, float]:
    """Forward passes, seconds and bytes of a study; canonical blocks are run and timed.

    Parameters
    ----------
    features : int
        How many features the study has.

    Returns
    -------
    dict
        ``runs, scan_runs, knockout_runs, block``; ``seconds`` of all passes, whose time is taken to grow with their
        tokens, those of knockouts begun where they may begin; ``seconds_per_block`` and ``seconds_per_edited_block``, of
        the mean length; ``bytes`` of the arrays of the largest step, beyond the libraries; ``disk`` bytes of the run
        folder.
    """
    block = plan.model.block
    split = design.rows("discovery")
    # Spread over the split: its first runs are those of a few templates.
    rows = split[np.unique(np.linspace(0, len(split) - 1, 2 * block).astype(int))]
    read_runs(network, design, rows[:block], what="warm-up")
    start = time.perf_counter()
    sample = read_runs(network, design, rows, what="timing")
    per_token = (time.perf_counter() - start) / _tokens(network, design, rows, block)
    clean = design.rows("knockout")
    prompts, scan = len(clean), len(design.runs) - len(clean)
    again = half_scale_rows(design, plan, features)
    scan += len(again)
    scanned = sum(_tokens(network, design, design.rows(s), block) for s in SPLITS if s != "knockout")
    scanned += _tokens(network, design, again, block)
    swept = _knockout_runs(plan, design, features)
    edited = _tokens(network, design, clean, max(block // 4, 1)) / prompts * swept
    per_edited = _seconds_per_edited_token(network, design, rows[:block]) or per_token
    row_bytes = sum(v.nbytes for v in sample.values()) / len(rows)
    discovery = len(design.rows("discovery"))
    columns = features + 2 * plan.estimation.max_rank
    estimation = design.runs.iloc[design.rows("estimation")]
    doses, outcomes = design.doses.shape[1], sample["outcome"].shape[1]
    marginal = scan_bytes(features, outcomes, doses, estimation["family"].nunique())
    return {
        "block": float(block),
        "scan_runs": float(scan),
        "knockout_runs": float(swept),
        "runs": float(scan + swept),
        "seconds": per_token * scanned + per_edited * edited,
        "seconds_per_block": per_token * scanned / scan * block,
        "seconds_per_edited_block": per_edited * edited / max(swept, 1) * block,
        # Raw reading, its float64 copy and the projection's work space, then the projected columns; or the
        # estimation split's columns and doses with their changes, and the marginal effects with their errors.
        "bytes": max(
            discovery * (row_bytes * 3 + columns * 16),
            len(estimation) * (columns + doses) * 16 + marginal,
        )
        + design.doses.nbytes,
        "disk": 1.5 * design.doses.nbytes + (scan - discovery) * columns * 8,
    }


def half_scale_rows(design: Design, plan: Plan, features: int) -> Rows:
    """Noise runs of the estimation split that are run at half the scale once more: those of 10 families drawn at random, or
    of as many as carry twice as many columns as there are features; none where the plan has levels of its own."""
    rows = design.rows("estimation", () if plan.instruments.noise.levels else ("noise",))
    family = design.runs["family"].to_numpy()[rows]
    names = np.unique(family)
    if not len(rows):
        return rows
    enough = int(np.ceil(2 * features * plan.estimation.runs_per_column / (len(rows) / len(names))))
    # 23: a stream of its own under the study's seed, shared with no other step.
    order = np.random.default_rng([plan.seed, 23]).permutation(len(names))
    return rows[np.isin(family, names[order[: max(HALF_SCALE_FAMILIES, enough)]])]


def small_study_runs(families: int, prompts: int, features: int) -> int:
    """Runs of a study with so many families, prompts in each of them and features, with a plan's defaults elsewhere."""
    section: dict[str, Any] = {"title": "small", "model": {"folder": "none", "site": "none"}, "prompts": {}}
    plan = Plan.model_validate(section | {"outcome": {"name": "none", "kind": "kl_to_clean"}})
    kinds = plan.instruments
    scanned = 3 * families // 4 * prompts * (1 + kinds.slot.runs_per_prompt + kinds.noise.runs_per_prompt)
    return scanned + _edited_runs(plan, families // 4, prompts, features)


def _knockout_runs(plan: Plan, design: Design, features: int) -> int:
    """Edited runs of a study; without a number of families in the plan, as if its pilot asked for all."""
    clean = design.runs.iloc[design.rows("knockout")]
    families = clean["family"].nunique()
    return _edited_runs(plan, families, len(clean) / families, features) + PATH_RUNS


def _edited_runs(plan: Plan, families: int, each: float, features: int) -> int:
    """The same for so many knockout families, and prompts in each."""
    knockouts = plan.knockouts
    wide = min(knockouts.families or families, families)
    few = min(wide, FEWEST_FAMILIES)
    pilot = 0 if knockouts.families else PILOT_FAMILIES
    # High and low: contrasts, a pilot's, and those of the judge and its like; up and down: shifts and random directions.
    contrasts = 2 * features * (wide + pilot + len(HELD_OUT) * few)
    kinds = features * (2 + sum(kind.swaps(knockouts.donors) for kind in knockouts.kinds)) * few
    # Heads and a subspace as wholes: resampled, and set to their mean.
    wholes = {"heads": len(plan.features.heads or ()), "subspace": 1}.get(plan.features.kind, 0)
    whole = wholes * (knockouts.donors + 1) * few
    controls = knockouts.random_controls + knockouts.permuted_controls + features * knockouts.redrawn_network
    return round(each * (contrasts + kinds + whole + 2 * controls * few))


def _tokens(network: CutNetwork, design: Design, rows: Rows, least: int) -> int:
    """Tokens that go through the network in these runs (one a run without a token axis)."""
    lengths = network.lengths[design.runs["input"].to_numpy()[rows]]
    return int(LikeLengths.of(lengths, least).length.clip(min=1).sum())


def _seconds_per_edited_token(network: CutNetwork, design: Design, rows: Rows) -> float | None:
    """Of a block whose passes begin at the layer before the site; None where they cannot."""
    inputs = design.runs["input"].to_numpy()[rows]
    tokens = int(network.lengths[inputs].max())
    start = network.activation(inputs, tokens or None)
    if start is None:
        return None
    still = np.zeros((len(rows), network.width))
    seconds = []
    for _ in range(2):  # the first to warm up
        begun = time.perf_counter()
        network.run(inputs, shift=still, start=start, cut=False, tokens=tokens or None)
        seconds.append(time.perf_counter() - begun)
    return seconds[-1] / (len(rows) * max(tokens, 1))


def needed_bytes(design: Design, plan: Plan, features: int, width: int, classes: int) -> tuple[float, float]:
    """Bytes of memory and of disk that the largest step needs, from the sizes alone: nothing is run.

    Parameters
    ----------
    features, width, classes : int
        How many features the study has, the width of the site, and how many classes its tokens have.
    """
    parts = 1 + (plan.model.beside is not None)
    row = 8.0 * (features + len(plan.outcome)) + parts * width * (8 + 4 * classes)
    discovery, knockout = len(design.rows("discovery")), len(design.rows("knockout"))
    columns = features + min(2 * plan.estimation.max_rank, parts * width * (1 + classes))
    arrays = sum(value.nbytes for value in design.arrays.values())
    memory = discovery * row * 2 + design.doses.nbytes + 2 * arrays
    return memory, arrays + 1.5 * design.doses.nbytes + (
        len(design.runs) - discovery - knockout
    ) * columns * 8


def refuse_too_large(memory: float, disk: float, out: Path) -> None:
    """Refuse a study that needs more memory than the machine has, or more disk than is free.

    Raises
    ------
    InputError
        Says how much is needed and how much there is.
    """
    place = next((p for p in (Path(out), *Path(out).absolute().parents) if p.is_dir()), Path.cwd())
    usage = shutil.disk_usage(place)
    free = usage.free if usage.total else float("inf")  # what is no disk is refused when it is written to
    for what, needed, there in (("memory", memory, memory_of_machine()), ("disk", disk, free)):
        if needed > there:
            fix = "Ask for fewer prompts, runs or features" + (
                ", or give --out on another disk" * (what == "disk")
            )
            found = f"needs about {needed / 2**30:.3g} GiB of {what}; there are {there / 2**30:.3g}"
            raise InputError("the study", found, fix)


def memory_of_machine() -> float:
    """Bytes of memory that this process may have: the machine's, or its container's; infinite where unknown."""
    found = [float("inf")]
    with suppress(AttributeError, ValueError, OSError):  # systems without this question
        found.append(float(os.sysconf("SC_PAGE_SIZE")) * os.sysconf("SC_PHYS_PAGES"))
    for name in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            found.append(float(Path(name).read_text()))
        except (OSError, ValueError):  # no container, or one without a limit ("max")
            continue
    return min(found)
