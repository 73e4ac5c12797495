"""Studies on a corpus: variants that it holds, doses that are found and not assigned, and what is made of them."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mrinterp.core.errors import InputError
from mrinterp.core.panel import Panel
from mrinterp.core.plan_inputs import InstrumentsSection
from mrinterp.diagnostics._study_checks import _found_doses
from mrinterp.effects._doubts import with_doubts
from mrinterp.effects._ladder import rungs
from mrinterp.evidence._facts import facts_of
from mrinterp.instruments.prompt_table import prompts_in_words, read_prompts
from mrinterp.mr._engine.driver import estimate
from mrinterp.report.page import rendered
from mrinterp.scan import marginal_scan
from mrinterp.study import Study
from tests.evidence.test_grades import supported
from tests.study.study_kinds import write_study
from tests.tiny import FILLERS, PLACES, VERBS

pytestmark = pytest.mark.needs("transformers")


def corpus(lone: bool = True) -> list[tuple[str, str]]:
    """Prompts of 48 families, in which who is spoken of goes with when: real LD. Two are like no other."""
    draw, rows = random.Random(0), []
    for verb, place in itertools.product(VERBS, PLACES):
        pairs = set()
        while len(pairs) < 6:
            person = draw.choice(FILLERS["person"])
            early = person in ("teacher", "nurse")
            pairs.add((draw.choices(FILLERS["when"], [6, 1, 1] if early else [1, 3, 3])[0], person))
        rows += [
            (f"{when} the {person} {verb} the good {place}", f"{verb}{place}")
            for when, person in sorted(pairs)
        ]
    draw.shuffle(rows)
    return [*rows, ("what was the house", "sawhouse"), ("what was it indeed", "lone")] if lone else rows


def written(folder: Path, encoder: Path, noise: dict[str, Any] | None = None, **observed: Any) -> Study:
    lines = ["prompt,family", *(",".join(row) for row in corpus())]
    (folder / "corpus.csv").write_text("\n".join(lines) + "\n")
    kinds = {
        "observed": {"runs_per_prompt": 9, "fewest": 4, **observed},
        "noise": noise or {"runs_per_prompt": 2, "directions_per_class": 2, "scale": 0.1},
        "placebo": {"count": 2},
    }
    table = {"table": "corpus.csv", "per_family": 3}
    path = write_study(
        folder, encoder, instruments=(kinds,), prompts=(table,), estimation={"kind": "observed"}
    )
    return Study.from_toml(path, folder / "run")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory, tiny_encoder: Path) -> Study:
    return written(tmp_path_factory.mktemp("corpus"), tiny_encoder)


def test_variants_are_run_and_their_doses_say_how_they_differ(study: Study) -> None:
    design = study._drawn_design()
    runs, text = design.runs, design.inputs["text"].to_numpy()
    known = {prompt for prompt, _ in corpus()}
    names, columns = design.instruments["instrument"].to_numpy(), design.columns("observed")
    assert {n.partition(":")[0] for n in names[columns]} == {"observed"}
    seen = runs[runs["kind"] == "observed"]
    assert len(seen) > 100
    for run in seen.itertuples():
        old, new = text[runs["input"].iloc[run.clean]].split(), text[run.input].split()
        assert " ".join(new) in known, "a text of the corpus, not one that was made"
        change = np.asarray(design.doses[run.run] - design.doses[run.clean])[columns]
        for name in names[columns][change != 0]:
            first, _, second = name.partition(":")[2].partition(">")
            assert {first, second} & (set(old) ^ set(new)), (name, old, new)
    noise = np.flatnonzero(runs["kind"] == "noise")
    clean = runs["clean"].to_numpy()[noise]
    np.testing.assert_array_equal(design.doses[noise][:, columns], design.doses[clean][:, columns])
    assert not (text == "what was the house").any(), "a prompt without a variant"
    assert set(runs["family"]) == {family for _, family in corpus(lone=False)}, "nor a family without one"
    assert "288 of 290 prompts are variants of one another" in prompts_in_words(design)[0]


def test_found_doses_carry_their_ld_and_are_never_taken_for_randomized(study: Study) -> None:
    assert study.plan.instruments.paired("observed")
    design, columns = study._drawn_design(), study._drawn_design().columns("observed")
    rows, rng = design.rows("estimation", ("clean", "observed")), np.random.default_rng(0)
    panel = Panel(
        runs=design.runs.iloc[rows].reset_index(drop=True),
        doses=design.doses[rows],
        features=rng.standard_normal((len(rows), 1)),
        bypass=np.zeros((len(rows), 0)),
        outcomes=rng.standard_normal((len(rows), 1)),
        instruments=design.instruments,
        feature_names=("f",),
        outcome_names=("y",),
    )
    stats = marginal_scan(panel, "observed", factorial=False)
    assert stats.ld is not None
    among = np.abs(stats.ld[np.ix_(columns, columns)])
    np.fill_diagonal(among, 0.0)
    assert np.nanmax(among) > 0.2, "words go together in this corpus"
    made = rungs(study.plan, panel, lambda: panel, {"observed": stats}, None)["ivw_observed"]()
    assert made.label == "univariable IVW, doses found and not assigned, given their LD"
    by_hand = stats.to_mrdata("observed", False, with_ld=True)
    np.testing.assert_array_equal(made.beta, estimate(by_hand, "ivw_correlated").beta)
    check = _found_doses(study.plan, panel, stats).to_dict()
    assert (check["name"], check["verdict"]) == ("doses assigned at random", "failed")
    assert f"{np.nanmax(among):.2f}" in check["note"]
    assert {"within", "tsls", "ivw_observed"} <= set(check["rungs"])
    claim = {"feature": "f", "outcome": "y", "rests_on": "within", "bias": "unmeasured", "ceiling": "C"}
    claim |= {"ceiling_why": ""}
    (said,) = with_doubts(pd.DataFrame([claim]), [check]).to_dict("records")
    assert (said["doubted"], said["ceiling"]) == ("doses assigned at random", "D")


def test_grades_count_found_doses_as_no_other_experiment() -> None:
    made = supported()
    others = {n: e for n, e in made.estimates.items() if not n.startswith("replication_")}
    agreeing = made.estimates["within"]
    reached = [c for c in made.checks if not c["name"].startswith("manipulation: ")]
    check = {"name": "manipulation: noise", "verdict": "passed", "statistic": 40.0}
    told = {}
    for kind in ("slot", "observed"):
        checks = [*reached, check, check | {"name": f"manipulation: {kind}"}]
        asked = replace(made, estimates=others | {f"replication_{kind}": agreeing}, checks=checks)
        told[kind] = facts_of(asked).true
    assert told["slot"]["other_kind_agrees"].any()
    assert not told["observed"]["other_kind_agrees"].any()
    assert not told["slot"]["one_kind_of_perturbation"].any()
    assert told["observed"]["one_kind_of_perturbation"].all()


def test_the_page_says_that_doses_were_found() -> None:
    page = {"found": True, "drawn": False}
    said = rendered("methods.html.j2", flow=page, assumptions=[], has_gradient=False)
    assert "found in a corpus and not assigned" in said
    assert "randomized by design" not in said
    assert "The other perturbations are randomized" in rendered(
        "methods.html.j2", flow=page | {"drawn": True}, assumptions=[], has_gradient=False
    )
    both = rendered(
        "methods.html.j2", flow={"found": False, "drawn": True}, assumptions=[], has_gradient=False
    )
    assert "<p>The perturbations are randomized by design" in both
    assert "not assigned" not in both


def test_what_holds_no_variants_is_refused(tmp_path: Path, tiny_encoder: Path) -> None:
    with pytest.raises(
        InputError, match=r"instruments\.observed: 288 of 290 .* no difference is in 49 families.*fewest"
    ):
        written(tmp_path, tiny_encoder, fewest=49)._drawn_design()
    asked = {"instruments": ({"observed": {"runs_per_prompt": 3}},)}
    templates = Study.from_toml(write_study(tmp_path, tiny_encoder, **asked), tmp_path / "run")
    with pytest.raises(
        InputError, match=r"instruments\.observed: prompts are made from templates.*prompts\.table"
    ):
        templates._drawn_design()


def test_a_text_file_is_a_corpus_and_plans_without_one_keep_their_hash(tmp_path: Path) -> None:
    lines = [prompt for prompt, _ in corpus(lone=False)]
    (tmp_path / "corpus.txt").write_text("\n".join([*lines, "", lines[0]]))
    frame = read_prompts(tmp_path / "corpus.txt").frame
    assert frame["prompt"].tolist() == lines, "a line that comes again is one prompt"
    assert frame["family"].nunique() > 1
    assert "observed" not in InstrumentsSection().model_dump()


def test_a_study_of_found_doses_and_a_dose_series_runs_to_its_page(
    tmp_path: Path, tiny_encoder: Path
) -> None:
    noise = {"runs_per_prompt": 4, "directions_per_class": 2, "scale": 0.1, "levels": [0.5, 1.0]}
    done = written(tmp_path, tiny_encoder, noise=noise)
    done.run()
    verdicts = {c["name"]: c["verdict"] for c in done.checks}
    assert verdicts["doses assigned at random"] == "failed"
    assert verdicts["in proportion to the dose"] == "not applicable", "12 families, and it needs 20"
    assert "given their LD" in done.estimates["ivw_observed"].label
    assert {"ivw_noise", "within", "rectified"} <= set(done.estimates)
    path = done.scale_path
    assert isinstance(path, pd.DataFrame)
    assert path["families"].nunique() == 1
    assert np.isfinite(path["change"]).any()
    page = (done.out / "report.html").read_text(encoding="utf-8")
    assert "found in a corpus and not assigned" in page
    assert "Level 0.5" in page
    assert "every draw at levels 0.5, 1 of the dose, up and down" in page
