from __future__ import annotations

import json
import math
from importlib import resources
from typing import Any

import jsonschema
import pytest

from bezoar.inspect.result import InspectionResult, Severity, Status
from bezoar.inspect.saved import as_json
from report.inspection_builders import backdoor, inspection, label_reports, shortcut
from report.test_html import HOSTILE


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    source = resources.files("bezoar.report") / "schema" / "inspection-1.json"
    document: dict[str, Any] = json.loads(source.read_text())
    jsonschema.Draft202012Validator.check_schema(document)
    return document


RESULTS = {
    "clean": inspection(),
    "undecided without data": inspection(status=Status.UNDECIDED, data=None, images=0, accuracy=None),
    "backdoored": inspection((backdoor(), shortcut(), backdoor(kind="all-to-all", target=None))),
    "hostile": inspection((backdoor(title=HOSTILE[0]),), names=HOSTILE, path="/models/\udcff\n"),
    "not computed": inspection((backdoor(p_value=math.nan, severity=Severity.REVIEW),), accuracy=math.nan),
    "not tested": inspection(labels=label_reports(("a",)), notes=("note",)),
}


@pytest.mark.parametrize("result", RESULTS.values(), ids=RESULTS)
def test_fits_the_schema(result: InspectionResult, schema: dict[str, Any]) -> None:
    jsonschema.validate(json.loads(json.dumps(as_json(result), allow_nan=False)), schema)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["verdict", "status"], "fine"),
        (["findings", 0, "severity"], "poison"),
        (["findings", 0, "success"], 1.5),
        (["findings", 0, "trigger", "kind"], "sticker"),
        (["labels", 0, "p_value"], -1),
        (["settings", "extra"], 1),
    ],
)
def test_the_schema_is_one_that_rejects(path: list[Any], value: object, schema: dict[str, Any]) -> None:
    document = as_json(RESULTS["backdoored"])
    place: Any = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, schema)
