"""Studies on tables, images and token arrays: drawn, run, estimated, knocked out; effects known in advance."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mrinterp.core.design import Design
from mrinterp.core.errors import InputError
from mrinterp.report.terminal import summary_text
from mrinterp.report.twin.files import write_twin
from mrinterp.scan._bypass import choose_rank
from mrinterp.scan._dictionary import describe_by_inputs
from mrinterp.scan._reader import block_noise
from mrinterp.study import Study
from tests.inputs.input_nets import EDITS, image_network, patch_network, table_network, write_input_study
from tests.report_document import document

NATURAL_SD = 2.563


def _study(folder: Path, kind: str, **changes: Any) -> Study:
    return Study.from_toml(write_input_study(folder, kind, **changes), folder / "run", allow_code=True)


def _design(folder: Path, kind: str, **changes: Any) -> Design:
    return _study(folder, kind, **changes)._drawn_design()


@pytest.mark.parametrize(("kind", "network"), [("table", table_network), ("images", image_network)])
def test_effects_of_a_linear_readout_are_its_weights(kind: str, network: Any, tmp_path: Path) -> None:
    """Unlike a text, such an input has no tokens, or a map of one class: the contrast moves the whole vector or map."""
    study = _study(tmp_path, kind)
    results = study.results.set_index("feature")
    weight = network().out.weight
    levels = study.contrast_levels
    moved = (levels.high - levels.low).max(axis=1) / NATURAL_SD
    for unit in range(3):
        row = results.loc[f"hidden:{unit}"]
        # One unit of a feature is its standard deviation on discovery: a move in units of the activation again.
        width = study.basis.dictionary.write[unit, unit]
        truth = float((weight[0, unit] - weight[1, unit]).detach()) * moved[unit] * width
        assert row["effect"] == pytest.approx(truth, rel=1e-5)
        assert row["confirmed"] == ("confirmed" if row["verdict"] == "causal" else "")
        assert row["within"] == pytest.approx(row["gradient"], rel=1e-4)
    assert (results["verdict"] == "causal").any()
    said = summary_text(study)
    # A row of a table has no tokens, and the columns say what a feature responds to; images without labels say nothing.
    assert "token" not in said
    assert ("every place" in said) == (kind == "images")
    write_twin(study, tmp_path / "twin" / "report")
    made = document(tmp_path / "twin")
    assert "token" not in made.methods
    assert ("every place" in made.methods) == (kind == "images")
    assert ("Features are read and written once per input: the site holds one vector." in said) == (
        kind == "table"
    )
    assert results["label"].str.fullmatch(r"\S+ [+-]\d\.\d" if kind == "table" else "").all()
    told = study.feature_profiles.inputs["text"]
    assert told.str.contains("c0 = ").all() == (kind == "table")
    assert not told.str.contains("column").any(), "columns are called by their names"
    assert set(study.sumstats) == {"noise", "resampling" if kind == "table" else "occlusion"}
    assert set(study.estimates) >= {"replication", "within_calibrated", "rectified"}
    assert "noise" in study.choices
    # The folder is gone on with, not drawn anew; another plan is refused.
    again = Study.open(tmp_path / "run")
    assert again.design.digest == study.design.digest
    np.testing.assert_array_equal(again.design.arrays["values"], study.design.arrays["values"])
    with pytest.raises(InputError, match="holds a run of another plan"):
        _ = _study(tmp_path, kind, seed=2).results


def test_features_that_fill_the_site_leave_a_bypass_of_nothing() -> None:
    """As where as many features are asked for as the site has channels: its bypass is 0, and its equations are singular."""
    features, family = np.random.default_rng(0).standard_normal((120, 4)), np.repeat(np.arange(40), 3)
    rank, path = choose_rank(features, np.zeros((120, 6)), features[:, :1] + features[:, 1:2], family, 6)
    assert rank == 0
    np.testing.assert_allclose(path["outcome_r2"], 1.0)


def test_features_are_described_by_what_moves_them(tmp_path: Path) -> None:
    """The token at its place, in units of the feature; a label of images."""
    design = _design(tmp_path, "tokens")
    rows = np.flatnonzero(design.runs["kind"] == "clean")
    array = design.inputs["array_row"].to_numpy()[design.runs["input"].to_numpy()[rows]]
    ids, rng = np.asarray(design.arrays["values"])[array], np.random.default_rng(0)
    token = int(np.bincount(ids[:, 2]).argmax())
    here = ids[:, 2] == token
    noise = 0.01 * rng.standard_normal((len(rows), 2))
    values = noise + np.stack([2.0 * here, -1.0 * here], axis=1)
    told = describe_by_inputs(values, rows, design)
    assert told == (f"token2={token} +2.0", f"token2={token} -1.0")
    images = replace(design, settings=design.settings | {"inputs": "images"})
    assert describe_by_inputs(values, rows, images) == ("", "")
    labelled = replace(images, inputs=design.inputs.assign(label=np.arange(len(design.inputs)) % 2))
    label = labelled.inputs["label"].to_numpy()[design.runs["input"].to_numpy()[rows]]
    told = describe_by_inputs(noise + 3.0 * label[:, None], rows, labelled)
    assert set(told) <= {"label=1 +3.0", "label=0 -3.0"}


def test_a_token_study_rests_on_edits_and_repeats_with_others(tmp_path: Path) -> None:
    few = {k: {"runs_per_prompt": 0} for k in ("substitution", "swap", "resampling")}
    few |= {
        "masking": {"runs_per_prompt": 3, "saturation": True},
        "noise": {"runs_per_prompt": 0},
        "placebo": {"count": 2},
    }
    study = _study(
        tmp_path,
        "tokens",
        instruments=few,
        estimation={"kind": "masking"},
        features={"position": "last"},
        knockouts={"random_controls": 0, "kinds": ["resample"]},
    )
    results = study.results
    assert set(study.sumstats) == {"masking", "deletion"}
    assert {"ivw_masking", "within", "replication_deletion"} <= set(study.estimates)
    assert results["effect"].notna().all()
    assert study.choices == {}, "no noise: no scale of it"
    alone = study._scan("estimation").select(kinds=("masking",)).changes()
    first, *_ = columns = study.design.columns("masking")
    assert (alone.doses[:, columns].sum(axis=1) == 1).all(), "one token at a time"
    mean = alone.outcomes[alone.doses[:, first] == 1].mean()
    assert study.sumstats["masking"].beta[-1, first] == pytest.approx(mean), "against the clean run"


def test_token_edits_do_what_their_instruments_say(tmp_path: Path) -> None:
    design = _design(tmp_path, "tokens")
    values, own = (design.arrays[n][design.inputs["array_row"]] for n in ("values", "own"))
    assert values.dtype == np.int64
    names = design.instruments["instrument"].to_numpy()
    seen = dict.fromkeys(EDITS, 0)
    for run in design.runs.itertuples():
        if run.kind not in EDITS:
            continue
        seen[run.kind] += 1
        clean = design.runs["input"].iloc[run.clean]
        before, after = values[clean][own[clean]].tolist(), values[run.input][own[run.input]].tolist()
        done = [n for n in names[design.doses[run.run] != 0] if not n.startswith("placebo")]
        assert done
        assert all(n.startswith(f"{run.kind}:token") for n in done)
        places = sorted({int(p.removeprefix("token")) for n in done for p in n.split(":")[1].split("~")})
        assert 0 not in places, "the first token is the same in all rows"
        assert 0 not in after
        if run.kind == "deletion":
            assert after == [t for i, t in enumerate(before) if i not in places]
            continue
        changed = [i for i, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
        assert changed == places
        if run.kind == "masking":
            assert {after[i] for i in places} == {19}
        elif run.kind == "swap":
            assert sorted(after) == sorted(before)
        else:
            assert 19 not in after
    assert min(seen.values()) > 100
    # Classes are kept by word: the first and the last token never go.
    classes = design.arrays["classes"][design.inputs["array_row"]]
    assert ((classes == 0).sum(axis=1) == 1).all()
    assert ((classes == 1).sum(axis=1) == 1).all()
    assert (classes[~own] == -1).all()


def test_a_design_is_drawn_from_its_seed_alone(tmp_path: Path) -> None:
    one, again, other = (_design(tmp_path, "tokens", seed=s) for s in (1, 1, 2))
    assert one.digest == again.digest != other.digest
    one.save(tmp_path / "design")
    assert Design.load(tmp_path / "design").digest == one.digest
    # One more kind of edit leaves the draws of the others as they are.
    fewer = _design(tmp_path, "tokens", instruments={"swap": {"runs_per_prompt": 0}, "placebo": {"count": 0}})
    for kind in ("masking", "resampling"):
        texts = [
            d.inputs["shown"].to_numpy()[d.runs.loc[d.runs["kind"] == kind, "input"]] for d in (one, fewer)
        ]
        assert texts[0].tolist() == texts[1].tolist()


def test_values_come_from_the_inputs_of_the_same_split(tmp_path: Path) -> None:
    design = _design(tmp_path, "table")
    values = design.arrays["values"][design.inputs["array_row"]]
    assert (values[:, 5] == 1).all(), "a constant column stays"
    assert design.settings["unperturbed"] == ["c5"]
    for split in ("discovery", "estimation", "replication"):
        rows = design.rows(split, ("resampling",))
        own, clean = (design.runs["input"].to_numpy()[r] for r in (rows, design.rows(split, ("clean",))))
        for column in range(5):
            assert np.isin(values[own, column], values[clean, column]).all()


def test_noise_goes_where_its_instrument_says(tmp_path: Path) -> None:
    """Pixels of a block and no others; both of a pair of runs, with signs turned; columns in their standard deviations."""
    study = _study(tmp_path, "images", instruments={"noise": {"runs_per_prompt": 2, "scale": 0.3}})
    design, network = study._drawn_design(), study._bare_network
    rows = design.rows("discovery", ("noise",))[:2]
    noise = block_noise(design, rows)
    assert noise is not None
    clean = network.inputs.take(design.runs["input"].to_numpy()[rows])
    assert network.noise_at is not None
    noisy, edits = network.noise_at.added(clean, noise, "input")
    step = (noisy.tensors["image"] - clean.tensors["image"]).numpy()[:, 0]
    assert not edits
    np.testing.assert_allclose(step[0], -step[1], atol=1e-6)
    assert 0.1 < step.std() < 0.6
    table = design.instruments
    column = table.index[(table["kind"] == "noise") & (table["locus"] == "r0c1")]
    alone = design.doses.copy()
    alone[rows] = 0
    alone[rows[0], column] = 1.0
    one = block_noise(design, rows, alone)
    assert one is not None
    moved = network.noise_at.added(clean, one, "input")[0].tensors["image"] - clean.tensors["image"]
    inside = np.zeros((8, 8), bool)
    inside[:4, 4:] = True
    np.testing.assert_array_equal(moved[0, 0].numpy() != 0, inside)
    assert not moved[1].any()
    # What the network then computes is what it computes of the noisy image.
    read = network.run(design.runs["input"].to_numpy()[rows], noise=noise)
    direct = image_network()(noisy.tensors["image"])
    np.testing.assert_allclose(read.outcome[:, 0], (direct[:, 0] - direct[:, 1]).detach(), rtol=1e-5)


def test_noise_at_a_module_is_by_blocks_of_its_places(tmp_path: Path) -> None:
    study = _study(tmp_path, "patches")
    design, network = study._drawn_design(), study._bare_network
    assert design.settings["position_classes"] == ["r0c0", "r0c1", "r1c0", "r1c1", "extra"]
    assert network.inputs.class_names == ("place0", "place1", "place2", "place3", "place4")
    rows = design.rows("discovery", ("noise",))[:3]
    noise = block_noise(design, rows)
    inputs = design.runs["input"].to_numpy()[rows]
    read = network.run(inputs, noise=noise)
    net = patch_network()
    added = torch.from_numpy(noise[:, [4, 0, 1, 2, 3]])
    handle = net.embedded.register_forward_hook(lambda m, i, o: o + added)
    direct = net(network.inputs.take(inputs).tensors["pixel_values"])
    handle.remove()
    np.testing.assert_allclose(read.outcome[:, 0], (direct[:, 0] - direct[:, 1]).detach(), rtol=1e-4)


def test_every_input_may_be_a_family_of_its_own(tmp_path: Path) -> None:
    study = _study(
        tmp_path,
        "table",
        inputs={"kind": "table", "file": "table.npz", "array": "rows", "families": "each"},
        knockouts={"families": 0, "kinds": ["resample"], "random_controls": 0},
    )
    design = study._drawn_design()
    assert (design.runs.groupby("family")["prompt"].nunique() == 1).all()
    from mrinterp.knockouts._study_contrast import fewest_families

    assert fewest_families(study.plan, design) == 40, (
        "forty inputs are knocked out at least, whatever families hold"
    )


@pytest.mark.parametrize(
    ("kind", "changes", "where", "found"),
    [
        ("table", {"features": {"position": "last"}}, "features.position", "one vector per input"),
        ("images", {"instruments": {"noise": {"blocks": 9}}}, "instruments.noise.blocks", "images of 8 x 8"),
        ("tokens", {"inputs": {"argument": "ids"}}, "inputs.argument", "takes no 'ids'"),
        (
            "tokens",
            {"inputs": {"kind": "tokens", "mask_id": None}},
            "instruments.masking",
            "mask_id is not given",
        ),
        (
            "tokens",
            {"instruments": {"substitution": {"runs_per_prompt": 1, "words": {"77": ["3"]}}}},
            "instruments.substitution",
            "no prompt has a word",
        ),
        ("tokens", {"instruments": {"slot": {"runs_per_prompt": 1}}}, "instruments.slot", "no slots"),
        (
            "images",
            {"instruments": {"masking": {"runs_per_prompt": 1}}},
            "instruments.masking",
            "kind 'images'",
        ),
        ("table", {"outcome": {"name": "y", "kind": "loss"}}, "outcome 'y'", "needs a 'label'"),
    ],
)
def test_what_does_not_fit_is_refused_before_the_first_run(
    kind: str, changes: dict[str, Any], where: str, found: str, tmp_path: Path
) -> None:
    if changes.get("inputs", {}).get("mask_id", 1) is None:
        changes = {"inputs": {"kind": "tokens"}}
        path = write_input_study(tmp_path, kind)
        path.write_text(path.read_text().replace("mask_id = 19\n", ""))
    else:
        if "outcome" in changes:
            changes = {"outcome": [changes["outcome"]]}
        path = write_input_study(tmp_path, kind, **changes)
    with pytest.raises(InputError) as e:
        Study.from_toml(path, tmp_path / "run", allow_code=True).check_before()
    assert where in e.value.where
    assert found in e.value.found
    assert not (tmp_path / "run").exists()
