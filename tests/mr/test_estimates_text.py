"""Estimates as they print: one sentence an effect, and not more than a person reads."""

from __future__ import annotations

import numpy as np

from mrinterp.results._estimates import Estimates


def _estimates(features: int) -> Estimates:
    names = tuple(f"x{k}" for k in range(features))
    beta = np.arange(1, features + 1)[:, None] / 10
    ok = np.full((features, 1), "ok", dtype=object)
    return Estimates(
        method="ivw",
        label="the method",
        exposures=names,
        outcomes=("y",),
        beta=beta,
        se=0 * beta + 0.1,
        status=ok,
        n_instruments=np.full((features, 1), 20),
    )


def test_every_effect_is_the_sentence_of_its_cell() -> None:
    made = _estimates(3)
    assert str(made).split("\n") == [str(made[f"x{k}", "y"]) for k in range(3)]
    assert "one unit more of x1 changes y by 0.2" in str(made)


def test_what_is_not_printed_is_counted() -> None:
    text = str(_estimates(13))
    lines = text.split("\n")
    assert 5 < len(lines) < 13
    assert lines[-1] == f"... and {13 - (len(lines) - 1)} more: see to_frame()."
    assert len(text) < 1100
