"""How large a report is, and how fast it opens in headless Chromium, by number of features: made-up studies.

    python benchmarks/report_sizes.py [2000 100000 1000000]

Drawn figures are left out: their size does not depend on the number of features. Written to results/report_sizes.md.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

from selenium import webdriver

from mrinterp.report import page
from tests.study.finished_study import many

OUT = Path(__file__).parent / "results" / "report_sizes.md"
SIZES = (2_000, 100_000, 1_000_000)
REPEATS = 3


def opened(driver: Any, path: Path) -> float:
    """Seconds from the start of the navigation until the page can be used."""
    driver.get("about:blank")
    driver.get(path.as_uri())
    until = time.monotonic() + 120
    while not (ready := driver.execute_script("return document.documentElement.dataset.ready")):
        assert time.monotonic() < until
        time.sleep(0.05)
    return int(ready) / 1000


def main() -> None:
    """Write, open and measure."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    lines = [
        "# Size and opening of a report",
        "",
        "By `benchmarks/report_sizes.py`; least of three openings.",
        "",
    ]
    lines += ["| features | page, MB | opens in, s | writing, s |", "|---|---|---|---|"]
    for count in map(int, sys.argv[1:] or SIZES):
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(page, "inline_svg", return_value=""):
            study, start = many(count), time.perf_counter()
            path = page.write_page(study, Path(folder) / "report.html")
            wrote = time.perf_counter() - start
            took = min(opened(driver, path) for _ in range(REPEATS))
            lines.append(f"| {count:,} | {path.stat().st_size / 1e6:.2f} | {took:.2f} | {wrote:.1f} |")
            print(lines[-1])
    driver.quit()
    OUT.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
