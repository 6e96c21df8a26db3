"""Write the dashboards of the chart: `python -m igpo_monitoring charts/igpo-operator/files/dashboards`."""

import sys
from pathlib import Path

from igpo_monitoring.dashboards import DASHBOARDS, rendered


def main(folder: Path) -> None:
    """Write one file a dashboard; files of dashboards that are no more go."""
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.json"):
        stale.unlink()
    for board in DASHBOARDS:
        (folder / f"{board.uid}.json").write_text(rendered(board))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
