"""Inputs people have: prompts in a table, pairs, imported labels, sampled outcomes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mrinterp.core.errors import InputError
from mrinterp.instruments.prompt_table import read_prompts
from mrinterp.outcomes._outcome import Sampling
from mrinterp.study import Study
from mrinterp.tables._labels import read_labels
from tests.study.page_text import undrawn_page
from tests.study.study_kinds import write_study
from tests.tiny import tiny_study, to_toml, write_tiny_study

needs_transformers = pytest.mark.needs("transformers")


def _pairs() -> pd.DataFrame:
    rows = []
    for f, (verb, place) in enumerate(
        (v, p)
        for v in ("saw", "liked", "sold", "painted", "found", "left")
        for p in ("house", "garden", "office", "train", "school", "market", "museum", "river")
    ):
        for person in ("teacher", "nurse", "driver", "child"):
            for good, bad in (("good", "bad"), ("fine", "dull")):
                rows.append(
                    (
                        f"the {person} {verb} the {good} {place}",
                        f"{f}",
                        f"the {person} {verb} the {bad} {place}",
                        f"{good}-{bad}",
                    )
                )
    return pd.DataFrame(rows, columns=["prompt", "family", "corrupted", "perturbation"])


def _write(folder: Path, encoder: Path, table: str, **changes: object) -> Path:
    study = tiny_study(encoder, **changes)
    study["prompts"] = {"table": table, "per_family": 4}
    study["splits"] = {"min_families": 12}
    study["instruments"] = {
        "noise": {"runs_per_prompt": 4, "directions_per_class": 4, "scale": 0.1},
        "placebo": {"count": 4},
    }
    path = folder / "study.toml"
    path.write_text(to_toml(study))
    return path


@needs_transformers
@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_clean_and_corrupted_pairs(suffix: str, tiny_encoder: Path, tmp_path: Path) -> None:
    frame = _pairs()
    if suffix == "csv":
        frame.to_csv(tmp_path / "pairs.csv", index=False)
    else:
        frame.to_json(tmp_path / "pairs.jsonl", orient="records", lines=True)
    study = Study.from_toml(_write(tmp_path, tiny_encoder, f"pairs.{suffix}"), tmp_path / "run")
    kinds = study.panel.runs["kind"].value_counts()
    assert kinds["pair"] == kinds["clean"]
    assert kinds["noise"] == 4 * kinds["clean"]
    assert set(study.estimates) >= {"ivw_pair", "ivw_noise", "within"}
    pair = study.sumstats["pair"]
    used = pair.instruments["kind"] == "pair"
    assert list(pair.instruments.loc[used, "instrument"]) == ["pair=fine-dull", "pair=good-bad"]
    assert np.isfinite(pair.beta[:, used]).all()


@needs_transformers
def test_imported_labels_reach_every_table(tiny_encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("feature,label\nencoder.layer.1:c00,politeness\n")
    path = write_tiny_study(tmp_path, tiny_encoder, features={"count": 6, "labels": "labels.csv"})
    study = Study.from_toml(path, tmp_path / "run")
    row = study.results[study.results["feature"] == "encoder.layer.1:c00"].iloc[0]
    assert row["label"] == "politeness"
    assert study.panel.labels[0] == "politeness"
    assert "politeness" in list(study.sumstats["noise"].traits["label"])
    assert "politeness" in undrawn_page(study)


@needs_transformers
def test_unknown_label_is_refused(tiny_encoder: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("feature,label\nencoder.layer.1:c77,politeness\n")
    path = write_tiny_study(tmp_path, tiny_encoder, features={"count": 6, "labels": "labels.csv"})
    with pytest.raises(InputError, match=r"encoder.layer.1:c77.*no such feature.*Did you mean"):
        Study.from_toml(path, tmp_path / "run").run()
    assert not (tmp_path / "run").exists()


@needs_transformers
def test_sampled_outcome_widens_the_errors(tiny_encoder: Path, tmp_path: Path) -> None:
    plain = {
        "name": "good_minus_bad",
        "positive": ["the good house", "fine"],
        "negative": ["the bad house", "dull"],
    }
    widths = {}
    for name, extra in {
        "exact": {},
        "judge": {"sampling": "normal", "noise": 0.05, "replicates": 2},
        "many": {"sampling": "normal", "noise": 0.05, "replicates": 50},
        "yes_no": {"sampling": "bernoulli", "noise": 0.05, "replicates": 4},
    }.items():
        folder = tmp_path / name
        folder.mkdir()
        path = write_study(folder, tiny_encoder, outcome={**plain, **extra})
        study = Study.from_toml(path, folder / "run")
        widths[name] = float(np.median(study.estimates["within"].se))
        if name != "exact":
            assert "gradient" not in study.estimates
            assert any(c["name"] == "gradient" and c["verdict"] == "not applicable" for c in study.checks)
            assert study.knockouts["shift"].noise_floor > 0
    assert widths["judge"] > 1.3 * widths["many"] > widths["exact"]


def test_draws_are_keyed_by_run_not_by_batch() -> None:
    judge = Sampling("normal", 3, 1.0, 0.0, seed=5)
    values = np.zeros((10, 2))
    together = judge.draw(values, 1, np.arange(10))
    apart = np.concatenate(
        [judge.draw(values[:3], 1, np.arange(3)), judge.draw(values[3:], 1, np.arange(3, 10))]
    )
    assert together.tobytes() == apart.tobytes()
    assert not np.allclose(together, judge.draw(values, 2, np.arange(10)))
    many = Sampling("bernoulli", 4000, 0.5, 0.0, seed=5).draw(np.array([[0.5]]), 1, np.arange(1))
    assert abs(many[0, 0] - 1 / (1 + np.exp(-1))) < 0.03


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("question\na\n", "no column 'prompt' (columns: 'question')".replace("(", r"\(").replace(")", r"\)")),
        ("prompt,famly\na,b\n", "column 'famly': unknown column. Did you mean 'family'"),
        ("prompt,family\na,f\n,f\n", "row 2, column 'prompt': empty"),
        ("prompt,family,corrupted\na,f,a\n", "row 1: corrupted equals prompt"),
        ("prompt,family\na,f\na,f\n", "row 2: repeats an earlier row"),
        ("prompt,family\n", "no rows"),
        ("", "cannot be read"),
    ],
)
def test_bad_prompt_tables(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_prompts(tmp_path / "p.csv")


def test_bad_jsonl_names_the_line(tmp_path: Path) -> None:
    (tmp_path / "p.jsonl").write_text(json.dumps({"prompt": "a", "family": "f"}) + "\n{broken\n")
    with pytest.raises(InputError, match=r"p\.jsonl, line 2: not JSON"):
        read_prompts(tmp_path / "p.jsonl")


@pytest.mark.parametrize(
    ("text", "message"),
    [("feature\nx\n", "no column 'label'"), ("feature,label\nx,a\nx,b\n", "row 2: 'x' appears twice")],
)
def test_bad_labels(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_labels(tmp_path / "l.csv")
