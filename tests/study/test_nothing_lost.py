"""Work is not lost: damaged files are named, folders are held by one process, refusals keep what is finished."""

from __future__ import annotations

import errno
import json
import multiprocessing
import os
import resource
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from mrinterp import results
from mrinterp.cli import cli
from mrinterp.core.errors import DamagedError, DamagedWarning, InputError
from mrinterp.core.run_folder import RunFolder
from mrinterp.core.storage import (
    SUMS,
    check_sums,
    digest_files,
    read_arrays,
    whole_folder,
    write_arrays,
    write_json,
    write_table,
)
from mrinterp.study import Study
from tests.study.damages import (
    DAMAGES,
    DRAWN,
    damage,
    digest_with_sums,
    files,
    names,
    read,
    run_to_the_end,
    undrawn,
    warned,
)

pytestmark = pytest.mark.needs("transformers")


def _copy(run: Path, to: Path) -> Path:
    shutil.copytree(run, to)
    return to


# -- damaged files ---------------------------------------------------------------------------------


def test_every_damaged_file_is_named_when_it_is_read(finished_run: Path, tmp_path: Path) -> None:
    """Every third file, damages in turn, read through Python; ``benchmarks/damaged_folders.py`` does hundreds, and runs
    the folders again."""
    out, rng = _copy(finished_run, tmp_path / "run"), np.random.default_rng(0)
    stored = [p.relative_to(out) for p in files(out) if p.relative_to(out).parts[0] not in DRAWN]
    assert len(stored) > 80
    for number, name in enumerate(stored[::3]):
        kind = DAMAGES[number % len(DAMAGES)]
        if not damage(out / name, kind, rng, files(finished_run)):
            continue
        said = read(out, name)
        assert names(said, out / name), (name, kind, said)
        assert all(len(s.splitlines()) == 1 for s in said), said
        shutil.rmtree(out / name, ignore_errors=True)
        (out / name).unlink(missing_ok=True)
        shutil.copy(finished_run / name, out / name)
    assert read(out) == []


@pytest.mark.parametrize(
    "name", ["knockouts/shift/effects.parquet", "results.json", "figures/effect_ladder.svg"]
)
def test_a_damaged_folder_is_mended_as_its_message_says(
    name: str, finished_run: Path, tiny_study_file: Path, tmp_path: Path
) -> None:
    out = _copy(finished_run, tmp_path / "run")
    damage(out / name, "cut", np.random.default_rng(1), files(out))
    drawn = name.startswith("figures")
    with nullcontext() if drawn else undrawn():
        ended, said = run_to_the_end(tiny_study_file, out, out / name, digest_with_sums(finished_run))
    assert ended == ("healed" if drawn else "named"), said


@pytest.mark.parametrize("name", ["low.npy", "contrast_levels.parquet", "", "../pilot.json"])
def test_what_was_hashed_as_candidates_is_named_and_made_anew(
    name: str, finished_run: Path, tiny_study_file: Path, tmp_path: Path
) -> None:
    """A file of it that changed, and all of it deleted, as the message says."""
    out = _copy(finished_run, tmp_path / "run")
    path = (out / "contrast_levels" / name).resolve()
    if name:
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    else:
        shutil.rmtree(path)
    with undrawn():
        ended, said = run_to_the_end(tiny_study_file, out, path, digest_with_sums(finished_run))
    assert ended == ("named" if name else "healed"), said


def test_candidates_that_came_out_otherwise_are_named(
    finished_run: Path, tiny_study_file: Path, tmp_path: Path
) -> None:
    out = _copy(finished_run, tmp_path / "run")
    shutil.rmtree(out / "contrast_levels")
    shutil.rmtree(out / "knockouts")
    shutil.copytree(out / "basis", out / "contrast_levels")
    folder = RunFolder(out)
    folder._made.add("contrast_levels")  # as a step of this process that came out otherwise
    with (
        folder.held(),
        pytest.raises(InputError, match="its contrast_levels is not the one it was begun with"),
    ):
        folder.fix_candidates()


@pytest.mark.parametrize("name", ["equivalence.parquet", "pilot.json", "estimates/within", "knockouts/mean"])
def test_a_part_that_is_gone_is_told_when_it_is_read_and_when_it_is_made_anew(
    name: str, finished_run: Path, tiny_study_file: Path, tmp_path: Path
) -> None:
    out = _copy(finished_run, tmp_path / "run")
    shutil.rmtree(out / name) if (out / name).is_dir() else (out / name).unlink()
    said = read(out, Path(name))
    assert said == [
        f"{out / name}: missing, though the run has stored it. Run again: only what is missing is made anew"
    ]
    with undrawn():
        done = CliRunner().invoke(cli, ["run", str(tiny_study_file), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert (
        done.stderr.count(f"mrinterp: {out / name}: missing, though the run has stored it. It is made anew")
        == 1
    )
    assert digest_with_sums(out) == digest_with_sums(finished_run)


@pytest.mark.parametrize("part", ["estimates/within", "knockouts/shift", "basis"])
@pytest.mark.parametrize("kind", ["gone", "swapped", "empty", "cut", "folder"])
def test_damaged_lists_of_sums_are_named_and_written_anew(
    kind: str, part: str, finished_run: Path, tmp_path: Path
) -> None:
    out, rng = _copy(finished_run, tmp_path / "run"), np.random.default_rng(0)
    sums = out / part / SUMS
    assert damage(sums, kind, rng, files(out))
    said = read(out, Path(part))
    assert said
    assert all(s.startswith(f"{sums}: ") and "whole, by the record in study.json" in s for s in said), said
    folder, said = RunFolder(out), []
    with folder.held(), warned(said):
        folder._loaded(out / part, lambda path: None)
    assert [s.endswith("by the record in study.json. It is written anew") for s in said] == [True], said
    assert sums.read_bytes() == (finished_run / part / SUMS).read_bytes()


def test_folders_and_files_in_each_others_place_are_named(finished_run: Path, tmp_path: Path) -> None:
    for place, what in (("report.html", "a folder"), ("figures", "a file")):
        out = _copy(finished_run, tmp_path / what / "run")
        shutil.rmtree(out / place) if place == "figures" else (out / place).unlink()
        (out / place).write_text("mine") if place == "figures" else (out / place).mkdir()
        with pytest.raises(InputError, match=rf"{place}: {what}, where .* Move it elsewhere and run again"):
            write_json(out / place / "a.svg" if place == "figures" else out / place, {})


def test_another_json_in_the_place_of_the_header_is_named(finished_run: Path, tmp_path: Path) -> None:
    out = _copy(finished_run, tmp_path / "run")
    for other in ("panel/estimation/panel.json", "results.json"):
        shutil.copy(out / other, out / "study.json")
        with pytest.raises(
            DamagedError, match=r"study.json: damaged: it holds '(panel|list)', not 'study'. Put a copy"
        ):
            Study.open(out)


def test_a_header_that_is_gone_is_named(finished_run: Path, tiny_study_file: Path, tmp_path: Path) -> None:
    out = _copy(finished_run, tmp_path / "run")
    (out / "study.json").unlink()
    for found in ("missing, though the parts of a run", "damaged: a folder"):
        for opened in (lambda: Study.open(out), lambda: Study.from_toml(tiny_study_file, out).run()):
            with pytest.raises(DamagedError, match=rf"study.json: {found}.* Put a copy of this file back"):
                opened()
        (out / "study.json").mkdir(exist_ok=True)


def test_files_of_others_among_results_are_named(finished_run: Path, tmp_path: Path) -> None:
    out = _copy(finished_run, tmp_path / "run")
    for part in ("basis", "knockouts/shift"):
        other = out / part / ".DS_Store"
        other.write_text("of a file manager")
        assert set(read(out, Path(part))) == {
            f"{other}: a file that the run did not write, in a folder of its results. Move it elsewhere and run again"
        }
        other.unlink()


def test_results_without_sums_or_with_those_of_others_say_so(tmp_path: Path) -> None:
    for name in ("Estimates", "AgainstRandom"):
        results.example(name).save(tmp_path / name)
    sums = tmp_path / "Estimates" / SUMS
    shutil.copy(tmp_path / "AgainstRandom" / SUMS, sums)
    with pytest.raises(DamagedError, match="SHA256SUMS: damaged: it fits none of the files beside it"):
        results.Estimates.load(tmp_path / "Estimates")
    sums.unlink()
    with pytest.warns(DamagedWarning, match="SHA256SUMS: missing: whether the files beside it"):
        results.Estimates.load(tmp_path / "Estimates")


def test_a_finished_part_of_another_run_is_not_taken_for_this_ones(
    finished_run: Path, tmp_path: Path
) -> None:
    out = _copy(finished_run, tmp_path / "run")
    shutil.rmtree(out / "estimates" / "within")
    shutil.copytree(out / "estimates" / "tsls", out / "estimates" / "within")
    with pytest.raises(DamagedError, match="not what the run stored here"):
        Study.open(out).estimates  # noqa: B018


def test_arrays_of_unfinished_steps_carry_their_digest(tmp_path: Path) -> None:
    path, rng = tmp_path / "shard.npz", np.random.default_rng(0)
    arrays = {"features": rng.standard_normal((20, 3)), "empty": np.zeros((0, 2), np.float32)}
    write_arrays(path, arrays)
    whole = path.read_bytes()
    for name, value in read_arrays(path).items():
        np.testing.assert_array_equal(value, arrays[name])
    for _ in range(60):
        place = int(rng.integers(len(whole)))
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        try:
            found = read_arrays(path)
        except DamagedError as e:
            assert "Delete this file" in e.fix
        else:  # a date, say: the numbers are those that were written
            for name, value in found.items():
                np.testing.assert_array_equal(value, arrays[name])
    path.write_bytes(b"")
    with pytest.raises(DamagedError):
        read_arrays(path)


# -- whole or not at all ---------------------------------------------------------------------------


def test_folders_of_others_are_never_replaced(tmp_path: Path) -> None:
    estimates, mine = results.example("Estimates"), tmp_path / "mine"
    mine.mkdir()
    estimates.save(mine)  # an empty folder is nobody's
    estimates.save(mine)  # and what we wrote is ours
    (mine / "notes.txt").write_text("years of work")
    for place in (mine, tmp_path):
        with pytest.raises(InputError, match="did not write there"):
            estimates.save(place)
    assert (mine / "notes.txt").read_text() == "years of work"
    check_sums(mine)


def test_a_run_is_not_written_into_a_folder_of_others(tiny_study_file: Path, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("mine")
    before = digest_files(tmp_path)
    for more in ((), ("--dry-run",)):
        done = CliRunner().invoke(cli, ["run", str(tiny_study_file), "--out", str(tmp_path), *more])
        assert done.exit_code == 2, done.output
        assert "not a run folder, and it holds 'report.html'" in done.stderr
    assert digest_files(tmp_path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_bytes_are_on_the_disk_before_names_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    sync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda f: (done.append("sync"), sync(f))[1])
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append("replace"), replace(a, b))[1])
    write_json(tmp_path / "a.json", {"a": 1})
    assert done == ["sync", "replace", "sync"]
    done.clear()
    with whole_folder(tmp_path / "b") as partial:
        (partial / "one").write_text("1")
        (partial / "two").write_text("2")
    assert done == ["sync"] * 4 + ["replace", "sync"], "two files, their sums and the folder, then its parent"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_one_sentence_and_leaves_nothing(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(InputError, match="the disk is full"):
        results.example("Estimates").save(tmp_path / "estimates")
    with pytest.raises(InputError, match="the disk is full"):
        write_json(tmp_path / "a.json", {})
    assert list(tmp_path.iterdir()) == []


def _without_room(folder: Path, said: Path) -> None:
    """Write with every library, in a process that may write small files only."""
    import pandas as pd
    import torch

    from mrinterp.features import SparseAutoencoder, write_sae

    many = np.random.default_rng(0).standard_normal((300, 300))
    weights = {"W_enc": torch.randn(99, 99), "b_enc": torch.zeros(99)}
    weights |= {"W_dec": torch.randn(99, 99), "b_dec": torch.zeros(99)}

    def array() -> None:
        with whole_folder(folder / "array") as partial:
            np.save(partial / "a.npy", many)

    tries = {
        "array": array,
        "arrays": lambda: write_arrays(folder / "b.npz", {"b": many}),
        "table": lambda: write_table(folder / "c.parquet", pd.DataFrame(many).rename(columns=str)),
        "json": lambda: write_json(folder / "d.json", list(range(9999))),
        "weights": lambda: write_sae(SparseAutoencoder("standard", weights), folder / "sae"),
    }
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    for name, attempt in tries.items():
        try:
            attempt()
            found = "written"
        except InputError as e:
            found = e.found
        except BaseException as e:
            found = repr(e)
        with said.open("a") as file:
            file.write(f"{name}: {found}\n")


def test_every_library_that_meets_a_limit_says_so(tmp_path: Path) -> None:
    folder, said = tmp_path / "runs", tmp_path / "said.txt"
    folder.mkdir()
    process = multiprocessing.get_context("fork").Process(target=_without_room, args=(folder, said))
    process.start()
    process.join()
    found = dict(line.split(": ", 1) for line in said.read_text().splitlines())
    assert set(found) == {"array", "arrays", "table", "json", "weights"}
    for name, words in found.items():
        assert "(nothing of this was written)" in words, (name, words)
    assert list(folder.iterdir()) == []


# -- one process at a time -------------------------------------------------------------------------


def _hold(folder: Path, ready: Any, stop: Any) -> None:
    with RunFolder(folder).held():
        ready.set()
        stop.wait(60)


def test_a_second_process_is_refused_and_told_which_holds_it(tiny_study_file: Path, tmp_path: Path) -> None:
    fork, out = multiprocessing.get_context("fork"), tmp_path / "run"
    ready, stop = fork.Event(), fork.Event()
    other = fork.Process(target=_hold, args=(out, ready, stop))
    other.start()
    assert ready.wait(60)
    done = CliRunner().invoke(cli, ["run", str(tiny_study_file), "--out", str(out)])
    assert done.exit_code == 2
    assert f"process {other.pid} on" in done.stderr
    assert "is running in it" in done.stderr
    other.kill()
    other.join()
    with RunFolder(out).held():  # what a killed process held is free at once
        with pytest.raises(InputError, match="this one, through another Study"), RunFolder(out).held():
            pass
        again = RunFolder(out)
    with again.held(), again.held():
        pass
    assert not (out / ".holder").exists()


# -- a failed run keeps what it has ----------------------------------------------------------------


def test_a_refusal_late_in_a_run_keeps_everything_and_says_how_to_go_on(
    finished_run: Path, tiny_study_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = _copy(finished_run, tmp_path / "run")
    for name in ("estimates/gradient", "agreement"):
        shutil.rmtree(out / name)
    for name in ("results.parquet", "results.json", "rank_path.parquet"):
        (out / name).unlink()
    kept = {p.relative_to(out) for p in files(out)}

    def undefined(*_: object) -> None:
        raise InputError("outcome 'y'", "not a number", "Mend it")

    with monkeypatch.context() as patch:
        patch.setattr("mrinterp.models._gradient.gradient_estimates", undefined)
        done = CliRunner().invoke(cli, ["run", str(tiny_study_file), "--out", str(out)])
    assert done.exit_code == 2
    assert f"Mend it. What is finished is kept in {out}: the same command goes on from there" in done.stderr
    assert kept <= {p.relative_to(out) for p in files(out)}
    with undrawn():
        assert CliRunner().invoke(cli, ["run", str(tiny_study_file), "--out", str(out)]).exit_code == 0
    assert digest_files(out) == digest_files(finished_run)


def test_threads_do_not_change_a_byte(finished_run: Path, tiny_study_file: Path, tmp_path: Path) -> None:
    """Two threads of linear algebra against one: all files are equal. Those of torch's passes are told, for sums over
    tokens may be divided by their number."""
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    with threadpool_limits(2, user_api="blas"):
        Study.from_toml(tiny_study_file, tmp_path / "run").run()
    told = []
    for out in (finished_run, tmp_path / "run"):
        header = json.loads((out / "study.json").read_text())
        told.append(header["provenance"].pop("threads"))
        header.pop("digest")
        told.append(header)
    assert told[0] == {"blas": 1, "torch": before}
    assert told[2] == {"blas": 1, "torch": before}
    assert told[1] == told[3]
    names = [p.relative_to(finished_run) for p in files(finished_run)]
    assert names == [p.relative_to(tmp_path / "run") for p in files(tmp_path / "run")]
    different = [
        str(n) for n in names if (finished_run / n).read_bytes() != (tmp_path / "run" / n).read_bytes()
    ]
    assert different == []
