"""One path from a study file to a network: every kind of feature and outcome, compared with what is known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from mrinterp.knockouts import _study_choices
from mrinterp.mr._runs.within import within
from mrinterp.report.terminal import summary_text
from mrinterp.results._knockout_effects import KnockoutEffects
from mrinterp.study import Study
from tests.study.page_text import undrawn_page
from tests.study.study_kinds import (
    DECODER,
    LOGITS,
    prompt_table,
    run_study,
    save_tiny_decoder,
    save_vectors,
    write_study,
)

pytestmark = pytest.mark.needs("transformers")
SITE = "h.1"
EXACT = {
    "estimation": {"max_rank": 40, "runs_per_column": 2},
    "instruments": {
        "slot": {"runs_per_prompt": 5},
        "noise": {"runs_per_prompt": 24, "directions_per_class": 8, "scale": 0.1, "split_at": "quality"},
        "placebo": {"count": 3},
    },
    "prompts": {"per_family": 1},
}
"""Runs enough for all of the site at the one token that the outcome reads."""
LINEAR: dict[str, tuple[dict[str, Any], list[str]]] = {
    "components": ({"count": 2}, ["c00", "c01"]),
    "units": ({"kind": "units", "units": [17, 3]}, ["17", "3"]),
    "layer": ({"kind": "layer"}, [str(i) for i in range(24)]),
    "directions": ({"kind": "directions", "file": "directions.npy"}, [f"direction{i}" for i in range(4)]),
    "named": ({"kind": "directions", "file": "named.npz"}, ["up", "down"]),
    "subspace": ({"kind": "subspace", "file": "rotation.csv"}, [f"coordinate{i}" for i in range(3)]),
    "embedding": ({"kind": "embedding", "tokens": ["good", 9]}, ["good", "9"]),
}


@pytest.fixture(scope="module")
def decoder(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_decoder(tmp_path_factory.mktemp("decoder"), tiny_encoder)


def _linear_study(
    folder: Path, network: Path, features: dict[str, Any], token: int = 1, **model: Any
) -> Study:
    """A factory's network whose outcome is linear in the site at one token, where features are read."""
    save_vectors(folder)
    return run_study(
        folder,
        network,
        model=(
            {
                "kind": "module",
                "module": "tests.study.study_kinds:linear_readout",
                "arguments": {"folder": str(network)},
                "tokenizer": str(network),
                "site": SITE,
                "embedding": "wte",
                "padded_length": 14,
                **model,
            },
        ),
        outcome=({"name": "y", "kind": "projection", "direction": "outcome.npy", "position": token},),
        features=({**features, "position": token},),
        **EXACT,
    )


@pytest.mark.parametrize("kind", sorted(LINEAR))
def test_linear_features_at_a_token_have_their_known_effects(
    kind: str, decoder: Path, tmp_path: Path
) -> None:
    """The outcome is d @ h at the token: writing feature k changes it by d @ write[k], whatever the kind;
    estimate, knockout and gradient all say so."""
    features, names = LINEAR[kind]
    study = _linear_study(tmp_path, decoder, features)
    d = study.basis.dictionary
    assert d.names == tuple(f"{SITE}:{n}" for n in names)
    truth = d.write @ np.load(tmp_path / "outcome.npy")
    whole = within(study.panel.select(kinds=("noise",)), len(study.basis.order))
    for found in (whole.beta, study.estimates["gradient"].beta):
        np.testing.assert_allclose(found[:, 0], truth, rtol=1e-4, atol=1e-5)
    shift: KnockoutEffects = study.knockouts["shift"]
    np.testing.assert_allclose(shift.effect[:, 0], truth, rtol=1e-3, atol=1e-5)
    assert (shift.read_back_error < 1e-4).all()
    np.testing.assert_allclose(d.read_back, np.eye(len(names)), atol=1e-6)


def test_latents_have_their_known_effects_beside_the_reconstruction_error(
    decoder: Path, tmp_path: Path
) -> None:
    """h = latents @ W_dec + error: with all latents as features and the error among the bypass, the
    effect of a latent is d @ its decoder row, though it is read through a threshold."""
    study = _linear_study(
        tmp_path,
        decoder,
        {"kind": "train_sae", "count": 2, "train": {"latents": 2, "k": 1, "steps": 400}},
        token=4,
    )
    d, basis = study.basis.dictionary, study.basis
    rows = study.autoencoder.weights["W_dec"].double().numpy()
    np.testing.assert_allclose(d.write, rows[list(d.latents)] * d.scale[:, None], rtol=1e-6)
    truth = d.write @ np.load(tmp_path / "outcome.npy")
    whole = within(study.panel.select(kinds=("noise",)), len(basis.order))
    np.testing.assert_allclose(whole.beta[:, 0], truth, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(study.knockouts["shift"].effect[:, 0], truth, rtol=1e-3, atol=1e-4)
    assert any(name.startswith("error:") for name in basis.bypass_names)
    values = study.panel.features[(study.panel.runs["kind"] == "clean").to_numpy()]
    assert 0.3 < values.std() < 3, "one unit is a natural standard deviation"


def test_the_site_beside_completes_the_cut(decoder: Path, tmp_path: Path) -> None:
    """The stream is what runs beside the sublayer plus what it writes: with both held, a unit of the
    sublayer's output has its known effect; without the stream beside, what it carries is laid on the units."""
    features = {"kind": "units", "units": [3, 17]}
    found = {}
    for beside in ("h.1.ln_2:input", None):
        folder = tmp_path / str(beside).replace(":", "-")
        folder.mkdir()
        more = {} if beside is None else {"beside": beside}
        study = _linear_study(folder, decoder, features, site="h.1.mlp", **more)
        truth = study.basis.dictionary.write @ np.load(folder / "outcome.npy")
        whole = within(study.panel.select(kinds=("noise",)), len(study.basis.order))
        found[beside] = np.abs(whole.beta[:, 0] - truth).max() / np.abs(truth).max()
        np.testing.assert_allclose(study.knockouts["shift"].effect[:, 0], truth, rtol=1e-3)
    assert found["h.1.ln_2:input"] < 1e-3
    assert found[None] > 0.05


def test_more_features_than_doses_leave_two_stage_least_squares_out(decoder: Path, tmp_path: Path) -> None:
    model = {**DECODER, "folder": str(decoder), "kind": "causal"}
    noise = {"runs_per_prompt": 20, "directions_per_class": 3, "scale": 0.1, "split_at": "quality"}
    study = run_study(
        tmp_path,
        decoder,
        model=model,
        outcome=(LOGITS,),
        features=({"kind": "units", "units": "all"},),
        instruments={"noise": noise},
    )
    assert "tsls" not in study.estimates
    note = next(c["note"] for c in study.checks if c["name"] == "two-stage least squares")
    why = "instruments.noise.directions_per_class is too small"
    assert note == f"21 doses vary for 24 features, and it needs 29: {why}"
    assert len(study.results) == 24


def test_tokens_are_read_by_the_rows_of_the_output_layer(decoder: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = {**DECODER, "folder": str(decoder), "kind": "causal"}
    tokens = ["good", 4]
    study = run_study(
        tmp_path, decoder, model=model, outcome=(LOGITS,), features=({"kind": "token", "tokens": tokens},)
    )
    d = study.basis.dictionary
    table = AutoModelForCausalLM.from_pretrained(decoder).lm_head.weight.detach().numpy()
    rows = table[[study._opened.tokenizer.convert_tokens_to_ids("good"), 4]]
    for read, row in zip(d.read, rows, strict=True):
        cosine = read @ row / np.linalg.norm(read) / np.linalg.norm(row)
        np.testing.assert_allclose(cosine, 1, rtol=1e-6)
    assert d.names == ("transformer.h.1:good", "transformer.h.1:4")


class TestAutoencoders:
    FEATURES: dict[str, Any] = {  # noqa: RUF012
        "count": 4,
        "choose": "screen",
        "train": {"latents": 40, "k": 6, "steps": 200},
    }

    @pytest.fixture(scope="class")
    def trained(self, decoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
        folder = tmp_path_factory.mktemp("sae")
        model = {**DECODER, "folder": str(decoder), "kind": "causal"}
        return run_study(
            folder,
            decoder,
            model=model,
            outcome=(LOGITS,),
            features=({"kind": "train_sae", **self.FEATURES},),
        )

    def test_facts_stand_in_checks_terminal_and_page(self, trained: Study) -> None:
        check = next(
            c for c in json.loads((trained.out / "checks.json").read_text()) if c["name"] == "autoencoder"
        )
        for word in ("of the variance explained", "latents active per token", "dead", "loss recovered"):
            assert word in check["note"]
            assert word in summary_text(trained)
        page = undrawn_page(trained)
        assert "Autoencoder of 40 latents" in page
        facts = trained.basis.meta["sae"]
        assert check["statistic"] == facts["explained_variance"]
        assert facts["summary"].split(",")[0] in page
        assert len(facts["dead"]) == round(facts["dead_fraction"] * 40)

    def test_what_the_screen_left_out_is_bounded_at_the_terminal_and_on_the_page(
        self, trained: Study
    ) -> None:
        facts, page = trained.basis.meta["screen"], undrawn_page(trained)
        check = next(c for c in trained.checks if c["name"] == "latents left out")
        assert facts["latents"] == 40
        assert facts["taken"] == 4
        assert 0 < facts["missed_at_most"] < 1
        assert check["statistic"] == facts["missed_at_most"]
        assert check["verdict"] == ("warning" if facts["passed_left_out"] else "passed")
        said = f"none that was left out has a correlation above {facts['missed_at_most']:.2f}"
        assert said in check["note"]
        assert said in " ".join(summary_text(trained).split())
        assert said in page

    def test_the_scale_of_the_noise_is_chosen_for_what_the_screen_takes(
        self, trained: Study, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        seen: list[tuple[str, ...]] = []

        def choose(network: Any, design: Any, dictionary: Any, levels: Any) -> dict[str, Any]:
            seen.append(dictionary.names)
            return {"scale": dict.fromkeys(design.settings["position_classes"], 0.1)}

        monkeypatch.setattr(_study_choices, "choose_noise", choose)
        design = (
            trained._stored_design()
        )  # at the plan's scale of .1: at scale 1 as a study is that leaves it open
        design = replace(design, noise_directions=design.noise_directions * np.float32(10))
        _study_choices.study_noise(trained.plan, trained._network, design, None)
        assert seen[-1] == trained.basis.dictionary.names
        assert len(seen) == 2, "first for those that vary most, at whose scale the screen is made"
        assert seen[0] != seen[1]

    def test_what_writes_move_besides_is_said_and_nowhere_denied(self, trained: Study) -> None:
        d, page = trained.basis.dictionary, undrawn_page(trained)
        checks = {c["name"]: c for c in trained.checks}
        assert checks["writes read back"]["verdict"] == "warning"
        assert tuple(checks["writes read back"]["features"]) == d.leaking
        assert d.leaking, "latents of overlapping decoder rows move one another"
        assert np.array_equal(trained.read_back.matrix, d.read_back)
        assert "and no other feature" not in page
        assert "its decoder row, which moves the readings of others too" in page
        said = f"Writing {len(d.leaking)} of 4 features moves another one by more than 0.1 of its units"
        assert said in page
        assert said in summary_text(trained)

    def test_what_goes_past_the_dictionary_is_counted(self, trained: Study) -> None:
        past = trained.basis.meta["sae"]["past"]
        (check,) = [c for c in trained.checks if c["name"].startswith("past the dictionary")]
        share, se = past[check["outcome"]]
        assert check["statistic"] == share
        assert 0.01 < share < 1
        assert 0 < se < 0.5
        network, split = trained._network, trained.design.runs["split"] == "discovery"
        rows = np.flatnonzero(split & (trained.design.runs["kind"] == "slot"))[:16]
        inputs = trained.design.runs["input"].to_numpy()[rows]
        before = network.token_activations(inputs)
        sae = trained.autoencoder
        with torch.inference_mode():
            kept = network.adapter.run(
                network.inputs.take(inputs).tensors,
                write={network.site: lambda h: sae.decode(sae.encode(h), h)},
            )
        assert before.shape[1] == network.width
        taken = network.outcome.take(inputs)
        by_hand = taken.values(network.adapter, network.inputs.take(inputs), kept.output, {}, None)
        np.testing.assert_allclose(network.reconstructed(inputs), by_hand, rtol=1e-4, atol=1e-5)

    def test_a_latent_dead_on_discovery_is_refused(
        self, trained: Study, decoder: Path, tmp_path: Path
    ) -> None:
        dead = trained.basis.meta["sae"]["dead"]
        if not dead:
            pytest.fail("train with more latents: this test needs a dead one")
        from mrinterp.core.errors import InputError

        path = self._from_folder(trained, decoder, tmp_path, latents=[dead[0]])
        with pytest.raises(InputError, match=rf"latent {dead[0]}: never changes"):
            Study.from_toml(path, tmp_path / "run", allow_code=True).run()

    def test_a_folder_gives_the_same_study(self, trained: Study, decoder: Path, tmp_path: Path) -> None:
        path = self._from_folder(trained, decoder, tmp_path, latents=list(trained.basis.dictionary.latents))
        again = Study.from_toml(path, tmp_path / "run", allow_code=True)
        pd.testing.assert_frame_equal(again.results, trained.results)

    def test_the_most_variable_latents_are_chosen_and_hashed(self, trained: Study) -> None:
        d = trained.basis.dictionary
        stored = json.loads((trained.out / "basis" / "basis.json").read_text())
        assert tuple(stored["latents"]) == d.latents
        assert stored["names"] == [f"transformer.h.1:latent{i}" for i in d.latents]
        assert (np.diag(d.read_back) > 0).any()
        assert np.isfinite(d.read_back).all()

    def test_another_autoencoder_in_the_run_folder_is_found_out(self, trained: Study, tmp_path: Path) -> None:
        import shutil

        from mrinterp.core.errors import InputError
        from mrinterp.features._sae_folder import read_sae, write_sae

        copy = tmp_path / "run"
        shutil.copytree(trained.out, copy)
        shutil.rmtree(copy / "panel")
        sae = read_sae(copy / "sae")
        sae.weights["b_enc"][0] += 1
        shutil.rmtree(copy / "sae")
        write_sae(sae, copy / "sae")
        with pytest.raises(InputError, match="damaged: not what the run stored here"):
            Study(trained.plan, trained.source, copy).run()

    @staticmethod
    def _from_folder(trained: Study, decoder: Path, folder: Path, **features: Any) -> Path:
        model = {**DECODER, "folder": str(decoder), "kind": "causal"}
        sae = {"kind": "sae", "folder": str(trained.out / "sae"), **features}
        return write_study(folder, decoder, model=model, outcome=(LOGITS,), features=(sae,))


def test_heads_and_the_residual_stream_beside_them(decoder: Path, tmp_path: Path) -> None:
    model = {"folder": str(decoder), "kind": "causal", "embedding": "transformer.wte"}
    model |= {"site": "transformer.h.1.attn.c_proj:input", "beside": "transformer.h.1.ln_1:input"}
    study = run_study(
        tmp_path,
        decoder,
        model=model,
        outcome=(LOGITS,),
        features=({"kind": "heads", "heads": [2, 0], "coordinates": 2},),
    )
    d = study.basis.dictionary
    leading = ["head2.pc0", "head2.pc1", "head0.pc0", "head0.pc1"]
    assert [n.rsplit(":", 1)[-1] for n in d.names] == leading
    used = [np.flatnonzero(np.abs(row) > 1e-12).tolist() for row in d.read]
    own = [list(range(12, 18)), list(range(6))]
    assert used == [own[0], own[0], own[1], own[1]], "each head is read from its own coordinates"
    np.testing.assert_allclose(d.read @ d.write.T, np.eye(4), atol=1e-9)
    assert study.estimates["rectified"].exposures == d.names
    for name, found in study.whole_features.items():
        assert found.features == ("head2", "head0"), name
        assert len(found.inputs["family"].unique()) == 10
        assert (found.rms_bound <= found.rms_change).all()
    assert study.header["history"][-1]["step"], "recorded"
    assert "head2 as a whole, resampled: moves" in summary_text(study)
    assert "Heads and subspaces as wholes" in undrawn_page(study)
    parts = {n.split(":")[0] for n in study.basis.bypass_names}
    assert parts == {"mean", "position", "beside", "beside_position"}
    np.testing.assert_allclose(
        study.estimates["gradient"].beta[:, 0], study.knockouts["shift"].effect[:, 0], atol=0.1
    )


def test_several_outcomes_of_every_kind(decoder: Path, tmp_path: Path) -> None:
    outcomes = [
        {"name": "logit", "kind": "logit", "target": 5},
        {"name": "log p", "kind": "probability", "target": "good", "log": True},
        {"name": "margin", "kind": "margin", "target": "bad"},
        {**LOGITS, "name": "first", "position": 0},
        {**LOGITS, "name": "judged", "sampling": "normal", "noise": 0.2, "replicates": 2},
        {"name": "mean logit", "kind": "callable", "function": "tests.study.study_kinds:mean_logit"},
        {"name": "detached", "kind": "callable", "function": "tests.study.study_kinds:detached"},
    ]
    model = {**DECODER, "folder": str(decoder), "kind": "causal"}
    study = run_study(tmp_path, decoder, model=model, outcomes=outcomes)
    names = tuple(o["name"] for o in outcomes)
    assert study.panel.outcome_names == study.estimates["within"].outcomes == names
    gradient = study.estimates["gradient"]
    assert np.isnan(gradient.beta).any(axis=0).tolist() == [False, False, False, False, True, False, True]
    assert gradient.status[0, 4].startswith("no gradient: it is sampled")
    reasons = [c["note"] for c in study.checks if c["name"] == "gradient"]
    assert len(reasons) == 2
    assert reasons[1].startswith("detached: its values do not depend")
    assert len(study.results) == 3 * len(names)
    text = summary_text(study, top=50)
    assert all(name in text for name in names)
    assert "21 effects tested" in text
    page = undrawn_page(study)
    assert all(name in page for name in names)

    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(decoder).eval()
    row = int(np.flatnonzero((study.panel.runs["kind"] == "clean").to_numpy())[4])
    run = int(study.panel.runs["run"].iloc[row])
    inputs = study._network.inputs.take([study.design.runs["input"].iloc[run]])
    end = int(inputs.mask.sum()) - 1
    with torch.no_grad():
        logits = network(**inputs.tensors).logits[0].double()
    token = study._opened.tokenizer.convert_tokens_to_ids
    good, bad = token("good"), token("bad")
    last = logits[end]
    others = torch.cat([last[:bad], last[bad + 1 :]])
    wanted = [
        last[5],
        last.log_softmax(-1)[good],
        last[bad] - others.max(),
        logits[0, good] - logits[0, bad],
        None,
        logits[0].mean(),
        logits[0].max(),
    ]
    for found, value in zip(study.panel.outcomes[row], wanted, strict=True):
        if value is not None:
            np.testing.assert_allclose(found, float(value), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("loss", {}),
        ("continuation_log_probability", {"per_token": True}),
        ("kl_to_clean", {}),
        ("generated", {"function": "tests.study.study_kinds:length", "new_tokens": 3, "replicates": 2}),
    ],
)
def test_outcomes_tied_to_runs_and_generated_ones(
    kind: str, settings: dict[str, Any], decoder: Path, tmp_path: Path
) -> None:
    (tmp_path / "prompts.csv").write_text(prompt_table(kind == "loss", kind.startswith("continuation")))
    model = {**DECODER, "folder": str(decoder), "kind": "causal"}
    noise = {"runs_per_prompt": 8, "directions_per_class": 4, "scale": 0.1}
    study = run_study(
        tmp_path,
        decoder,
        model=model,
        outcome=({"name": "y", "kind": kind, **settings},),
        prompts=({"table": "prompts.csv", "per_family": 2},),
        instruments=({"noise": noise, "placebo": {"count": 3}},),
        knockouts={"size": 0.5, "prompts_per_family": 2},
    )
    assert np.isfinite(study.estimates["within"].beta).all()
    clean = (study.panel.runs["kind"] == "clean").to_numpy()
    values = study.panel.outcomes[:, 0]
    if kind == "kl_to_clean":
        np.testing.assert_allclose(values[clean], 0, atol=1e-6)
        assert (values[~clean] > 0).all()
    elif kind == "generated":
        assert "gradient" not in study.estimates
        assert any("generated text" in c["note"] for c in study.checks if c["name"] == "gradient")
    else:
        assert (values > 0).all() if kind == "loss" else (values < 0).all()
        slope, truth = study.estimates["gradient"].beta[:, 0], study.knockouts["shift"].effect[:, 0]
        np.testing.assert_allclose(slope, truth, atol=0.25 * np.abs(truth).max())
    if kind.startswith("continuation"):
        # The continuation's tokens are a class of their own, and get no noise.
        assert study.design.settings["position_classes"][-1] == "continuation"
        assert "continuation" not in set(study.design.instruments["locus"])
