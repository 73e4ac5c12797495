"""Studies that perturb one filler, word, column or patch at a time, each in turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mrinterp.core.design import Design
from mrinterp.core.errors import InputError
from mrinterp.core.plan import read_plan
from mrinterp.core.plan_inputs import InstrumentsSection
from mrinterp.report.flow import _perturbation
from mrinterp.study import Study
from tests.inputs.input_nets import write_input_study
from tests.study.study_kinds import write_study
from tests.tiny import FILLERS, tiny_study

EACH = {"runs_per_prompt": 99, "saturation": True}


def _texts(folder: Path, encoder: Path, **kinds: Any) -> Design:
    noise = {"runs_per_prompt": 2, "directions_per_class": 2, "scale": 0.1}
    path = write_study(folder, encoder, instruments=({"noise": noise, "placebo": {"count": 2}} | kinds,))
    return Study.from_toml(path, folder / "run")._drawn_design()


def _done(design: Design, kind: str) -> np.ndarray:
    """Doses of a kind's runs of discovery against the clean prompt."""
    rows, columns = design.rows("discovery", (kind,)), design.columns(kind)
    clean = design.runs["clean"].to_numpy()[rows]
    return np.asarray(design.doses[rows][:, columns]) - np.asarray(design.doses[clean][:, columns])


@pytest.mark.needs("transformers")
def test_every_filler_stands_once_alone_against_the_clean_prompt(tmp_path: Path, tiny_encoder: Path) -> None:
    design = _texts(tmp_path, tiny_encoder, slot=EACH, deletion={"runs_per_prompt": 2, "saturation": True})
    runs, text = design.runs, design.inputs["text"].to_numpy()
    slots = runs[(runs["kind"] == "slot") & (runs["split"] == "discovery")]
    others = sum(len(words) - 1 for words in FILLERS.values())
    assert (slots.groupby("prompt").size() == others).all()
    for _, own in slots.groupby("prompt"):
        assert own["input"].nunique() == others
        clean = text[runs["input"].iloc[own["clean"].iloc[0]]].split()
        for words in text[own["input"]]:
            assert sum(a != b for a, b in zip(clean, words.split(), strict=True)) == 1
    assert (np.abs(_done(design, "slot")).sum(axis=1) <= 2).all(), "one filler in place of another"
    deleted = _done(design, "deletion")
    assert (deleted.sum(axis=1) == 1).all(), "one word"
    assert (deleted.sum(axis=0) > 0).all(), "some prompt begins at every place"
    number = runs[(runs["kind"] == "deletion") & (runs["split"] == "discovery")].groupby("prompt").size()
    assert (number == 2).all()


@pytest.mark.parametrize(
    ("kind", "edit", "of"), [("tokens", "masking", 8), ("table", "resampling", 5), ("images", "occlusion", 16)]
)  # fmt: skip
def test_arrays_are_perturbed_at_one_place_at_a_time(tmp_path: Path, kind: str, edit: str, of: int) -> None:
    path = write_input_study(tmp_path, kind, instruments={edit: EACH})
    design = Study.from_toml(path, tmp_path / "run", allow_code=True)._drawn_design()
    done = _done(design, edit) != 0
    assert (done.sum(axis=1) == 1).all()
    prompt = design.runs["prompt"].to_numpy()[design.rows("discovery", (edit,))]
    for own in np.unique(prompt):
        here = done[prompt == own]
        assert (here.sum(axis=0) <= 1).all(), "no place twice"
        assert len(here) == of or (kind == "tokens" and len(here) == 6), "every place (a third have padding)"


def test_designs_of_one_perturbation_are_compared_with_the_clean_run() -> None:
    kinds = InstrumentsSection.model_validate({"slot": EACH, "masking": {"runs_per_prompt": 3}})
    paired = [k for k in ("slot", "masking", "noise", "pair", "paraphrase", "occlusion") if kinds.paired(k)]
    assert paired == ["slot", "pair", "paraphrase"]
    plan = {"instruments": kinds.model_dump()}
    assert "one at a time, each in turn" in _perturbation("slot", plan)
    assert "drawn at random" in _perturbation("masking", plan)
    assert "levels" not in _perturbation("noise", plan)
    plan["instruments"]["noise"]["levels"] = [0.5, 2.0]
    assert _perturbation("noise", plan).endswith("every draw at levels 0.5, 2 of the dose, up and down")


def test_a_probability_beside_it_is_refused_and_plans_without_it_keep_their_hash() -> None:
    both = {"slot": {**EACH, "probability": 0.5}}
    with pytest.raises(InputError, match=r"'instruments\.slot\.probability': given together with saturation"):
        read_plan(tiny_study(Path("none"), instruments=both))
    assert "saturation" not in InstrumentsSection().model_dump(mode="json")["slot"]
    off = InstrumentsSection.model_validate({"masking": {"saturation": False}})
    assert off.model_dump(mode="json") == InstrumentsSection().model_dump(mode="json")
