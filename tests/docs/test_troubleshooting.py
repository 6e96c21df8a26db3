"""docs/troubleshooting.md knows everything that a run can say."""

import re
from pathlib import Path

import pytest

from igpo_operator.api.reasons import EndClass, Reason

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "troubleshooting.md").read_text()
ENTRIES = dict(re.findall(r"^### `(\w+)`\n(.+?)(?=^#)", PAGE, re.MULTILINE | re.DOTALL))
CHART = ROOT / "charts" / "igpo-operator" / "templates"
REFUSALS = re.findall(r"^#### `(.+)`$", PAGE, re.MULTILINE)


@pytest.mark.parametrize("reason", list(Reason))
def test_every_reason_has_an_entry(reason: Reason) -> None:
    assert len(ENTRIES.get(reason.value, "").strip()) > 20


def test_there_are_no_entries_of_reasons_that_nothing_gives() -> None:
    assert ENTRIES.keys() <= {reason.value for reason in Reason}


def test_every_class_of_a_restart_is_explained() -> None:
    unexplained = {EndClass.COMPLETED, EndClass.RELEASED}
    assert not [end.value for end in EndClass if end not in unexplained and f"`{end.value}`" not in PAGE]


@pytest.mark.parametrize("message", REFUSALS)
def test_refusals_are_quoted_as_the_api_server_says_them(message: str) -> None:
    crds = " ".join(" ".join(path.read_text() for path in (ROOT / "crds").glob("*.yaml")).split())
    assert message in crds.replace("''", "'")


def test_what_the_chart_refuses_is_quoted_as_its_templates_say_it() -> None:
    section = PAGE.partition("## Refused by helm")[2].partition("\n## ")[0]
    quoted = re.findall(r"^\| `([^`]+)` \|", section, re.MULTILINE)
    templates = " ".join(path.read_text() for path in CHART.rglob("*") if path.suffix in {".tpl", ".yaml"})
    said = re.sub(r"%[sq]", "…", templates)
    own = [message for message in quoted if not message.startswith("additional properties")]
    assert len(own) >= 7
    assert [message for message in own if message not in said] == []
