"""Recorded runs, and the recording rules over them, in a real Prometheus."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from promworld.recording import INTERVAL, record
from promworld.rules import write_rule_file
from promworld.server import Prometheus, promtool, serving


@dataclass(frozen=True)
class History:
    """A Prometheus, and from when to when it knows something: Unix seconds."""

    server: Prometheus
    begin: float
    end: float


@contextmanager
def history(folder: Path) -> Iterator[History]:
    """Fill a Prometheus in `folder` with what began half a day ago, on the hour: pictures of it are alike."""
    data, begin = folder / "data", (time.time() // 3600 - 12) * 3600
    series, end = record(begin)
    text = folder / "run.openmetrics"
    with text.open("w") as file:
        file.writelines(series.openmetrics())
    promtool("tsdb", "create-blocks-from", "openmetrics", text, data)
    rules = write_rule_file(folder / "rules.yaml")
    with serving(folder) as server:
        window = f"--start={begin:.0f}", f"--end={end:.0f}", f"--eval-interval={INTERVAL:g}s"
        promtool("tsdb", "create-blocks-from", "rules", *window, f"--url={server.url}", f"--output-dir={data}", rules)
    with serving(folder) as server:
        yield History(server, begin, end)
