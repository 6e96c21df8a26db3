"""One runbook for each alert."""

from pathlib import Path
from typing import Any

RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks"


def test_every_alert_has_a_runbook_and_every_runbook_an_alert(rules: list[dict[str, Any]]) -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == {rule["alert"] for rule in rules if "alert" in rule}


def test_every_runbook_says_what_it_means_where_to_look_and_what_to_do() -> None:
    for path in RUNBOOKS.glob("*.md"):
        lines = path.read_text().splitlines()
        assert lines[0] == f"# {path.stem}"
        assert [line for line in lines if line.startswith("## ")] == ["## Meaning", "## Look", "## Do"], path.name
        assert any(line.startswith("1. ") for line in lines), path.name
        assert any(line.startswith("- ") for line in lines), path.name
