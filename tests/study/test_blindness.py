"""No estimate before the blind knockouts: the order cannot be broken by reading, and a page says what was recorded."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mrinterp.core.errors import InputError
from mrinterp.core.history import OUTCOME_NUMBERS, order_of
from mrinterp.core.run_folder import RunFolder
from mrinterp.core.run_place import write_study_header
from mrinterp.core.storage import digest_files
from mrinterp.instruments import splits
from mrinterp.knockouts import Bench
from mrinterp.report.terminal import summary_text
from mrinterp.results._estimates import Estimates
from mrinterp.results._knockout_effects import KnockoutEffects
from mrinterp.study import STAGES, Study
from tests.study import finished_study
from tests.study.damages import undrawn
from tests.study.page_text import words_of, words_of_page
from tests.study.study_kinds import write_study

pytestmark = pytest.mark.needs("transformers")

CLAIM = "The knockouts were run on families of their own before any estimate existed"
DOUBT = "The knockouts are not shown to be blind"


@pytest.fixture(scope="module")
def straight(finished_run: Path) -> Path:
    """A run from beginning to end."""
    return finished_run


@pytest.fixture(scope="module")
def begun(tiny_study_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that has come as far as its candidates."""
    out = tmp_path_factory.mktemp("begun") / "run"
    Study.from_toml(tiny_study_file, out).bench()
    return out


def _copy(folder: Path, to: Path) -> Path:
    shutil.copytree(folder, to)
    return to


def _header(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "study.json").read_text())
    return found


def _rewrite(folder: Path, **changes: Any) -> None:
    """Change what the header says, its own digest with it: the record must find out by itself."""
    header = {k: v for k, v in _header(folder).items() if k != "digest"}
    write_study_header(folder, header | changes)


def _estimate() -> Estimates:
    one = np.ones((1, 1))
    return Estimates(
        method="m",
        label="m",
        exposures=("f",),
        outcomes=("o",),
        beta=one,
        se=one,
        status=np.array([["ok"]], dtype=object),
        n_instruments=one.astype(int),
    )


def test_reading_an_estimate_first_carries_out_what_comes_before(
    straight: Path, tiny_study_file: Path, tmp_path: Path
) -> None:
    """The trick: estimates first, then the run. Same order, same digests, same bytes as a straight run."""
    out = tmp_path / "run"
    estimates = Study.from_toml(tiny_study_file, out).estimates
    assert "within" in estimates
    steps = [e["step"] for e in _header(out)["history"]]
    wanted = ["rules", "discovery", "candidates", "plan knockouts", "freeze", "scan", "estimates"]
    assert sorted(wanted, key=steps.index) == wanted
    assert steps[-1] == "estimates"
    assert not (out / "agreement").exists()
    study = Study.from_toml(tiny_study_file, out).run()
    assert _header(out)["knockouts"] == _header(straight)["knockouts"]
    assert CLAIM in words_of((out / "report.html").read_text())
    assert order_of(study.header).blind
    assert digest_files(out) == digest_files(straight)


def test_every_stage_writes_what_it_says_and_nothing_else(tiny_encoder: Path, tmp_path: Path) -> None:
    study, seen = Study.from_toml(write_study(tmp_path, tiny_encoder), tmp_path / "run"), set()
    for stage in STAGES:
        study._carry_out((stage,))
        files = {str(p.relative_to(study.out)) for p in study.out.rglob("*") if p.is_file()}
        new = {f for f in files - seen if not f.startswith(".") and f != "study.json"}
        beyond = {f for f in new if not any(f == w or f.startswith(f"{w}/") for w in stage.writes)}
        assert not beyond, stage.name
        assert bool(new) == bool(stage.writes), stage.name
        seen = files


def test_no_split_is_read_by_two_stages_before_the_estimates() -> None:
    names = [stage.name for stage in STAGES]
    read = [s for stage in STAGES[: names.index("estimates")] for s in stage.outcomes_of]
    # Replication families are knocked out, to judge, and later scanned, to repeat the estimate of MR: other runs of them.
    assert sorted(read) == ["discovery", "estimation", "knockout", "replication", "replication"]
    assert names.index("freeze") < min(
        k for k, s in enumerate(STAGES) if {w.split("/")[0] for w in s.writes} & set(OUTCOME_NUMBERS)
    )


def test_a_run_folder_refuses_an_estimate_before_the_freeze(begun: Path, tmp_path: Path) -> None:
    folder = RunFolder(_copy(begun, tmp_path / "run"))
    for name in ("estimates/within", "panel/estimation", "sumstats/noise"):
        with pytest.raises(InputError, match=r"not frozen yet.*Run the knockouts first"):
            folder.kept(name, Estimates.load, _estimate)
    for name in ("checks.json", "results.parquet", "report.html"):
        with pytest.raises(InputError, match="not frozen yet"):
            folder.place(name)
    with pytest.raises(InputError, match="not frozen yet"):
        RunFolder(tmp_path / "new").kept("estimates/within", Estimates.load, _estimate)
    assert not (folder.path / "estimates").exists()


def test_an_estimate_is_stored_after_the_freeze(straight: Path, tmp_path: Path) -> None:
    folder = RunFolder(_copy(straight, tmp_path / "run"))
    assert folder.kept("estimates/mine", Estimates.load, _estimate).method == "m"
    _rewrite(folder.path, knockouts={})
    with pytest.raises(InputError, match="not frozen yet"):
        folder.kept("estimates/other", Estimates.load, _estimate)


def test_every_knockout_of_a_straight_run_is_blind(straight: Path) -> None:
    study = Study.open(straight)
    split = {
        name: set(study.design.runs.query("split == @name")["family"].astype(str))
        for name in ("knockout", "replication")
    }
    for name, effects in study.knockouts.items():
        stored = KnockoutEffects.load(straight / "knockouts" / name).meta
        assert (stored["planned"], stored["existed"]) == ("blind", [])
        assert stored["families"]["count"] == (12 if name == "contrast" else 10)
        assert (
            set(stored["families"]["names"])
            <= split["replication" if name in ("judge", "again") else "knockout"]
        )
        assert effects.meta == stored
        assert study.folder.planned(name) == "blind"
    assert study.agreement.meta["knockout_planned"] == "blind"
    kept = [e for e in study.header["history"] if e["step"] == "keep knockout"]
    assert {k: v for e in kept for k, v in e["wrote"].items()} == {
        f"knockouts/{n}": v for n, v in study.header["knockouts"].items()
    }


def test_planted_estimates_make_the_knockouts_selected(
    straight: Path, begun: Path, tiny_study_file: Path, tmp_path: Path
) -> None:
    out = _copy(begun, tmp_path / "run")
    shutil.copytree(straight / "estimates" / "within", out / "estimates" / "within")
    study = Study.from_toml(tiny_study_file, out)
    assert {e.meta["planned"] for e in study.knockouts.values()} == {"selected"}
    assert study.knockouts["shift"].meta["existed"] == ["estimates/within"]
    assert study.agreement.meta["knockout_planned"] == "selected"
    page, text = words_of_page(study), summary_text(study)
    for where in (page, text):
        assert DOUBT in where
        assert "there were already estimates/within" in where
        assert "blind knockout" not in where
    assert CLAIM not in page
    np.testing.assert_array_equal(
        study.knockouts["shift"].effect, Study.open(straight).knockouts["shift"].effect
    )


def test_knockouts_open_no_file_of_another_room(
    straight: Path, begun: Path, tiny_study_file: Path, tmp_path: Path
) -> None:
    out, opened, watching = _copy(begun, tmp_path / "run"), [], [False]
    shutil.copytree(straight / "estimates" / "within", out / "estimates" / "within")
    study = Study.from_toml(tiny_study_file, out)
    study.bench()
    study._plan_knockouts()

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        if watching[0] and event == "open" and str(arguments[0]).startswith(str(out)):
            opened.append(str(Path(str(arguments[0])).relative_to(out)))

    sys.addaudithook(watch)
    watching[0] = True
    study._run_knockouts()
    watching[0] = False
    assert any(f.startswith("knockouts/") for f in opened)
    assert {f.split("/")[0] for f in opened} <= {
        "knockouts",
        ".work",
        "study.json",
        ".study.json.partial.json",
        ".",  # the folder itself: what was renamed in it is made sure of
        "design",
    }


def test_the_store_of_the_knockouts_leads_nowhere_else(straight: Path) -> None:
    room = RunFolder(straight).knockout_room()
    # nnsight gives every object a method `save` while it is loaded
    assert {n for n in set(dir(room)) - set(dir(object())) if not n.startswith("_")} == {
        "kept",
        "names",
        "work",
    }
    assert all(type(name) is str for name in room.names)
    assert not hasattr(room, "__dict__")
    for name in ("../estimates/within", "/etc", "a/b", "..", "", ".hidden"):
        with pytest.raises(InputError, match="Give a name of letters"):
            room.kept(name, KnockoutEffects.load, lambda: pytest.fail("made"))
        with pytest.raises(InputError, match="Give a name of letters"):
            room.work(name)
    with pytest.raises(InputError, match="was not planned in this folder"):
        room.kept("unplanned", KnockoutEffects.load, lambda: pytest.fail("made"))


def test_a_knockout_chosen_later_is_selected_on_new_families_or_refused(
    begun: Path, straight: Path, tiny_study_file: Path, tmp_path: Path
) -> None:
    study = Study.from_toml(tiny_study_file, _copy(begun, tmp_path / "run"))
    study.sumstats  # noqa: B018  numbers of the estimation families exist
    unread = _unread(study)
    later = study.keep_knockout("later", unread, "shift", size=1.0, unit="feature")
    assert later.meta["planned"] == "selected"
    assert "panel/estimation" in later.meta["existed"]
    assert later.meta["families"]["count"] == 40 - 2 * 10
    assert study.folder.planned("later") == "selected"
    assert study.header["knockouts"]["later"] == digest_files(study.out / "knockouts" / "later")
    assert study.knockouts["shift"].meta["planned"] == "blind"
    assert order_of(study.header).blind, "the study's own knockouts came before"
    for split, read in (("estimation", 40), ("discovery", 40), ("knockout", 12), ("replication", 40)):
        with pytest.raises(InputError, match=rf"{read} of 40 families were read before"):
            study.keep_knockout("another", study.bench(split=split), "shift")
    with pytest.raises(InputError, match="a knockout of the study's plan"):
        study.keep_knockout("judge", unread, "mean")
    again = study.keep_knockout("later", unread, "shift")
    np.testing.assert_array_equal(again.effect, later.effect)
    with pytest.raises(InputError, match="holds a knockout of kind 'shift'"):
        study.keep_knockout("later", unread, "zero")
    finished = Study.open(straight)
    with pytest.raises(InputError, match="families were read before"):
        finished.keep_knockout("late", finished.bench(split="replication"), "shift")


def test_some_of_many_families_stay_unread_for_what_is_chosen_later(
    tiny_study_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splits, "READ", 30)
    with undrawn():
        study = Study.from_toml(tiny_study_file, tmp_path / "run").run()
    assert study.design.families("unread") == 10
    assert study.design.families("knockout") == 30
    later = study.keep_knockout("later", study.bench(split="unread"), "shift")
    assert later.meta["planned"] == "selected"
    assert later.meta["families"] == study.header["history"][-1]["families"]
    assert later.inputs["family"].nunique() == 10
    with pytest.raises(InputError, match=r"30 of 30 families were read before.*bench\(split='unread'\)"):
        study.keep_knockout("another", study.bench(), "shift")
    assert "read by nothing" in words_of_page(study)
    assert set(study.results["ceiling"]) == {"A"}, "160 families in all"


def _unread(study: Study) -> Bench:
    """The replication families that the study's own knockouts leave alone."""
    bench = study.bench(split="replication")
    judged = {f for name in ("judge", "again") for f in study.knockouts[name].inputs["family"]}
    return bench.subset(np.flatnonzero([f not in judged for f in bench.family]))


def test_a_knockout_that_no_hashed_rule_named_is_selected_even_when_nothing_exists(
    begun: Path, tiny_study_file: Path, tmp_path: Path
) -> None:
    study = Study.from_toml(tiny_study_file, _copy(begun, tmp_path / "run"))
    mine = study.keep_knockout("mine", study.bench(split="replication"), "shift")
    assert (mine.meta["planned"], mine.meta["existed"]) == ("selected", [])


def test_a_page_of_a_folder_without_a_record_says_so(
    straight: Path, tiny_study_file: Path, tmp_path: Path
) -> None:
    """As an older version left it: finished, digests frozen, nothing recorded. It reads; its page does not claim."""
    out = _copy(straight, tmp_path / "run")
    header = _header(out)
    del header["history"], header["digest"]
    (out / "study.json").write_text(json.dumps(header))
    before = digest_files(out)
    study = Study.open(out)
    assert {e.meta["planned"] for e in study.knockouts.values()} == {"selected"}
    assert study.agreement.meta["knockout_planned"] == "selected"
    page = words_of_page(study)
    assert DOUBT in page
    assert "keeps no record of the order of its steps" in page
    assert "no record shows when it was fixed" in page
    assert CLAIM not in page
    assert digest_files(out) == before
    with undrawn():
        again = words_of_page(Study.from_toml(tiny_study_file, out).run())
    assert "when the knockouts were planned, run or frozen there were already panel/estimation" in again
    assert CLAIM not in again


@pytest.mark.parametrize("change", ["relabelled", "moved", "taken out"])
def test_a_page_of_a_changed_record_says_so(change: str, straight: Path, tmp_path: Path) -> None:
    out = _copy(straight, tmp_path / "run")
    history = _header(out)["history"]
    plan = next(k for k, e in enumerate(history) if e["step"] == "plan knockouts")
    if change == "relabelled":
        history[plan]["existed"] = ["estimates/within"]
    elif change == "moved":
        history.append(history.pop(plan))
    else:
        history.pop(plan)
    _rewrite(out, history=history)
    study = Study.open(out)
    page = words_of_page(study)
    assert "the record of the order of its steps was changed after it was written" in page
    assert CLAIM not in page
    assert study.folder.planned("shift") == "selected"


def test_a_knockout_that_changed_is_not_opened_as_the_frozen_one(
    straight: Path, tiny_study_file: Path, tmp_path: Path
) -> None:
    out = _copy(straight, tmp_path / "run")
    path = out / "knockouts" / "mean" / "knockouts.json"
    path.write_text(path.read_text().replace('"blind"', '"selected"'))
    with pytest.raises(
        InputError, match=r"knockouts.json: damaged: its bytes are not those that were written"
    ):
        Study.open(out).knockouts  # noqa: B018
    (path.parent / "SHA256SUMS").unlink()  # as of an older version, or of who hides a change
    with pytest.raises(InputError, match="'mean' changed after it was frozen"):
        Study.open(out).knockouts  # noqa: B018
    with pytest.raises(InputError, match="'mean' changed after it was frozen"):
        Study.from_toml(tiny_study_file, out).run()


def test_a_page_claims_nothing_that_its_record_does_not_show() -> None:
    study = finished_study.study()
    assert CLAIM in words_of_page(study)
    study.header["history"].clear()
    assert CLAIM not in words_of_page(study)
    assert DOUBT in words_of_page(study)


def test_a_study_prints_where_it_stands(
    straight: Path, begun: Path, tiny_study_file: Path, tmp_path: Path
) -> None:
    shown = str(Study.open(straight))
    assert shown.splitlines()[0] == "a tiny study"
    for said in (str(straight), "finished", "6 features on good_minus_bad", "blind"):
        assert said in shown
    assert f"candidates: 3 of {len(STAGES)} stages done" in str(Study.open(begun))
    new = Study.from_toml(tiny_study_file, tmp_path / "<b>run</b>")
    assert "not begun" in str(new)
    assert not new.out.exists()
    assert "<b>" not in new._repr_html_()
    assert "&lt;b&gt;run&lt;/b&gt;" in new._repr_html_()
