"""A scan by several workers: the bytes of one process, also where one of them is killed at its work."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from mrinterp.core.errors import DamagedError, InputError
from mrinterp.scan import ScanFolder, _cluster, _scan_job, scan_features
from mrinterp.scan._cluster import Workers, device_of_worker, opened_workers
from mrinterp.study import Study, scan_study
from tests.conftest import need
from tests.inputs.input_nets import MORE, write_input_study
from tests.scan.scanned_study import write_scanned_study


def given(folder: Path, F: int = 1500, n: int = 240) -> dict[str, Any]:
    """Runs whose features lie in three files of some prompts each."""
    rng = np.random.default_rng(0)
    prompt = np.array([f"p{i}" for i in np.arange(n) // 8], dtype=object)
    z = rng.integers(0, 2, (n, 6))
    x = rng.standard_normal((n, F)).astype(np.float32)
    x[:, :20] += z[:, :1]
    (folder / "x").mkdir()
    for part, edges in enumerate(((0, 80), (80, 96), (96, n))):
        np.save(folder / "x" / f"part{part}.npy", x[slice(*edges)])
    np.save(folder / "x.npy", x)
    runs = {"doses": z, "outcomes": x[:, 0], "prompt": prompt, "family": prompt, "kind": prompt == "p3"}
    return {**runs, "features": folder / "x", "draws": 4}


class KilledOnce:
    """On a worker: its process is killed at the first shard that it begins, as often as asked for over all workers."""

    def __init__(self, mark: Path, times: int) -> None:
        self.mark, self.times = mark, times

    def setup(self, worker: Any) -> None: ...

    def teardown(self, worker: Any) -> None: ...

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
        if finish != "executing":
            return
        for number in range(self.times):
            try:
                (self.mark / str(number)).touch(exist_ok=False)
            except FileExistsError:
                continue
            os.kill(os.getpid(), signal.SIGKILL)


def same_bytes(a: Path, b: Path) -> None:
    if a.is_file():
        assert a.read_bytes() == b.read_bytes()
        return
    files = sorted(p.relative_to(a) for p in a.rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(b) for p in b.rglob("*") if p.is_file())
    for name in files:
        if name.name not in ("header.json", "SHA256SUMS"):  # they name the folder
            assert (a / name).read_bytes() == (b / name).read_bytes(), name


@pytest.fixture(scope="module")
def two() -> Iterator[Any]:
    """A client of two workers of this machine: one start for all tests."""
    need("distributed")
    with opened_workers(2) as made:
        yield made.client


def test_a_scan_has_the_bytes_of_one_process_also_when_a_worker_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, two: Any
) -> None:
    monkeypatch.setattr(_scan_job, "SHARD_NUMBERS", 256 * 6 * 3)
    g = given(tmp_path)
    alone = scan_features(tmp_path / "alone", **g)
    assert ScanFolder.open(tmp_path / "alone").finished == 6
    (tmp_path / "killed").mkdir()
    two.register_plugin(_worker_plugin(KilledOnce(tmp_path / "killed", 1)), name="killer")
    before = set(two.run(os.getpid).values())
    found = scan_features(tmp_path / "two", **g, scheduler=two.scheduler.address)
    two.unregister_worker_plugin("killer")
    assert len(before - set(two.run(os.getpid).values())) == 1  # the killed one
    assert found.inflation_permuted == alone.inflation_permuted
    same_bytes(tmp_path / "alone", tmp_path / "two")
    _what_is_refused(tmp_path, g, two.scheduler.address)
    monkeypatch.setattr(_cluster, "ANSWERS_WITHIN", "1s")
    with pytest.raises(InputError, match="does not answer"):
        scan_features(tmp_path / "late", **g, scheduler="tcp://127.0.0.1:9")


def test_a_scan_of_a_study_has_the_bytes_of_one_process_also_when_a_worker_is_killed(
    tmp_path: Path, two: Any
) -> None:
    file = write_scanned_study(tmp_path)
    scan_study(file, tmp_path / "alone", allow_code=True, draws=1)
    (tmp_path / "killed").mkdir()
    two.register_plugin(_worker_plugin(KilledOnce(tmp_path / "killed", 1)), name="killer")
    before = set(two.run(os.getpid).values())
    address = two.scheduler.address
    scan_study(file, tmp_path / "two", allow_code=True, draws=1, scheduler=address)
    two.unregister_worker_plugin("killer")
    assert len(before - set(two.run(os.getpid).values())) == 1
    assert len(list((tmp_path / "two" / "features").iterdir())) == 3
    for part in ("features", "shard-00000", "outcomes.npz", "features.parquet"):
        same_bytes(tmp_path / "alone" / part, tmp_path / "two" / part)


def _worker_plugin(plugin: KilledOnce) -> Any:
    from distributed import WorkerPlugin

    return type("Killer", (KilledOnce, WorkerPlugin), {})(plugin.mark, plugin.times)


def _what_is_refused(folder: Path, g: dict[str, Any], address: str) -> None:
    """Errors of a worker reach the person as they would from this process."""
    x = np.load(folder / "x.npy")
    with pytest.raises(InputError, match="in memory, which workers cannot read"):
        scan_features(folder / "memory", **(g | {"features": x}), scheduler=address)
    x[7, 900] = np.inf
    np.save(folder / "bad.npy", x)
    with pytest.raises(InputError, match="not finite among columns 768 to"):
        scan_features(folder / "bad", **(g | {"features": folder / "bad.npy"}), scheduler=address)
    path = folder / "two" / "shard-00002" / "se.npy"
    path.write_bytes(path.read_bytes()[:-2] + b"xx")
    with pytest.raises(DamagedError, match=r"bytes are not those.*Delete .*shard-00002"):
        scan_features(folder / "two", **g, scheduler=address)
    assert not (folder / "two" / ".parts").exists()


class Beside(Workers):
    """Workers that are this process: tasks are called one after the other, with a study opened anew."""

    def __init__(self, count: int) -> None:
        self.client, self.tasks, self.count = self, [], count  # type: ignore[assignment]

    def scheduler_info(self) -> dict[str, Any]:
        return {"workers": dict.fromkeys(range(self.count))}

    def each(self, function: Any, things: Any, what: str, unit: str) -> Any:
        self.tasks += [what] * len(things)
        return [pickle.loads(pickle.dumps(function))(thing) for thing in reversed(things)]


def test_a_study_whose_shards_others_make_has_the_same_bytes(tmp_path: Path) -> None:
    """With processes of their own, knockouts too: ``benchmarks/speed/worker_speed.py``."""
    few = {k: {"runs_per_prompt": int(k == "substitution")} for k in MORE["tokens"]}
    few |= {"noise": {"runs_per_prompt": 2, "directions_per_class": 2}, "placebo": {"count": 1}}
    small: dict[str, Any] = {
        "instruments": few,
        "inputs": {"per_family": 1},
        "features": {"units": [0]},
        "model": {"block": 2},
        "estimation": {"max_rank": 1, "runs_per_column": 2},
        "knockouts": {"families": 10, "prompts_per_family": 1, "random_controls": 0, "kinds": ["mean"]},
    }
    file = write_input_study(tmp_path, "tokens", **small)
    alone = Study.from_toml(file, tmp_path / "alone", allow_code=True)
    alone._reach("freeze")
    shutil.copytree(tmp_path / "alone", tmp_path / "two")
    alone._reach("scan")
    study = Study.from_toml(file, tmp_path / "two", allow_code=True)
    study.workers = beside = Beside(2)
    study._reach("scan")
    assert len(beside.tasks) > 1
    same_bytes(tmp_path / "alone" / "panel", tmp_path / "two" / "panel")
    study.given = object()  # type: ignore[assignment]
    with pytest.raises(InputError, match="network from memory"):
        study.run(workers=2)


def test_features_in_parts_are_those_of_one_file(tmp_path: Path) -> None:
    g = given(tmp_path, F=300)
    scan_features(tmp_path / "parts", **g)
    scan_features(tmp_path / "one", **(g | {"features": tmp_path / "x.npy"}))
    for name in ("beta", "se", "outcome_cov"):
        a, b = (next(ScanFolder.open(tmp_path / n).shards()).arrays[name] for n in ("parts", "one"))
        np.testing.assert_array_equal(a, b)
    few = sparse.random_array(
        (240, 300), density=0.05, format="csc", rng=np.random.default_rng(1), dtype=np.float32
    )
    (tmp_path / "few").mkdir()
    for name in ("data", "indices", "indptr"):
        np.save(tmp_path / "few" / f"{name}.npy", getattr(few, name))
    np.save(tmp_path / "few" / "rows.npy", 240)
    sparse.save_npz(tmp_path / "few.npz", few)
    for name in ("few", "few.npz"):
        scan_features(tmp_path / f"of {name}", **(g | {"features": tmp_path / name}))
    a, b = (next(ScanFolder.open(tmp_path / f"of {n}").shards()).arrays["se"] for n in ("few", "few.npz"))
    np.testing.assert_array_equal(a, b)
    np.save(tmp_path / "few" / "indices.npy", few.indices[:-1])
    with pytest.raises(InputError, match="columns that end at"):
        scan_features(tmp_path / "c", **(g | {"features": tmp_path / "few"}))
    np.save(tmp_path / "x" / "part3.npy", np.ones((3, 299), np.float32))
    with pytest.raises(InputError, match=r"part3.npy: shape \(3, 299\)"):
        scan_features(tmp_path / "d", **g)


def test_every_worker_has_a_card_of_its_own() -> None:
    assert [device_of_worker("cuda", 4, n) for n in (0, "1", 5)] == ["cuda:0", "cuda:1", "cuda:1"]
    assert device_of_worker("cuda", 1, 3) == "cuda"
    assert device_of_worker("cuda", 4, "SLURMCluster-0-1") == "cuda"
    assert device_of_worker("cpu", 4, 3) == "cpu"


def test_workers_and_scheduler_are_one_or_the_other(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="together with a scheduler"), opened_workers(2, "tcp://127.0.0.1:1"):
        pass
    need("distributed")
    with pytest.raises(InputError, match="workers"), opened_workers(0):
        pass
