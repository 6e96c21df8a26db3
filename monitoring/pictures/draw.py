"""Pictures of the dashboards: the recorded runs in a real Prometheus, Grafana's own components, a headless browser.

`make pictures`. Needs node, npm and chromium; no test needs it.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from promworld.boards import boards, filled
from promworld.history import History, history
from promworld.journals import journal

HERE = Path(__file__).parent
WIDTH = 1600
ROW = 38
STEP = 30
KINDS = {"igpo-training-health": "IGPOTraining", "igpo-sft": "LengthAlignedSFT"}
Body = dict[str, Any]


def main(target: Path) -> None:
    """Write one PNG a dashboard."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None or shutil.which("npm") is None:
        sys.exit("pictures need the commands npm and chromium; install both")
    with tempfile.TemporaryDirectory() as name, history(Path(name)) as recorded:
        shown = {uid: _picture(uid, board, recorded) for uid, board in boards().items()}
    subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--legacy-peer-deps"], cwd=HERE, check=True)
    subprocess.run(["npm", "run", "build"], cwd=HERE, check=True)
    page = (HERE / "dist" / "index.html").read_text()
    for uid, picture in shown.items():
        file = HERE / "dist" / f"{uid}.html"
        file.write_text(page.replace("<head>", f"<head><script>window.PICTURE = {json.dumps(picture)}</script>"))
        panels = picture["board"]["panels"]
        height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) * ROW + 80
        options = ["--headless", "--no-sandbox", "--hide-scrollbars", "--allow-file-access-from-files"]
        options += [f"--window-size={WIDTH},{height}", "--virtual-time-budget=20000"]
        image = target / f"{uid}.png"
        subprocess.run([chromium, *options, f"--screenshot={image}", file.as_uri()], check=True)


def _picture(uid: str, board: Body, recorded: History) -> Body:
    begin, end = _shown_time(uid, recorded)
    values = {"namespace": ".+", "kind": KINDS.get(uid, ".+"), "training": ".+", "rank": ".+"}
    values |= {"__rate_interval": "2m", "__range": f"{end - begin:.0f}s"}
    expanded = {**board, "panels": list(_expanded(board))}
    answers = {
        panel["id"]: [_answer(target, values, recorded, begin, end) for target in panel["targets"]]
        for panel in expanded["panels"]
        if panel["type"] != "row"
    }
    return {"board": expanded, "answers": answers, "begin": begin, "end": end}


def _shown_time(uid: str, recorded: History) -> tuple[float, float]:
    """The hours of the run that the dashboard is about."""
    lasts = {name: journal(name, 0.0)[-1].time.at for name in ("rewriting", "sft", "igpo")}
    if uid == "igpo-training-health":
        return recorded.end - lasts["igpo"] - 240, recorded.end - 150
    return recorded.begin, recorded.end


def _answer(target: Body, values: dict[str, str], recorded: History, begin: float, end: float) -> list[Any]:
    expr = filled(target["expr"], values)
    if target.get("instant"):
        return recorded.server.at(expr, end)
    return recorded.server.over(expr, begin, end, STEP)


def _expanded(board: Body) -> Iterator[Body]:
    """All panels, collapsed rows opened and what is below them moved down."""
    shift = 0
    for panel in board["panels"]:
        moved = {**panel, "gridPos": {**panel["gridPos"], "y": panel["gridPos"]["y"] + shift}}
        yield moved
        inner = panel.get("panels") or []
        for each in inner:
            yield {**each, "gridPos": {**each["gridPos"], "y": each["gridPos"]["y"] + shift}}
        if inner:
            shift += max(e["gridPos"]["y"] + e["gridPos"]["h"] for e in inner) - panel["gridPos"]["y"] - 1


if __name__ == "__main__":
    main(Path(sys.argv[1]))
