"""A study end to end on a tiny network: the command line as a process, the run folder, and its bytes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mrinterp.core.design import Design
from mrinterp.core.errors import InputError
from mrinterp.core.storage import digest_files
from mrinterp.results._against_random import AgainstRandom
from mrinterp.results._knockout_effects import KnockoutEffects
from mrinterp.study import Study
from tests.pictures import Pictures
from tests.tiny import write_tiny_study
from tests.warm_cli import command

pytestmark = pytest.mark.needs("transformers")


@pytest.fixture(scope="module")
def finished(tiny_study_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    program = [sys.executable, "-m", "mrinterp", "run", str(tiny_study_file), "--out", str(out)]
    done = subprocess.run(program, capture_output=True, text=True)  # a start of its own: other hash seeds
    assert done.returncode == 0, done.stderr
    (out.parent / "terminal.txt").write_text(done.stdout)
    return out


def test_terminal_shows_the_answer(finished: Path) -> None:
    text = (finished.parent / "terminal.txt").read_text()
    assert "95% interval" in text
    assert "knockout" in text
    assert "6 features tested" in text
    assert "within regression, bypass rank" in text
    assert "read-back matrix" in text


def test_run_folder_holds_every_part(finished: Path) -> None:
    for name in (
        "study.json", "design/design.json", "basis/basis.json", "panel/estimation/panel.parquet",
        "panel/replication/panel.parquet", "sumstats/noise/beta.npy", "sumstats/slot/beta.npy",
        "estimates/within/estimates.parquet", "estimates/tsls/estimates.json", "estimates/gradient/estimates.json",
        "estimates/observational/estimates.json", "estimates/ivw_noise/estimates.json", "knockouts/shift/effects.parquet",
        "knockouts/resample/effects.parquet", "knockouts/random/effects.parquet", "agreement/agreement.json",
        "rank_path.parquet", "results.parquet", "results.json", "checks.json", "figures/effect_ladder.svg",
        "figures/predicted_vs_knockout.png", "figures/kinds_side_by_side.png", "figures/against_random.svg",
        "equivalence.parquet",
    ):  # fmt: skip
        assert (finished / name).exists(), name
    assert not (finished / ".work").exists()
    header = json.loads((finished / "study.json").read_text())
    assert header["format_version"] == 1
    assert len(header["rules_hash"]) == len(header["candidates_hash"]) == 64
    assert header["rules_hash"] != header["candidates_hash"]
    assert header["provenance"]["seeds"] == {"plan": 0}


def test_features_are_ranked_among_the_plans_random_directions(finished: Path) -> None:
    study = Study.open(finished)
    held = study.against_random
    assert isinstance(held, AgainstRandom)
    assert held.controls == study.knockouts["random"].features
    size, others = (np.abs(study.knockouts[k].effect) for k in ("shift", "random"))
    np.testing.assert_array_equal(held.rank, 1 + (others[None] >= size[:, None]).sum(axis=1))


def test_splits_share_no_family(finished: Path) -> None:
    runs = Design.load(finished / "design").runs
    families = runs.groupby("split")["family"].unique()
    assert set(families.index) == {"discovery", "estimation", "replication", "knockout"}
    everything = np.concatenate(list(families))
    assert len(everything) == len(set(everything)) == 160


def test_knockouts_wrote_what_they_meant_to_write(finished: Path) -> None:
    for kind in ("shift", "resample", "mean"):
        k = KnockoutEffects.load(finished / "knockouts" / kind)
        assert (k.read_back_error < 1e-4).all()
        assert (k.leakage < 1e-4).all()
        assert k.noise_floor < 1e-5 * k.outcome_sd.min()  # rounding: the batch is put together differently
        assert ((k.off_support >= 0) & (k.off_support <= 1)).all()


def test_matched_shift_equals_the_gradient_on_a_smooth_network(finished: Path) -> None:
    """Same estimand on another split: on this nearly linear network they agree closely."""
    study = Study.open(finished)
    gradient, shift = study.estimates["gradient"], study.knockouts["shift"]
    assert np.corrcoef(gradient.beta[:, 0], shift.effect[:, 0])[0, 1] > 0.95


def test_a_study_hands_out_its_bench_for_any_design(finished: Path) -> None:
    """The study's own shift again, to the bit, and a design on two of its features; the run is left as it was."""
    from mrinterp.knockouts._designs.dose_response import dose_response
    from mrinterp.knockouts._knock_out import knock_out

    before = digest_files(finished)
    study = Study.open(finished)
    bench = study.bench()
    assert bench.view.names == study.basis.dictionary.names
    shifted = bench.subset(
        np.flatnonzero(bench.table["prompt"].isin(study.knockouts["shift"].inputs["prompt"]))
    )
    again = knock_out(shifted, "shift", size=1.0, unit="feature", allow_off_support=True)
    np.testing.assert_array_equal(again.effect, study.knockouts["shift"].effect)
    curve = dose_response(bench, features=list(bench.view.names[:2])).to_frame()
    assert set(curve["feature"]) == set(bench.view.names[:2])
    assert digest_files(finished) == before


def test_the_bench_is_blind_and_fixes_the_rules_first(
    finished: Path, tiny_study_file: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    Study.from_toml(tiny_study_file, out).bench()
    made = {p.name for p in out.iterdir() if not p.name.startswith(".")}
    assert made == {"study.json", "design", "basis", "contrast_levels", "pilot.json", "paths"}
    rules = json.loads((finished / "study.json").read_text())["rules_hash"]
    assert json.loads((out / "study.json").read_text())["rules_hash"] == rules
    other = write_tiny_study(tmp_path, tiny_encoder, features={"count": 5})
    with pytest.raises(InputError, match=r"another plan \(features.count: \d+ there, 5 here\)"):
        Study.from_toml(other, out).bench()


def test_equivalence_of_every_kind_is_kept_as_a_table(finished: Path) -> None:
    table = pd.read_parquet(finished / "equivalence.parquet")
    study = Study.open(finished)
    assert set(table["kind"]) == {"shift", "resample", "mean", "random"}
    np.testing.assert_allclose(table["rope"], float(study.rope[0]))
    inside = (table["lower"] >= -table["rope"]) & (table["upper"] <= table["rope"])
    np.testing.assert_array_equal(table["verdict"] == "negligible", inside)
    assert (finished / "kinds" / "kinds_of_knockout.parquet").exists()
    assert (
        "kinds of knockout (shift, resample, mean) differ" in (finished.parent / "terminal.txt").read_text()
    )


def test_placebos_pass_and_manipulation_is_reported(finished: Path) -> None:
    checks = {c["name"]: c for c in json.loads((finished / "checks.json").read_text())}
    assert checks["placebo instruments: noise"]["verdict"] == "passed", checks["placebo instruments: noise"][
        "note"
    ]
    assert "changed the site" in checks["manipulation: noise"]["note"]
    assert checks["families"]["statistic"] == 40


def test_finished_run_is_reopened_not_repeated(
    finished: Path, tiny_study_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    monkeypatch.setattr(
        Pictures, "drawn", False
    )  # each run draws its figures anew, and nobody looks at those
    before = {p: p.stat().st_mtime_ns for p in (copy / "panel").rglob("*") if p.is_file()}
    assert command("run", str(tiny_study_file), "--out", str(copy)).returncode == 0
    assert before == {p: p.stat().st_mtime_ns for p in (copy / "panel").rglob("*") if p.is_file()}


def test_changed_plan_is_refused_with_the_difference(
    finished: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    other = write_tiny_study(tmp_path, tiny_encoder, features={"count": 5})
    done = command("run", str(other), "--out", str(finished))
    assert done.returncode == 2
    assert "features.count: 6 there, 5 here" in done.stderr
    assert "Traceback" not in done.stderr


def test_tampered_knockouts_are_found_out(finished: Path, tiny_study_file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    shutil.rmtree(copy / "agreement")
    path = copy / "knockouts" / "shift" / "effects.parquet"
    frame = pd.read_parquet(path)
    frame["effect"] *= 2
    frame.to_parquet(path)
    done = command("run", str(tiny_study_file), "--out", str(copy))
    assert done.returncode == 2
    assert "damaged: its bytes are not those that were written" in done.stderr


def test_changed_network_is_refused(tiny_encoder: Path, tmp_path: Path) -> None:
    """Same plan, other weights under the same path: the run does not go on with them."""
    import torch

    from tests.tiny import save_tiny_encoder

    encoder = tmp_path / "encoder"
    shutil.copytree(tiny_encoder, encoder)
    study = write_tiny_study(tmp_path, encoder)
    run = Study.from_toml(study, tmp_path / "run")
    assert run.design.families("knockout") == 40  # the rules are fixed, and no more
    torch.manual_seed(1)
    shutil.rmtree(encoder)
    save_tiny_encoder(encoder)
    with pytest.raises(InputError, match="network or design is not the one it was begun with"):
        Study.from_toml(study, tmp_path / "run").run()


def test_dry_run_prints_cost_and_writes_nothing(tiny_study_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = command("run", str(tiny_study_file), "--out", str(out), "--dry-run")
    assert done.returncode == 0, done.stderr
    # 120 scan families x 2 prompts x (1 clean + 2 slot + 5 noise), 10 x 2 x 5 at half the noise; one prompt a family, 6 features: contrasts of
    # 12 + 2 x 10 families high and low, shift, resample and mean of 10 (2 + 2 + 1 runs), 2 random directions of 10.
    # And 2 x 64 for paths to the outcome.
    assert "Runs of the network: 2,020 scan + 852 knockouts, about" in done.stdout
    for word in ("measured now", "Memory: about"):
        assert word in done.stdout
    assert not out.exists()


def test_rerun_compares_claim_by_claim_and_finds_the_same_bytes(finished: Path, tmp_path: Path) -> None:
    done = command("rerun", str(finished), "--out", str(tmp_path / "again"))
    assert done.returncode == 0, done.stderr + done.stdout
    assert "6 claims repeated: 6 identical" in done.stdout
    assert "Versions are the same" in done.stdout
    assert digest_files(tmp_path / "again") == digest_files(finished), "same plan, same bytes"


def test_diagnose_prints_cards_and_names_what_failed(finished: Path, tmp_path: Path) -> None:
    done = command("diagnose", str(finished), "--figure", str(tmp_path / "cards.svg"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Negative controls passed (")  # before any claim
    assert "\nAssumptions of 6 claims:" in done.stdout
    assert (tmp_path / "cards.svg").read_text().startswith("<?xml")
    one = command("diagnose", str(finished), "--feature", "c00", "--json")
    found = json.loads(one.stdout)
    assert {f["feature"] for f in found["findings"]} == {"encoder.layer.1:c00"}
    assert [f["check"] for f in found["findings"] if f["assumption"] == "linearity"]
    wrong = command("diagnose", str(finished), "--feature", "c0x")
    assert wrong.returncode == 2
    assert "c0x" in wrong.stderr


def test_newer_run_folder_is_refused(finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "newer"
    folder.mkdir()
    header = json.loads((finished / "study.json").read_text())
    (folder / "study.json").write_text(json.dumps({**header, "format_version": 99}))
    done = command("rerun", str(folder))
    assert done.returncode == 2
    assert "format version 99" in done.stderr
    assert "Upgrade mrinterp" in done.stderr


def test_loci_and_ld_of_the_design_reach_colocalization(finished: Path) -> None:
    """Slots are loci, declared by the plan; their LD is the correlation of the doses."""
    from mrinterp.coloc._abf import colocalize

    stats = Study.open(finished).sumstats["slot"]
    data = stats.to_mrdata("slot", with_errors=False, with_ld=True)
    assert list(dict.fromkeys(data.info["locus"])) == ["person", "quality", "when"]
    person = np.flatnonzero((data.info["locus"] == "person").to_numpy())
    # Fillers of one slot exclude each other; fillers of different slots are assigned independently.
    within = data.ld[np.ix_(person, person)][np.triu_indices(len(person), 1)]
    across = np.delete(data.ld[person], person, axis=1)
    assert (within < -0.1).all()
    assert np.abs(across).max() < 0.25
    result = colocalize(data, sd_x=1.0, sd_y=1.0)
    frame = result.to_frame()
    assert set(frame["locus"]) == {"person", "quality", "when"}
    total = frame[[f"pp_h{i}" for i in range(5)]].sum(axis=1)
    np.testing.assert_allclose(total[np.isfinite(total)], 1.0, rtol=1e-9)


def test_noise_comes_in_opposite_pairs(finished: Path) -> None:
    design = Design.load(finished / "design")
    columns = design.columns("noise")
    noise = design.runs[design.runs["kind"] == "noise"]
    for _, rows in list(noise.groupby("prompt"))[:20]:
        doses = np.asarray(design.doses[rows["run"].to_numpy()][:, columns])
        np.testing.assert_array_equal(doses[1:4:2], -doses[0:4:2])
        assert len(doses) == 5
        assert (np.abs(doses[4]) != np.abs(doses[3])).any(), "the odd one is alone"
