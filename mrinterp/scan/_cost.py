"""What a study will cost, before it is run."""

from __future__ import annotations

import time

from mrinterp.core.design import Design
from mrinterp.core.plan import Plan
from mrinterp.models._cut import CutNetwork
from mrinterp.scan._marginal import scan_bytes
from mrinterp.scan._reader import read_runs

__all__ = ["scan_cost"]


def scan_cost(network: CutNetwork, design: Design, features: int, plan: Plan) -> dict[str, float]:
    """Forward passes, seconds and bytes of a study; two canonical blocks are run and timed.

    Parameters
    ----------
    features : int
        How many features the study has.

    Returns
    -------
    dict
        ``runs, scan_runs, knockout_runs, block``; ``seconds, seconds_per_block`` (every run counted
        as a whole forward pass, though knockouts may start at the edited layer); ``bytes`` of the
        arrays of the largest step, beyond the libraries; ``disk`` bytes of the run folder.
    """
    block, knockouts = plan.model.block, plan.knockouts
    rows = design.rows("discovery")[: 2 * block]
    read_runs(network, design, rows[:block], what="warm-up")
    start = time.perf_counter()
    sample = read_runs(network, design, rows, what="timing")
    per_run = (time.perf_counter() - start) / len(rows)
    prompts = len(design.rows("knockout"))
    scan = len(design.runs) - prompts
    swaps = 2 + sum(kind.swaps(knockouts.donors) for kind in knockouts.kinds)  # the shift goes both ways
    swept = prompts * (features * swaps + 2 * knockouts.random_controls)
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
        "seconds": per_run * (scan + swept),
        "seconds_per_block": per_run * block,
        # Raw reading, its float64 copy and the projection's work space, then the projected columns; or the
        # estimation split's columns and doses with their changes, and the marginal effects with their errors.
        "bytes": max(
            discovery * (row_bytes * 3 + columns * 16),
            len(estimation) * (columns + doses) * 16 + marginal,
        )
        + design.doses.nbytes,
        "disk": 1.5 * design.doses.nbytes + (scan - discovery) * columns * 8,
    }
