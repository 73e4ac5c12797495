"""Reading a report as a program of somebody else would: by the schema that is published, with a validator that knows nothing of us."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema

from mrinterp.report.twin.document import ReportDocument
from tests.house.test_readme import ROOT

PUBLISHED = json.loads(
    (ROOT / "mrinterp" / "report" / "schemas" / "report-1.json").read_text(encoding="utf-8")
)


def document(folder: Path) -> ReportDocument:
    """The document in ``folder/report``, after it was held against the published schema."""
    text = (folder / "report" / "report.json").read_text(encoding="utf-8")
    jsonschema.Draft202012Validator(PUBLISHED).validate(json.loads(text))
    return ReportDocument.model_validate_json(text)
