"""Writes the schema of the report's twin, which ships with the package: ``python docs/make_report_schema.py``."""

from __future__ import annotations

import json
from pathlib import Path

from mrinterp.report.twin.document import SCHEMA, schema

PATH = Path(__file__).parents[1] / "mrinterp" / "report" / "schemas" / f"{SCHEMA}.json"


def text() -> str:
    """What the file holds."""
    return json.dumps(schema(), indent=1) + "\n"


if __name__ == "__main__":
    PATH.write_text(text(), encoding="utf-8")
