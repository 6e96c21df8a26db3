"""The numbers of a run as Prometheus metrics and as /status. Only global rank 0 has one; its values are all-reduced."""

import platform
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from itertools import product
from typing import Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.core import Metric as MetricFamily
from prometheus_client.registry import Collector

from igpo_trainer.observe.catalogue import METRICS as CATALOGUE
from igpo_trainer.observe.catalogue import Metric, Type, metrics_of
from igpo_trainer.observe.readings import Headline, Observation, Reading, non_finite, readings, rewriting
from igpo_trainer.observe.records import (
    EvaluationRecord,
    JournalRecord,
    Phase,
    SftStepRecord,
    State,
    StepRecord,
    finite,
)
from igpo_trainer.observe.server import serve
from igpo_trainer.pages import PageServer
from igpo_trainer.spec.contract import CheckpointStatus, RewriteStatus, TrainerStatus

SkipReason = Literal["nonfinite", "no_signal", "oom"]
"""Why an optimizer update was not made."""


@dataclass(frozen=True, slots=True)
class RunIdentity:
    """What names a run in its metrics and its status."""

    kind: str
    name: str
    algorithm: str = ""
    model: str = ""
    dataset: str = ""
    seed: int = 0
    spec_hash: str = ""
    run_id: str = ""
    attempt: int = 1
    adopted: bool = False
    model_revision: str | None = None
    dataset_revision: str | None = None
    planned_steps: int = 0
    world_size: int = 1
    rewards: tuple[str, ...] = ("correctness", "format")


class _Gauges(Collector):
    """Gauges whose series can disappear, which the library's unlabelled gauge cannot."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = {metric.name: metric for metric in metrics}
        self._values: dict[tuple[str, tuple[str, ...]], float] = {}
        self._lock = threading.Lock()

    def set(self, readings: Iterable[Reading]) -> None:
        """Set the readings as one; a value that is absent or not finite removes its series."""
        with self._lock:
            for reading in readings:
                names = self._metrics[reading.name].label_names
                key = reading.name, tuple(str(reading.labels[name]) for name in names)
                value = finite(reading.value)
                if value is None:
                    self._values.pop(key, None)
                else:
                    self._values[key] = value

    def collect(self) -> Iterator[MetricFamily]:
        with self._lock:
            values = sorted(self._values.items())
        families: dict[str, GaugeMetricFamily] = {}
        for (name, labels), value in values:
            if name not in families:
                metric = self._metrics[name]
                families[name] = GaugeMetricFamily(name, metric.help, labels=metric.label_names)
            families[name].add_metric(labels, value)
        yield from families.values()

    def describe(self) -> Iterator[MetricFamily]:
        for metric in self._metrics.values():
            yield GaugeMetricFamily(metric.name, metric.help, labels=metric.label_names)


class Exporter:
    """Turns records into metrics. Every method may be called from any thread."""

    def __init__(self, run: RunIdentity) -> None:
        """Known counters start at 0, so that `increase()` sees their first event."""
        disable_created_metrics()  # type: ignore[no-untyped-call]  # the library forgot the annotation
        self.run = run
        self.registry = CollectorRegistry(auto_describe=False)
        ProcessCollector(registry=self.registry)
        metrics = metrics_of(run.kind)
        self._gauges = _Gauges(m for m in metrics if m.type in (Type.GAUGE, Type.INFO))
        self.registry.register(self._gauges)
        self._counters = {m.name: self._counter(m) for m in metrics if m.type is Type.COUNTER}
        self._histograms = {m.name: self._histogram(m) for m in metrics if m.type is Type.HISTOGRAM}
        self._server: PageServer | None = None
        self._lock = threading.Lock()
        self._status = TrainerStatus(
            stage=State.STARTING,
            planned_steps=run.planned_steps,
            attempt=run.attempt,
            run_id=run.run_id,
            adopted=run.adopted,
            spec_hash=run.spec_hash,
            model_revision=run.model_revision,
            dataset_revision=run.dataset_revision,
        )
        self._progress = 0
        self._seconds_per_step: float | None = None
        self._headline = Headline()
        self._step_values: dict[str, float] = {}
        self._evaluation_values: dict[str, float] = {}
        self._gauges.set(self._identity())
        self.state(State.STARTING)

    def _counter(self, metric: Metric) -> Counter:
        counter = Counter(metric.name, metric.help, metric.label_names, registry=self.registry)
        known = [self.run.rewards if label.name == "reward" else label.values for label in metric.labels]
        if metric.labels:
            for values in product(*known):
                counter.labels(*values)
        return counter

    def _histogram(self, metric: Metric) -> Histogram:
        histogram = Histogram(
            metric.name, metric.help, metric.label_names, buckets=metric.buckets, registry=self.registry
        )
        if metric.labels:
            for values in product(*(label.values for label in metric.labels)):
                histogram.labels(*values)
        return histogram

    def _identity(self) -> Iterator[Reading]:
        run = self.run
        info = {
            "run": run.name,
            "run_kind": run.kind,
            "algorithm": run.algorithm,
            "model": run.model,
            "dataset": run.dataset,
            "seed": str(run.seed),
            "spec_hash": run.spec_hash[:12],
        }
        yield Reading("igpo_run_info", 1, info)
        build = {name: _version(package) for name, package in (("version", "igpo"), ("torch", "torch"))}
        yield Reading("igpo_build_info", 1, build | {"python": platform.python_version()})
        yield Reading("igpo_trainer_planned_steps", run.planned_steps)
        yield Reading("igpo_trainer_world_size", run.world_size)
        yield Reading("igpo_trainer_step", 0)

    def publish(self, record: JournalRecord) -> None:
        """Take over one record, as it goes to the journal."""
        self._show(record)
        for item in self._readings(record):
            if isinstance(item, Observation):
                self._observe(item)
            elif CATALOGUE[item.name].type is Type.COUNTER:
                self._add(item.name, item.value or 0.0, item.labels)

    def resumed(self, records: Iterable[JournalRecord]) -> None:
        """Restore the gauges of a continued run from its journal; counters start at 0, or `increase()` would jump."""
        for record in records:
            self._show(record)
        self._gauges.set([Reading("igpo_trainer_world_size", self.run.world_size)])

    def state(self, state: State) -> None:
        """Say what the trainer is doing now."""
        self._gauges.set(Reading("igpo_trainer_state", float(s is state), {"state": s}) for s in State)
        with self._lock:
            self._status = self._status.model_copy(update={"stage": state})

    def progress(self, units: int = 1) -> None:
        """Work was done: a denoised block, a micro-batch, an evaluation batch, a checkpoint file, a rewritten row."""
        self._add("igpo_trainer_progress_total", units, {})
        with self._lock:
            self._progress += units

    def checkpoint(self, latest: CheckpointStatus, best: CheckpointStatus | None = None) -> None:
        """Show the newest complete checkpoint and the best in /status; their records go through `publish`."""
        with self._lock:
            self._status = self._status.model_copy(update={"checkpoint": latest, "best": best})

    def rewriting(self, status: RewriteStatus) -> None:
        """Show how far the rewriting of traces is."""
        self._gauges.set(rewriting(status))
        with self._lock:
            before = self._status.rewrite or RewriteStatus()
            self._status = self._status.model_copy(update={"rewrite": status})
        repeated = status.retries - before.retries
        first = status.requests - before.requests - repeated
        self._add("igpo_sft_teacher_requests_total", first, {"attempt": "first"})
        self._add("igpo_sft_teacher_requests_total", repeated, {"attempt": "repeated"})

    def checkpoint_failed(self) -> None:
        """Count a checkpoint that could not be published."""
        self._add("igpo_trainer_checkpoint_failures_total", 1, {})

    def skipped_update(self, reason: SkipReason) -> None:
        """Count an optimizer update that was not made."""
        self._add("igpo_trainer_skipped_updates_total", 1, {"reason": reason})
        if reason == "nonfinite":
            with self._lock:
                self._status = self._status.model_copy(update={"non_finite": ["loss"]})

    def out_of_memory(self, phase: Phase) -> None:
        """Count an out-of-memory error that was caught by making the batch smaller."""
        self._add("igpo_trainer_out_of_memory_total", 1, {"phase": phase})

    def status(self) -> TrainerStatus:
        """Body of /status."""
        with self._lock:
            left = self._status.planned_steps - self._status.step
            eta = None if self._seconds_per_step is None else max(0, left) * self._seconds_per_step
            return self._status.model_copy(
                update={
                    "progress": self._progress,
                    "eta_seconds": eta,
                    "metrics": self._step_values | self._evaluation_values,
                }
            )

    def metrics(self) -> bytes:
        """Body of /metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def serve(self, port: int, address: str, *, next_free: bool = False) -> int:
        """Serve /metrics, /status and /healthz; returns the port. See server.serve."""
        self._server = serve(self.registry, self.status, address=address, port=port, next_free=next_free)
        return self._server.port

    def close(self, linger_seconds: float = 0.0, wait: Callable[[float], object] | None = None) -> None:
        """Stop serving after `linger_seconds`, so that the last values are scraped; `wait` may end that early."""
        if self._server is None:
            return
        if linger_seconds > 0:
            (wait or threading.Event().wait)(linger_seconds)
        self._server.close()
        self._server = None

    def _readings(self, record: JournalRecord) -> list[Reading | Observation]:
        return [item for item in readings(record) if self.run.kind in CATALOGUE[item.name].kinds]

    def _show(self, record: JournalRecord) -> None:
        items = [item for item in self._readings(record) if isinstance(item, Reading)]
        self._gauges.set(item for item in items if CATALOGUE[item.name].type is Type.GAUGE)
        with self._lock:
            if isinstance(record, EvaluationRecord):
                self._evaluation_values |= self._headline.of(record)
            elif isinstance(record, StepRecord | SftStepRecord):
                self._step_values = self._headline.of(record)
                self._seconds_per_step = record.time.seconds
                self._status = self._status.model_copy(update={"step": record.step, "non_finite": non_finite(record)})

    def _add(self, name: str, amount: float, labels: Mapping[str, str]) -> None:
        counter = self._counters[name]
        (counter.labels(**labels) if labels else counter).inc(amount)

    def _observe(self, item: Observation) -> None:
        histogram = self._histograms[item.name]
        series = histogram.labels(**item.labels) if item.labels else histogram
        for _ in range(item.count):
            series.observe(item.value)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # run from a checkout
        return ""
