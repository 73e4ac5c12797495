"""The page in a real browser: it opens, asks nothing of the network, and can be turned over."""

from __future__ import annotations

import importlib.util
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest

import mrinterp
from mrinterp.report import columns, page
from mrinterp.report.effects import figures as effect_figures
from mrinterp.study import report_effects
from tests.study.finished_study import HOSTILE, Finished, many, study

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
pytestmark = pytest.mark.needs("browser")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in [*BROWSER, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    driver.set_script_timeout(120)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of five features, with its figures."""
    return page.write_page(study(), tmp_path_factory.mktemp("small") / "report.html")


def _written(finished: Finished, folder: Path) -> Path:
    """A page without its drawn figures, which take nine tenths of its time."""
    with mock.patch.object(page, "inline_svg", return_value=""):
        return page.write_page(finished, folder / "report.html")


def _open(driver: Any, path: Path, width: int = 1280, fragment: str = "", dark: bool = False) -> float:
    """Open a page and wait until it can be used; the seconds that it says it took."""
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    driver.get("about:blank")
    driver.get_log("browser")
    driver.get_log("performance")
    driver.get(path.as_uri() + fragment)
    until = time.monotonic() + 30
    while not (ready := driver.execute_script("return document.documentElement.dataset.ready")):
        assert time.monotonic() < until, driver.get_log("browser")
        time.sleep(0.02)
    return int(ready) / 1000


def _quiet(driver: Any) -> None:
    """No error on the console, and nothing asked of the network."""
    assert driver.get_log("browser") == []
    assert driver.execute_script("return performance.getEntriesByType('resource').length") == 0
    log = str(driver.get_log("performance"))
    asked = re.findall(r'"method":"Network.requestWillBeSent".*?"url":"([^"]*)"', log)
    assert not [u for u in asked if u.startswith(("http", "ws", "ftp"))]


def _names(driver: Any) -> list[str]:
    return driver.execute_script(
        "return [...document.querySelectorAll('#all-features tbody th')].map(c => c.textContent)"
    )


def _sort(driver: Any, title: str) -> None:
    driver.execute_script(
        "[...document.querySelectorAll('#all-features .sort')].find(b => b.textContent === arguments[0]).click()",
        title,
    )


def _search(driver: Any, words: str) -> str:
    driver.execute_script(
        "const s = document.getElementById('search'); s.value = arguments[0]; s.dispatchEvent(new Event('input'))",
        words,
    )
    time.sleep(0.4)
    return driver.find_element("id", "rows-shown").text


def _key(driver: Any, *keys: str) -> None:
    from selenium.webdriver import ActionChains

    chain = ActionChains(driver)
    for key in keys:
        chain = chain.send_keys(key)
    chain.perform()


def test_opens_in_a_browser_and_asks_nothing_of_the_network(browser: Any, small: Path) -> None:
    _open(browser, small)
    assert browser.title == "A study"
    assert len(browser.find_elements("css selector", "#all-features tbody tr")) == 5
    heights = browser.execute_script("return [...document.querySelectorAll('svg')].map(s => s.clientHeight)")
    assert len(heights) == 1 + 1 + 3 + 5 + 1 + 1  # rungs, ladder, scatter, ranks, kinds, random
    assert min(heights) > 100
    _quiet(browser)


def test_the_script_writes_the_rows_that_the_page_was_written_with(browser: Any, small: Path) -> None:
    """The live table says what the table says without a script, cell for cell."""
    _open(browser, small)
    words = "return [...document.querySelectorAll('#all-features tbody tr')].map(r => [...r.cells].map(c => c.textContent.trim()))"
    live = browser.execute_script(words)
    written = browser.execute_script(
        "const p = new DOMParser().parseFromString(arguments[0], 'text/html');"
        + words.replace("document", "p"),
        small.read_text(encoding="utf-8"),
    )
    assert live == written


def test_sorting_filtering_and_search(browser: Any, small: Path) -> None:
    _open(browser, small)
    assert _names(browser) == ["c0", "c1", "c2", "c4", "c3"]  # largest effect first
    _sort(browser, "Effect")
    assert _names(browser) == ["c0", "c2", "c4", "c3", "c1"]  # largest number first
    _sort(browser, "Effect")
    assert _names(browser) == ["c1", "c3", "c4", "c2", "c0"]
    sorted_by = browser.execute_script(
        "return [...document.querySelectorAll('#all-features th[aria-sort]')].map(h => [h.textContent, h.ariaSort])"
    )
    assert sorted_by == [["Effect", "ascending"]]
    _sort(browser, "Feature")
    assert _names(browser) == ["c0", "c1", "c2", "c3", "c4"]
    browser.execute_script(
        "const s = document.getElementById('only-verdict'); s.value = [...s.options].find(o => o.text === 'causal').value;"
        " s.dispatchEvent(new Event('change'))"
    )
    assert _names(browser) == ["c0", "c1", "c2"]
    assert _search(browser, "word=2") == "1 to 1 of 1 features of 5 tested."
    assert _names(browser) == ["c2"]
    assert _search(browser, "nothing like it") == "0 features of 5 tested."
    browser.find_element("id", "clear").click()
    assert len(_names(browser)) == 5
    _quiet(browser)


def test_a_fragment_opens_a_claims_card_and_cards_lead_on(browser: Any, small: Path) -> None:
    _open(browser, small, fragment="#claim-c2")
    card = browser.find_element("id", "card")
    assert browser.execute_script("return document.activeElement.textContent") == "c2 responds to word=2"
    for part in (
        "Inputs that move it most",
        "What it responds to",
        "Its distribution",
        "Effect ladder",
        "Effect by family",
        "Dose-response",
        "Kinds of knockout",
        "Whose effect it shows",
        "Grade",
        "Identification card",
        "All checks",
        "Instruments",
    ):
        assert part in card.text, part
    drawn = browser.execute_script(
        "return [...document.querySelectorAll('#card svg')].map(s => s.clientWidth)"
    )
    assert len(drawn) == 6
    assert min(drawn) > 200
    _key(browser, "\ue00c")  # Escape closes it
    assert not card.is_displayed()
    browser.find_element("css selector", ".claims a[href='#claim-c1']").click()
    assert card.text.startswith("c1 responds to word=1")
    assert browser.execute_script("return location.hash") == "#claim-c1"
    buttons = {b.text: b for b in browser.find_elements("css selector", "#card .card-buttons button")}
    buttons["Next"].click()
    assert browser.execute_script("return location.hash") == "#claim-c2"
    _quiet(browser)


def test_points_of_the_figure_open_cards_and_a_box_filters_the_table(browser: Any, small: Path) -> None:
    from selenium.webdriver import ActionChains

    _open(browser, small)
    canvas = browser.find_element("css selector", "#volcano canvas")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
    inked = "const c = arguments[0]; return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.some(v => v)"
    assert browser.execute_script(inked, canvas)
    wide, tall = canvas.size["width"], canvas.size["height"]
    # All of the right half: c0, c2 and c4 have positive effects, and c3 nearly none.
    start = (int(wide * 0.53), 20)
    chain = ActionChains(browser).move_to_element_with_offset(
        canvas, start[0] - wide // 2, start[1] - tall // 2
    )
    chain.click_and_hold().move_by_offset(wide - start[0] - 20, tall - 80).release().perform()
    assert set(_names(browser)) == {"c0", "c2", "c4"} or set(_names(browser)) == {"c0", "c2"}
    browser.execute_script("arguments[0].focus()", canvas)
    _key(browser, "\ue00c")
    assert len(_names(browser)) == 5
    _key(browser, "\ue014", "\ue014")  # right, right
    said = browser.find_element("css selector", "#volcano [aria-live]").get_attribute("textContent")
    assert said.startswith("c1 (word=1): \N{MINUS SIGN}0.300")
    _key(browser, "\ue007")  # Enter
    assert browser.execute_script("return location.hash") == "#claim-c1"
    _quiet(browser)


def test_every_table_and_figure_is_handed_out(browser: Any, small: Path) -> None:
    _open(browser, small)
    browser.execute_script(
        "window.saved = []; HTMLAnchorElement.prototype.click = function () { window.names = [...(window.names || []), this.download] };"
        " URL.createObjectURL = (blob) => { blob.text().then(t => window.saved.push(t)); return 'blob:none' }"
    )
    tables = browser.find_elements("css selector", ".scroll > table")
    figures = browser.find_elements("css selector", "figure svg")
    buttons = browser.find_elements("css selector", ".downloads button")
    assert len(buttons) == len(tables) - 1 + len(figures)
    browser.execute_script(
        "document.querySelectorAll('.downloads button').forEach(b => b.click()); document.getElementById('csv-features').click()"
    )
    time.sleep(0.3)
    saved, names = browser.execute_script("return [window.saved, window.names]")
    assert len(saved) == len(names) == len(buttons) + 1
    features = next(t for t, n in zip(saved, names, strict=True) if n == "features.csv")
    head, first = (line.split(",") for line in features.splitlines()[:2])
    row = dict(zip(head, first, strict=True))
    assert row["name"] == "layer.1:c0"
    assert float(row["effect"]) == 0.5
    for text in (t for t, n in zip(saved, names, strict=True) if n.endswith(".svg")):
        assert text.startswith("<svg")
        assert 'xmlns="http://www.w3.org/2000/svg"' in text
    _quiet(browser)


def test_hostile_text_is_shown_as_text(browser: Any, tmp_path: Path) -> None:
    finished = study(HOSTILE, outcome=f"score {HOSTILE}")
    _open(browser, page.write_page(finished, tmp_path / "report.html"))
    assert "<script>document.title='owned'</script>" in browser.title
    assert "<script>document.title='owned'</script>" in browser.find_element("tag name", "h1").text
    assert browser.execute_script("return document.scripts.length") == 3
    figure = browser.execute_script("return document.querySelector('.ladder svg').textContent")
    assert "<script>" in figure
    browser.find_element("css selector", "#all-features .open-card").click()
    marked = browser.find_element("css selector", "#card mark").text
    assert marked.startswith("good<script>document.title='owned'</script>")
    assert browser.execute_script("return document.images.length") == 0
    _quiet(browser)


def test_a_name_of_100_kb_and_cells_like_formulas_do_no_harm(browser: Any, tmp_path: Path) -> None:
    long = '=HYPERLINK("http://x.test") \u202e' + "x y" * 33_000
    path = _written(study(long), tmp_path)
    assert path.stat().st_size < 4_000_000
    _open(browser, path, 390)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    cell = "return [...arguments].map(v => v)"
    assert browser.execute_script(cell, "=1") == ["=1"]
    browser.execute_script(
        "URL.createObjectURL = (blob) => { blob.text().then(t => { window.saved = t }); return 'blob:none' };"
        " HTMLAnchorElement.prototype.click = () => {}; document.getElementById('csv-features').click()"
    )
    time.sleep(0.2)
    saved = browser.execute_script("return window.saved")
    assert "word=0 =HYPERLINK" in saved  # within a cell it is text
    assert not re.search(r"(^|,)\"?[=+@]", saved, re.MULTILINE)
    _quiet(browser)


@pytest.mark.parametrize("text", ["", HOSTILE, "x" * 300], ids=["plain", "hostile", "long"])
def test_readable_on_a_phone(browser: Any, tmp_path: Path, text: str) -> None:
    _open(browser, _written(study(text), tmp_path), 390)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    assert browser.execute_script("return getComputedStyle(document.body).fontSize") == "16px"
    browser.find_element("css selector", "#all-features .open-card").click()
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390


def test_thousands_of_features_open_with_their_cards_in_files_beside(browser: Any, tmp_path: Path) -> None:
    path = _written(many(1200), tmp_path)
    assert path.stat().st_size < 6_000_000
    assert sorted(p.name for p in (tmp_path / "report_cards").iterdir()) == [
        "0000.html",
        "0001.html",
        "0002.html",
    ]
    assert _open(browser, path, fragment="#row-777") < 4
    assert browser.find_element("id", "rows-shown").text.endswith("of 1,200 features.")
    link = browser.find_elements("css selector", "#card a[href^=report_cards]")
    shown = browser.find_element("css selector", "#card h3").text
    assert shown.startswith("f0000777")
    _quiet(browser)
    beside = tmp_path / "report_cards" / "0001.html"
    assert not link or link[0].get_attribute("href") == f"{beside.as_uri()}#row-277"
    _open(browser, beside, fragment="#claim-f0000777")
    assert browser.find_element("css selector", "#card h3").text.startswith("f0000777")
    said = browser.find_element("id", "card").text
    assert "Effect ladder" in said
    assert "Nearest features" in said
    _quiet(browser)


def test_of_many_features_numbers_are_of_16_bits_and_a_layer_is_drawn(browser: Any, tmp_path: Path) -> None:
    """What holds beyond 100,000 features, asked of fewer: the benchmark of sizes has the whole numbers."""
    finished = many(21_000)
    with mock.patch.object(columns, "MANY", 20_000):
        path = _written(finished, tmp_path)
    assert path.stat().st_size < 800_000
    _open(browser, path)
    first = finished.results.iloc[0]
    assert _names(browser)[0] == first["feature"].split(":")[1]
    shown = browser.find_element("css selector", "#all-features tbody td.n").text.splitlines()[0]
    assert abs(float(shown.replace("\N{MINUS SIGN}", "-")) - first["effect"]) < 1e-3
    _sort(browser, "Effect")
    assert _names(browser)[0] == finished.results.nlargest(1, "effect")["feature"].iloc[0].split(":")[1]
    assert _search(browser, "f0004321") == "1 to 1 of 1 features of 21,000 tested."
    _quiet(browser)


def _focused(driver: Any) -> str:
    """Which element has the focus, and whether that can be seen: an outline of some width around it."""
    words = (
        "const a = document.activeElement, s = getComputedStyle(a), inside = a.getBoundingClientRect();"
        " const seen = s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 1 && inside.bottom > 0 && inside.top < innerHeight;"
        " return [a.id || a.textContent.trim() || a.tagName, seen]"
    )
    name, seen = driver.execute_script(words)
    assert seen, f"the focus on {name!r} cannot be seen"
    return str(name)


def _tab_to(driver: Any, name: str) -> None:
    """Press the tabulator until the element of that id, or of these words, has the focus; all on the way are seen."""
    for _ in range(60):
        _key(driver, "\ue004")
        if _focused(driver) == name:
            return
    raise AssertionError(f"{name!r} is not reached by the keyboard")


def test_everything_is_reached_and_done_by_the_keyboard_alone(browser: Any, small: Path) -> None:
    enter, escape, space, down = "\ue007", "\ue00c", " ", "\ue015"
    _open(browser, small)
    _key(browser, "\ue004")
    assert _focused(browser) == "To all tested features"
    _key(browser, enter)
    _tab_to(browser, "search")
    _key(browser, *"word=2")
    time.sleep(0.4)
    assert _names(browser) == ["c2"]
    _tab_to(browser, "clear")
    _key(browser, space)
    assert len(_names(browser)) == 5
    for _ in range(4):  # back to the choice of verdicts
        browser.switch_to.active_element.send_keys("\ue008\ue004")
    assert _focused(browser) == "only-verdict"
    _key(browser, down)
    assert _names(browser) == ["c0", "c1", "c2"]
    _tab_to(browser, "all-features")
    _tab_to(browser, "Effect")
    _key(browser, enter, enter)
    assert _names(browser) == ["c1", "c2", "c0"]
    assert _focused(browser) == "Effect"
    _tab_to(browser, "c2")
    _key(browser, enter)
    assert browser.find_element("id", "card").is_displayed()
    assert _focused(browser) == "card-title"
    _tab_to(browser, "close-card")
    _key(browser, escape)
    assert not browser.find_element("id", "card").is_displayed()
    assert _focused(browser) == "c2", "back to where the card was opened, though its row was drawn anew"
    assert browser.execute_script("return location.hash") == ""
    _quiet(browser)


_ON_PAPER = """
const cut = [], visible = (e) => e.getClientRects().length;
for (const e of document.querySelectorAll(arguments[0])) {
  if (!visible(e)) continue;
  const name = e.tagName + " " + (e.getAttribute("aria-label") || e.textContent.trim().slice(0, 40));
  if (e.getBoundingClientRect().right > innerWidth + 1) cut.push("beyond the page: " + name);
  for (let b = e.parentElement; b; b = b.parentElement) {
    if (getComputedStyle(b).overflowX !== "visible" && b.scrollWidth > b.clientWidth + 1) cut.push("clipped: " + name);
  }
}
return cut"""


def test_on_paper_it_is_whole_and_light(browser: Any, small: Path) -> None:
    """In dark mode with a card open: at the width of A4 nothing is cut, what is folded is open, and colors are those of paper."""
    _open(browser, small, fragment="#claim-c0", dark=True)
    folded = browser.execute_script("return document.querySelectorAll('details:not([open])').length")
    assert folded > 5
    browser.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    dark = {"name": "prefers-color-scheme", "value": "dark"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": [dark]})
    wide = ":is(#features, #kinds)"
    for width, which in (
        (688, f":is(table, svg, td, th):not({wide} *)"),
        (1017, f"{wide} :is(table, svg, td, th)"),
    ):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        assert browser.execute_script(_ON_PAPER, which) == [], width
    assert browser.execute_script("return document.querySelectorAll('details:not([open])').length") == 0
    card = browser.find_element("id", "card").text
    for part in ("The numbers", "given by the network", "Identification card", "All checks"):
        assert part in card, part
    colors = "const s = getComputedStyle(document.body); return [s.backgroundColor, s.color]"
    assert browser.execute_script(colors) == ["rgb(255, 255, 255)", "rgb(0, 0, 0)"]
    band = "const c = document.querySelector('#volcano canvas'); return [...c.getContext('2d').getImageData(c.width / 2 + 20, 40, 1, 1).data]"
    assert min(browser.execute_script(band)[:3]) > 200, "the region of practical equivalence, in the light"
    shown = (
        "return [...document.querySelectorAll(arguments[0])].filter(e => e.getClientRects().length).length"
    )
    assert browser.execute_script(shown, "nav, .controls, .downloads, .pager, .card-buttons") == 0
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": [dark]})
    browser.execute_script("window.dispatchEvent(new Event('afterprint'))")
    assert browser.execute_script("return document.querySelectorAll('details:not([open])').length") == folded
    assert browser.execute_script(colors)[0] != "rgb(255, 255, 255)"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of twelve exposures on two outcomes, with hostile names and without its drawn figures."""
    folder, rng = tmp_path_factory.mktemp("table"), np.random.default_rng(3)
    b = rng.normal(0, 0.2, (12, 40))
    effect = np.array([0.5, -0.3, 0.2, *np.zeros(9)])
    data = mrinterp.MRData(
        beta_x=b,
        se_x=np.full((12, 40), 0.01),
        beta_y=np.array([effect @ b + rng.normal(0, 0.02, 40), rng.normal(0, 0.02, 40)]),
        se_y=np.full((2, 40), 0.02),
        exposures=(f"x0{HOSTILE}", *(f"x{k}" for k in range(1, 12))),
        outcomes=(f"y {HOSTILE}", "=1+1"),
        instruments=(f"rs0{HOSTILE}", *(f"rs{k}" for k in range(1, 40))),
    )
    with mock.patch.object(effect_figures, "inline_svg", return_value=""):
        return report_effects(data, folder, title=f"A table {HOSTILE}", methods=["mv_ivw", "mv_egger", "ivw"])


def test_the_report_of_a_table_can_be_turned_over_as_well(browser: Any, table: Path) -> None:
    _open(browser, table)
    words = "return [...document.querySelectorAll('#all-features tbody tr')].map(r => [...r.cells].map(c => c.textContent.trim()))"
    written = browser.execute_script(
        "const p = new DOMParser().parseFromString(arguments[0], 'text/html');"
        + words.replace("document", "p"),
        table.read_text(encoding="utf-8"),
    )
    live = browser.execute_script(words)
    assert len(live) == 24
    assert sorted(live) == sorted(written)
    assert browser.execute_script("return document.scripts.length") == 3
    assert browser.execute_script("return document.images.length") == 0
    assert browser.title.startswith("A table <script>")
    _sort(browser, "q")
    assert _search(browser, "excludes") != "0 effects of 24 tested."
    browser.find_element("id", "clear").click()
    browser.find_element("css selector", ".claims a").click()
    card = browser.find_element("id", "card")
    for part in ("Every method", "Scatter", "Funnel", "Radial", "Effect by instrument", "Leave-one-out", "Identification card",
                 "All checks", "Instruments that move it most", "D (suggestive) by MIG-4", "Points and reasons", "Not in these data"):  # fmt: skip
        assert part in card.text, part
    drawn = browser.execute_script(
        "return [...document.querySelectorAll('#card svg')].map(s => s.clientWidth)"
    )
    assert len(drawn) == 6
    assert min(drawn) > 200
    dots = browser.execute_script(
        "return [...document.querySelectorAll('#card svg .dot')].every(d => Number.isFinite(+d.getAttribute('cx')))"
    )
    assert dots
    browser.execute_script(
        "URL.createObjectURL = (blob) => { blob.text().then(t => { window.saved = t }); return 'blob:none' };"
        " HTMLAnchorElement.prototype.click = () => {}; document.getElementById('csv-features').click()"
    )
    time.sleep(0.2)
    saved = browser.execute_script("return window.saved")
    assert len(saved.splitlines()) == 25
    assert not re.search(r"(^|,)\"?[=+@]", saved, re.MULTILINE)
    _quiet(browser)
    _open(browser, table, 390, fragment="#row-1", dark=True)
    assert card is not None
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390


@pytest.mark.needs("axe")
@pytest.mark.parametrize(
    ("name", "width", "dark"),
    [("small", 1280, False), ("small", 390, True), ("table", 1280, True)],
    ids=["study: desktop, light", "study: phone, dark", "table: desktop, dark"],
)
def test_axe_finds_no_fault(
    browser: Any, name: str, width: int, dark: bool, request: pytest.FixtureRequest
) -> None:
    """With a card open: names, roles, order of headings, contrast."""
    path = request.getfixturevalue(name)
    found = importlib.util.find_spec("axe_playwright_python")
    assert found is not None
    assert found.origin is not None
    _open(browser, path, width, fragment="#row-0", dark=dark)
    assert browser.find_element("id", "card").is_displayed()
    browser.execute_script((Path(found.origin).parent / "axe.min.js").read_text(encoding="utf-8"))
    faults = browser.execute_async_script(
        "const done = arguments[0]; axe.run().then(r => done(r.violations.map(v => [v.impact, v.id, v.nodes[0].html.slice(0, 200)])))"
    )
    assert not [f for f in faults if f[0] != "minor"], faults
