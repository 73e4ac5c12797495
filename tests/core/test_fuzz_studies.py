"""Mutated study files: read, designed and opened, or refused with one message; never a traceback."""

from __future__ import annotations

import random
import traceback
from pathlib import Path

import pytest

from mrinterp.core.errors import InputError
from mrinterp.core.plan import read_plan, study_path
from mrinterp.instruments.design import make_design
from tests.tiny import templates, tiny_study, to_toml

MUTANTS = 400
JUNK = [
    "0", "-1", "1e400", "nan", "true", '""', '"x"', "[]", "[1]", '["a", "a"]', "{}", "1979-05-27", '"../.."', "'''",
    "99999999999999999999", '"\\u0000"', '"encoder.layer.9"', '"noise"', '"CR9"',
]  # fmt: skip


def _mutate(text: str, rng: random.Random) -> bytes:
    lines = text.splitlines()
    for _ in range(rng.randint(1, 3)):
        i = rng.randrange(len(lines))
        kind = rng.randrange(8)
        if kind == 0:
            del lines[i]
        elif kind == 1:
            lines.insert(i, lines[rng.randrange(len(lines))])
        elif kind == 2 and "=" in lines[i]:
            lines[i] = lines[i].split("=")[0] + "= " + rng.choice(JUNK)
        elif kind == 3:
            lines[i] = lines[i][: rng.randint(0, len(lines[i]))]
        elif kind == 4:
            lines[i] = "".join(rng.sample(lines[i], len(lines[i])))
        elif kind == 5 and "=" in lines[i]:
            lines[i] = lines[i].replace("=", "x =", 1)
        elif kind == 6:
            lines[i] = lines[i].replace("2", str(rng.choice([0, -3, 10**9])))
        else:
            lines[i] += rng.choice(["#", "]", '"', "\\", "\t", "é", "\x00"])
        if not lines:
            lines = [""]
    data = "\n".join(lines).encode()
    if rng.random() < 0.05:
        data += bytes(rng.randrange(256) for _ in range(5))
    return data


def mutated_studies(folder: Path, count: int, seed: int = 0) -> tuple[int, int, list[str]]:
    """Mutate a study file again and again: how many are refused in one message, how many are designed, and the
    tracebacks of all others.

    ``benchmarks/damaged_folders.py`` does more of them.
    """
    rng = random.Random(seed)
    (folder / "templates.txt").write_text("\n".join(templates(160)) + "\n")
    text = to_toml(tiny_study(folder / "encoder"))
    path = folder / "study.toml"
    refused, accepted, others = 0, 0, []
    for number in range(count):
        path.write_bytes(_mutate(text, rng))
        try:
            plan, source = read_plan(path)
            if plan.prompts.per_family * max(1, plan.instruments.noise.runs_per_prompt) < 100:
                make_design(plan, source, lambda: 24)
            accepted += 1
        except InputError as error:
            refused += 1
            assert str(error).strip(), number
        except MemoryError:
            others.append(f"mutant {number} was designed before its size was checked")
        except Exception:
            others.append(f"mutant {number}: {traceback.format_exc()}")
    return refused, accepted, others


def test_mutated_study_files_end_in_a_message_or_a_design(tmp_path: Path) -> None:
    refused, accepted, others = mutated_studies(tmp_path, MUTANTS)
    assert not others, others[0]
    assert refused > MUTANTS / 3
    assert accepted > MUTANTS / 20


def test_mutated_templates_end_in_a_message_or_a_design(tmp_path: Path) -> None:
    rng = random.Random(1)
    lines = templates(160)
    (tmp_path / "study.toml").write_text(to_toml(tiny_study(tmp_path / "encoder")))
    plan, folder = read_plan(tmp_path / "study.toml")
    refused = 0
    for _ in range(150):
        (tmp_path / "templates.txt").write_bytes(_mutate("\n".join(lines), rng))
        try:
            make_design(plan, folder, lambda: 24)
        except InputError as error:
            refused += 1
            assert "templates.txt" in str(error) or "splits" in str(error)
    assert refused > 30


def test_null_characters_and_names_too_long_are_refused_with_their_key(tmp_path: Path) -> None:
    plan = tiny_study(tmp_path / "encoder")
    plan["prompts"] = plan["prompts"] | {"templates": "a\0b.txt"}
    with pytest.raises(InputError, match=r"key 'prompts.templates': holds a null character"):
        read_plan(plan)
    for name in ("a" * 5000, "a" * 5000 + ".toml"):
        with pytest.raises(InputError, match="no path"):
            study_path(name)
