"""The page of a run: complete, escaped, self-contained, the same bytes, and readable in a real browser."""

from __future__ import annotations

import re
import shutil
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from mrinterp.core.agreement import Agreement
from mrinterp.core.basis import Basis, Dictionary
from mrinterp.core.design import Design
from mrinterp.core.estimates import Estimates
from mrinterp.core.kind_comparison import KindComparison
from mrinterp.core.knockout_effects import KnockoutEffects
from mrinterp.core.plan import Plan
from mrinterp.core.sumstats import SumStats
from mrinterp.diagnostics.agreement import agreement, verdict_table
from mrinterp.knockouts.kinds.compare_kinds import compare_kinds
from mrinterp.report.claims import answer, features
from mrinterp.report.numbers import NONE, Precision, plain
from mrinterp.report.page import page_html, write_page
from mrinterp.report.provenance import study_file

ROPE = 0.02
HOSTILE = (
    "<script>document.title='owned'</script>\"'&amp; $\\frac{1}$ \u202eab\u202c 表 \x07</svg></td>"
    "<img src=http://x.test/y onerror=alert(1)>"
)
BROWSER = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass(frozen=True)
class Finished:
    """What the page reads of a study."""

    header: dict[str, Any]
    results: pd.DataFrame
    agreement: Agreement
    basis: Basis
    checks: list[dict[str, Any]]
    design: Design
    estimates: dict[str, Estimates]
    knockouts: dict[str, KnockoutEffects]
    sumstats: dict[str, SumStats]
    kinds: KindComparison | None
    equivalence: pd.DataFrame
    rank_path: pd.DataFrame = field(default_factory=pd.DataFrame)


#            confirmed, confirmed, contradicted, nothing, missed
EFFECT = np.array([0.5, -0.3, 0.10, 0.001, 0.02])
TRUTH = np.array([0.48, -0.31, -0.08, 0.002, 0.15])
AGAIN = np.array([0.45, -0.02, -0.11, 0.003, 0.02])


def study(
    text: str = "", outcome: str = "score", parts: bool = True, effect: np.ndarray = EFFECT
) -> Finished:
    """A finished study of five features; ``text`` stands wherever a user's words may stand."""
    names = tuple(f"layer.1:c{k}{text if k == 0 else ''}" for k in range(5))
    labels = tuple(f"word={k} {text}".strip() for k in range(5))
    design = _design(text)
    estimates = _estimates(names, outcome, effect, parts)
    kinds = {"shift": _knockout("shift", names, outcome, TRUTH)}
    if parts:
        kinds["random"] = _knockout("random", ("r0", "r1"), outcome, np.array([0.05, 0.12]))
        flags = (f"massive activation at {text}".strip(), "not measurable", "", "", "far outside support")
        kinds["mean"] = _knockout("mean", names, outcome, TRUTH + np.array([0, 0.3, 0, 0, 0]), flags)
    named = [replace(e, method=n) for n, e in estimates.items() if n != "replication"]
    held = agreement(named, kinds["shift"], np.array([ROPE]), "ivw_noise", "abc")
    path = pd.concat([estimates["within"].to_frame().assign(rank=r) for r in (0, 4, 8)], ignore_index=True)
    checks = [
        {
            "name": f"placebo {text}",
            "verdict": "failed",
            "note": f"12% of 40 {text}",
            "null_in_words": "no effect",
        },
        {"name": "saturation", "verdict": "not applicable", "note": "no such runs"},
    ]
    return Finished(
        _header(text, outcome),
        verdict_table(estimates["within"], kinds["shift"], np.array([ROPE]), labels),
        held,
        _basis(names, labels),
        checks,
        design,
        estimates,
        kinds,
        {"noise": _sumstats(design, names, outcome)},
        compare_kinds([kinds["shift"], kinds["mean"]]) if parts else None,
        pd.concat([k.equivalence(ROPE).assign(kind=n) for n, k in kinds.items()], ignore_index=True),
        path,
    )


def _header(text: str, outcome: str) -> dict[str, Any]:
    plan = Plan.model_validate(
        {
            "title": f"A study {text}",
            "model": {"site": "layer.1", "folder": f"net {text}"},
            "outcome": {"name": outcome, "positive": [f"good {text}"], "negative": [f"bad {text}"]},
            "prompts": {"templates": f"{text}.txt", "fillers": {f"slot {text}": [f"filler {text}"]}},
        }
    )
    provenance = {
        "model": "m" * 64,
        "design": "d" * 64,
        "seeds": {"plan": 3},
        "versions": {"python": "3.11"},
        "machine": "Linux",
        "command": "mrinterp run",
    }
    return {
        "plan": plan.to_dict(),
        "rules_hash": "a" * 64,
        "candidates_hash": "b" * 64,
        "knockouts": {"shift": "c" * 64},
        "earlier_plans": 2,
        "format_version": 1,
        "provenance": provenance,
    }


def _estimates(names: tuple[str, ...], outcome: str, effect: np.ndarray, parts: bool) -> dict[str, Estimates]:
    def made(method: str, beta: np.ndarray, se: float) -> Estimates:
        status = np.array(["ok"] * 4 + ["weak <b>set</b>"], dtype=object)[:, None]
        return Estimates(
            method,
            f"the {method}",
            names,
            (outcome,),
            beta[:, None],
            np.full((5, 1), se),
            status,
            np.full((5, 1), 90),
            df=np.full((5, 1), 60.0),
            assumes=(f"{method} is right",),
            reference=f"Ref {method} 10.1/x",
            unit="point per sd",
        )

    out = {
        "ivw_noise": made("ivw", effect + np.array([0.1, 0.1, 0.1, 0.2, 0.1]), 0.02),
        "within": made("within", effect, 0.01),
    }
    if parts:
        out |= {"gradient": made("gradient", TRUTH, 0.003), "replication": made("within", AGAIN, 0.02)}
    return out


def _knockout(
    kind: str, names: tuple[str, ...], outcome: str, effect: np.ndarray, flags: tuple[str, ...] = ()
) -> KnockoutEffects:
    F, P = len(names), 6
    each = np.random.default_rng(len(kind)).normal(0, 0.01, (F, P, 1))
    prompts = pd.DataFrame({"prompt": range(P), "family": [0, 0, 1, 1, 2, 2]})
    zeros = np.zeros(F)
    return KnockoutEffects(
        kind,
        f"{kind} of 1 sd",
        names,
        (outcome,),
        effect[:, None],
        np.full((F, 1), 0.005),
        40.0,
        effect[:, None, None] + each - each.mean(axis=1, keepdims=True),
        prompts,
        zeros + 1e-7,
        zeros + 2e-7,
        zeros + 0.014,
        zeros + 0.25,
        0.0,
        flags=flags,
    )


def _basis(names: tuple[str, ...], labels: tuple[str, ...]) -> Basis:
    eye = np.eye(5)
    ranks = pd.DataFrame({"rank": [0, 4, 8], "outcome_r2": [0.1, 0.4, 0.3], "feature_r2": [-1e-9, 0.2, 0.3]})
    meta = {"outcome_sd": [1.0], "ceiling": 8}
    return Basis(
        Dictionary(names, eye, eye, np.zeros(5), labels),
        eye,
        eye,
        np.arange(10),
        4,
        ranks,
        eye,
        np.ones(5),
        meta,
    )


def _design(text: str) -> Design:
    rows = [
        {"prompt": f"{split}{f}", "family": f"{split}{f}", "split": split, "kind": kind}
        for split in ("discovery", "estimation", "replication", "knockout")
        for f in range(3)
        for kind in ("clean", "noise", "noise")
        if kind == "clean" or split != "knockout"
    ]
    runs = pd.DataFrame(rows).assign(run=range(len(rows)), input=0, clean=0)
    instruments = pd.DataFrame(
        {
            "instrument": [f"n{j} {text}" for j in range(4)] + ["slot=x", "p0"],
            "kind": ["noise"] * 4 + ["slot", "placebo"],
            "locus": ["first"] * 4 + ["slot", "none"],
            "allele": "",
            "unit": "",
            "placebo": [False] * 5 + [True],
        }
    )
    return Design(
        pd.DataFrame({"text": [f"It was fine {text}"]}),
        runs,
        instruments,
        np.zeros((len(runs), 6), np.float32),
        np.zeros((1, 4, 2), np.float32),
    )


def _sumstats(design: Design, names: tuple[str, ...], outcome: str) -> SumStats:
    beta, se = np.ones((6, 6)), np.ones((6, 6))
    se[:, 3] = 0  # dropped: no error
    traits = pd.DataFrame({"trait": [*names, outcome], "role": ["feature"] * 5 + ["outcome"], "label": ""})
    return SumStats(beta, se, traits, design.instruments, np.full(6, 2.0), 3)


class _Tags(HTMLParser):
    """Tags, attributes and visible text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(k, v or "") for k, v in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def _words(html: str) -> str:
    return " ".join(_Tags(html).text.split())


def test_answer_comes_first_and_says_how_it_held() -> None:
    words = _words(page_html(study()))
    start = words[words.index("A study", 10) :]
    assert "Of 5 features tested, 3 are causal" in start[:200]
    assert "confirms 2 of the 3 causal claims and contradicts 1." in words
    assert "It finds 1 more feature causal that the estimate does not." in words
    assert "1 of 3 causal claims (33%) come out with the same sign and an interval that excludes 0" in words
    assert "1 have the same sign and an interval that includes 0; 1 the opposite sign" in words
    assert (
        "c0 (responds to word=0) changes score by +0.500 point per sd (95% interval 0.480 to 0.520" in words
    )
    for said in (
        "Check failed: placebo",
        "A rehearsal: 3 families",
        "2 other plans",
        "none is adjusted for the 5",
    ):
        assert said in words


def test_claims_bear_what_knockout_and_replication_say() -> None:
    rows = {r.short: r for r in features(study())}
    assert [rows[f"c{k}"].against for k in range(5)] == ["confirmed", "confirmed", "contradicted", "", ""]
    assert rows["c1"].replicated == "same sign, interval includes 0"
    assert rows["c2"].replicated == "opposite sign, interval excludes 0"
    assert rows["c2"].effect.value == "+0.100"
    assert rows["c2"].knockout.interval == "\N{MINUS SIGN}0.090 to \N{MINUS SIGN}0.070"


def test_all_features_stand_in_the_table_with_their_status() -> None:
    html = page_html(study())
    body = html[html.index('id="features"') : html.index('id="agreement"')]
    assert body.count("<tr>") == 6
    assert "weak &lt;b&gt;set&lt;/b&gt;" in body


def test_kinds_of_knockout_stand_side_by_side_with_test_verdicts_and_flags() -> None:
    """Kinds agree by construction but on c1, where the mean leaves nothing; c3 is negligible by both."""
    finished = study()
    html = page_html(finished)
    section = html[html.index('<section id="kinds">') : html.index('<section id="design">')]
    body = section.split("<tbody>")[1].split("</tbody>")[0].split("<tr>")[1:]
    rows = {f.short: _words(r) for f, r in zip(features(finished), body, strict=True)}
    assert "they differ" in rows["c1"]
    assert sum("they differ" in r for r in rows.values()) == 1
    assert rows["c3"].count("negligible") == 2
    assert "mean: far outside support" in rows["c4"]
    assert "mean: not measurable" in rows["c1"]
    assert "\N{MINUS SIGN}0.310" in rows["c1"]
    assert "\N{MINUS SIGN}0.010" in rows["c1"]
    assert "differ at p < .05 in 1 of 5 effects" in _words(section)
    assert "negligible (two one-sided tests, each at 5%): shift 1 of 5, mean 2 of 5" in _words(section)
    assert 'id="kinds"' not in page_html(study(parts=False))


def test_flow_reasons_assumptions_and_provenance_are_there() -> None:
    words = _words(page_html(study()))
    for said in (
        "1 instrument of kind noise dropped: its dose did not vary, or an error is zero.",
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


def test_everything_of_the_user_is_escaped() -> None:
    html = page_html(study(HOSTILE, outcome=f"score {HOSTILE}"))
    page = _Tags(html)
    assert not {"script", "img", "iframe", "object", "embed"} & set(page.tags)
    assert not [k for k, _ in page.attributes if k.startswith("on")]
    assert page.text.count("<script>document.title='owned'</script>") > 20
    assert page.tags.count("svg") == html.count("</svg>")
    html.encode("utf-8")


def test_nothing_is_fetched_and_ids_are_unique() -> None:
    html = page_html(study(HOSTILE))
    page = _Tags(html)
    links = [
        v
        for k, v in page.attributes
        if k in ("src", "href", "xlink:href", "action", "data", "poster", "srcset")
    ]
    assert links
    assert all(v.startswith("#") or v == "data:," for v in links)
    assert not re.search(r"@import|url\((?!#)", html)
    ids = [v for k, v in page.attributes if k == "id"]
    assert len(ids) == len(set(ids))
    assert {v[1:] for v in links if v.startswith("#")} <= set(ids)


def test_same_run_same_bytes(tmp_path: Path) -> None:
    first = write_page(study(), tmp_path / "one" / "report.html").read_bytes()
    assert write_page(study(), tmp_path / "two" / "other.html").read_bytes() == first
    assert str(tmp_path).encode() not in first
    assert [p.name for p in (tmp_path / "one").iterdir()] == ["report.html"]


def test_a_page_that_fails_leaves_nothing(tmp_path: Path) -> None:
    broken = replace(study(), header={})
    with pytest.raises(KeyError):
        write_page(broken, tmp_path / "report.html")
    assert not list(tmp_path.iterdir())


def test_missing_parts_are_said_not_hidden() -> None:
    words = _words(page_html(study(parts=False)))
    assert "Not known: this run has no replication estimate." in words
    assert "Baseline" not in words
    assert "one backward pass. This run has none." in words
    bare = replace(study(parts=False), checks=[], sumstats={})
    assert "No check was made." in _words(page_html(bare))


def test_no_claim_and_missing_numbers() -> None:
    none = study(effect=np.array([0.001, 0.0, 0.002, np.nan, 0.0]))
    words = _words(page_html(none))
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
        pd.concat([one.agreement.summary, two.agreement.summary], ignore_index=True),
        pd.concat([one.agreement.joined, two.agreement.joined], ignore_index=True),
        pd.concat([one.agreement.misled, two.agreement.misled], ignore_index=True),
        meta,
    )
    results = pd.concat([one.results, two.results], ignore_index=True)
    merged = replace(one, estimates=both, agreement=held, results=results)
    html = page_html(merged)
    assert "Of 10 effects tested" in _words(html)
    assert '<th scope="col">Outcome</th>' in html


def test_study_file_reads_back_as_the_plan() -> None:
    plan = study(HOSTILE).header["plan"]

    def without_none(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: without_none(v) for k, v in value.items() if v is not None}
        return [without_none(v) for v in value] if isinstance(value, list) else value

    assert tomllib.loads(study_file(plan)) == without_none(plan)
    assert Plan.model_validate(tomllib.loads(study_file(plan))).to_dict() == plan


@pytest.mark.parametrize(
    ("rope", "value", "text"),
    [
        (0.0019, 0.0399, "+0.0399"),
        (0.02, -0.5, "\N{MINUS SIGN}0.500"),
        (20.0, 1234.5, "+1234"),
        (0.0, 0.25, "+0.2500"),
        (0.02, float("inf"), NONE),
        (0.02, -1e-9, "+0.000"),
        (1e-12, 123456.0, "+1.23e+05"),
    ],
)
def test_numbers_show_a_tenth_of_what_counts_as_nothing(rope: float, value: float, text: str) -> None:
    assert Precision.of(rope).signed(value) == text


def test_plain_numbers() -> None:
    assert plain(float("nan")) == NONE
    assert plain(-0.0001) == "0.00"
    assert plain(0.0, ".1e") == "0"
    assert plain(1.5e-7, ".1e") == "1.5e\N{MINUS SIGN}07"


# -- in a real browser -----------------------------------------------------------------------------


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in [*BROWSER, f"--user-data-dir={tmp_path / 'profile'}"]:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


def _open(driver: Any, finished: Finished, folder: Path, width: int) -> None:
    page = write_page(finished, folder / "report.html")
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.get(page.as_uri())


@pytest.mark.needs("browser")
def test_opens_in_a_browser_and_asks_nothing_of_the_network(browser: Any, tmp_path: Path) -> None:
    _open(browser, study(), tmp_path, 1280)
    assert browser.title == "A study"
    assert len(browser.find_elements("css selector", "#features tbody tr")) == 5
    heights = browser.execute_script("return [...document.querySelectorAll('svg')].map(s => s.clientHeight)")
    assert len(heights) == 1 + 3 + 5 + 1
    assert min(heights) > 100
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert browser.get_log("browser") == []
    asked = re.findall(
        r'"method":"Network.requestWillBeSent".*?"url":"([^"]*)"', str(browser.get_log("performance"))
    )
    assert asked
    assert not [u for u in asked if u.startswith(("http", "ws", "ftp"))]


@pytest.mark.needs("browser")
def test_hostile_text_is_shown_as_text(browser: Any, tmp_path: Path) -> None:
    _open(browser, study(HOSTILE, outcome=f"score {HOSTILE}"), tmp_path, 1280)
    assert "<script>document.title='owned'</script>" in browser.title
    assert "<script>document.title='owned'</script>" in browser.find_element("tag name", "h1").text
    assert browser.execute_script("return document.scripts.length + document.images.length") == 0
    figure = browser.execute_script("return document.querySelector('.ladder svg').textContent")
    assert "<script>" in figure
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert browser.get_log("browser") == []


@pytest.mark.needs("browser")
@pytest.mark.parametrize("text", ["", HOSTILE, "x" * 300], ids=["plain", "hostile", "long"])
def test_readable_on_a_phone(browser: Any, tmp_path: Path, text: str) -> None:
    _open(browser, study(text), tmp_path, 390)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    assert browser.execute_script("return getComputedStyle(document.body).fontSize") == "16px"
