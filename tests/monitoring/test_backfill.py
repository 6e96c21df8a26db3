"""Every query of every panel finds data in a real Prometheus with recorded runs. It builds Prometheus: `make e2e`."""

from collections.abc import Iterator

import pytest

from promworld.boards import Query, filled, queries
from promworld.history import History, history

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]  # the first test may have to build Prometheus

ALL = {"namespace": ".+", "kind": ".+", "training": ".+", "rank": ".+", "__rate_interval": "2m", "__range": "6h"}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    """A Prometheus that knows the recorded runs."""
    with history(tmp_path_factory.mktemp("prometheus")) as found:
        yield found


@pytest.mark.parametrize("query", queries(), ids=lambda query: query.name)
def test_every_query_of_every_panel_finds_data(query: Query, recorded: History) -> None:
    expr, begin, end = filled(query.expr, ALL), recorded.begin, recorded.end
    if query.instant:
        moments = [begin + 60 * minute for minute in range(int((end - begin) / 60))]
        assert any(recorded.server.at(expr, moment) for moment in moments), expr
    else:
        assert recorded.server.over(expr, begin, end, 60), expr
