"""A scan of many features into a folder: resumed, checked, screened, calibrated; bad input refused."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import mrinterp
from mrinterp.core.errors import DamagedError, InputError
from mrinterp.scan import ScanFolder, _scan_job, scan_features, scan_memory
from mrinterp.scan._torch_scanner import TorchScanner
from mrinterp.stats.scan.block_scan import Scanner, outcome_side
from mrinterp.stats.scan.dose_side import ERRORS, dose_side, within


def given(F: int = 700, n: int = 320, J: int = 6, seed: int = 0) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    prompt = np.arange(n) // 8
    z = rng.integers(0, 2, (n, J))
    x = rng.standard_normal((n, F)).astype(np.float32)
    x[:, :20] += z[:, :1]
    x[:, -1] = 2.0
    y = x[:, 0] + rng.standard_normal(n)
    return {"doses": z, "features": x, "outcomes": y, "prompt": prompt, "family": prompt}


@pytest.fixture(autouse=True)
def _several_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_scan_job, "SHARD_NUMBERS", 256 * 6 * 3)
    monkeypatch.setattr(_scan_job, "SPARSE_BLOCK", 256)


def test_effects_are_those_of_the_marginal_scan_and_go_on_to_mr(tmp_path: Path) -> None:
    g = given()
    found = scan_features(tmp_path / "a", **g, draws=0)
    assert (found.features, found.changed, found.kept) == (700, 699, 699 * 6)
    panel = mrinterp.from_arrays(**g)
    wanted = mrinterp.scan.marginal_scan(panel, candidates=())
    scan = ScanFolder.open(tmp_path / "a")
    assert scan.finished == scan.header["shards"] == 3
    names = ["x699", "x4", "x300"]
    some = scan.summary_statistics(names)
    rows = [699, 4, 300, 700]
    np.testing.assert_allclose(some.se, wanted.se[rows], rtol=1e-6)
    np.testing.assert_allclose(some.beta, wanted.beta[rows], atol=2e-6 * wanted.se.max())
    np.testing.assert_allclose(some.dof, wanted.dof, rtol=1e-12)
    assert wanted.outcome_cov is not None
    assert some.outcome_cov is not None
    np.testing.assert_allclose(
        some.outcome_cov, wanted.outcome_cov[:, rows], atol=1e-6 * wanted.outcome_cov.max()
    )
    whole = [b.to_mrdata(with_errors=False) for b in scan.blocks()]
    assert sum(len(b.exposures) for b in whole) == 700
    a = mrinterp.run_mr(whole[0], ["ivw"])[0]
    b = mrinterp.run_mr(
        wanted.to_mrdata(with_errors=False).select(exposures=list(whole[0].exposures)), ["ivw"]
    )[0]
    np.testing.assert_allclose(a.beta, b.beta, rtol=1e-4, atol=1e-6)


def test_a_threshold_keeps_the_pairs_that_a_whole_scan_has_beyond_it(tmp_path: Path) -> None:
    g = given()
    whole = scan_features(tmp_path / "all", **g, draws=0)
    some = scan_features(tmp_path / "some", **g, draws=0, p_threshold=1e-4)
    pairs = ScanFolder.open(tmp_path / "some").pairs()
    assert len(pairs) == some.kept
    wanted = whole.pairs[whole.pairs["neglog10p"] >= 4]
    assert set(zip(pairs["feature"], pairs["instrument"], strict=True)) == set(
        zip(wanted["feature"], wanted["instrument"], strict=True)
    )
    assert some.pairs["neglog10p"].min() >= 4
    with pytest.raises(InputError, match="only pairs beyond a threshold"):
        ScanFolder.open(tmp_path / "some").summary_statistics(["x1"])


def test_sparse_features_files_and_dense_ones_agree(tmp_path: Path) -> None:
    g = given(F=600)
    x = np.where(np.random.default_rng(1).random(g["features"].shape) < 0.1, g["features"], 0).astype(
        np.float32
    )
    np.save(tmp_path / "x.npy", x)
    sparse.save_npz(tmp_path / "x.npz", sparse.csr_array(x))
    for name in ("x.npy", "x.npz"):
        scan_features(tmp_path / f"of {name}", **(g | {"features": tmp_path / name}), draws=0)
    a, b = (
        [s.arrays for s in ScanFolder.open(tmp_path / f"of {name}").shards()] for name in ("x.npy", "x.npz")
    )
    for one, other in zip(a, b, strict=True):
        np.testing.assert_allclose(one["se"], other["se"], rtol=1e-6)
        np.testing.assert_allclose(one["strength"], other["strength"], rtol=1e-5)


def test_an_interrupted_scan_goes_on_with_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    g = given()
    scan_features(tmp_path / "whole", **g, draws=3)
    write, seen = _scan_job.write_shard, []

    def interrupted(scan: Any, number: int, *more: Any) -> None:
        if number == 1:
            raise KeyboardInterrupt
        write(scan, number, *more)

    monkeypatch.setattr(_scan_job, "write_shard", interrupted)
    with pytest.raises(KeyboardInterrupt):
        scan_features(tmp_path / "a", **g, draws=3)
    half = ScanFolder.open(tmp_path / "a")
    assert half.finished == 1
    assert half.summary_statistics(["x0"]).beta.shape == (2, 6)
    with pytest.raises(InputError, match="not scanned yet"):
        half.summary_statistics(["x600"])
    monkeypatch.setattr(_scan_job, "write_shard", lambda s, n, *more: (seen.append(n), write(s, n, *more)))
    scan_features(tmp_path / "a", **g, draws=3)
    assert seen == [1, 2]
    for path in sorted((tmp_path / "whole").rglob("*.npy")):
        assert path.read_bytes() == (tmp_path / "a" / path.relative_to(tmp_path / "whole")).read_bytes()


def test_damaged_and_foreign_shards_and_other_plans_are_refused(tmp_path: Path) -> None:
    g = given()
    scan_features(tmp_path / "a", **g, draws=0)
    other = given(seed=1)
    scan_features(tmp_path / "b", **other, draws=0)
    with pytest.raises(InputError, match=r"something else.*other doses, other features, other outcomes"):
        scan_features(tmp_path / "a", **other, draws=0)
    with pytest.raises(InputError, match="errors: 'CR3' there, 'CR1' now"):
        scan_features(tmp_path / "a", **g, errors="CR1", draws=0)
    shard = tmp_path / "a" / "shard-00001"
    path = shard / "beta.npy"
    raw = bytearray(path.read_bytes())
    raw[-3] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DamagedError, match=r"bytes are not those.*Delete .*shard-00001"):
        scan_features(tmp_path / "a", **g, draws=0)
    shutil.rmtree(shard)
    shutil.copytree(tmp_path / "b" / "shard-00001", shard)
    with pytest.raises(InputError, match="a shard of another scan"):
        scan_features(tmp_path / "a", **g, draws=0)
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        scan_features(tmp_path / "c", **g, draws=0)


def test_a_full_disk_is_told_and_costs_one_shard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    g, save = given(), np.save

    def full(path: Any, value: Any) -> None:
        if "shard-00001" in str(path) and "se" in Path(path).name:
            raise OSError(errno.ENOSPC, "No space left on device")
        save(path, value)

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(InputError, match=r"shard-00001: the disk is full.*what was finished before is kept"):
        scan_features(tmp_path / "a", **g, draws=0)
    assert sorted(p.name for p in (tmp_path / "a").glob("*shard*")) == ["shard-00000"]
    monkeypatch.setattr(np, "save", save)
    assert scan_features(tmp_path / "a", **g, draws=0).kept == 699 * 6


def test_permuted_doses_have_the_inflation_of_theory_and_wrong_errors_do_not(tmp_path: Path) -> None:
    """Runs of a family share noise that goes with the dose: errors that know families hold, those alike do not."""
    rng = np.random.default_rng(5)
    g = given(F=300, n=480)
    found = scan_features(tmp_path / "a", **g, draws=20)
    assert abs(found.inflation_permuted - 1) < 0.05
    inside = (found.permuted_lower <= found.expected + 0.15) & (found.expected - 0.15 <= found.permuted_upper)
    assert inside.mean() > 0.9
    assert found.inflation[0] > np.median(found.inflation[1:])
    mrinterp.plot(found, tmp_path / "figure.png")
    family = np.repeat(np.arange(24), 20)
    z = rng.standard_normal((480, 1))
    x = (z * rng.standard_normal((24, 200))[family] + rng.standard_normal((480, 200))).astype(np.float32)
    arrays = {"doses": z, "features": x, "outcomes": x[:, 0], "prompt": family, "family": family}
    alike = scan_features(tmp_path / "b", **arrays, errors="homoskedastic", draws=0)
    by_family = scan_features(tmp_path / "c", **arrays, draws=0)
    assert alike.inflation[0] > 4
    assert by_family.inflation[0] < 1.5


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("errors", ERRORS)
def test_torch_gives_what_numpy_gives(errors: str, joint: bool) -> None:
    g = given(F=64)
    g["features"] = g["features"].astype(np.float32)
    g["features"][:, 3] = 2.5 * g["doses"][:, 1]  # its variance cancels but for rounding
    g["features"][:, 5] = 7.0
    g["doses"][:, 2] = 1.0
    if joint:
        g["doses"] = np.delete(g["doses"], 2, axis=1)
    cause = np.random.default_rng(3).standard_normal((len(g["prompt"]), 2))
    how, family = within(g["prompt"], g["family"] // 3, covariates=cause)
    side = dose_side(g["doses"], how, family, errors, joint)
    outcomes = outcome_side(side, g["outcomes"][:, None])
    exact = Scanner(side, outcomes, "float64").block(g["features"], 0, 64)
    for precision, tolerance in (("float64", 1e-9), ("float32", 4e-6)):
        found = TorchScanner(Scanner(side, outcomes, precision), "cpu").block(g["features"], 0, 64)
        np.testing.assert_array_equal(np.isnan(found.se), np.isnan(exact.se))
        size = np.where(exact.se > 0, exact.se, 1.0) if precision == "float32" else 1.0
        keep = np.arange(64) != 3  # there errors are what rounding leaves
        np.testing.assert_allclose((found.beta / size)[:, keep], (exact.beta / size)[:, keep], atol=tolerance)
        np.testing.assert_allclose(found.se[:, keep], exact.se[:, keep], rtol=tolerance)
        span = np.nanmax(np.abs(exact.cov))
        np.testing.assert_allclose(found.cov[..., keep] / span, exact.cov[..., keep] / span, atol=tolerance)


def test_a_scan_on_a_device_reads_dense_and_sparse_features_alike(tmp_path: Path) -> None:
    g = given(F=600)
    g["features"] = np.where(g["features"] > 1.0, g["features"], 0.0).astype(np.float32)
    plain = scan_features(tmp_path / "a", **g, draws=0)
    dense = scan_features(tmp_path / "b", **g, draws=0, device="cpu:0")
    thin = scan_features(
        tmp_path / "c", **(g | {"features": sparse.csc_matrix(g["features"])}), draws=0, device="cpu:0"
    )
    assert dense.meta["device"] == "cpu:0"
    for found in (dense, thin):
        np.testing.assert_allclose(found.pairs["se"], plain.pairs["se"], rtol=1e-5)
        np.testing.assert_allclose(found.pairs["beta"], plain.pairs["beta"], rtol=1e-4)
    with pytest.raises(InputError, match="device"):
        scan_features(tmp_path / "d", **g, device="cuda:7")


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "doses that do not vary": ({"doses": np.ones((320, 6))}, "none varies within prompts"),
    "a nan dose": ({"doses": np.where(np.eye(320, 6) > 0, np.nan, 0)}, "doses, row 0, column 0"),
    "rows": ({"outcomes": np.ones(319)}, "outcomes: shape"),
    "two families": ({"family": np.arange(320)}, "is in 8 families"),
    "one family": ({"family": np.zeros(320)}, "1 family"),
    "paired without clean": ({"paired": True}, "no clean runs"),
    "no clean run": ({"paired": True, "clean": np.arange(320) == 0}, "has 0 clean runs"),
    "errors": ({"errors": "robust"}, "errors: 'robust'"),
    "a name twice": ({"outcome_names": ["x"], "instruments": ["a"] * 6}, "'a' appears twice"),
    "placebo": ({"placebo": ["q"]}, "'q' is not an instrument"),
    "file": ({"features": "x.csv"}, "no array of features"),
    "p": ({"p_threshold": 2}, "p_threshold"),
    "dependent doses": (
        {"doses": np.repeat(np.arange(320)[:, None] % 5, 6, 1), "joint": True},
        "depend on each other",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_names_the_place_and_the_fix(case: str, tmp_path: Path) -> None:
    more, words = BAD[case]
    with pytest.raises(InputError, match=words):
        scan_features(tmp_path / "a", **(given(F=10) | {"draws": 0} | more))


@pytest.mark.parametrize("sparsely", [False, True])
def test_a_feature_that_is_not_finite_is_refused(tmp_path: Path, sparsely: bool) -> None:
    g = given(F=10)
    g["features"][5, 7] = np.nan
    with pytest.raises(InputError, match="features: a value that is not finite"):
        scan_features(
            tmp_path / "a", **(g | {"features": sparse.csc_array(g["features"])} if sparsely else g), draws=0
        )
    assert not list((tmp_path / "a").glob("shard*"))


def test_memory_is_told_beforehand() -> None:
    assert scan_memory(2048, 256, 65_536) < 2.0e8 + 4 * 2048 * 256 * 10
    assert scan_memory(2048, 1000, 10**6) < 1e9
