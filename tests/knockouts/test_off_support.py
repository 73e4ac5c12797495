"""A value far outside support is refused by every design, and where it is asked for, every output says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mrinterp.core.errors import InputError
from mrinterp.edits._confounder_removal import remove_confounder
from mrinterp.edits._vestigial_features import vestigial_features
from mrinterp.knockouts._designs.direct_effect import direct_effect
from mrinterp.knockouts._designs.epistasis import epistasis
from mrinterp.knockouts._designs.faithfulness import faithfulness
from mrinterp.knockouts._designs.minimal_set import minimal_set
from mrinterp.knockouts._designs.ordered_knockouts import ordered_knockouts
from mrinterp.knockouts._designs.set_effects import set_effects
from mrinterp.knockouts._designs.specificity import specificity
from mrinterp.knockouts._kinds.compare_kinds import compare_kinds
from mrinterp.knockouts._knock_out import knock_out
from tests.linear_stack import LinearStack, stack_bench

BENCH = stack_bench(24, LinearStack(curve=1.0))
CUE = np.array(["agrees", "conflicts"])[np.arange(24) % 2]
DESIGNS: dict[str, Callable[..., Any]] = {
    "epistasis": lambda v, **o: epistasis(BENCH, v, [0, 1], **o),
    "ordered": lambda v, **o: ordered_knockouts(BENCH, v, [0, 1], random_orders=2, **o),
    "direct": lambda v, **o: direct_effect(BENCH, v, [0], freeze=["layer.2"], **o),
    "specificity": lambda v, **o: specificity(BENCH, v, [0], controls=["second"], **o),
    "sets": lambda v, **o: set_effects(BENCH, v, {"a": [0]}, draws=20, **o),
    "minimal": lambda v, **o: minimal_set(
        BENCH, v, [0, 1], outcome="first", random_sets=2, draws=20, share=0.1, **o
    ),
    "faithfulness": lambda v, **o: faithfulness(BENCH, v, [0, 1], draws=20, **o),
    "confounder": lambda v, **o: remove_confounder(BENCH, ["0"], CUE, value=v, draws=20, **o),
}


@pytest.mark.parametrize("design", sorted(DESIGNS))
def test_refused_unless_asked_for_and_then_flagged_in_words_and_table(design: str, tmp_path: Path) -> None:
    run = DESIGNS[design]
    with pytest.raises(InputError, match=r"natural range.*allow_off_support=True"):
        run(50.0)
    made = run(50.0, allow_off_support=True)
    assert "Outside natural support: 0 (100%" in str(made)
    assert made.to_frame()["outside_support"].max() == 1.0
    made.save(tmp_path / "made")
    again = type(made).load(tmp_path / "made")
    assert again.to_frame()["outside_support"].equals(made.to_frame()["outside_support"])
    inside = run(None if design == "confounder" else "mean")
    assert "(100%" not in str(inside)
    assert not (inside.to_frame()["outside_support"] == 1.0).any()


def test_kinds_side_by_side_and_vestigial_features_pass_the_flag_on() -> None:
    far = knock_out(BENCH, "clamp", value=50.0, allow_off_support=True)
    near = knock_out(BENCH, "mean")
    assert "6 features are flagged" in str(compare_kinds([far, near]))
    assert "flagged" not in str(compare_kinds([near, knock_out(BENCH, "resample")]))
    listed = vestigial_features([near, far], rope=1e6)
    assert set(listed.to_frame()["flags"]) == {"clamp: outside support, asked for"}
    assert "6 of them flagged" in str(listed)
    assert "flagged" not in str(vestigial_features(near, rope=1e6))
