"""Knockouts and estimates whose truth is known, for the tests of agreement."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from mrinterp.diagnostics._agreement import agreement
from mrinterp.results._agreement import Agreement
from mrinterp.results._estimates import Estimates
from mrinterp.results._knockout_effects import KnockoutEffects

F, FAMILIES, PER = 24, 20, 3


def truth_of(seed: int = 0, features: int = F) -> np.ndarray:
    """Half of the features do nothing."""
    rng = np.random.default_rng(seed)
    return np.where(
        np.arange(features) % 2 == 0, rng.choice([-1, 1], features) * rng.uniform(0.3, 1, features), 0
    )


def knockout_of(truth: np.ndarray, seed: int = 1, noise: float = 0.05, **changes: Any) -> KnockoutEffects:
    rng = np.random.default_rng(seed)
    P, n = FAMILIES * PER, len(truth)
    family = np.repeat(np.arange(FAMILIES), PER)
    own = rng.standard_normal((n, FAMILIES)) * noise * np.sqrt(FAMILIES)
    each = (truth[:, None] + own[:, family])[:, :, None]
    by_family = each[:, ::PER, 0]
    options: dict[str, Any] = {
        "effect": each.mean(axis=1),
        "se": (by_family.std(axis=1, ddof=1) / np.sqrt(FAMILIES))[:, None],
        "effect_by_input": each,
        **changes,
    }
    return KnockoutEffects(
        kind="shift",
        label="shift",
        features=tuple(f"f{i}" for i in range(n)),
        outcomes=("y",),
        effect=options["effect"],
        se=options["se"],
        df=FAMILIES - 1.0,
        effect_by_input=options["effect_by_input"],
        inputs=pd.DataFrame({"prompt": np.arange(P), "family": family}),
        read_back_error=np.zeros(n),
        leakage=np.zeros(n),
        off_support=np.zeros(n),
        outside_range=np.zeros(n),
        noise_floor=np.zeros(1),
    )


def estimates_of(
    beta: np.ndarray, se: np.ndarray | float, method: str = "within", **changes: Any
) -> Estimates:
    beta = np.asarray(beta, float).reshape(-1, 1)
    names = tuple(f"f{i}" for i in range(len(beta)))
    spread = np.broadcast_to(np.reshape(se, (-1, 1)), beta.shape)
    return Estimates(
        method=method,
        label=method,
        exposures=names,
        outcomes=("y",),
        beta=beta,
        se=spread,
        status="ok",
        n_instruments=np.full(beta.shape, 9),
        **changes,
    )


def held_against(
    beta: np.ndarray, se: np.ndarray | float = 0.05, knockout: Any = None, **options: Any
) -> Agreement:
    knockout = knockout_of(truth_of()) if knockout is None else knockout
    return agreement([estimates_of(beta, se)], knockout, np.array([0.2]), "ivw", "digest", **options)


def row_of(held: Agreement) -> dict[str, Any]:
    (row,) = held.scores.to_dict(orient="records")
    return row
