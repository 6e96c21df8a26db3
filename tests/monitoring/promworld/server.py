"""A real Prometheus over blocks that promtool has filled."""

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from igpo_cluster import processes, programs
from igpo_cluster.ports import free_ports
from igpo_cluster.waiting import until


@dataclass(frozen=True)
class Prometheus:
    """One that answers at `url`."""

    url: str

    def at(self, expr: str, moment: float) -> list[Any]:
        """The series of an instant query."""
        return self._ask("query", query=expr, time=f"{moment:.3f}")

    def over(self, expr: str, begin: float, end: float, step: float) -> list[Any]:
        """The series of a query over a range of time."""
        return self._ask("query_range", query=expr, start=f"{begin:.3f}", end=f"{end:.3f}", step=f"{step:g}")

    def _ask(self, kind: str, **parameters: str) -> list[Any]:
        data = urllib.parse.urlencode(parameters).encode()
        try:
            with urllib.request.urlopen(f"{self.url}/api/v1/{kind}", data, timeout=60) as answer:
                found: list[Any] = json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as problem:
            raise AssertionError(f"{parameters['query']}: {problem.read().decode()}") from problem
        return found


@contextmanager
def serving(folder: Path) -> Iterator[Prometheus]:
    """Start Prometheus on the blocks in `folder/data`; it scrapes nothing."""
    (port,) = free_ports(1)
    config = folder / "prometheus.yaml"
    config.write_text("global: {}\n")
    words: list[str | Path] = [programs.locate("prometheus"), f"--config.file={config}"]
    words += [f"--storage.tsdb.path={folder / 'data'}", f"--web.listen-address=127.0.0.1:{port}"]
    process = processes.start("prometheus", words, folder)
    try:
        server = Prometheus(f"http://127.0.0.1:{port}")
        until(lambda: _ready(process, server.url), "Prometheus' readiness", within=120)
        yield server
    finally:
        process.stop()


def promtool(*arguments: str | Path) -> str:
    """Run promtool; its output. A failure is the test's."""
    words = [str(programs.locate("promtool")), *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _ready(process: processes.Process, url: str) -> bool:
    process.require_alive()
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
