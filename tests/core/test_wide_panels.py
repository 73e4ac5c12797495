"""Panels of very many features, stored as one array; arrays that no design could have given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mrinterp
from mrinterp.core.errors import InputError
from mrinterp.core.panel import WIDE, Panel
from mrinterp.perturbations import perturb


def panel(features: int) -> Panel:
    rng, prompt = np.random.default_rng(0), np.arange(24) // 4
    x, z = rng.standard_normal((24, features)), rng.integers(0, 2, (24, 3))
    return mrinterp.from_arrays(doses=z, features=x, outcomes=x[:, 0], prompt=prompt, family=prompt)


@pytest.mark.parametrize("features", [WIDE, WIDE + 1])
def test_a_panel_is_the_same_after_storing_however_wide(features: int, tmp_path: Path) -> None:
    made = panel(features)
    made.save(tmp_path / "panel")
    found = Panel.load(tmp_path / "panel")
    wide = features > WIDE
    assert isinstance(found.features, np.memmap) == wide
    assert (tmp_path / "panel" / "features.npy").exists() == wide
    np.testing.assert_array_equal(found.features, made.features)
    np.testing.assert_array_equal(found.outcomes, made.outcomes)
    assert found.runs.equals(made.runs)
    assert list(found.to_frame().columns) == list(made.to_frame().columns)


def test_single_precision_features_are_not_copied_and_give_the_same_effects() -> None:
    rng, prompt = np.random.default_rng(0), np.arange(160) // 4
    x = rng.standard_normal((160, 5)).astype(np.float32)
    z = rng.integers(0, 2, (160, 3))
    y = x[:, 0] + rng.standard_normal(160)
    one, two = (
        mrinterp.from_arrays(doses=z, features=f, outcomes=y, prompt=prompt, family=prompt)
        for f in (x, x.astype(float))
    )
    assert np.shares_memory(one.features, x)
    a, b = (mrinterp.run_mr(panel, "within")[0] for panel in (one, two))
    np.testing.assert_array_equal(a.beta, b.beta)
    np.testing.assert_array_equal(a.se, b.se)
    x[3, 2] = np.inf
    with pytest.raises(InputError, match="features, row 3, column 'x2'"):
        mrinterp.from_arrays(doses=z, features=x, outcomes=y, prompt=prompt, family=prompt)


def test_a_family_in_two_splits_is_refused() -> None:
    split = np.where(np.arange(24) % 2, "estimation", "replication")
    with pytest.raises(InputError, match="split: family 0 is in 2 splits"):
        mrinterp.from_arrays(
            doses=np.eye(24)[:, :3],
            features=np.eye(24),
            outcomes=np.arange(24.0),
            prompt=np.arange(24) // 4,
            family=np.arange(24) // 4,
            split=split,
        )


@pytest.mark.parametrize(("inputs", "doses"), [(14, 15), (15, 14)])
def test_a_perturbation_that_gives_another_number_of_inputs_is_refused(inputs: int, doses: int) -> None:
    class Short:
        kind = "short"

        def instruments(self, shape: tuple[int, ...]) -> list[str]:
            return ["all"]

        def draw(self, rng: Any, x: Any, clean: Any) -> Any:
            return x[clean][:inputs], np.ones((doses, 1))

    what = "inputs" if inputs < doses else "doses"
    with pytest.raises(
        InputError, match=rf"perturbation 'short': its draw gave {what} of shape \(14, .*15 runs"
    ):
        perturb(np.zeros((5, 2)), [Short()], runs_per_input=3, placebos=0)
