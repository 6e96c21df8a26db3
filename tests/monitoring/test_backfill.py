"""Every query of every panel finds data in a real Prometheus with recorded runs. It builds Prometheus: `make e2e`."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from promworld.boards import Query, filled, queries
from promworld.recording import INTERVAL, record
from promworld.server import Prometheus, promtool, serving

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]  # the first test may have to build Prometheus

ALL = {"namespace": ".+", "kind": ".+", "training": ".+", "rank": ".+", "__rate_interval": "2m", "__range": "6h"}


@pytest.fixture(scope="module")
def history(rule_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Prometheus, float, float]]:
    """A Prometheus with the recorded runs and the recording rules over them, and from when to when they were."""
    folder = tmp_path_factory.mktemp("prometheus")
    data, begin = folder / "data", time.time() - 12 * 3600
    series, end = record(begin)
    text = folder / "run.openmetrics"
    with text.open("w") as file:
        file.writelines(series.openmetrics())
    promtool("tsdb", "create-blocks-from", "openmetrics", text, data)
    with serving(folder) as server:
        window = f"--start={begin:.0f}", f"--end={end:.0f}", f"--eval-interval={INTERVAL:g}s"
        promtool(
            "tsdb", "create-blocks-from", "rules", *window, f"--url={server.url}", f"--output-dir={data}", rule_file
        )
    with serving(folder) as server:
        yield server, begin, end


@pytest.mark.parametrize("query", queries(), ids=lambda query: query.name)
def test_every_query_of_every_panel_finds_data(query: Query, history: tuple[Prometheus, float, float]) -> None:
    server, begin, end = history
    expr = filled(query.expr, ALL)
    if query.instant:
        moments = [begin + 60 * minute for minute in range(int((end - begin) / 60))]
        assert any(server.at(expr, moment) for moment in moments), expr
    else:
        assert server.over(expr, begin, end, 60), expr
