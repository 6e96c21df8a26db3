import urllib.error
import urllib.request

import pytest
from prometheus_client import CollectorRegistry, Counter

from igpo_trainer.pages import Page, PageServer, metrics_page


@pytest.fixture
def server():
    registry = CollectorRegistry()
    Counter("looks", "How often.", registry=registry).inc(3)
    pages = {"/metrics": metrics_page(registry), "/hello": lambda accepted: Page(f"you take {accepted}".encode())}
    serving = PageServer(pages, address="127.0.0.1", port=0)
    yield serving
    serving.close()


def get(server, path, accept="*/*"):
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}{path}", headers={"Accept": accept})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


def test_a_page_is_made_for_each_request_whatever_its_query(server):
    assert get(server, "/hello?x=1", "text/html") == (200, "text/plain; charset=utf-8", "you take text/html")


def test_metrics_come_in_the_format_that_is_asked_for(server):
    _, plain, text = get(server, "/metrics")
    assert plain.startswith("text/plain")
    assert "looks_total 3.0" in text
    _, open_metrics, text = get(server, "/metrics", "application/openmetrics-text")
    assert open_metrics.startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")


def test_what_is_not_there_is_404_and_says_what_is(server):
    assert get(server, "/nothing") == (404, "text/plain; charset=utf-8", "here are /metrics, /hello\n")


def test_a_port_that_is_taken_is_an_error(server):
    with pytest.raises(OSError, match="in use"):
        PageServer({}, address="127.0.0.1", port=server.port)
