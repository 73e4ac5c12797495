"""How large a report is, how fast it opens in headless Chromium, and how long grades take, by number of features: made-up studies.

    python benchmarks/report_sizes.py [2000 100000 1000000]

Drawn figures are left out: their size does not depend on the number of features. Written to results/report_sizes.md.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

from selenium import webdriver

from mrinterp.evidence import grade
from mrinterp.report import page
from tests.study.finished_study import many, tall

OUT = Path(__file__).parent / "results" / "report_sizes.md"
SIZES = (2_000, 100_000, 1_000_000)
MOST_GRADED = 100_000
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


def graded(count: int) -> str:
    """Processor seconds of grading, cards included."""
    if count > MOST_GRADED:
        return "not asked"
    study = tall(count)
    start = time.process_time()
    grade(study)
    return f"{time.process_time() - start:.1f}"


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
        f"By `benchmarks/report_sizes.py`; least of {REPEATS} openings. Writing and grading in processor seconds of one core; openings"
        f" by the clock, with a load of {os.getloadavg()[1]:.1f} on {os.cpu_count()} cores (mean of the five minutes before).",
        "",
    ]
    lines += ["| features | page, MB | opens in, s | writing, s | grading, s |", "|---|---|---|---|---|"]
    for count in map(int, sys.argv[1:] or SIZES):
        with tempfile.TemporaryDirectory() as folder, mock.patch.object(page, "inline_svg", return_value=""):
            study, start = many(count), time.process_time()
            path = page.write_page(study, Path(folder) / "report.html")
            wrote = time.process_time() - start
            took = min(opened(driver, path) for _ in range(REPEATS))
            size = path.stat().st_size / 1e6
            lines.append(f"| {count:,} | {size:.2f} | {took:.2f} | {wrote:.1f} | {graded(count)} |")
            print(lines[-1])
    driver.quit()
    OUT.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
