"""The page in a real browser: it opens, asks nothing of the network, and is readable on a phone."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mrinterp.report.page import write_page
from tests.study.finished_study import HOSTILE, Finished, study

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
    assert len(heights) == 1 + 1 + 3 + 5 + 1 + 1  # rungs, ladder, scatter, ranks, kinds, random
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
