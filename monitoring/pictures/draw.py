"""Pictures of the dashboards: the recorded runs in a real Prometheus, Grafana's own components, a headless browser.

`make pictures`, which builds the page first. Needs node ≥ 20, npm and chromium; no test needs them. What npm installs
is pinned by package-lock.json, and the page that is photographed loads nothing from a network.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from igpo_cluster.errors import ClusterError
from promworld.boards import boards, filled
from promworld.history import History, history
from promworld.recording import INTERVAL

HERE: Final = Path(__file__).parent
WIDTH: Final = 1280
SHARPNESS: Final = 1.5
CELL, HEAD = 38, 92
STEP: Final = INTERVAL
Body = dict[str, Any]


@dataclass(frozen=True)
class Shot:
    """A picture: a dashboard, the runs that are chosen, and the moment at which somebody looks.

    `until`: the step of `run` after which that moment is, a minute before the next; `since`: seconds before it at which
    the graphs begin, 0: with the recording. `rows`: which of the dashboard's rows are shown, all without.
    """

    name: str
    uid: str
    kind: str
    training: str
    run: str
    until: int
    since: float
    rows: tuple[str, ...] = ()


_IGPO: Final = 'kind="IGPOTraining", training="word-problems"'
_SFT: Final = 'kind="LengthAlignedSFT", training="word-problems"'
_SEEN_FIRST: Final = ("Is it learning?", "Now", "Reward", "Groups and hints")
_BELOW: Final = ("Policy", "Throughput", "Completions")
_LAST: Final = ("Ranks and GPUs", "Durability")
SHOTS: Final = (
    Shot("training-health", "igpo-training-health", "IGPOTraining", "word-problems", _IGPO, 17, 2700, _SEEN_FIRST),
    Shot("training-health-below", "igpo-training-health", "IGPOTraining", "word-problems", _IGPO, 17, 2700, _BELOW),
    Shot("training-health-last", "igpo-training-health", "IGPOTraining", "word-problems", _IGPO, 17, 2700, _LAST),
    Shot("compare-runs", "igpo-compare-runs", "IGPOTraining", "All", _IGPO, 30, 7500),
    Shot("sft", "igpo-sft", "LengthAlignedSFT", "All", _SFT, 410, 0),
    Shot("operator", "igpo-operator", "All", "All", _IGPO, 17, 0),
)


def main(folder: Path) -> None:
    """Write `dashboard-<name>.png` for each shot."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("pictures need the command chromium, or google-chrome; install one")
    try:
        with tempfile.TemporaryDirectory() as name, history(Path(name)) as recorded:
            shown = {shot.name: picture(shot, recorded) for shot in SHOTS}
    except ClusterError as problem:
        sys.exit(str(problem))
    for name, each in shown.items():
        for title in _empty(each):
            sys.stderr.write(f"{name}: no data in {title}\n")
    folder.mkdir(parents=True, exist_ok=True)
    images = [photograph(chromium, name, shown[name], folder) for name in shown]
    subprocess.run(["node", "shrink.mjs", *images], cwd=HERE, check=True)


def picture(shot: Shot, recorded: History) -> Body:
    """What the page draws: the dashboard as it stands, and Prometheus' answers to its queries."""
    board = boards()[shot.uid]
    end = _moment(shot, recorded)
    begin = max(recorded.begin, end - shot.since) if shot.since else recorded.begin
    chosen = {"Data source": "Prometheus", "Namespace": "All", "Kind": shot.kind, "Training": shot.training}
    values = {"namespace": ".+", "kind": _pattern(shot.kind), "training": _pattern(shot.training), "rank": ".+"}
    values |= {"__rate_interval": f"{4 * STEP:.0f}s", "__range": f"{end - begin:.0f}s"}
    shown = {**board, "panels": list(_arranged(board, shot.rows))}
    answers = {
        panel["id"]: [_answer(target, values, recorded, begin, end) for target in panel["targets"]]
        for panel in shown["panels"]
        if panel["type"] != "row"
    }
    return {
        "board": shown,
        "answers": answers,
        "begin": begin,
        "end": end,
        "step": STEP,
        "chosen": chosen,
        "width": WIDTH,
    }


def photograph(chromium: str, name: str, shown: Body, folder: Path) -> Path:
    """Draw one page; every panel has to be there.

    Raises:
        SystemExit: A panel could not be drawn; its error is on the page that is named.
    """
    page = (HERE / "dist" / "index.html").read_text()
    data = json.dumps(shown).replace("<", "\\u003c")
    file = (HERE / "dist" / f"{name}.html").resolve()
    file.write_text(page.replace("<head>", f"<head><script>window.PICTURE = {data}</script>"))
    panels = shown["board"]["panels"]
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) * CELL + HEAD
    image = (folder / f"dashboard-{name}.png").resolve()
    words = [chromium, "--headless", "--no-sandbox", "--hide-scrollbars", "--allow-file-access-from-files"]
    words += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--force-device-scale-factor={SHARPNESS}"]
    words += [f"--window-size={WIDTH},{height}", "--virtual-time-budget=30000", f"--screenshot={image}", "--dump-dom"]
    done = subprocess.run([*words, file.as_uri()], check=True, capture_output=True, text=True, timeout=600)
    drawn = done.stdout.count("data-panel=")
    wanted = sum(panel["type"] != "row" for panel in panels)
    if drawn != wanted or "data-broken=" in done.stdout:
        sys.exit(f"{file}: {drawn} of {wanted} panels, or one that is broken; open it in a browser")
    return image


def _empty(shown: Body) -> list[str]:
    titles = {panel["id"]: panel["title"] for panel in shown["board"]["panels"]}
    return [titles[number] for number, answers in shown["answers"].items() if not any(answers)]


def _moment(shot: Shot, recorded: History) -> float:
    steps = recorded.server.over(f"max(igpo_trainer_step{{{shot.run}}})", recorded.begin, recorded.end, STEP)
    return float(max(at for at, step in steps[0]["values"] if float(step) <= shot.until)) - 2 * STEP


def _pattern(choice: str) -> str:
    return ".+" if choice == "All" else choice


def _answer(target: Body, values: dict[str, str], recorded: History, begin: float, end: float) -> list[Any]:
    expr = filled(target["expr"], values)
    if target.get("instant"):
        return recorded.server.at(expr, end)
    return recorded.server.over(expr, begin, end, STEP)


def _arranged(board: Body, titles: tuple[str, ...]) -> Iterator[Body]:
    """The panels of the chosen rows, collapsed ones opened, without a gap where another row was."""
    top, first = 0, 0
    for row, panels in _rows(board):
        if titles and row["title"] not in titles:
            continue
        first = row["gridPos"]["y"]
        for panel in (row, *panels):
            place = panel["gridPos"]
            yield {**panel, "gridPos": {**place, "y": top + place["y"] - first}}
        top += max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in (row, *panels)) - first


def _rows(board: Body) -> Iterator[tuple[Body, list[Body]]]:
    starts = [index for index, panel in enumerate(board["panels"]) if panel["type"] == "row"]
    for start, stop in zip(starts, [*starts[1:], None], strict=True):
        row = board["panels"][start]
        yield row, [*row["panels"], *board["panels"][start + 1 : stop]]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
