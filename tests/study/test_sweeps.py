"""Several sites, positions and dictionaries in one file: which studies they are, one accounting, map and page."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from statsmodels.stats.multitest import multipletests

from mrinterp.cli import cli
from mrinterp.core.errors import InputError
from mrinterp.core.storage import digest_files
from mrinterp.effects import over_all_studies
from mrinterp.results import SweepResults
from mrinterp.study import Study, Sweep
from mrinterp.study._sweep_plan import is_sweep, sweep_members
from tests.study.page_text import words_of
from tests.study.test_from_model import LEARNED, PROMPTS, QUICK
from tests.tiny import FILLERS, templates, tiny_decoder, tiny_study, to_toml

SITES = ["h.10", "h.2", "h.2.attn", "h.2.mlp", "ln"]


def _members(site: Any, features: Any = None) -> list[str]:
    data = {"model": {"site": site}, "features": {} if features is None else features}
    return [m.site for m in sweep_members(data, lambda: SITES)]


def test_patterns_stand_for_one_part_of_a_path_in_the_networks_order() -> None:
    assert _members("h.*") == ["h.2", "h.10"]
    assert _members(["h.*.mlp", "ln"]) == ["h.2.mlp", "ln"]
    assert _members("h.*.mlp:input") == ["h.2.mlp:input"]
    assert _members("h.2.*@2") == ["h.2.attn@2", "h.2.mlp@2"]
    assert _members(["h.2", "h.*"]) == ["h.2", "h.10"], "a site that two entries name is one study"


def test_every_dictionary_and_position_is_a_study_at_every_site() -> None:
    two = [
        {"kind": "sae", "folder": "saes/{site}", "position": ["last", -2]},
        {"kind": "units", "units": [1]},
    ]
    made = sweep_members({"model": {"site": ["h.2", "ln"]}, "features": two}, list)
    assert [m.name for m in made][:3] == ["h.2--sae_site_--last", "h.2--sae_site_---2", "h.2--units_2--auto"]
    assert [m.data["features"].get("folder") for m in made[:2]] == ["saes/h.2", "saes/h.2"]
    assert [m.data["model"]["site"] for m in made] == ["h.2"] * 3 + ["ln"] * 3
    assert all(isinstance(m.data["features"], dict) for m in made)


@pytest.mark.parametrize(
    ("data", "yes"),
    [
        ({"model": {"site": "h.2"}}, False),
        ({"model": {"site": "h.2"}, "features": {"position": "last"}}, False),
        ({"model": {"site": "h.*"}}, True),
        ({"model": {"site": ["h.2"]}}, True),
        ({"model": {"site": "h.2"}, "features": [{}]}, True),
        ({"model": {"site": "h.2"}, "features": {"position": ["last"]}}, True),
        ({"model": "h.*", "features": 3}, False),
    ],
)
def test_what_is_a_sweep(data: dict[str, Any], yes: bool) -> None:
    assert is_sweep(data) is yes


@pytest.mark.parametrize(
    ("site", "features", "words"),
    [
        ([], {}, "model.site: an empty list"),
        (["h.2", "h.2"], {}, "'h.2' is given twice"),
        ("k.*", {}, r"'k.\*' fits no site"),
        ("h.2", [], "features: an empty list"),
        ("h.2", ["units"], "features: 'units'. Give a table"),
        ("h.2", {"position": ["last", "last"]}, "'last' is given twice"),
        (["h/2", "h?2"], {}, "two studies would lie in 'h_2'"),
    ],
)
def test_lists_that_name_nothing_or_one_thing_twice(site: Any, features: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        sweep_members({"model": {"site": site}, "features": features}, lambda: SITES)


def _table(p: list[float], verdict: list[str]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "feature": [f"f{k}" for k in range(len(p))],
            "outcome": "y",
            "effect": np.linspace(0.5, 0.1, len(p)),
            "neglog10p": -np.log10(p),
            "verdict": verdict,
        }
    )


def test_all_that_was_tested_counts() -> None:
    """What is found in one study alone does not stand beside many that find nothing; a missing p counts as tested."""
    where = {"site": "h", "position": "last", "dictionary": "units", "status": "finished"}
    alone = {"a": _table([0.004, 0.03], ["causal", "causal"])}
    studies = [{"study": "a", **where}]
    ropes = {"a": {"y": 0.1}, "b": {"y": 0.2}}
    assert over_all_studies(studies, alone, ropes).claims["stands"].all()
    more = _table([0.5, 0.9, 0.7, 1e-9], ["indeterminate", "negligible", "causal", "indeterminate"])
    more.loc[2, "neglog10p"] = np.nan
    both = over_all_studies([*studies, {"study": "b", **where}], alone | {"b": more}, ropes)
    found = both.claims.set_index(["study", "feature"])
    p = [0.004, 0.03, 0.5, 0.9, 1.0, 1e-9]
    wanted = multipletests(p, method="fdr_bh")[1]
    for place, q in zip([("a", "f0"), ("a", "f1"), *(("b", f"f{k}") for k in range(4))], wanted, strict=True):
        assert found.loc[place, "q"] == pytest.approx(q)
    assert found["stands"].sum() == 1, (
        "the second of a falls; b's small p is not causal, its causal one has no p"
    )
    assert found.loc[("b", "f0"), "in_ropes"] == pytest.approx(0.5 / 0.2)
    assert "6 effects tested, 3 causal, of which 1 stand" in both.summary
    for bad in (0.0, 1.0):
        with pytest.raises(InputError, match="alpha"):
            over_all_studies(studies, alone, ropes, alpha=bad)
    with pytest.raises(InputError, match="none is finished"):
        over_all_studies(studies, {}, ropes)


@pytest.fixture(scope="module")
def swept(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two layers and a position beyond most prompts, run by the command line."""
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "templates.txt").write_text("\n".join(templates(40)) + "\n")
    data = tiny_study(tiny_encoder)
    data["title"] = "layers <b>"
    data["model"] = {**data["model"], "site": ["encoder.layer.*"]}
    data["features"] = {"count": 3, "position": "mean"}
    text = to_toml(data).replace(
        'site = ["encoder.layer.*"]', 'site = ["encoder.layer.0", "encoder.layer.2"]'
    )
    (folder / "layers.toml").write_text(text)
    done = CliRunner().invoke(cli, ["run", str(folder / "layers.toml"), "--out", str(folder / "out")])
    assert done.exit_code == 0, done.output
    (folder / "terminal.txt").write_text(done.stdout)
    return folder / "layers.toml", folder / "out"


@pytest.mark.needs("transformers")
class TestCarriedOut:
    def test_table_map_and_page_hold_every_study(self, swept: tuple[Path, Path]) -> None:
        file, out = swept
        found = SweepResults.load(out / "results")
        assert list(found.studies["site"]) == ["encoder.layer.0", "encoder.layer.2"]
        assert len(found.claims) == 6
        for site in found.studies["site"]:
            own = Study.open(out / site).results.set_index("feature")
            ours = found.claims[found.claims["site"] == site].set_index("feature")
            np.testing.assert_array_equal(ours.loc[own.index, "effect"], own["effect"])
            assert (
                "earlier_plans" not in Study.open(out / site).header
                or Study.open(out / site).header["earlier_plans"] == 0
            )
        page = (out / "sweep.html").read_text()
        assert 'href="encoder.layer.2/report.html"' in page
        assert "layers &lt;b&gt;" in page
        assert found.summary[1:] in words_of(page)
        assert (out / "sweep_map.svg").exists()
        said = (file.parent / "terminal.txt").read_text()
        assert "sweep of 2 studies: 6 effects tested" in said
        assert "encoder.layer.2, mean" in said

    def test_what_is_finished_is_not_repeated_and_another_file_is_refused(
        self, swept: tuple[Path, Path], tmp_path: Path
    ) -> None:
        file, out = swept
        sweep = Sweep.open(out)
        before = digest_files(out / "encoder.layer.0" / "panel")
        assert sweep.results.summary == SweepResults.load(out / "results").summary
        assert sweep.study("encoder.layer.0").stage == "finished"
        other = copy.deepcopy(sweep.data)
        other["features"]["count"] = 4
        with pytest.raises(InputError, match=r"holds another sweep.*features.count: 3 there, 4 here"):
            Sweep(other, sweep.source, out).run()
        mine = tmp_path / "mine"
        mine.mkdir()
        (mine / "notes.txt").write_text("mine")
        with pytest.raises(InputError, match=r"not the folder of a sweep, and it holds 'notes.txt'"):
            Sweep(sweep.data, sweep.source, mine).run()
        with pytest.raises(InputError, match="names no study"):
            sweep.study("encoder.layer.9")
        assert digest_files(out / "encoder.layer.0" / "panel") == before

    def test_a_study_that_is_refused_does_not_stop_the_others(
        self, swept: tuple[Path, Path], tmp_path: Path
    ) -> None:
        sweep = Sweep.open(swept[1])
        data = copy.deepcopy(sweep.data)
        data["model"]["site"] = ["encoder.layer.0", "encoder.layer.7"]
        out = tmp_path / "out"
        shutil.copytree(swept[1] / "encoder.layer.0", out / "encoder.layer.0")
        with pytest.raises(InputError, match="not the folder of a sweep"):
            Sweep(data, sweep.source, out).run()
        shutil.rmtree(out)
        again = Sweep(data, sweep.source, out)
        from tests.study.damages import undrawn

        with undrawn():
            found = again.run().results
        status = found.studies.set_index("site")["status"]
        assert status["encoder.layer.0"] == "finished"
        assert "encoder.layer.7" in status["encoder.layer.7"]
        assert "no such module" in status["encoder.layer.7"]
        assert "1 could not be carried out" in found.summary
        assert "no such module" in words_of((out / "sweep.html").read_text())
        data["model"]["site"] = ["encoder.layer.7"]
        with pytest.raises(InputError, match=r"no study could be carried out; encoder.layer.7"):
            Sweep(data, sweep.source, tmp_path / "none").run()

    def test_patterns_are_resolved_and_the_dry_run_adds_up(
        self, swept: tuple[Path, Path], tmp_path: Path
    ) -> None:
        file, _ = swept
        text = file.read_text().replace('["encoder.layer.0", "encoder.layer.2"]', '["encoder.layer.*"]')
        (file.parent / "all.toml").write_text(text)
        sweep = Sweep.from_toml(file.parent / "all.toml", tmp_path / "out")
        assert [m.site for m in sweep.members] == [f"encoder.layer.{k}" for k in range(4)]
        done = CliRunner().invoke(cli, ["run", str(file), "--dry-run", "--out", str(tmp_path / "none")])
        assert done.exit_code == 0, done.output
        assert "2 studies" in done.stdout
        assert not (tmp_path / "none").exists()
        (file.parent / "one.toml").write_text(text.replace('["encoder.layer.*"]', '"encoder.layer.1"'))
        with pytest.raises(InputError, match=r"Open it with Study.from_toml"):
            Sweep.from_toml(file.parent / "one.toml")


@pytest.mark.needs("transformers")
class TestFromMemory:
    """The same sweep from objects in memory as from a file: same bytes, same accounting."""

    SITES = ("transformer.h.0", "transformer.h.2")

    @pytest.fixture(scope="class")
    def parts(self, tiny_encoder: Path) -> tuple[Any, Any]:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(tiny_encoder)
        return tiny_decoder(len(tokenizer)), tokenizer

    def _sweep(self, parts: tuple[Any, Any], out: Path, **changes: Any) -> Sweep:
        given: dict[str, Any] = {"site": list(self.SITES), "features": LEARNED, "position": "mean"}
        return Sweep.from_model(
            *parts, PROMPTS, outcome=("good", "bad"), out=out, **(QUICK | given | changes)
        )

    def test_the_same_bytes_as_from_a_file(self, parts: tuple[Any, Any], tmp_path: Path) -> None:
        from tests.study.damages import undrawn

        for thing in parts:
            thing.save_pretrained(tmp_path / "saved")
        (tmp_path / "templates.txt").write_text("\n".join(PROMPTS["templates"]) + "\n")
        sweep = self._sweep(parts, tmp_path / "memory")
        length = sweep.plan.model.padded_length
        model = {
            "kind": "causal",
            "folder": "saved",
            "site": list(self.SITES),
            "embedding": "transformer.wte",
        }
        written = {
            "title": sweep.plan.title,
            "model": {**model, "padded_length": length},
            "features": {**LEARNED, "position": "mean"},
            "outcome": {"name": "good - bad", "kind": "logit_difference", "target": "good", "against": "bad"},
            "prompts": {"templates": "templates.txt", "per_family": 1, "fillers": FILLERS},
            **QUICK,
        }
        (tmp_path / "layers.toml").write_text(to_toml(written))
        with undrawn():
            found = sweep.run().results
        assert len(found.claims) == 4
        site = self.SITES[1]  # of a file's sweep, one study is as good as all
        same = Sweep.from_toml(tmp_path / "layers.toml", tmp_path / "file").study(site)
        pd.testing.assert_frame_equal(same.results, sweep.study(site).results)
        for part in ("estimates", "knockouts", "basis"):
            one, other = (digest_files(tmp_path / f / site / part) for f in ("memory", "file"))
            assert one == other, part
        assert sorted(p.name for p in (tmp_path / "memory" / "given").iterdir()) == [
            "SHA256SUMS",
            "features1",
            "templates.txt",
            "tokenizer",
        ]
        self._goes_on(parts, tmp_path / "memory", found)

    def _goes_on(self, parts: tuple[Any, Any], out: Path, found: SweepResults) -> None:
        reopened = Sweep.open(out)
        assert reopened.results.summary == found.summary
        with pytest.raises(InputError, match="lies in no file"):
            reopened.study(self.SITES[0]).bench()
        assert Sweep.open(out, model=parts[0]).study(self.SITES[0]).bench().features == 2
        assert self._sweep(parts, out).study(self.SITES[1]).stage == "finished"
        with pytest.raises(InputError, match=r"was given something else|holds a run"):
            Sweep.from_model(
                *parts,
                ["another text"] * 40,
                outcome=("good", "bad"),
                out=out,
                site=list(self.SITES),
                features=LEARNED,
            )
        other = tiny_decoder(len(parts[1]))
        with torch.no_grad():
            other.transformer.h[0].mlp.c_fc.weight[0, 0] += 1.0
        with pytest.raises(InputError, match="not those it was begun with"):
            Sweep.open(out, model=other).study(self.SITES[0]).bench()

    def test_dictionaries_patterns_and_features_of_every_sites_own(
        self, parts: tuple[Any, Any], tmp_path: Path
    ) -> None:
        rng = np.random.default_rng(0)
        several = self._sweep(
            parts,
            tmp_path / "a",
            site="transformer.h.*",
            features=[LEARNED, rng.normal(size=(2, 24)), [0, 3]],
            position=None,
        )
        assert len(several.members) == 9
        assert several.members[1].name == "transformer.h.0--directions_directions.npy"
        assert several.members[1].data["features"]["file"] == "given/features2/directions.npy"
        assert several.members[2].data["features"]["units"] == [0, 3]
        own = {site: rng.normal(size=(2, 24)) for site in self.SITES}
        each = self._sweep(parts, tmp_path / "b", features=own, position=["mean", "last"])
        assert [m.name for m in each.members][:2] == [f"{self.SITES[0]}--mean", f"{self.SITES[0]}--last"]
        for site in self.SITES:
            member = next(m for m in each.members if m.site == site)
            stored = np.load(tmp_path / "b" / member.data["features"]["file"])
            np.testing.assert_array_equal(stored, own[site])

    def test_what_is_no_sweep_and_what_is_no_study(self, parts: tuple[Any, Any], tmp_path: Path) -> None:
        from mrinterp.features import SparseAutoencoder

        one = {"site": self.SITES[0], "features": LEARNED, "outcome": ("good", "bad"), "out": tmp_path / "x"}
        with pytest.raises(InputError, match=r"Use Study\.from_model"):
            Sweep.from_model(*parts, PROMPTS, **one)
        for change in (
            {"site": list(self.SITES)},
            {"site": "transformer.h.*"},
            {"position": ["mean", "last"]},
            {"features": [LEARNED, "layer"]},
        ):
            with pytest.raises(InputError, match=r"Sweep\.from_model takes lists"):
                Study.from_model(*parts, PROMPTS, **(one | change))
        w = torch.eye(24)
        sae = SparseAutoencoder("standard", {"W_enc": w, "W_dec": w, "b_enc": w[0], "b_dec": w[0]})
        with pytest.raises(InputError, match=r"one sae for several sites.*Give a dict by site"):
            self._sweep(parts, tmp_path / "y", features=sae)
        with pytest.raises(InputError, match=r"differs from 'transformer.h.0' in"):
            self._sweep(parts, tmp_path / "z", features=dict(zip(self.SITES, ([0, 1], [0, 2]), strict=True)))
        with pytest.raises(InputError, match=r"ransformer.h.9"):
            self._sweep(parts, tmp_path / "w", site=["transformer.h.9", "transformer.h.0"])
        assert not any((tmp_path / name).exists() for name in "xyzw")
