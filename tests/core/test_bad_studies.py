"""Bad input: one clear message that names the place and the fix, exit code 2, nothing half-written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import mrinterp
from mrinterp.cli import cli
from tests.tiny import FILLERS, write_tiny_study
from tests.warm_cli import command

CASES: list[tuple[str, dict[str, Any], int, tuple[str, ...]]] = [
    (
        "unknown site",
        {"model": {"site": "encoder.layr.1"}},
        160,
        ("encoder.layr.1", "no such module", "encoder.layer.1"),
    ),
    (
        "unknown key",
        {"model": {"padded_lenght": 9}},
        160,
        ("model.padded_lenght", "unknown key", "padded_length"),
    ),
    (
        "one filler",
        {"prompts": {"fillers": {**FILLERS, "when": ["today"]}}},
        160,
        ("prompts.fillers.when", "1 filler", "at least two"),
    ),
    ("too few families", {}, 30, ("splits.discovery", "8 families", "at least 10 in each split, 40 in all")),
    (
        "sentence too long",
        {"model": {"padded_length": 8}},
        160,
        ("padded length 8", "Set model.padded_length to"),
    ),
    (
        "more padding than positions",
        {"model": {"padded_length": 25}},
        160,
        ("model.padded_length: 25 tokens", "the network has 24 positions", "24 or less"),
    ),
    (
        "perturbation that never changes the site",
        {"model": {"embedding": "encoder.layer.2"}},
        160,
        ("encoder.layer.2", "has no weight"),
    ),
    (
        "fillers the tokenizer cannot tell apart",
        {"prompts": {"fillers": {**FILLERS, "when": ["qqq", "zzz"]}}},
        160,
        ("instrument 'when=zzz'", "never changes the site", "filler"),
    ),
    ("missing model", {"model": {"folder": "nowhere"}}, 160, ("model.folder", "config.json")),
    (
        "too many features",
        {"features": {"count": 400}},
        160,
        ("features.count", "400 components", "at most 24"),
    ),
    (
        "anchors that cancel",
        {"outcome": {"negative": ["the good house", "fine"]}},
        160,
        ("good_minus_bad", "same mean"),
    ),
    ("wrong type", {"seed": "zero"}, 160, ("seed", "valid integer")),
]


@pytest.mark.needs("transformers")
@pytest.mark.parametrize(("name", "changes", "families", "words"), CASES, ids=[c[0] for c in CASES])
def test_bad_study(
    name: str,
    changes: dict[str, Any],
    families: int,
    words: tuple[str, ...],
    tiny_encoder: Path,
    tmp_path: Path,
) -> None:
    study = write_tiny_study(tmp_path, tiny_encoder, families, **changes)
    out = tmp_path / "out"
    done = CliRunner().invoke(cli, ["run", str(study), "--out", str(out)])
    assert done.exit_code == 2, done.output
    assert isinstance(done.exception, SystemExit)
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    for word in words:
        assert word in done.stderr, f"{word!r} not in {done.stderr!r}"
    assert not out.exists(), sorted(out.rglob("*"))


@pytest.mark.needs("transformers")
def test_noise_downstream_of_the_site_is_refused(tiny_encoder: Path, tmp_path: Path) -> None:
    """An embedding that is perturbed after the site was computed never changes it."""
    from mrinterp.core.errors import InputError
    from mrinterp.study import Study

    path = write_tiny_study(
        tmp_path, tiny_encoder, instruments={"slot": {"runs_per_prompt": 0}, "noise": {"scale": 1e-30}}
    )
    with pytest.raises(
        InputError, match=r"instruments.noise: never changes the site .*a batch of 32 prompts"
    ):
        Study.from_toml(path, tmp_path / "out").run()
    assert not (tmp_path / "out").exists(), "one batch shows it, before the first pass"


def test_missing_study_file_and_broken_toml(tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("title = \n")
    for name, word in (("nowhere.toml", "no such study file"), ("broken.toml", "not valid TOML")):
        done = command("run", tmp_path / name, cwd=tmp_path)
        assert done.returncode == 2
        assert word in done.stderr
        assert "Traceback" not in done.stderr
        assert not (tmp_path / "runs").exists()


def _arrays() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    prompt = np.repeat(np.arange(8), 4)
    return {
        "doses": rng.standard_normal((32, 3)),
        "features": rng.standard_normal((32, 2)),
        "outcomes": rng.standard_normal(32),
        "prompt": prompt,
        "family": prompt // 2,
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outcomes": np.zeros(31)}, r"outcomes: 31 rows; features has 32"),
        ({"family": np.arange(32)}, r"family: prompt .* is in 4 families"),
        ({"features": np.full((32, 2), np.nan)}, r"features, row 0, column 'x0': value nan"),
        ({"features": np.full((32, 2), "a")}, r"features: text .*Give numbers"),
        ({"clean": np.arange(32) == 0}, r"clean runs. Give every prompt exactly one"),
        ({"feature_names": ["a", "a"]}, r"'a' appears twice"),
        ({"placebo": ["q"]}, r"'q' is not an instrument"),
        ({"family": np.zeros(32)}, r"1 family"),
    ],
)
def test_bad_arrays(change: dict[str, Any], message: str) -> None:
    with pytest.raises(mrinterp.InputError, match=message):
        mrinterp.mr.within(mrinterp.from_arrays(**{**_arrays(), **change}))


def test_more_columns_than_runs() -> None:
    arrays = _arrays()
    arrays["bypass"] = np.random.default_rng(1).standard_normal((32, 40))
    with pytest.raises(mrinterp.InputError, match=r"32 perturbed runs for 42 columns"):
        mrinterp.mr.within(mrinterp.from_arrays(**arrays))
