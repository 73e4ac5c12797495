"""The planted GPT-2: a small one, trained for the test, names its cause and not its impostor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mrinterp import InputError, knock_out
from mrinterp.knockouts import Contrast
from mrinterp.positions import AllTokens, TokenClass
from mrinterp.worlds import PlantedText, planted_text
from tests.conftest import need

STEPS, FAMILIES = 120, 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("networks")


@pytest.fixture(scope="module")
def world(folder: Path) -> PlantedText:
    need("transformers")
    return planted_text(families=FAMILIES, features=6, steps=STEPS, folder=folder)


def test_sentences_hold_cue_and_decoy_of_their_levels_in_one_frame_per_family(world: PlantedText) -> None:
    texts = [t.split() for t in world.texts()]
    assert all(t[0] == "<start>" and t[-1] == "?" for t in texts)
    cues = ("awful", "bad", "poor", "fair", "good", "superb")
    decoys = ("mud", "rain", "fog", "breeze", "sun", "gold")
    for row, text in enumerate(texts):
        assert [w for w in text if w in cues] == [cues[world.cue[row]]]
        assert [w for w in text if w in decoys] == [decoys[world.decoy[row]]]
    free = {*cues, *decoys, "plainly", "hardly"}
    frames = [tuple(w if w not in free else "" for w in t) for t in texts]
    assert len(set(zip(world.family.tolist(), frames, strict=True))) == FAMILIES
    correlation = np.corrcoef(world.cue, world.decoy)[0, 1]
    assert 0.75 < correlation < 0.98


def test_network_has_learned_that_the_cue_decides(world: PlantedText) -> None:
    clean = world.bench(block=96).clean[:, 0]
    assert np.corrcoef(clean, world.log_odds)[0, 1] > 0.98


def test_cue_matters_and_decoy_does_not_at_its_own_word(world: PlantedText) -> None:
    everywhere, own_word = world.bench(block=96), world.bench(position=TokenClass(1), block=96)
    effects = {
        name: knock_out(bench, Contrast(), name, draws=2).mean[0, 0] / bench.clean.std()
        for name, bench in (("cue", everywhere), ("decoy", own_word))
    }
    assert effects["cue"] > 1
    assert abs(effects["decoy"]) < 0.1 * effects["cue"]


def test_reading_what_was_written_is_the_identity(world: PlantedText) -> None:
    view = world.view
    np.testing.assert_allclose(view.read_rows @ view.write_rows.T, np.eye(6), atol=1e-9)
    assert world.bench(position=AllTokens(), block=96).values.shape == (FAMILIES * 4, 12, 6)


def test_same_arguments_give_the_same_network_kept_or_not(world: PlantedText, folder: Path) -> None:
    kept = planted_text(families=FAMILIES, features=6, steps=STEPS, folder=folder)
    assert kept.adapter.hash == world.adapter.hash
    short, again = (planted_text(families=2, features=3, steps=2).adapter.hash for _ in range(2))
    assert short == again != world.adapter.hash


def test_hardly_damps_what_the_cue_does() -> None:
    need("transformers")
    made = planted_text("damped", families=20, features=4, steps=2)
    hardly = np.array(["hardly" in t for t in made.texts()])
    odds = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])[made.cue]
    np.testing.assert_allclose(made.log_odds, np.where(hardly, 0.3, 1) * odds)


@pytest.mark.parametrize(
    ("wrong", "word"), [({"task": "xor"}, "task"), ({"features": 2}, "features"), ({"steps": 0}, "steps")]
)
def test_bad_arguments_are_refused(wrong: dict[str, object], word: str) -> None:
    with pytest.raises(InputError, match=word):
        planted_text(**wrong)  # type: ignore[arg-type]
