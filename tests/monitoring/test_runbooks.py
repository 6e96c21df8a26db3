"""One runbook for each alert."""

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"
RUNBOOKS = DOCS / "runbooks"


def test_every_alert_has_a_runbook_and_every_runbook_an_alert(rules: list[dict[str, Any]]) -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == {rule["alert"] for rule in rules if "alert" in rule}


def test_every_runbook_says_what_it_means_where_to_look_and_what_to_do() -> None:
    for path in RUNBOOKS.glob("*.md"):
        lines = path.read_text().splitlines()
        assert lines[0] == f"# {path.stem}"
        assert [line for line in lines if line.startswith("## ")] == ["## Meaning", "## Look", "## Do"], path.name
        assert any(line.startswith("1. ") for line in lines), path.name
        assert any(line.startswith("- ") for line in lines), path.name


def test_the_table_of_alerts_lists_each_with_its_severity(rules: list[dict[str, Any]]) -> None:
    table = (DOCS / "monitoring.md").read_text()
    listed = dict(re.findall(r"^\| \[(\w+)\]\(runbooks/\1\.md\) \| (\w+) \|", table, re.MULTILINE))
    assert listed == {rule["alert"]: rule["labels"]["severity"] for rule in rules if "alert" in rule}
