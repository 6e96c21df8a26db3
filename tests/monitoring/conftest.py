"""What the chart makes of its rules."""

from pathlib import Path
from typing import Any

import pytest

from promworld.rules import rule_groups, write_rule_file


@pytest.fixture(scope="session")
def rules() -> list[dict[str, Any]]:
    """All rules, recordings first."""
    return [rule for group in rule_groups() for rule in group["rules"]]


@pytest.fixture(scope="session")
def rule_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as a file that Prometheus loads."""
    return write_rule_file(tmp_path_factory.mktemp("rules") / "igpo.rules.yaml")
