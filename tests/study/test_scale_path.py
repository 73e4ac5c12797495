"""Effects at the scale of the noise and at half of it: curvature, its errors, and where a study shows it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mrinterp.core.panel import Panel
from mrinterp.study import Study

pytestmark = pytest.mark.needs("transformers")


class TestScalePath:
    """Half the scale of the noise beside it: what differs is curvature."""

    def _panels(self, cubic: float, seed: int = 0, noise: float = 0.0) -> tuple[Panel, Panel]:
        rng = np.random.default_rng(seed)
        families, prompts, runs = 20, 2, 12
        N = families * prompts * (runs + 1)
        kind = np.tile(["clean"] + ["noise"] * runs, families * prompts)
        frame = pd.DataFrame(
            {
                "run": np.arange(N),
                "prompt": np.repeat(np.arange(families * prompts), runs + 1),
                "family": np.repeat(np.arange(families), prompts * (runs + 1)),
                "split": "estimation",
                "kind": kind,
            }
        )
        doses = rng.standard_normal((N, 3)) * (kind != "clean")[:, None]
        slope = np.repeat(1 + 0.2 * rng.standard_normal(families), prompts * (runs + 1))

        def made(scale: float) -> Panel:
            x = doses @ np.array([[1.0, 0.3, 0.0], [0.0, 1.0, 0.2], [0.0, 0.0, 1.0]]) * scale
            y = slope * x[:, 0] + 0.5 * x[:, 1] + cubic * x[:, 1] ** 3 + noise * rng.standard_normal(N)
            table = pd.DataFrame(
                {
                    "instrument": list("abc"),
                    "kind": "noise",
                    "locus": "rest",
                    "allele": list("abc"),
                    "unit": "sd",
                    "placebo": False,
                }
            )
            return Panel(
                runs=frame,
                doses=doses.astype(np.float32),
                features=x,
                bypass=np.zeros((N, 0)),
                outcomes=y[:, None],
                instruments=table,
                feature_names=("f", "g", "h"),
                outcome_names=("y",),
            )

        return made(1.0), made(0.5)

    def test_a_straight_effect_is_no_curvature_and_a_bent_one_is(self) -> None:
        from mrinterp.effects._scale_path import scale_path

        bent = scale_path(*self._panels(0.4), runs_per_column=6).set_index("feature")
        assert bent.loc["g", "curvature"]
        assert bent.loc["g", "change"] < -0.3, "the cube adds less at half the scale"
        np.testing.assert_allclose(bent["change"], bent["half"] - bent["full"], atol=1e-9)
        assert not scale_path(*self._panels(0.0), runs_per_column=6)["curvature"].any(), "rounding"
        flags = np.concatenate(
            [scale_path(*self._panels(0.0, s, 0.1), runs_per_column=6)["curvature"] for s in range(30)]
        )
        assert flags.mean() < 0.12, "one in twenty by chance"

    def test_errors_know_that_the_runs_are_the_same(self) -> None:
        from mrinterp.effects._scale_path import scale_path

        found = scale_path(*self._panels(0.4), runs_per_column=6).set_index("feature")
        apart = np.hypot(found["half_se"], found["full_se"])
        assert (found["change_se"] < 0.7 * apart).loc["f"], "the slope differs between families, not scales"

    def test_runs_are_put_in_their_places(self) -> None:
        from mrinterp.effects._scale_path import with_runs_of

        whole, half = self._panels(0.4)
        rows = np.flatnonzero(((whole.runs["kind"] == "noise") & (whole.runs["family"] < 7)).to_numpy())
        part = replace(
            half,
            runs=half.runs.iloc[rows[::-1]].reset_index(drop=True),
            doses=half.doses[rows[::-1]],
            features=half.features[rows[::-1]],
            bypass=half.bypass[rows[::-1]],
            outcomes=half.outcomes[rows[::-1]],
        )
        full, less = with_runs_of(whole, part)
        assert set(full.runs["family"]) == set(range(7))
        kept = (whole.runs["family"] < 7).to_numpy()
        np.testing.assert_array_equal(full.features, whole.features[kept])
        np.testing.assert_array_equal(less.features, half.features[kept])

    def test_a_finished_study_keeps_and_shows_it(self, finished_run: Path) -> None:
        from mrinterp.report.chosen import scale_in_words

        study = Study.open(finished_run)
        path = study.scale_path
        assert isinstance(path, pd.DataFrame)
        assert len(path) == 6
        assert path["families"].iloc[0] == 10
        assert "At half the scale of the noise, on 10 families" in scale_in_words(study)
        page = (finished_run / "report.html").read_text()
        assert "MR at half the scale of the noise" in page
