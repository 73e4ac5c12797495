"""Prompt tables as the field's datasets have them: columns found by name, families found by grouping, answers of each prompt."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mrinterp.core.errors import InputError
from mrinterp.core.plan import Plan, read_plan
from mrinterp.instruments.families_found import each_its_own, families_in_words, found_families
from mrinterp.instruments.prompt_table import prompt_table_design, prompts_in_words, read_prompts

IOI = (
    ",clean,corrupted,corrupted_hard,correct_idx,incorrect_idx\n"
    '826,"When Amy and Laura got a snack, Laura gave it to","When Amy and Laura got a snack, Rob gave it to",x,14235,16753\n'
    '475,"Then, Ann and Al had fun. Al gave a ring to","Then, Ann and Al had fun. Jim gave a ring to",x,39808,6858\n'
)
AGREEMENT = (
    '{"clean_prefix": "The uncle", "patch_prefix": "The uncles", "clean_answer": " has", "patch_answer": " have", "case": "s"}\n'
    '{"clean_prefix": "The guys", "patch_prefix": "The guy", "clean_answer": " have", "patch_answer": " has", "case": "p"}\n'
)
HYPERNYMS = (
    "clean,hypernym,answers_idx,corrupted,corrupted_answers_idx\n"
    '", gems and other",gem,"[16840, 23685]",", aunts and other","[12772, 1641]"\n'
    '", cats and other",animal,[4695],", deans and other","[7018]"\n'
)
DATASETS: dict[str, tuple[str, str, dict[str, str], list[str]]] = {
    "indirect objects (EAP-IG)": (
        "ioi.csv",
        IOI,
        {"prompt": "clean", "corrupted": "corrupted", "label": "correct_idx", "wrong": "incorrect_idx"},
        ["Unnamed: 0", "corrupted_hard"],
    ),
    "subject-verb agreement (feature circuits)": (
        "simple_test.json",
        AGREEMENT,
        {
            "prompt": "clean_prefix",
            "corrupted": "patch_prefix",
            "label": "clean_answer",
            "wrong": "patch_answer",
        },
        ["case"],
    ),
    "greater-than (EAP-IG)": (
        "gt.csv",
        "clean,corrupted,correct_idx\nThe war of 1741 to 17,The war of 1701 to 17,41\n",
        {"prompt": "clean", "corrupted": "corrupted", "label": "correct_idx"},
        [],
    ),
    "agreement by construction (EAP-IG)": (
        "sva.csv",
        "clean,corrupted,group,plural\nThe poems,The poem,simple,1\n",
        {"prompt": "clean", "corrupted": "corrupted", "family": "group"},
        ["plural"],
    ),
    "hypernyms, several answers (EAP-IG)": (
        "hypernymy.csv",
        HYPERNYMS,
        {
            "prompt": "clean",
            "corrupted": "corrupted",
            "label": "answers_idx",
            "wrong": "corrupted_answers_idx",
        },
        ["hypernym"],
    ),
    "RAVEL-like": (
        "ravel.jsonl",
        json.dumps({"base": "Paris is in", "source": "Rome is in", "label": " Italy"}) + "\n",
        {"prompt": "base", "corrupted": "source", "label": "label"},
        [],
    ),
    "MIB style": (
        "mib.jsonl",
        json.dumps(
            {"Prompt": "A b", "Counterfactual": "A c", "Answer": 3, "Wrong Answer": 4, "template": "t"}
        ),
        {
            "prompt": "Prompt",
            "corrupted": "Counterfactual",
            "label": "Answer",
            "wrong": "Wrong Answer",
            "family": "template",
        },
        [],
    ),
    "a list of objects": (
        "all.json",
        json.dumps([{"text": "a", "target": " b", "foil": " c", "topic": 1}]),
        {"prompt": "text", "label": "target", "wrong": "foil", "family": "topic"},
        [],
    ),
}


@pytest.mark.parametrize("name", DATASETS)
def test_columns_are_found_by_name_and_what_was_read_is_said(name: str, tmp_path: Path) -> None:
    file, text, read, left_out = DATASETS[name]
    (tmp_path / file).write_text(text)
    table = read_prompts(tmp_path / file)
    assert table.read == read
    assert sorted(table.left_out) == sorted(left_out)
    assert table.facts["prompts"]["read"] == read
    assert set(table.frame) == {*read, "family"}
    assert bool(table.families) == ("family" not in read)


def test_cells_keep_what_they_hold(tmp_path: Path) -> None:
    for file, text in (("a.csv", HYPERNYMS), ("b.json", AGREEMENT), ("c.csv", "prompt,family\nNA,null\n")):
        (tmp_path / file).write_text(text)
    several = read_prompts(tmp_path / "a.csv").frame
    assert several["label"].tolist() == ["[16840, 23685]", "[4695]"]
    assert several["wrong"].tolist() == ["[12772, 1641]", "[7018]"]
    assert read_prompts(tmp_path / "b.json").frame["label"].tolist() == [" has", " have"]
    assert read_prompts(tmp_path / "c.csv").frame.iloc[0].tolist() == ["NA", "null"]


@pytest.mark.parametrize(
    ("head", "columns", "message"),
    [
        (
            "clean,prompt",
            {},
            r"'clean' and 'prompt' can each be the clean prompt.*prompts\.columns = \{prompt = ",
        ),
        ("clean,clean_answer_idx,label", {}, "'clean_answer_idx' and 'label' can each be the right answer"),
        ("clean,lable", {}, "column 'lable': unknown column. Did you mean 'label'"),
        ("clean,corupted", {}, "column 'corupted': unknown column. Did you mean 'corrupted'"),
        ("clean,x", {"wrong": "y"}, r"prompts\.columns, 'wrong': no column 'y' in p\.csv"),
        ("clean,x", {"foil": "x"}, r"prompts\.columns, 'foil': is nothing that a study reads"),
        ("plural,x", {}, r"no column 'prompt' \(columns: 'plural', 'x'\)"),
    ],
)
def test_doubtful_columns_are_refused_with_their_names(
    head: str, columns: dict[str, str], message: str, tmp_path: Path
) -> None:
    (tmp_path / "p.csv").write_text(
        f"{head}\n" + ",".join(f"c{i}" for i in range(head.count(",") + 1)) + "\n"
    )
    with pytest.raises(InputError, match=message):
        read_prompts(tmp_path / "p.csv", columns)


def test_a_plan_can_say_which_column_is_meant(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("clean,clean_answer_idx,label,text\na b,5,0,c d\n")
    table = read_prompts(tmp_path / "p.csv", {"label": "clean_answer_idx", "prompt": "text"})
    assert table.frame.loc[0, ["prompt", "label"]].tolist() == ["c d", "5"]
    assert table.left_out == ("clean", "label")


def test_a_table_of_plain_columns_has_the_design_it_had(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text("prompt,family,label\na,f,x\n")
    assert read_prompts(tmp_path / "p.csv").facts == {}


NAMES = ["Amy", "Laura", "Dan", "Andrew", "Tony", "Jose", "Sean", "Ness", "Crystal", "Dustin", "Sarah", "Kim"]
TEMPLATES = (
    "Then, {b} and {a} went to the {p}. {b} gave a {o} to",
    "Then, {b} and {a} had a lot of fun at the {p}. {b} gave a {o} to",
    "Then, {b} and {a} were working at the {p}. {b} decided to give a {o} to",
    "Then, {b} and {a} were thinking about going to the {p}. {b} wanted to give a {o} to",
    "Then, {b} and {a} had a long argument, and afterwards {b} said to",
    "When {b} and {a} got a {o} at the {p}, {b} decided to give it to",
    "It rained all day long while {b} and {a} stayed home, so that nobody heard what {b} told",
    "Which {o} did the old man from the {p} promise before leaving {b} alone with",
)


def _indirect_objects(count: int) -> tuple[list[str], list[int]]:
    draw = random.Random(1)
    texts, made_of = [], []
    for _ in range(count):
        (a, b), k = draw.sample(NAMES, 2), draw.randrange(len(TEMPLATES))
        words = {"p": draw.choice(["grocery store", "school", "office"]), "o": draw.choice(["ring", "bone"])}
        texts.append(TEMPLATES[k].format(a=a, b=b, **words))
        made_of.append(k)
    return texts, made_of


def test_templates_are_found_by_the_words_that_prompts_share() -> None:
    texts, made_of = _indirect_objects(300)
    found, said = found_families(texts)
    pairs = set(zip(made_of, found, strict=True))
    assert len({f for _, f in pairs}) == len(TEMPLATES) == len(pairs)
    assert "8 templates found among" in said
    order = np.random.default_rng(0).permutation(len(texts))
    again, _ = found_families([texts[i] for i in order])
    assert len(set(zip((found[i] for i in order), again, strict=True))) == len(TEMPLATES)


def test_further_prompts_join_the_templates_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    texts, made_of = _indirect_objects(300)
    texts.append("Nothing like any of them at all.")
    monkeypatch.setattr("mrinterp.instruments.families_found.AT_ONCE", 80)
    found, said = found_families(texts)
    assert len(set(zip([*made_of, 99], found, strict=True))) == 9
    assert "1 prompts are like no other" in said


def test_each_prompt_its_own_family() -> None:
    assert each_its_own(["a", "b", "a"]) == ["prompt00000", "prompt00001", "prompt00000"]


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (39, "too few for any claim"),
        (40, "a small study"),
        (159, "grade C at most"),
        (160, "claims of any grade"),
    ],
)
def test_what_a_number_of_families_buys(count: int, said: str) -> None:
    sentence = families_in_words(count)
    assert said in sentence
    if count < 160:
        assert "10 in each split and 40 in all" in sentence
        assert "160 also estimates by instruments" in sentence
    assert "them all" in families_in_words(80, by_contrasts=False)


def _plan(**prompts: Any) -> Plan:
    plan, _ = read_plan(
        {
            "title": "t",
            "model": {"folder": ".", "site": "s"},
            "outcome": {"name": "o", "kind": "answer_difference"},
            "prompts": {"table": "ioi.csv", **prompts},
            "splits": {"min_families": 2},
            "estimation": {"rests_on": "mr"},
        }
    )
    return plan


def test_a_design_keeps_what_was_read_and_says_it(tmp_path: Path) -> None:
    texts, _ = _indirect_objects(80)
    rows = [f'"{t}","{t} Bob",{i},{i + 1},note' for i, t in enumerate(dict.fromkeys(texts))]
    (tmp_path / "ioi.csv").write_text(
        "clean,corrupted,correct_idx,incorrect_idx,more\n" + "\n".join(rows) + "\n"
    )
    design = prompt_table_design(_plan(), tmp_path, lambda: 3)
    kept = design.settings["prompts"]
    assert kept["left_out"] == ["more"]
    assert kept["read"]["wrong"] == "incorrect_idx"
    assert {"label", "wrong"} <= set(design.inputs)
    said = prompts_in_words(design)
    assert said[0].startswith(
        "columns read: 'clean' as the clean prompt, 'corrupted' as its corrupted partner"
    )
    assert "not read: 'more'" in said[0]
    assert "8 templates found" in said[1]
    assert said[2].startswith("8 families")
    pair = design.runs["kind"].eq("pair").to_numpy()
    own = design.inputs.loc[design.runs["input"][pair], "label"].to_numpy()
    clean = design.inputs.loc[design.runs["input"].to_numpy()[design.runs["clean"][pair]], "label"].to_numpy()
    assert (own == clean).all(), "a corrupted run is held against its clean prompt's answers"
    each = prompt_table_design(_plan(families="each"), tmp_path, lambda: 3)
    assert each.runs["family"].nunique() == each.runs["prompt"].nunique() > 8
