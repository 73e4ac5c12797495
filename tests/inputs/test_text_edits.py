"""Instruments that edit words of texts: what is done where, and that token classes stay with their words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mrinterp.core.design import Design
from mrinterp.core.errors import InputError
from mrinterp.instruments.word_edits import Edited, text_words
from mrinterp.report.chosen import scale_in_words
from mrinterp.study import Study
from tests.study.study_kinds import prompt_table, write_study
from tests.tiny import FILLERS, save_tiny_encoder

KINDS = ("substitution", "deletion", "swap", "resampling")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_encoder(tmp_path_factory.mktemp("encoder"))


def _instruments(**kinds: Any) -> tuple[dict[str, Any]]:
    noise = {"runs_per_prompt": 2, "directions_per_class": 2, "scale": 0.1}
    made = {"slot": {"runs_per_prompt": 1}, "noise": noise, "placebo": {"count": 2}}
    return (made | kinds,)


def _opened(folder: Path, encoder: Path, **changes: Any) -> tuple[Study, Design]:
    study = Study.from_toml(write_study(folder, encoder, **changes), folder / "run", allow_code=True)
    return study, study._drawn_design()


def test_words_and_what_stands_between_them() -> None:
    words = text_words("The old, wise nurse (from Oslo) didn't stay.", {"person": (14, 19)})
    assert words.words == ("The", "old", "wise", "nurse", "from", "Oslo", "didn't", "stay")
    assert words.place[3] == "person"
    assert words.place[4] == "word4", "slots are not counted"
    whole = Edited(tuple(zip(words.words, range(8), strict=True)), ())
    assert words.text(whole) == ("The old, wise nurse (from Oslo) didn't stay.", words.text(whole)[1])
    left = Edited(tuple((w, i) for i, w in enumerate(words.words) if i != 2), ())
    text, spans = words.text(left)
    assert text == "The old nurse (from Oslo) didn't stay."
    assert text[slice(*spans["person"])] == "nurse"


def test_every_kind_does_what_its_instruments_say_and_classes_stay_with_words(
    tmp_path: Path, encoder: Path
) -> None:
    kinds = {k: {"runs_per_prompt": 2} for k in KINDS}
    study, design = _opened(tmp_path, encoder, instruments=_instruments(**kinds))
    inputs = study._opened.inputs(design)
    names = list(inputs.class_names)
    classes = inputs.classes.numpy()
    text = design.inputs["text"].to_numpy()
    instruments = design.instruments["instrument"].to_numpy()
    edits = design.instruments["kind"].isin(KINDS).to_numpy()
    fillers = {w for words in FILLERS.values() for w in words}
    seen = dict.fromkeys(KINDS, 0)
    for run in design.runs.itertuples():
        if run.kind not in KINDS:
            assert not design.doses[run.run, edits].any()
            continue
        seen[run.kind] += 1
        clean = design.runs["input"].iloc[run.clean]
        before, after = text[clean].split(), text[run.input].split()
        done = instruments[edits & (design.doses[run.run] != 0)]
        assert len(done)
        assert all(n.startswith(f"{run.kind}:") for n in done)
        if run.kind == "deletion":
            assert len(after) == len(before) - len(done)
            assert {after[0], after[-1]} == {before[0], before[-1]}
            assert set(before) - set(after) <= set(before) - fillers
        else:
            assert len(after) == len(before)
            assert after != before
            if run.kind == "swap":
                assert sorted(after) == sorted(before)
        own = design.inputs.iloc[run.input]
        for slot in FILLERS:
            word = own["text"][own[f"{slot}_start"] : own[f"{slot}_end"]]
            place = classes[run.input] == names.index(slot)
            assert word.split()[0] in (fillers if run.kind != "substitution" else {word})
            # The slot's class lies where its word lies, unless that is the first or the last token.
            assert place.sum() == 1
    assert min(seen.values()) >= 144
    # What splits read of each other: rows of a split lie together, noise comes in pairs.
    for split in ("discovery", "estimation", "replication"):
        assert (np.diff(design.rows(split)) == 1).all()
    noise = design.rows("discovery", ("noise",))
    columns = design.columns("noise")
    np.testing.assert_array_equal(
        design.doses[noise[::2]][:, columns], -design.doses[noise[1::2]][:, columns]
    )


def test_words_of_the_vocabulary_are_single_tokens_like_the_word(tmp_path: Path, encoder: Path) -> None:
    study, design = _opened(tmp_path, encoder, instruments=_instruments(substitution={"runs_per_prompt": 3}))
    network = study._opened
    words = network.one_token_words()
    assert not {"[PAD]", "[UNK]", "[CLS]", "[SEP]"} & set(words)
    ids = [network.tokenizer(f" {w}", add_special_tokens=False)["input_ids"] for w in words]
    assert all(len(i) == 1 for i in ids)
    assert ids == sorted(ids), "by number, which goes by frequency"
    text = design.inputs["text"].to_numpy()
    for run in design.runs[design.runs["kind"] == "substitution"].itertuples():
        clean = design.runs["input"].iloc[run.clean]
        for old, new in zip(text[clean].split(), text[run.input].split(), strict=True):
            assert new == old or (new in words and abs(len(new) - len(old)) <= 1)


def test_a_list_says_what_stands_for_what(tmp_path: Path, encoder: Path) -> None:
    listed = {"saw": ["liked", "sold"], "house": ["train"], "good": ["bad"]}
    _, design = _opened(
        tmp_path, encoder, instruments=_instruments(substitution={"runs_per_prompt": 2, "words": listed})
    )
    names = design.instruments.loc[design.instruments["kind"] == "substitution", "instrument"]
    assert set(names) == {
        "substitution:good>bad",
        "substitution:house>train",
        "substitution:saw>liked",
        "substitution:saw>sold",
    }
    has = design.runs[design.runs["kind"] == "substitution"]
    text = design.inputs["text"].to_numpy()
    clean = design.runs["input"].to_numpy()[has["clean"].to_numpy()]
    assert all(set(listed) & set(text[c].split()) for c in clean), (
        "a prompt without such a word has no such run"
    )


def test_without_a_mask_token_masking_is_refused_with_one_it_writes_it(tmp_path: Path, encoder: Path) -> None:
    study, _ = _opened(tmp_path, encoder, instruments=_instruments())
    path = write_study(tmp_path, encoder, instruments=_instruments(masking={"runs_per_prompt": 2}))
    masked = Study.from_toml(path, tmp_path / "run")
    with pytest.raises(InputError, match="the tokenizer has no mask token"):
        masked._drawn_design()
    masked._opened.tokenizer.add_special_tokens({"mask_token": "[MASK]"})
    design = masked._drawn_design()
    inputs = masked._opened.inputs(design)
    rows = design.runs.loc[design.runs["kind"] == "masking", "input"].to_numpy()
    ids = inputs.tensors["input_ids"].numpy()[rows]
    places = (ids == masked._opened.tokenizer.mask_token_id).sum(axis=1)
    edits = design.columns("masking")
    done = (design.doses[design.rows("discovery", ("masking",))][:, edits] != 0).sum(axis=1)
    assert (places[: len(done)] == done).all()
    assert study.plan.digest != masked.plan.digest


def test_prompts_of_a_table_are_edited_and_a_study_rests_on_it(tmp_path: Path, encoder: Path) -> None:
    (tmp_path / "prompts.csv").write_text(prompt_table())
    study = run_study_results(
        tmp_path,
        encoder,
        prompts=({"table": "prompts.csv", "per_family": 3},),
        instruments=_instruments(
            deletion={"runs_per_prompt": 3},
            resampling={"runs_per_prompt": 3},
            slot={"runs_per_prompt": 0},
            noise={"runs_per_prompt": 4, "directions_per_class": 2, "scale": 0.1, "levels": [0.5, 1.0]},
        ),
        estimation={"kind": "resampling"},
        knockouts={"random_controls": 0, "kinds": ["resample"]},
    )
    assert set(study.sumstats) == {"noise", "deletion", "resampling"}
    assert {"within", "ivw_resampling", "replication_deletion"} <= set(study.estimates)
    assert study.results["effect"].notna().all()
    assert any(c["name"].startswith("in proportion to the dose") for c in study.checks)
    path = study.scale_path
    assert isinstance(path, pd.DataFrame)
    assert path["families"].iloc[0] == 12, "all families of the split: none is run again at half the scale"
    assert scale_in_words(study).startswith("At level 0.5 of the noise, against level 1, on 12 families")


def test_paraphrases_of_a_table_are_runs_of_their_own(tmp_path: Path, encoder: Path) -> None:
    import json

    lines = []
    for i, line in enumerate(prompt_table().splitlines()[1:]):
        prompt, family = line.split(",")
        words = prompt.split()
        other = [" ".join([*words[4:], "was", *words[:4]]), f"indeed {prompt}"][: 1 + i % 2]
        lines.append(json.dumps({"prompt": prompt, "family": family, "paraphrase": other}))
    (tmp_path / "prompts.jsonl").write_text("\n".join(lines))
    table = ({"table": "prompts.jsonl", "per_family": 3},)
    _, design = _opened(
        tmp_path, encoder, prompts=table, instruments=_instruments(), estimation={"kind": "paraphrase"}
    )
    runs = design.runs[design.runs["kind"] == "paraphrase"]
    given = {json.loads(line)["prompt"]: json.loads(line)["paraphrase"] for line in lines}
    text, names = design.inputs["text"].to_numpy(), design.instruments["instrument"].to_numpy()
    for run in runs.itertuples():
        clean = text[design.runs["input"].iloc[run.clean]]
        done = [n for n in names[design.doses[run.run] != 0] if not n.startswith("placebo")]
        number = int(done[0].removeprefix("paraphrase:"))
        assert len(done) == 1
        assert text[run.input] == given[clean][number - 1]
    assert set(names[design.columns("paraphrase")]) == {"paraphrase:1", "paraphrase:2"}
    (tmp_path / "prompts.csv").write_text(prompt_table())
    asked = _instruments(paraphrase={"runs_per_prompt": 2})
    for prompts in (({"table": "prompts.csv"},), {}):
        with pytest.raises(InputError, match="paraphrase"):
            _opened(tmp_path, encoder, prompts=prompts, instruments=asked)


def run_study_results(folder: Path, network: Path, **changes: Any) -> Study:
    """A study carried out up to its results, without figures and page."""
    study = Study.from_toml(write_study(folder, network, **changes), folder / "run", allow_code=True)
    assert len(study.results)
    return study
