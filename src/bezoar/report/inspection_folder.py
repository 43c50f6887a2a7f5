"""The folder that `bezoar inspect --out` writes and `bezoar repair --inspection` reads.

inspection.json   the inspection (schema/inspection-1.json)
triggers.npz      the recovered triggers
report.html       the report for a person
inspection.sarif  the findings for SARIF viewers and code scanning services
"""

from __future__ import annotations

import json
from pathlib import Path

from bezoar.files import atomic_directory
from bezoar.inspect.result import InspectionResult
from bezoar.inspect.saved import save_into
from bezoar.report.inspection_html import inspection_to_html
from bezoar.report.inspection_sarif import inspection_to_sarif

REPORT, SARIF = "report.html", "inspection.sarif"


def write_inspection(result: InspectionResult, folder: Path) -> Path:
    """Write the four files into the new `folder`, all or nothing; the path of the report."""
    log = json.dumps(inspection_to_sarif(result), indent=1, allow_nan=False)
    page = inspection_to_html(result, folder=folder)
    with atomic_directory(folder) as temporary:
        save_into(result, temporary)
        (temporary / REPORT).write_text(page, encoding="utf-8")
        (temporary / SARIF).write_text(log + "\n", encoding="ascii")
    return folder / REPORT
