"""The committed dashboards, as panels and their queries."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[3] / "charts" / "igpo-operator" / "files" / "dashboards"
Body = dict[str, Any]


@dataclass(frozen=True)
class Query:
    """One query of a panel."""

    board: str
    panel: str
    expr: str
    instant: bool

    @property
    def name(self) -> str:
        """Which panel of which dashboard."""
        return f"{self.board}/{self.panel}"


def boards() -> dict[str, Body]:
    """All dashboards by uid."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(FOLDER.glob("*.json"))}


def panels(board: Body) -> Iterator[Body]:
    """Every panel of a dashboard, those in collapsed rows too."""
    for panel in board["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def queries() -> list[Query]:
    """Every query of every panel."""
    return [
        Query(uid, panel["title"], target["expr"], target.get("instant", False))
        for uid, board in boards().items()
        for panel in panels(board)
        for target in panel["targets"]
    ]


def filled(expr: str, values: Mapping[str, str]) -> str:
    """The expression with Grafana's variables replaced, the longest name first."""
    for name in sorted(values, key=len, reverse=True):
        expr = expr.replace(f"${name}", values[name])
    return expr
