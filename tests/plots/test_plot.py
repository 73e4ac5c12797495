"""One call draws any result."""

from __future__ import annotations

import importlib
import inspect
import typing
from pathlib import Path

import numpy as np
import pytest

import mrinterp
from mrinterp.core.errors import InputError
from mrinterp.knockouts._designs.direct_effect import direct_effect
from mrinterp.knockouts._designs.dose_response import dose_response
from mrinterp.knockouts._knock_out import knock_out
from mrinterp.plots._plot import FIGURES, plot
from mrinterp.results._result import Result
from tests.edits.test_vestigial import _bench


@pytest.mark.parametrize("name", sorted(FIGURES))
def test_every_type_has_its_figure(name: str) -> None:
    module, _, function = FIGURES[name].rpartition(".")
    drawn = getattr(importlib.import_module(f"mrinterp.plots.{module}"), function)
    first = next(iter(inspect.signature(drawn).parameters))
    result = typing.get_type_hints(drawn)[first]
    assert result.__name__ == name
    ways = (
        ("to_frame", "save", "load", "__str__") if issubclass(result, Result) else ("summary", "_repr_html_")
    )
    assert all(hasattr(result, way) for way in ways)
    assert result.__str__ is not object.__str__, "it prints as sentences"


def test_knockout_effects(tmp_path: Path) -> None:
    effects = knock_out(_bench(), "mean", draws=20)
    ax = mrinterp.plot(effects, outcome="b", most=4)
    names = [t.get_text() for t in ax.get_yticklabels()]
    assert names == [
        effects.features[f] for f in np.argsort(-np.abs(np.nan_to_num(effects.effect[:, 1])))[:4]
    ]
    drawn = np.concatenate([line.get_xdata() for line in ax.lines if line.get_marker() == "o"])
    assert sorted(np.abs(drawn)) == sorted(np.sort(np.abs(np.nan_to_num(effects.effect[:, 1])))[-4:])
    for suffix in ("svg", "png", "pdf"):
        path = tmp_path / f"effects.{suffix}"
        plot(effects, path)
        once = path.read_bytes()
        plot(effects, path)
        assert path.read_bytes() == once, "a figure holds no clock"


def test_what_cannot_be_drawn(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a dict.*Give one of AgainstRandom"):
        plot({})
    effects = knock_out(_bench(), "mean", features=["0"], draws=20)
    with pytest.raises(InputError, match=r"effects\.jpg.*End it in \.svg"):
        plot(effects, tmp_path / "effects.jpg")
    with pytest.raises(InputError, match="outcome"):
        plot(effects, outcome="c")


def test_options_that_a_figure_does_not_have_are_refused() -> None:
    effects = knock_out(_bench(), "mean", features=["0"], draws=20)
    with pytest.raises(InputError, match=r"'mots'.*KnockoutEffects has no such option.*Did you mean 'most'"):
        plot(effects, mots=3)
    with pytest.raises(InputError, match=r"'most': 0.*at least 1"):
        plot(effects, most=0)


def test_the_curve_that_moves_most_is_drawn_where_none_is_named() -> None:
    found = dose_response(_bench(), features=["1", "0"], draws=20)
    reach = np.ptp(found.effect[:, :, 0], axis=1)
    ax = plot(found)
    assert ax.get_xlabel() == f"{found.features[int(np.argmax(reach))]}, clamped"


def test_what_lies_outside_support_is_said_below_every_figure() -> None:
    far = direct_effect(_bench(), 50.0, ["0", "1"], freeze=(), allow_off_support=True)
    assert "outside natural support: 2 features, 0 most (100%)" in " ".join(plot(far).get_xlabel().split())
    near = direct_effect(_bench(), "mean", ["0", "1"], freeze=())
    assert "support" not in plot(near).get_xlabel()
