"""Figures of the knockout designs show the numbers that they are given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mrinterp.core.errors import InputError
from mrinterp.knockouts.designs.damage import Damage
from mrinterp.knockouts.designs.direct_effect import direct_effect
from mrinterp.knockouts.designs.dose_response import dose_response
from mrinterp.knockouts.designs.epistasis import epistasis
from mrinterp.knockouts.designs.faithfulness import faithfulness
from mrinterp.knockouts.designs.ordered import ordered_knockouts
from mrinterp.knockouts.designs.rescue import rescue
from mrinterp.models.inputs import ModelInputs
from mrinterp.plots.direct_effects import direct_effects
from mrinterp.plots.dose_response_curve import dose_response_curve
from mrinterp.plots.epistasis_matrix import epistasis_matrix
from mrinterp.plots.faithfulness_curve import faithfulness_curve
from mrinterp.plots.ordered_knockouts import ordered_knockouts_curve
from mrinterp.plots.rescued_shares import rescued_shares
from mrinterp.plots.style import save
from tests.design_networks import Readout, Residual, bench_of, inputs, linear


def _gated() -> torch.nn.Module:
    def y(h: torch.Tensor) -> torch.Tensor:
        lines = 2 * h[:, 2].clamp(-0.5, 0.7) + h[:, 3] - h[:, 4]
        return (h[:, 0] * h[:, 1] + lines + 0.5 * h[:, 5] * h[:, 3]).unsqueeze(-1)

    return Readout(y)


def test_dose_response_curve(tmp_path: Path) -> None:
    bench = bench_of(_gated(), inputs())
    result = dose_response(bench, ["2", "0"], np.linspace(-3, 3, 11), allow_off_support=True)
    ax = dose_response_curve(result, "2")
    np.testing.assert_array_equal(
        ax.lines[1].get_xydata(), np.stack([result.dose[0], result.effect[0, :, 0]], 1)
    )
    assert sum(len(line.get_xdata()) for line in ax.lines[2:4]) == 11
    assert {t.get_text().strip() for t in ax.texts} == {"threshold", "plateau"}
    assert save(ax, tmp_path / "d.png").stat().st_size > 5000
    x = inputs()
    x[:, 1] = 1.0
    with pytest.raises(InputError, match="never varies"):
        dose_response_curve(dose_response(bench_of(_gated(), x), ["1"]), "1")


def test_epistasis_matrix(tmp_path: Path) -> None:
    result = epistasis(bench_of(_gated(), inputs() * 0.2 + 1), None, 0.0)
    ax = epistasis_matrix(result)
    image = np.asarray(ax.images[0].get_array().filled(np.nan))
    assert np.isfinite(image).sum() == 15
    assert image[0, 0] == result.pair("0", "1").interaction
    assert image[4, 3] == result.pair("3", "5").interaction
    marks = {t.get_position(): t.get_text() for t in ax.texts}
    assert marks[(0, 0)] == "B"
    assert marks[(0, 1)] == "·"
    assert save(ax, tmp_path / "e.png").stat().st_size > 5000


def test_ordered_knockouts_curve(tmp_path: Path) -> None:
    result = ordered_knockouts(linear([[8.0, 4.0, 2.0, 1.0, 0.5, 0.0]], inputs() * 0.3 + 1), range(6), 0.0)
    ax = ordered_knockouts_curve(result)
    np.testing.assert_array_equal(ax.lines[-1].get_ydata(), result.effect[:, 0])
    assert save(ax, tmp_path / "o.png").stat().st_size > 5000


def test_direct_effects(tmp_path: Path) -> None:
    first = torch.zeros(6, 6, dtype=torch.float64)
    first[5, 0], first[5, 1], first[5, 2] = -0.6, 1.0, 0.5
    module = Residual([first], [1.0, 0.0, 1.0, 0.3, 0.0, 1.0])
    result = direct_effect(bench_of(module, inputs() + 2, site="start"), None, 0.0)
    ax = direct_effects(result)
    words = [t.get_text() for t in ax.get_legend().get_texts()]
    assert words[:3] == ["self-repair", "amplification", "mediation"]
    assert len(ax.get_yticks()) == 6
    assert save(ax, tmp_path / "t.png").stat().st_size > 5000


def test_faithfulness_curve(tmp_path: Path) -> None:
    bench = linear([[8.0, 4.0, 2.0, 1.0, 0.5, 0.0], [0.0] * 6], inputs() * 0.3 + 1)
    result = faithfulness(bench, range(6), 0.0, proportions=[0.2, 0.4, 0.7, 1.0])
    ax = faithfulness_curve(result)
    np.testing.assert_array_equal(ax.lines[2].get_ydata(), result.faithfulness[:, 0])
    assert f"CPR {result.cpr[0]:.3f}" in ax.get_title(loc="left")
    assert save(ax, tmp_path / "f.png").stat().st_size > 5000
    with pytest.raises(InputError, match="noise floor"):
        faithfulness_curve(result, "y1")


def test_rescued_shares(tmp_path: Path) -> None:
    bench = linear([[8.0, 4.0, 2.0, 1.0, 0.5, 0.0], [0.0] * 6])
    moved = ModelInputs({"x": bench.inputs.tensors["x"] + 1 + 0.3 * inputs(9)})
    result = rescue(bench, None, Damage.inputs(bench, "early", moved))
    ax = rescued_shares(result)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["0", "1", "2", "3", "4", "5"]
    assert save(ax, tmp_path / "r.png").stat().st_size > 5000
    with pytest.raises(InputError, match="noise floor"):
        rescued_shares(result, "y1")
