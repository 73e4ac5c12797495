"""The report of effects from a table or from runs: what it says is what was estimated, and what it cannot say it names."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import pytest

import mrinterp
from mrinterp.core.errors import InputError
from mrinterp.core.mrdata import MRData
from mrinterp.mr import standard_methods
from mrinterp.report.effects import figures
from mrinterp.report.effects.source import _q_values
from mrinterp.report.numbers import significant
from mrinterp.report.twin.strobe import BLANK
from mrinterp.study import report_effects
from tests.report_document import document
from tests.study.page_text import Tags, words_of
from tests.warm_cli import command

CASES = Path(__file__).parents[1] / "reference" / "cases"


def undrawn(data: MRData | mrinterp.Panel, folder: Path, **more: object) -> Path:
    """A report without its drawn figures, which take nine tenths of its time."""
    with mock.patch.object(figures, "inline_svg", return_value=""):
        return report_effects(data, folder, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def joint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of four exposures in one table."""
    folder = tmp_path_factory.mktemp("joint")
    undrawn(mrinterp.tables.read(CASES / "mv4_valid" / "data.csv"), folder, title="Four exposures")
    return folder


def test_the_document_says_what_the_estimators_say(joint: Path) -> None:
    data = mrinterp.tables.read(CASES / "mv4_valid" / "data.csv")
    made, results = document(joint), mrinterp.run_mr(data, standard_methods(data))
    assert (made.source, made.tested, made.level) == ("table", 4, 0.95)
    assert [c.feature for c in made.claims][:2] == ["x1", "x2"]  # the strongest evidence first
    for claim in made.claims:
        for result, rung in zip(results, claim.rungs, strict=True):
            one = result[claim.feature, claim.outcome]
            assert (rung.rung, rung.value, rung.lower, rung.se) == (
                result.method,
                one.beta,
                one.ci_lower,
                one.se,
            )
        assert claim.effect.value == claim.rungs[0].value
        assert claim.verdict == (
            "excludes 0" if claim.effect.lower * claim.effect.upper > 0 else "includes 0"
        )  # type: ignore[operator]
        assert (claim.ceiling, claim.estimand, claim.bias, claim.rope) == (
            "D",
            "local slope",
            "unmeasured",
            None,
        )
        assert claim.grade == ("D" if claim.verdict == "excludes 0" else "E")
        assert [e.domain for e in claim.evidence] == [f"E{k}" for k in range(1, 9)]
        assert claim.evidence[7].reason.startswith("does not apply, because no knockout")
        assert claim.grade == "E" or "exploratory" in claim.lacking
        assert len(claim.card) == 5
    assert sum(i.said == BLANK for i in made.strobe_mr) == 4
    assert len(made.strobe_mr) == 20
    assert any("grapple" in r.lower() or "Wang et al. 2021" in r for r in made.references)


def test_claims_csv_has_every_method_with_its_error(joint: Path) -> None:
    table = pd.read_csv(joint / "report" / "claims.csv")
    assert {"grapple", "mv_egger_se", "ivw_lower", "q", "verdict", "strength"} <= set(table)
    assert not table.columns.duplicated().any()
    claims = document(joint).claims
    assert table["effect"].tolist() == [c.effect.value for c in claims]
    bib = (joint / "report" / "references.bib").read_text(encoding="utf-8")
    assert bib.count("@") == len(document(joint).references)
    assert "journal = {Genet Epidemiol}" in bib or "doi = {10.1093/aje/kwu283}" in bib


def test_the_page_answers_first_and_names_what_it_cannot_say(joint: Path) -> None:
    html = (joint / "report.html").read_text(encoding="utf-8")
    words = words_of(html)
    assert (
        words.index("4 effects were tested")
        < words.index("All tested exposures")
        < words.rindex("Provenance")
    )
    for said in (
        "a screen of what to test, not a finding",
        "Quantiles of evidence (QQ): 10 effects on one outcome are the fewest",
        "Correlation of the instruments (LD): it is not known",
        "Will it survive a re-run? Not known",
        "An interval that includes 0 does not show that there is no effect",
    ):
        assert said in words, said
    assert str(joint) not in html
    links = [v for k, v in Tags(html).attributes if k in ("href", "src")]
    assert all(v.startswith(("#", "data:", "report/")) for v in links)
    assert all((joint / v).exists() for v in links if v.startswith("report/"))


def test_the_same_table_gives_the_same_bytes(joint: Path, tmp_path: Path) -> None:
    undrawn(mrinterp.tables.read(CASES / "mv4_valid" / "data.csv"), tmp_path, title="Four exposures")
    for name in ("report.html", "report/report.json", "report/claims.csv"):
        assert (tmp_path / name).read_bytes() == (joint / name).read_bytes(), name


def test_as_a_process_with_figures_of_one_exposure(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"SNP": list("abcd"), "beta_exposure": [0.1, 0.2, -0.3, 0.4], "se_exposure": 0.01,
         "beta_outcome": [0.05, 0.11, -0.14, 0.2], "se_outcome": 0.01}
    )  # fmt: skip
    table.to_csv(tmp_path / "bmi.csv", index=False)
    done = command("report", "bmi.csv", "-m", "ivw", "-m", "egger", "--level", "0.9", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 of 1 effect with an interval that excludes 0. A screen, not a finding" in done.stdout
    html = (tmp_path / "bmi_report" / "report.html").read_text(encoding="utf-8")
    for figure in ("Scatter", "Forest", "Funnel", "Radial", "Leave-one-out"):
        assert f'aria-label="{figure}.' in html
    made = document(tmp_path / "bmi_report")
    assert made.level == 0.9
    assert [r.rung for r in made.claims[0].rungs] == ["ivw", "egger"]
    assert made.title == "Effects from bmi.csv"
    assert "mrinterp report bmi.csv --method ivw --method egger --level 0.9" in words_of(html)
    refused = command("report", tmp_path, "--level", "0.9")
    assert refused.returncode == 2
    assert "an option of tables" in refused.stderr


def test_with_nothing_to_estimate_the_page_says_why(tmp_path: Path) -> None:
    data = mrinterp.tables.summary_from_arrays([0.1], [0.01], [0.05], [0.02], instruments=["rs1"])
    made = undrawn(data, tmp_path, methods="egger")
    assert "needs at least 3 instruments" in words_of(made.read_text(encoding="utf-8"))
    assert document(tmp_path).claims[0].effect.value is None
    (tmp_path / "t.csv").write_text(
        "SNP,beta_exposure,se_exposure,beta_outcome,se_outcome\na,.1,.01,.05,.02\n"
    )
    done = command("report", "t.csv", "-m", "egger", cwd=tmp_path)
    assert done.returncode == 2
    assert "nothing that was asked for could be estimated" in done.stderr
    assert (tmp_path / "t_report" / "report.html").exists()


def test_a_page_of_others_is_left_alone_and_signs_alone_are_no_effect(tmp_path: Path) -> None:
    data = mrinterp.tables.read(CASES / "valid" / "data.csv")
    (tmp_path / "report.html").write_text("mine")
    with pytest.raises(InputError, match="a file that mrinterp did not write"):
        report_effects(data, tmp_path)
    with pytest.raises(InputError, match="agreement of signs alone"):
        report_effects(data, tmp_path / "other", methods="sign")
    with pytest.raises(InputError, match="Give summary statistics"):
        report_effects([1, 2], tmp_path)  # type: ignore[arg-type]


def test_runs_in_hand_have_the_same_report(tmp_path: Path) -> None:
    panel = mrinterp.worlds.linear_world(0).panel
    words = words_of(undrawn(panel, tmp_path).read_text(encoding="utf-8"))
    made, within = document(tmp_path), mrinterp.mr.within(panel)
    assert made.source == "runs"
    assert [r.rung for r in made.claims[0].rungs] == ["within", "tsls", "observational", "ivw"]
    for claim in made.claims:
        assert claim.effect.value == within[claim.feature, claim.outcome].beta
    assert "All tested features" in words
    assert {c.rungs[0] for c in made.checks} == {"relevance", "data", "linearity"}
    # Neither the observational slope nor the univariable screen can contradict a joint estimate.
    assert not any(c.contradiction for c in made.claims)


def test_other_methods_of_the_estimand_agree_or_contradict(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    b = np.abs(rng.normal(0.2, 0.05, 40))
    # Directional pleiotropy: IVW sees an effect that Egger, given a steep enough one, sees as the opposite.
    g = -0.5 * b + 0.4 + rng.normal(0, 0.004, 40)
    data = mrinterp.tables.summary_from_arrays(b, np.full(40, 0.002), g, np.full(40, 0.004))
    page = undrawn(data, tmp_path, methods=["ivw", "egger"])
    claim = document(tmp_path).claims[0]
    assert claim.verdict == "excludes 0"
    assert claim.contradiction.startswith("MR-Egger: the opposite sign")
    assert "contradicted by MR-Egger" in words_of(page.read_text(encoding="utf-8"))


def test_q_is_benjamini_and_hochbergs() -> None:
    p = np.array([0.001, 0.04, 0.03, 0.9, np.nan])
    q = _q_values(-np.log10(p))
    np.testing.assert_allclose(q[:4], [0.004, 0.16 / 3, 0.16 / 3, 0.9])
    assert np.isnan(q[4])


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.5, "+0.5"), (-1234.5, "\N{MINUS SIGN}1230"), (1.5e-9, "+1.50e\N{MINUS SIGN}9"), (3e7, "+3.00e+7"), (0.0, "+0"),
     (9.999e6, "+1.00e+7"), (np.nan, "\N{EM DASH}")],
)  # fmt: skip
def test_three_significant_digits(value: float, text: str) -> None:
    assert significant(value) == text


def test_the_json_answer_is_one_document(tmp_path: Path) -> None:
    table = CASES / "three_snps" / "data.csv"
    done = command("report", table, "-m", "ivw", "--out", tmp_path / "r", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert Path(found["page"]).name == "report.html"
    assert "claims.csv" in found["files"]
