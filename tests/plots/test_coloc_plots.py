"""Every figure draws from a core object, on given axes too, and shows what it is told to show."""

from __future__ import annotations

import numpy as np
import pytest

from mrinterp.coloc._abf import colocalize
from mrinterp.coloc._finemap import finemap_summary
from mrinterp.core.errors import InputError
from mrinterp.core.mrdata import MRData
from mrinterp.plots._coloc.coloc_matrix import coloc_matrix
from mrinterp.plots._coloc.coloc_sensitivity import coloc_sensitivity
from mrinterp.plots._coloc.locus_comparison import locus_comparison
from mrinterp.plots._coloc.regional_association import regional_association
from mrinterp.plots._style import save
from tests.coloc.coloc_simulation import simulate_locus, simulate_traits


@pytest.fixture(scope="module")
def study():
    rng = np.random.default_rng(40)
    n, J = 1500, 60
    locus = simulate_locus(rng, n, J)
    causes = [[12], [12], [45], [12, 45], [], list(range(0, 60, 2)), [12], [45]]
    y = simulate_traits(rng, locus, [np.array(c, int) for c in causes], 0.25)
    y = y / y.std(1, keepdims=True)
    z = locus.z_scores(y)
    r = z / np.sqrt(z**2 + n - 2)
    se = np.sqrt((1 - r**2) / (n - 2))
    names = tuple(f"slot{j}" for j in range(J))
    data = MRData(
        beta_x=r[:6],
        se_x=se[:6],
        beta_y=r[6:],
        se_y=se[6:],
        exposures=tuple(f"L3.mlp:{i}" for i in range(6)),
        outcomes=("logit_diff", "refusal"),
        instruments=names,
        ld=locus.ld,
    )
    return data, finemap_summary(z, locus.ld, n, instruments=names, traits=[f"t{i}" for i in range(8)])


def test_figures(study, tmp_path) -> None:
    data, fit = study
    coloc = colocalize(data, sd_x=1.0, sd_y=1.0)
    assert coloc.status[5, 0, 0] != "ok"
    figures = {
        "locus_comparison": locus_comparison(data, "L3.mlp:0", "logit_diff"),
        "locus_comparison_two_causes": locus_comparison(data, "L3.mlp:0", "refusal"),
        "regional_association": regional_association(fit, "t3"),
        "coloc_sensitivity": coloc_sensitivity(coloc, "L3.mlp:0", "logit_diff"),
        "coloc_matrix": coloc_matrix(coloc),
    }
    assert "slot12" in {t.get_text() for t in figures["locus_comparison"].texts}
    assert len(figures["regional_association"].get_legend().get_texts()) == len(fit["t3"]) == 2
    drawn = figures["coloc_sensitivity"].get_lines()[1].get_ydata()
    np.testing.assert_array_equal(drawn, coloc.sensitivity[0, 0, 0, :, 1])
    matrix = figures["coloc_matrix"].get_images()[0].get_array()
    assert np.ma.getmaskarray(matrix)[5].all() or np.isnan(np.asarray(matrix)[5]).all()
    for name, ax in figures.items():
        assert save(ax, tmp_path / f"{name}.png").stat().st_size > 5000


def test_figures_draw_on_given_axes(study) -> None:
    import matplotlib.pyplot as plt

    data, fit = study
    coloc = colocalize(data, sd_x=1.0, sd_y=1.0)
    figure, panels = plt.subplots(1, 4)
    assert locus_comparison(data, "L3.mlp:0", "refusal", panels[0]) is panels[0]
    assert regional_association(fit, ax=panels[1]) is panels[1]
    assert coloc_sensitivity(coloc, "L3.mlp:0", "refusal", ax=panels[2]) is panels[2]
    assert coloc_matrix(coloc, ax=panels[3]) is panels[3]
    plt.close(figure)
    with pytest.raises(InputError, match="no feature"):
        coloc_sensitivity(coloc, "nobody", "refusal")
