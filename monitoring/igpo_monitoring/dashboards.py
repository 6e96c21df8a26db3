"""All dashboards, and their JSON."""

from typing import Final

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from igpo_monitoring.board import Board, build
from igpo_monitoring.compare import COMPARE
from igpo_monitoring.control_plane import OPERATOR
from igpo_monitoring.fine_tuning import FINE_TUNING
from igpo_monitoring.health import HEALTH

DASHBOARDS: Final[tuple[Board, ...]] = (HEALTH, COMPARE, FINE_TUNING, OPERATOR)


def rendered(board: Board) -> str:
    """The JSON that Grafana imports, always the same for the same board."""
    return JSONEncoder(sort_keys=True, indent=2, ensure_ascii=False).encode(build(board)) + "\n"
