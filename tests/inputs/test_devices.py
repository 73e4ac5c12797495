"""The device of a study file reaches every tensor; per block only what is kept comes back to the host."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mrinterp.scan._reader import block_noise
from mrinterp.study import Study
from tests.inputs.input_nets import EDITS, write_input_study
from tests.inputs.second_device import OTHER, SecondDevice, lies_there

FEW = {"families": 10, "prompts_per_family": 1, "random_controls": 2, "kinds": ["resample", "mean"]}


def test_a_study_runs_on_another_device_and_finds_the_same(tmp_path: Path) -> None:
    found, few = [], {k: {"runs_per_prompt": int(k == "substitution")} for k in EDITS}
    few["noise"] = {"runs_per_prompt": 4}
    for device in ("cpu", str(OTHER)):
        folder = tmp_path / device.replace(":", "")
        folder.mkdir()
        path = write_input_study(
            folder,
            "tokens",
            model={"device": device},
            inputs={"per_family": 1},
            knockouts=FEW,
            instruments=few,
        )
        study = Study.from_toml(path, folder / "run", allow_code=True)
        with SecondDevice() as second:
            study._reach("freeze")
            if device != "cpu":
                network = study._network
                assert all(map(lies_there, network.adapter.module.parameters()))
                assert all(map(lies_there, network.inputs.tensors.values()))
            found.append({n: e.effect for n, e in study.knockouts.items()})
        assert bool(second.to_host) == (device != "cpu")
    for name, effect in found[0].items():
        np.testing.assert_allclose(found[1][name], effect, rtol=1e-6, atol=1e-9, err_msg=name)


def test_a_block_copies_back_what_is_kept_and_nothing_else(tmp_path: Path) -> None:
    path = write_input_study(tmp_path, "tokens", model={"device": str(OTHER)}, features={"position": "mean"})
    study = Study.from_toml(path, tmp_path / "run", allow_code=True)
    with SecondDevice() as second:
        design, network = study._drawn_design(), study._bare_network
        rows = design.rows("discovery", ("noise",))[:20]
        inputs, noise = design.runs["input"].to_numpy()[rows], block_noise(design, rows)
        network.run(inputs[:2])  # what is found out once about the network
        counts = {}
        for name, options in (
            ("clean", {}),
            ("noise", {"noise": noise}),
            ("shift", {"shift": np.zeros((20, network.width))}),
            ("no cut", {"cut": False}),
        ):
            second.to_host.clear()
            reading = network.run(inputs, **options)
            kept = [reading.outcome, *reading.parts.values()]
            counts[name] = len(second.to_host) - len(kept)
            assert all(len(shape) < 3 for shape in second.to_host), "no activation token by token"
    # Beyond what is kept: answers to yes or no, such as whether a mask is 0/1.
    assert max(counts.values()) <= 9, counts
