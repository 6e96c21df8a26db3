import urllib.error
import urllib.request
from datetime import timedelta
from pathlib import Path

from prometheus_client import CollectorRegistry

from igpo_operator.apply.cache import Cache, Source
from igpo_operator.apply.health import Health
from igpo_operator.apply.metrics import OperatorMetrics, RunCollector
from igpo_operator.apply.server import serve
from operatorworld.bodies import run_body
from operatorworld.clock import START

DOCUMENTATION = Path(__file__).parents[3] / "docs" / "operator.md"


class Clock:
    time = START

    def now(self):
        return self.time


class Queue:
    waited = 0.0
    worked = 0.0

    def oldest_seconds(self):
        return self.waited

    def busiest_seconds(self):
        return self.worked


class Listing:
    finished_at = START


def _get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def test_the_probe_tells_health_from_its_lack_with_the_reason() -> None:
    problems: list[str] = []
    server = serve(CollectorRegistry(), lambda: problems, address="127.0.0.1", port=0)
    try:
        assert _get(server.port, "/healthz") == (200, "ok\n")
        problems.append("a watch is dead")
        assert _get(server.port, "/healthz") == (503, "a watch is dead\n")
        assert _get(server.port, "/else")[0] == 404
    finally:
        server.close()


def test_metrics_of_a_run_live_as_long_as_it_does() -> None:
    metrics, cache = OperatorMetrics(), Cache(Clock())
    metrics.registry.register(RunCollector(cache, lambda _uid: None))
    metrics.observe_request("get", "pods", 200)
    metrics.observe_scrape("error")
    metrics.observe_reconcile("IGPOTraining", "ok", 0.1)
    status = {
        "phase": "Running",
        "attempt": {"number": 2, "decidedAt": "2026-11-24T12:00:00Z", "runningAt": "2026-11-24T12:00:10Z"},
        "conditions": [
            {"type": "Ready", "status": "True", "reason": "Training", "lastTransitionTime": "2026-11-24T12:00:00Z"}
        ],
        "restarts": {"total": 1, "application": 1},
        "metrics": {"reward": "0.5", "odd": "much"},
        "progress": {"step": 7},
        "checkpoint": {"step": 5},
        "startTime": "2026-11-24T12:00:10Z",
    }
    cache.put_run(run_body(kind="IGPOTraining", status=status), Source.WATCH)
    cache.delivered("pods")
    server = serve(metrics.registry, list, address="127.0.0.1", port=0)
    try:
        page = _get(server.port, "/metrics")[1]
        run = 'kind="IGPOTraining",namespace="team"'
        for line in (
            f'igpo_operator_run_status_phase{{{run},phase="Running",training="tiny"}} 1.0',
            f'igpo_operator_run_status_phase{{{run},phase="Failed",training="tiny"}} 0.0',
            f'igpo_operator_run_restarts_total{{{run},reason="application",training="tiny"}} 1.0',
            f'igpo_operator_run_attempt{{{run},training="tiny"}} 2.0',
            f'igpo_operator_run_step{{{run},training="tiny"}} 7.0',
            f'igpo_operator_run_last_progress_timestamp_seconds{{{run},training="tiny"}} 1.79555e',
            'igpo_operator_run_metric{kind="IGPOTraining",metric="reward",namespace="team",training="tiny"} 0.5',
            'igpo_operator_api_requests_total{code="200",resource="pods",verb="get"} 1.0',
            'igpo_operator_scrapes_total{result="error"} 1.0',
            'igpo_operator_watch_last_event_timestamp_seconds{resource="pods"}',
        ):
            assert line[:-3] in page, line
        cache.remove_run(("IGPOTraining", "team", "tiny"), "run-1")
        assert "igpo_operator_run_" not in _get(server.port, "/metrics")[1]
    finally:
        server.close()


def test_a_dead_watch_a_stuck_queue_a_late_loop_and_an_old_listing_are_each_found_out() -> None:
    clock, queue, late = Clock(), Queue(), [0.0]
    cache = Cache(clock)
    health = Health(clock, cache, queue, Listing(), lambda: late[0], stale_seconds=120, resync_seconds=600)
    assert list(health.problems()) == []
    cache.put_run(run_body(), Source.WRITE)
    clock.time = START + timedelta(seconds=121)
    assert [p[:7] for p in health.problems()] == ["a watch"]
    cache.put_run(run_body(), Source.WATCH)
    queue.worked, late[0] = 301.0, 31.0
    clock.time = START + timedelta(seconds=1801)
    assert [p.split(" has ")[0][:14] for p in health.problems()] == ["the event loop", "a run", "the last full "]


def test_the_documentation_names_every_metric() -> None:
    metrics = OperatorMetrics()
    cache = Cache(Clock())
    status = {
        "phase": "Complete",
        "startTime": "2026-11-24T12:00:10Z",
        "completionTime": "2026-11-24T12:00:10Z",
        "metrics": {"reward": "1"},
        "progress": {"step": 1, "movedAt": "2026-11-24T12:00:10Z"},
        "checkpoint": {"step": 1},
    }
    cache.put_run(run_body(status=status), Source.WATCH)
    families = {family.name for family in RunCollector(cache, lambda _uid: None).collect()}
    families |= {family.name for family in metrics.registry.collect() if family.name.startswith("igpo_")}
    text = DOCUMENTATION.read_text()
    known = ("run_start_timestamp_seconds", "run_completion_timestamp_seconds")
    for name in families:
        short = name.removeprefix("igpo_operator_")
        assert f"`{short}" in text or short in known, name
