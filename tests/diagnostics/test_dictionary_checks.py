"""What a dictionary misses of its site, what its writes move besides, and which of its latents share instruments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mrinterp
from mrinterp import InputError, Panel
from mrinterp.core.basis import Dictionary
from mrinterp.diagnostics import dictionary_checks
from mrinterp.diagnostics._reconstruction import past_checks
from mrinterp.results import Check, NotApplicable, ReadBack
from mrinterp.scan._study_sae import effect_past

F = 4


def _panel(features: np.ndarray, doses: np.ndarray) -> Panel:
    prompts = np.arange(len(doses)) // 4
    clean = np.arange(len(doses)) % 4 == 0
    doses[clean] = 0.0
    features = np.where(clean[:, None], 0.0, features)
    return mrinterp.from_arrays(
        doses=doses, features=features, outcomes=features[:, :1], prompt=prompts, family=prompts, clean=clean
    )


def _latents(read_back: np.ndarray, write: np.ndarray, names: tuple[str, ...]) -> Dictionary:
    return Dictionary(
        names=names,
        read=None,
        write=write,
        center=np.zeros(write.shape[1]),
        latents=tuple(range(len(names))),
        zero=np.zeros(len(names)),
        scale=np.ones(len(names)),
        measured_read_back=read_back,
    )


@pytest.fixture(scope="module")
def panel() -> Panel:
    """Features 0 and 1 rise with the same doses; 2 falls where 3 rises."""
    rng = np.random.default_rng(0)
    doses = rng.standard_normal((800, 20))
    first, second = rng.standard_normal((2, 20))
    rise, other = doses @ first, doses @ second
    noise = 0.1 * rng.standard_normal((800, F))
    return _panel(np.stack([rise, 2 * rise, -other, other], axis=1) + noise, doses)


def test_pairs_that_share_instruments_are_named_by_what_parts_them(panel: Panel) -> None:
    rows = np.array([[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0.5], [0, 0, 0.5, 1]])
    back, shared = dictionary_checks(_latents(np.eye(F), rows, panel.feature_names), panel)
    assert isinstance(back, Check)
    assert isinstance(shared, Check)
    assert back.verdict == "passed"
    assert shared.verdict == "warning"
    assert shared.statistic == 2
    assert "1 pairs rise with the same doses (splitting), 1 of one decoder direction" in shared.note
    assert shared.features == panel.feature_names
    apart = dictionary_checks(_latents(np.eye(F), np.eye(F), panel.feature_names), panel)[1]
    assert isinstance(apart, Check)
    assert apart.features == panel.feature_names[:2], (
        "opposite doses alone are no absorption: directions must agree"
    )


def test_a_write_that_moves_another_feature_is_named(panel: Panel) -> None:
    matrix = np.diag([1.0, 0.46, 1.1, 1.0])
    matrix[3, 2] = -1.3  # one unit of the third moves the fourth
    found = dictionary_checks(_latents(matrix, np.eye(F), panel.feature_names), panel)[0]
    assert isinstance(found, Check)
    assert found.verdict == "warning"
    assert found.statistic == pytest.approx(1.3)
    assert found.features == (panel.feature_names[2],), "those that move another one, where there are any"
    assert "1 read back less than 0.8 or more than 1.2 of their own" in found.note
    assert f"{panel.feature_names[2]} moves {panel.feature_names[3]}" in found.note


def test_a_dictionary_that_is_exact_passes(panel: Panel) -> None:
    axes = np.random.default_rng(1).standard_normal((F, 6))
    dual = np.linalg.pinv(axes).T
    exact = Dictionary(names=panel.feature_names, read=axes, write=dual, center=np.zeros(6))
    found = dictionary_checks(exact, panel)[0]
    assert isinstance(found, Check)
    assert found.verdict == "passed"
    assert found.statistic < 1e-12


def test_what_does_not_fit_is_refused_or_does_not_apply(panel: Panel) -> None:
    with pytest.raises(InputError, match="panel features"):
        dictionary_checks(_latents(np.eye(F), np.eye(F), ("a", "b", "c", "d")), panel)
    few = _panel(np.random.default_rng(2).standard_normal((80, F)), np.ones((80, 2)))
    shared = dictionary_checks(_latents(np.eye(F), np.eye(F), few.feature_names), few)[1]
    assert isinstance(shared, NotApplicable)
    assert "doses vary; 10 are needed" in shared.reason


def test_the_share_past_a_dictionary_and_its_error() -> None:
    rng = np.random.default_rng(3)
    shares = []
    for _ in range(200):
        whole = rng.standard_normal((120, 2))
        kept = whole * np.array([0.7, 1.0]) + 0.3 * rng.standard_normal((120, 2))
        shares.append(effect_past(whole, kept, np.arange(120) // 3))
    found = np.array(shares)
    np.testing.assert_allclose(found[:, :, 0].mean(axis=0), [0.3, 0.0], atol=0.01)
    np.testing.assert_allclose(found[:, :, 1].mean(axis=0), found[:, :, 0].std(axis=0), rtol=0.2)
    checks = past_checks({"past": {"a": [0.3, 0.02], "b": [0.01, 0.02], "c": [float("nan"), 0.0]}})
    verdicts = [c.verdict if isinstance(c, Check) else "none" for c in checks]
    assert verdicts == ["warning", "passed", "none"]
    assert isinstance(past_checks({"past": "an outcome is generated"})[0], NotApplicable)


def test_the_read_back_matrix_names_what_every_write_moves(tmp_path: Path) -> None:
    matrix = np.array([[0.9, 0.0, 0.3], [-0.6, 1.1, 0.0], [0.0, 0.05, 1.0]])
    made = ReadBack.of(_latents(matrix, np.eye(3), ("site:a", "site:b", "site:c")))
    rows = made.to_frame().set_index("feature")
    assert rows["own"].tolist() == [0.9, 1.1, 1.0]
    assert rows["moves"].tolist() == ["site:b", "site:c", "site:a"]
    assert rows["by"].tolist() == [-0.6, 0.05, 0.3]
    assert str(made).startswith("site:a: one unit written is read back as 0.9, and moves site:b by -0.6")
    made.save(tmp_path / "r")
    again = ReadBack.load(tmp_path / "r")
    assert np.array_equal(again.matrix, matrix)
    assert again.meta == {"unit": "sd", "measured": True}
    with pytest.raises(InputError, match="dictionary: "):
        ReadBack.of(made)  # type: ignore[arg-type]


def test_the_figure_of_the_read_back_matrix_keeps_what_moves_most() -> None:
    matrix = np.eye(40)
    matrix[3, 7] = -2.0
    made = ReadBack(features=tuple(f"site:{k}" for k in range(40)), matrix=matrix)
    ax = mrinterp.plot(made, most=2)
    assert [t.get_text() for t in ax.get_xticklabels()] == ["3", "7"]
    assert ax.get_xlabel() == "written (38 more move less)"
    assert np.array_equal(np.asarray(ax.images[0].get_array()), [[1.0, -2.0], [0.0, 1.0]])
    assert ax.images[0].get_clim() == (-2.0, 2.0)
