"""What the page says of a finished study: the answer, its bearings, and what is missing."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pandas as pd

from mrinterp.report.claims import answer, closing, features
from mrinterp.report.numbers import NONE
from mrinterp.report.page import page_html
from mrinterp.results._agreement import Agreement
from tests.study.finished_study import ROPE, study
from tests.study.page_text import undrawn_page, words_of, words_of_page


def test_answer_comes_first_and_says_how_it_held() -> None:
    words = words_of_page(study())
    start = words[words.index("A study", 10) :]
    assert "Of 5 features tested, 3 are causal" in start[:200]
    assert (
        "Knockouts on other families confirm 2 of the 3 causal claims in sign and size and contradict 1."
        in words
    )
    assert (
        "They rest on knockouts to the high and the low natural value of every token on 10 families" in words
    )
    assert "It took 1,200 forward passes, 3,600 resumed at the edited layer, 1,000 backward passes." in words
    assert "1 of 3 causal claims (33%) come out with the same sign and an interval that excludes 0" in words
    assert "1 have the same sign and an interval that includes 0; 1 the opposite sign" in words
    assert (
        "c0 (responds to word=0) changes score by +0.500 point per natural sd (95% interval 0.480 to 0.520"
        in words
    )
    for said in (
        "Check failed: placebo",
        "A rehearsal: 3 families",
        "2 other plans",
        "none is adjusted for the 5",
    ):
        assert said in words


def test_claims_stand_before_the_methods_that_led_to_them() -> None:
    """Grades and claims with what speaks against them, then how well each method did."""
    made = study()
    words = words_of_page(made)
    assert closing(made) in words
    places = [
        words.index(w) for w in (closing(made), "The claims", "Before you rely on this", "Every rung against")
    ]
    assert places == sorted(places)
    against = made.claims.claims.set_index("feature")["contradiction"]
    assert (against != "").any()
    for said in against[against != ""]:
        assert f"Against it: {said}." in words


def test_other_families_say_one_thing_of_a_claim() -> None:
    """Few families leave their own verdict open where they confirm a claim: the two words beside each other puzzle."""
    made = study()
    made = replace(made, results=made.results.assign(knockout_verdict="indeterminate"))
    rows = features(made)
    assert [r.they_say for r in rows] == [r.against or "indeterminate" for r in rows]
    html = undrawn_page(made)
    cells = re.findall(r'<tr id="claim-c0.*?</tr>', html, re.DOTALL)
    assert len(cells) == 1
    assert 'class="verdict confirmed">confirmed' in cells[0]
    assert "indeterminate" not in cells[0]


def test_claims_bear_what_knockout_and_replication_say() -> None:
    rows = {r.short: r for r in features(study())}
    assert [rows[f"c{k}"].against for k in range(5)] == ["confirmed", "confirmed", "contradicted", "", ""]
    assert rows["c1"].replicated == "same sign, interval includes 0"
    assert rows["c2"].replicated == "opposite sign, interval excludes 0"
    assert rows["c2"].effect.value == "+0.100"
    assert rows["c2"].knockout.interval == "\N{MINUS SIGN}0.090 to \N{MINUS SIGN}0.070"


def test_all_features_stand_in_the_table_with_their_status() -> None:
    html = undrawn_page(study())
    body = html[html.index('id="features"') : html.index('id="agreement"')]
    assert body.count("<tr") == 6
    assert body.count('<tr id="claim-c') == 5
    assert "weak &lt;b&gt;set&lt;/b&gt;" in body


def test_kinds_of_knockout_stand_side_by_side_with_test_verdicts_and_flags() -> None:
    """Kinds agree by construction but on c1, where the mean leaves nothing; c3 is negligible by both."""
    finished = study()
    html = undrawn_page(finished)
    section = html[html.index('<section id="kinds">') : html.index('<section id="design">')]
    body = section.split("<tbody>")[1].split("</tbody>")[0].split("<tr>")[1:]
    rows = {f.short: words_of(r) for f, r in zip(features(finished), body, strict=True)}
    assert "they differ" in rows["c1"]
    assert sum("they differ" in r for r in rows.values()) == 1
    assert rows["c3"].count("negligible") == 2
    assert "mean: far outside support" in rows["c4"]
    assert "mean: not measurable" in rows["c1"]
    assert "\N{MINUS SIGN}0.310" in rows["c1"]
    assert "\N{MINUS SIGN}0.010" in rows["c1"]
    assert "differ at p < .05 in 1 of 5 effects" in words_of(section)
    assert "negligible (two one-sided tests, each at 5%): shift 1 of 5, mean 2 of 5" in words_of(section)
    assert 'id="kinds"' not in undrawn_page(study(parts=False))


def test_flow_reasons_assumptions_and_provenance_are_there() -> None:
    words = words_of_page(study())
    for said in (
        "1 instrument of kind noise dropped: its dose did not vary, or no error could be measured.",
        "negative control, used for no estimate",
        "no runs of this kind in the estimation split",
        "departs from the identity by 0 at most",
        "not applicable",
        "within is right",
        "Ref gradient 10.1/x",
        "a" * 64,
        "b" * 64,
        "c" * 64,
        "mrinterp run study.toml",
        "What this adds to a gradient",
        "5 of 5 effects are significant at 5%; the knockout finds 1 of those negligible",
    ):
        assert said in words, said


def test_missing_parts_are_said_not_hidden() -> None:
    words = words_of_page(study(parts=False))
    assert "Not known: this run has no replication estimate." in words
    assert "Baseline" not in words
    assert "one backward pass. This run has none." in words
    bare = replace(study(parts=False), checks=[], sumstats={})
    assert "No check was made." in words_of_page(bare)


def test_no_claim_and_missing_numbers() -> None:
    none = study(effect=np.array([0.001, 0.0, 0.002, np.nan, 0.0]))
    words = words_of_page(none)
    assert "Of 5 features tested, none is shown to be causal" in words
    assert "There is no causal claim to repeat." in words
    rows = {r.short: r for r in features(none)}
    assert rows["c3"].effect.value == NONE
    assert answer(none, list(rows.values()))["claims"] == []


def test_several_outcomes_have_a_column() -> None:
    one, two = study(), study(outcome="other")
    both = {
        n: replace(
            e,
            outcomes=("score", "other"),
            beta=np.repeat(e.beta, 2, 1),
            se=np.repeat(e.se, 2, 1),
            status=np.repeat(e.status, 2, 1),
            n_instruments=np.repeat(e.n_instruments, 2, 1),
            df=None,
            ci_lower=None,
            ci_upper=None,
            neglog10p=None,
        )
        for n, e in one.estimates.items()
    }
    meta = {**one.agreement.meta, "rope": [ROPE, 2 * ROPE]}
    held = Agreement(
        scores=pd.concat([one.agreement.scores, two.agreement.scores], ignore_index=True),
        joined=pd.concat([one.agreement.joined, two.agreement.joined], ignore_index=True),
        misled=pd.concat([one.agreement.misled, two.agreement.misled], ignore_index=True),
        meta=meta,
    )
    results = pd.concat([one.results, two.results], ignore_index=True)
    merged = replace(one, estimates=both, agreement=held, results=results)
    merged.__dict__["claims"] = one.claims
    html = undrawn_page(merged)
    assert "Of 10 effects tested" in words_of(html)
    assert '<th scope="col">Outcome</th>' in html


def test_weak_instruments_of_the_screen_are_said() -> None:
    def words(f: float) -> str:
        check = {"name": "manipulation: noise", "verdict": "passed", "note": "", "statistic": f}
        return words_of_page(replace(study(), checks=[check]))

    assert "weak one by one (median first-stage F 1.2; 10 is the usual bar)" in words(1.2)
    assert "weak one by one" not in words(11.0)
    assert "weak one by one" not in words_of_page(study())


def test_fit_that_lies_beyond_the_ceiling_is_a_caution() -> None:
    finished = study()
    path = finished.basis.path.assign(rank=[0, 4, 12], feature_r2=[0.0, 0.2, 0.6])
    held_back = words_of_page(replace(finished, basis=replace(finished.basis, path=path)))
    assert "support 8 components of the rest of the cut" in held_back
    assert (
        "explained the features (R\N{SUPERSCRIPT TWO} 0.20 with 4, up to 0.60 with more) better" in held_back
    )
    assert "components of the rest of the cut; on the discovery split" not in words_of_page(finished)


def test_figures_name_features_shortly_and_say_what_they_respond_to() -> None:
    """The site stands once in the text; ladder and kinds carry the same short names and labels."""
    html = page_html(study())
    for figure in ("Effect ladder", "Kinds of knockout, side by side"):
        svg = html.split(f'aria-label="{figure}"', 1)[1].split("</svg>", 1)[0]
        assert "layer.1" not in svg
        for k in range(5):
            assert f">c{k}<" in svg
            assert f">word={k}<" in svg


def test_names_that_would_become_one_stay_whole_in_figures() -> None:
    from mrinterp.report.page import _drawn_names

    long = {f"s:{'x' * 40}{k}": f"{'x' * 40}{k}" for k in range(2)}
    assert _drawn_names(long) == {name: name for name in long}
    assert _drawn_names({"s:a": "a", "s:b": "b"}) == {"s:a": "a", "s:b": "b"}


def test_skill_by_chance_is_said_beside_the_ranking_scores() -> None:
    finished = study()
    base = finished.agreement.scores["base_rate"].iloc[0]
    assert f"Without skill AUROC is 0.50 and AUPRC {base:.2f}." in words_of_page(finished)
