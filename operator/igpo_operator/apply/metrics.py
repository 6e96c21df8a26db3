"""The operator's own metrics. Those of runs are computed from the cache when scraped: a deleted run leaves none."""

import contextlib
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.core import Metric as Family
from prometheus_client.registry import Collector

from igpo_operator.api.reasons import Phase
from igpo_operator.apply.cache import Cache
from igpo_operator.plan.observed import Run, Scrape

RUN_LABELS: Final = ("namespace", "kind", "training")
_BUCKETS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0)
_RESTART_CAUSES: Final = ("application", "infrastructure", "scheduling", "suspended")


class OperatorMetrics:
    """Counters, histograms and gauges; docs/operator.md lists all."""

    def __init__(self) -> None:
        """A registry of its own: nothing global, and no series for when each counter was made."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library forgot the annotation
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.reconciles = Counter(
            "igpo_operator_reconcile_total", "Looks at runs, by outcome.", ("kind", "result"), registry=self.registry
        )
        self.reconcile_seconds = Histogram(
            "igpo_operator_reconcile_duration_seconds",
            "Time of one look at one run.",
            ("kind",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.api_requests = Counter(
            "igpo_operator_api_requests_total",
            "Requests to the API server by verb, resource and status code (0: no answer), watches left out.",
            ("verb", "resource", "code"),
            registry=self.registry,
        )
        self.scrapes = Counter(
            "igpo_operator_scrapes_total",
            "Looks at trainers' /status, by outcome.",
            ("result",),
            registry=self.registry,
        )
        for result in ("ok", "error"):
            self.scrapes.labels(result=result)
        self.loop_lag = Gauge(
            "igpo_operator_event_loop_lag_seconds", "How late the event loop last was.", registry=self.registry
        )

    def observe_request(self, verb: str, resource: str, code: int) -> None:
        """Count one request to the API server."""
        self.api_requests.labels(verb=verb, resource=resource, code=str(code)).inc()

    def observe_scrape(self, result: str) -> None:
        """Count one look at a trainer: ok or error."""
        self.scrapes.labels(result=result).inc()

    def observe_reconcile(self, kind: str, result: str, seconds: float) -> None:
        """Count one look at a run: ok or error."""
        self.reconciles.labels(kind=kind, result=result).inc()
        self.reconcile_seconds.labels(kind=kind).observe(seconds)

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Register a gauge that is computed when scraped."""
        Gauge(name, text, registry=self.registry).set_function(value)


class RunCollector(Collector):
    """What the custom resources say, as series that live exactly as long as they do."""

    def __init__(self, cache: Cache, last_scrape: Callable[[str], Scrape | None]) -> None:
        """Reads the cache from the metrics thread: only immutable values, from copies of its lists."""
        self._cache = cache
        self._last_scrape = last_scrape

    def collect(self) -> Iterator[Family]:
        """Compute every family now."""
        families = _Families()
        for run in self._cache.runs():
            families.add(run, self._last_scrape(run.uid))
        yield from families.all()
        watches = GaugeMetricFamily(
            "igpo_operator_watch_last_event_timestamp_seconds", "When a watch last delivered.", labels=("resource",)
        )
        for resource, at in list(self._cache.last_event.items()):
            watches.add_metric((resource,), at.timestamp())
        yield watches

    def describe(self) -> Iterator[Family]:
        """Nothing is known before the cache is."""
        yield from ()


class _Families:
    """The families of runs while they are filled."""

    def __init__(self) -> None:
        self._families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}

    def all(self) -> Iterator[Family]:
        yield from self._families.values()

    def add(self, run: Run, scrape: Scrape | None) -> None:
        status = run.status
        labels = run.namespace, run.kind.kind, run.name
        image = status.resolved.image if status.resolved is not None else ""
        self._gauge("info", "Always 1; what the run is.", (*labels, run.uid, image), 1, ("uid", "image"))
        for phase in Phase:
            self._gauge(
                "status_phase", "1 for the phase it is in.", (*labels, phase), status.phase is phase, ("phase",)
            )
        for condition in status.conditions:
            names = ("condition", "status")
            self._gauge(
                "status_condition", "1 for each condition.", (*labels, condition.type, condition.status), 1, names
            )
        for cause in _RESTART_CAUSES:
            self._counter(
                "restarts", "Restarts by cause.", (*labels, cause), getattr(status.restarts, cause), ("reason",)
            )
        attempt = status.attempt.number if status.attempt is not None else 0
        self._gauge("attempt", "Number of the current attempt.", labels, attempt)
        self._time("created", "When it was applied.", labels, run.created_at)
        self._time("start", "When the first gang was first all running.", labels, status.start_time)
        self._time("completion", "When it became Complete or Failed.", labels, status.completion_time)
        self._time(
            "last_progress", "When progress was last seen, by the operator's clock.", labels, _moved(run, scrape)
        )
        if status.progress is not None:
            self._gauge("step", "Last finished step, as in status.", labels, status.progress.step)
        if status.checkpoint is not None:
            self._gauge("checkpoint_step", "Step of the newest complete checkpoint.", labels, status.checkpoint.step)
        for name, text in status.metrics.items():
            with contextlib.suppress(ValueError):
                self._gauge("metric", "Last value in status.metrics.", (*labels, name), float(text), ("metric",))

    def _time(self, name: str, text: str, labels: tuple[str, ...], at: datetime | None) -> None:
        if at is not None:
            self._gauge(f"{name}_timestamp_seconds", text, labels, at.timestamp())

    def _gauge(self, name: str, text: str, labels: tuple[str, ...], value: float, more: tuple[str, ...] = ()) -> None:
        full = f"igpo_operator_run_{name}"
        family = self._families.setdefault(full, GaugeMetricFamily(full, text, labels=RUN_LABELS + more))
        family.add_metric(labels, float(value))

    def _counter(self, name: str, text: str, labels: tuple[str, ...], value: float, more: tuple[str, ...] = ()) -> None:
        full = f"igpo_operator_run_{name}"
        family = self._families.setdefault(full, CounterMetricFamily(full, text, labels=RUN_LABELS + more))
        family.add_metric(labels, float(value))


def _moved(run: Run, scrape: Scrape | None) -> datetime | None:
    attempt, progress = run.status.attempt, run.status.progress
    if scrape is not None and attempt is not None and scrape.attempt == attempt.number:
        return scrape.moved_at
    if attempt is not None and attempt.running_at is not None:
        return attempt.running_at
    return progress.moved_at if progress is not None else None
