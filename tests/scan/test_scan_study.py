"""A study's network scanned: all its latents or dimensions, in parts on disk."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from mrinterp.core.errors import DamagedError, InputError
from mrinterp.scan import ScanFolder, _latent_screen, _reader, scan_features
from mrinterp.scan._cluster import Workers
from mrinterp.scan._feature_files import opened_features, stacked
from mrinterp.study import Study, scan_study
from mrinterp.study._study_scan import StudyScan
from tests.inputs.input_nets import write_input_study
from tests.scan.scanned_study import LATENTS, write_scanned_study
from tests.scan.test_workers import Beside, same_bytes
from tests.warm_cli import command


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study file and its scan."""
    folder = tmp_path_factory.mktemp("scanned")
    scan_study(write_scanned_study(folder), folder / "scan", allow_code=True, draws=1)
    return folder


def test_effects_are_those_of_the_network_run_at_once(scanned: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scan = ScanFolder.open(scanned / "scan")
    network = Study.from_toml(scanned / "study.toml", scanned / "other", allow_code=True)._network
    made = StudyScan.of(scanned / "study.toml", scanned / "scan", allow_code=True)
    design = made._make_design()
    rows = design.rows("discovery", ("noise",))
    from mrinterp.scan._reader import block_noise

    read = network.viewing(network.latents()).run(
        design.runs["input"].to_numpy()[rows], noise=block_noise(design, rows), cut=False
    )
    x = np.concatenate([read.features, read.outcome], axis=1)
    group = design.runs["prompt"].iloc[rows].astype("category").cat.codes.to_numpy()
    member = (group[:, None] == np.arange(group.max() + 1)).astype(float)
    within = np.eye(len(rows)) - member @ np.diag(1 / member.sum(axis=0)) @ member.T
    names = list(design.instruments["instrument"])
    found = scan.summary_statistics(scan.feature_names)
    which = [names.index(n) for n in found.instruments["instrument"]]
    z = within @ np.asarray(design.doses[rows], float)[:, which]
    expected = (z.T @ (within @ x) / (z**2).sum(axis=0)[:, None]).T
    assert (expected[:LATENTS] != 0).any(axis=1).sum() > 10
    np.testing.assert_allclose(found.beta, expected, atol=2e-5)
    assert set(found.instruments["kind"]) == {"noise", "placebo"}
    assert scan.feature_names[7] == "transformer.h.1:latent7"
    # What a step writes is read some inputs at a time, where latents of all of them are too many.
    given = network.latents([1, 2, 5]), np.eye(24)[:4], np.arange(10)
    whole = network.each_written(*given)
    assert whole.any()
    monkeypatch.setattr("mrinterp.features._latents.AT_ONCE", 3 * 8 * 9 * LATENTS)
    np.testing.assert_allclose(network.each_written(*given), whole, rtol=1e-12, atol=1e-12)


def test_parts_that_others_make_have_the_same_bytes_and_are_read_as_one_matrix(scanned: Path) -> None:
    whole = opened_features(scanned / "scan" / "features")
    assert whole.sparse
    assert whole.shape == (72, LATENTS)
    assert 0 < whole.values[:, :].nnz < 0.5 * whole.values.shape[0] * LATENTS
    parts = [p.toarray() for p in whole.values.parts]
    assert len(parts) == 3
    np.testing.assert_array_equal(whole.dense(5, 9), np.concatenate(parts)[:, 5:9])
    np.testing.assert_array_equal(whole.columns(np.array([3, 30])), np.concatenate(parts)[:, [3, 30]])
    made = StudyScan.of(scanned / "study.toml", scanned / "beside", allow_code=True)
    made.check_before()
    made._fix_rules()
    made.workers = beside = Beside(2)
    made._read_features("discovery", "noise")
    assert len(beside.tasks) == 3
    same_bytes(scanned / "scan" / "features", scanned / "beside" / "features")


def test_discovery_by_others_has_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Screen of latents, their values and the runs: three steps of one stage, each made by tasks."""
    monkeypatch.setattr(_reader, "SHARD_BLOCKS", 8)
    features = {"kind": "sae", "folder": "dictionary", "count": 3, "position": "mean", "choose": "screen"}
    file = write_scanned_study(tmp_path, features=features)
    made = {}
    for name, workers in (("alone", Workers()), ("two", Beside(1))):
        study = Study.from_toml(file, tmp_path / name, allow_code=True)
        study.workers = workers
        study._fix_rules()
        made[name] = study._learn_basis()
    assert len(workers.tasks) >= 6
    assert made["two"].meta["screen"] == made["alone"].meta["screen"]
    same_bytes(tmp_path / "alone" / "basis", tmp_path / "two" / "basis")


def test_sums_of_a_screen_are_those_of_all_parts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    family, x, y = np.arange(40) // 4, rng.standard_normal((40, 7)), rng.standard_normal((40, 2))
    parts = [
        {"family": f, "xx": x[r] ** 2, "yy": y[r] ** 2, "xy": x[r][:, :, None] * y[r][:, None]}
        for r in np.split(np.arange(40), [5, 18])
        for f in [family[r]]
    ]
    whole = _latent_screen._from_parts(parts, 10)
    np.testing.assert_allclose(whole.correlation, (x.T @ y) / np.sqrt(np.outer((x**2).sum(0), (y**2).sum(0))))
    monkeypatch.setattr(_latent_screen, "LATENTS", 3)
    some = _latent_screen._from_parts(parts, 10)
    np.testing.assert_allclose(some.se, whole.se, rtol=1e-13)
    np.testing.assert_array_equal(some.moving, 10)


def test_a_scan_goes_on_and_damaged_or_foreign_parts_are_refused(scanned: Path) -> None:
    again = scanned / "again"
    shutil.copytree(scanned / "scan", again)
    for gone in ("features/part-00001", "shard-00000"):
        shutil.rmtree(again / gone)
    given: dict[str, Any] = {"allow_code": True, "draws": 1}
    scan_study(scanned / "study.toml", again, **given)
    for part in ("features", "shard-00000"):
        same_bytes(scanned / "scan" / part, again / part)
    with pytest.raises(InputError, match="a part of something else"):
        scan_study(scanned / "study.toml", again, split="estimation", **given)
    path = again / "features" / "part-00000" / "data.npy"
    path.write_bytes(path.read_bytes()[:-2] + b"xx")
    with pytest.raises(DamagedError, match=r"Delete .*part-00000 and run again"):
        scan_study(scanned / "study.toml", again, **given)


def test_sizes_and_what_is_refused(scanned: Path) -> None:
    made = StudyScan.of(scanned / "study.toml", scanned / "sizes", allow_code=True)
    sizes = made.sizes("discovery")
    assert (sizes["runs"], sizes["features"], sizes["families"]) == (72, LATENTS, 12)
    files = list((scanned / "scan" / "features").rglob("*.npy"))
    there = sum(p.stat().st_size for p in files if p.stem in ("data", "indices", "indptr"))
    assert 0.5 < sizes["disk"] / there < 2
    assert not (scanned / "sizes").exists()
    with pytest.raises(InputError, match="kind: 'slot'"):
        made.sizes("discovery", "slot")
    with pytest.raises(InputError, match="no 'noise' runs in 'knockout'"):
        made.sizes("knockout")


def test_the_verb_takes_a_study(scanned: Path) -> None:
    given = ("scan", "study.toml", "--out", "scan", "--allow-code")
    dry = command(*given, "--dry-run", cwd=scanned)
    assert dry.returncode == 0, dry.stderr
    assert re.search(r"72 runs of 12 discovery families, 40 features \(about [1-9].* not zero", dry.stdout)
    done = command(*given, "--draws", "1", "--json", cwd=scanned)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["features"] == LATENTS
    refused = command(*given, "--paired", cwd=scanned)
    assert refused.returncode == 2
    assert "the kind of perturbation says it" in refused.stderr
    refused = command("scan", "runs.npz", "--out", "scan", cwd=scanned)
    assert "Give a file of features after it" in refused.stderr
    refused = command("scan", "runs.npz", "x.npy", "--out", "scan", "--split", "estimation", cwd=scanned)
    assert "--split: given with arrays" in refused.stderr


def test_dimensions_of_a_site_without_an_autoencoder(tmp_path: Path) -> None:
    few = {"noise": {"runs_per_prompt": 4, "directions_per_class": 2}, "placebo": {"count": 1}}
    more = {"estimation": {"max_rank": 0, "runs_per_column": 2}, "features": {"units": [0]}}
    file = write_input_study(tmp_path, "table", inputs={"per_family": 1}, instruments=few, **more)
    found = scan_study(file, tmp_path / "scan", allow_code=True, draws=0)
    assert found.features == 5
    assert (tmp_path / "scan" / "study" / "noise.json").exists()  # its scale is chosen first
    scan = ScanFolder.open(tmp_path / "scan")
    assert scan.feature_names == [f"hidden:{i}" for i in range(5)]
    assert not opened_features(tmp_path / "scan" / "features").sparse


def test_folders_of_parts(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    parts = [sparse.random_array((n, 30), density=0.2, format="csc", rng=rng) for n in (7, 1, 5)]
    np.testing.assert_array_equal(stacked(parts).toarray(), sparse.vstack(parts).toarray())
    for i, part in enumerate(parts):
        (tmp_path / "x" / f"{i}").mkdir(parents=True)
        for name in ("data", "indices", "indptr"):
            np.save(tmp_path / "x" / f"{i}" / f"{name}.npy", getattr(part, name))
        np.save(tmp_path / "x" / f"{i}" / "rows.npy", part.shape[0])
    z, prompt = rng.integers(0, 2, (13, 2)), np.repeat([0, 1, 2], [4, 4, 5])
    runs = {"doses": z, "outcomes": z[:, 0] + rng.random(13), "prompt": prompt, "family": prompt, "draws": 0}
    scan_features(tmp_path / "a", features=tmp_path / "x", **runs)
    scan_features(tmp_path / "b", features=sparse.vstack(parts).tocsc(), **runs)
    same_bytes(tmp_path / "a" / "shard-00000" / "beta.npy", tmp_path / "b" / "shard-00000" / "beta.npy")
    (tmp_path / "x" / "1" / "rows.npy").unlink()
    with pytest.raises(InputError, match=r"1: no rows.npy"):
        scan_features(tmp_path / "c", features=tmp_path / "x", **runs)
