"""Recorded runs as Prometheus would have scraped them: the trainer's and the operator's own exporters, replayed."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry

from igpo_operator.apply.cache import Cache, Source
from igpo_operator.apply.clock import SystemClock
from igpo_operator.apply.metrics import OperatorMetrics, RunCollector
from igpo_operator.plan.observed import Scrape
from igpo_trainer.observe.exporter import Exporter, RunIdentity
from igpo_trainer.observe.records import CheckpointRecord, JournalRecord, RewriteRecord, State
from igpo_trainer.spec.contract import METRICS_LINGER_SECONDS, RewriteStatus
from promworld.journals import journal, start_of, state_at
from promworld.operator import body, computed_when_scraped
from promworld.situations import Standing, standing

INTERVAL = 30.0
_PENDING, _STARTING = 30.0, 60.0
_GAP = 300.0
_SHORT = {"IGPOTraining": "igpo", "LengthAlignedSFT": "lasft"}
_DCGM = {
    "DCGM_FI_DEV_GPU_UTIL": (93, 5),
    "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE": (0.41, 0.0),
    "DCGM_FI_DEV_FB_USED": (22016, 21504),
    "DCGM_FI_DEV_POWER_USAGE": (540, 130),
    "DCGM_FI_DEV_XID_ERRORS": (0, 0),
}
"""Made up: what DCGM's exporter would say while the GPU works, and while it does not."""
Labels = Mapping[str, str]


@dataclass
class Series:
    """Samples by series, as text of the exposition format."""

    _values: defaultdict[str, list[tuple[float, float]]] = field(default_factory=lambda: defaultdict(list))

    def add(self, name: str, labels: Labels, at: float, value: float) -> None:
        """Add one sample."""
        inside = ",".join(f"{key}={json.dumps(text, ensure_ascii=False)}" for key, text in sorted(labels.items()))
        self._values[f"{name}{{{inside}}}"].append((at, value))

    def scrape(self, registry: CollectorRegistry, labels: Labels, at: float, *, honor: bool) -> None:
        """Add what a target says at a moment; `honor`: its own labels win, otherwise those of the target do."""
        for family in registry.collect():
            for sample in family.samples:
                both = {**labels, **sample.labels} if honor else {**sample.labels, **labels}
                self.add(sample.name, both, at, sample.value)

    def openmetrics(self) -> Iterator[str]:
        """Lines for `promtool tsdb create-blocks-from openmetrics`."""
        for name in sorted(self._values):
            for at, value in self._values[name]:
                yield f"{name} {value!r} {at:.3f}\n"
        yield "# EOF\n"


class _Run:
    """One run: its trainer while its pod lives, and its custom resource."""

    def __init__(self, name: str, created: float) -> None:
        self.created, self.begin = created, created + _PENDING + _STARTING
        self._records = journal(name, self.begin)
        start = start_of(self._records)
        self.kind, self.name = start.kind, start.name
        self.end = self._records[-1].time.at
        spec: Any = start.spec
        self._budget: int | None = (spec.get("rewrite") or {}).get("tokenBudget")
        self._shown = 0
        self._checkpoint: CheckpointRecord | None = None
        self.exporter = Exporter(_identity(self._records))
        pod = f"{self.name}-{_SHORT[self.kind]}-a1-0"
        run = {"namespace": "lab", "pod": pod, "training": self.name, "kind": self.kind}
        self.labels = {**run, "job": "lab/trainers", "instance": "10.0.0.7:9400", "container": "trainer"}

    def alive(self, at: float) -> bool:
        """Whether its pod answers."""
        return self.begin <= at <= self.end + METRICS_LINGER_SECONDS

    def moved(self) -> float:
        """When it last published something."""
        return self._records[self._shown - 1].time.at if self._shown else self.begin

    def advance(self, at: float) -> State:
        """Publish what has happened until then; what it is doing."""
        while self._shown < len(self._records) and self._records[self._shown].time.at <= at:
            record = self._records[self._shown]
            self.exporter.publish(record)
            self._checkpoint = record if isinstance(record, CheckpointRecord) else self._checkpoint
            self._shown += 1
        upcoming = self._records[self._shown] if self._shown < len(self._records) else None
        state = state_at(upcoming, at)
        self.exporter.state(state)
        self.exporter.progress(7)
        if isinstance(upcoming, RewriteRecord):
            self.exporter.rewriting(_rewriting(upcoming, self._budget, at))
        return state

    def status(self, at: float, state: State) -> dict[str, object]:
        """The custom resource's status at a moment."""
        if at < self.created + _PENDING:
            return {"phase": "Pending", "conditions": [_condition("Ready", "False", "AttemptStarted", at)]}
        attempt = {"number": 1, "decidedAt": _time(self.created + _PENDING)}
        if at < self.begin:
            conditions = [_condition("Ready", "False", "Starting", at)]
            return {"phase": "Starting", "conditions": conditions, "attempt": attempt}
        done = at > self.end
        phase = "Complete" if done else "Rewriting" if state is State.REWRITE else "Running"
        conditions = [_condition("Ready", "True", "Training", at), _condition("TrainingHealthy", "True", "Healthy", at)]
        said = self.exporter.status()
        found: dict[str, object] = {
            "phase": phase,
            "conditions": conditions,
            "attempt": attempt | {"runningAt": _time(self.begin)},
            "startTime": _time(self.begin),
            "progress": {"step": said.step, "movedAt": _time(self.moved())},
            "metrics": {name: f"{value:.4g}" for name, value in said.metrics.items()},
        }
        if done:
            found["completionTime"] = _time(self.end)
        if self._checkpoint is not None:
            found["checkpoint"] = {"step": self._checkpoint.step}
        return found


def record(created: float) -> tuple[Series, float]:
    """Replay SFT, then the RL runs side by side, while others stand; their series, and when the last was scraped."""
    sft = _Run("sft", created)
    runs = [sft, *(_Run(name, sft.end + _GAP) for name in ("igpo", "resample", "grpo"))]
    others = list(standing(created))
    operator, series, at = _Operator(), Series(), created
    while at <= max(run.end for run in runs) + 2 * METRICS_LINGER_SECONDS:
        for run in runs:
            state = run.advance(at) if run.alive(at) else State.FINISHED
            if run.alive(at):
                series.scrape(run.exporter.registry, run.labels, at, honor=False)
                series.add("up", run.labels, at, 1)
                _scrape_gpu(series, run, at, busy=state in {State.ROLLOUT, State.RESCUE, State.UPDATE})
            if at >= run.created:
                operator.see(run, at, state)
        for other in others:
            if at >= other.created:
                operator.see_standing(other)
        operator.scrape(series, at)
        at += INTERVAL
    return series, at - INTERVAL


class _Operator:
    """The operator's metrics, fed by the statuses of the runs."""

    def __init__(self) -> None:
        self._metrics, self._cache = OperatorMetrics(), Cache(SystemClock())
        self._scrapes: dict[str, Scrape] = {}
        self._metrics.registry.register(RunCollector(self._cache, self._scrapes.get))
        for name in sorted(computed_when_scraped()):
            self._metrics.gauge(name, name, lambda value=float(name == "igpo_operator_leases_held"): value)
        self._version = 0

    def see(self, run: _Run, at: float, state: State) -> None:
        """Take over a run's status, as a watch brings it."""
        uid = self._put(run.name, run.kind, run.status(at, state), run.created)
        moment = datetime.fromtimestamp(run.moved(), UTC)
        if at >= run.begin:
            self._scrapes[uid] = Scrape(1, run.exporter.status(), moment, moment)
        self._cache.last_event["igpotrainings"] = datetime.fromtimestamp(at, UTC)
        self._metrics.observe_reconcile(run.kind, "ok", 0.004)
        self._metrics.observe_request("get", "pods", 200)
        self._metrics.observe_scrape("ok")

    def see_standing(self, run: Standing) -> None:
        """Take over the status of a run that does not move."""
        self._put(run.name, "IGPOTraining", run.status, run.created)
        self._metrics.observe_reconcile("IGPOTraining", "ok", 0.002)

    def _put(self, name: str, kind: str, status: dict[str, object], created: float) -> str:
        self._version += 1
        resource = body(name, kind, status, created=_time(created), version=self._version)
        held = self._cache.run(self._cache.put_run(resource, Source.WATCH))
        assert held is not None
        return held.uid

    def scrape(self, series: Series, at: float) -> None:
        """Add what the operator says at a moment."""
        labels = {"namespace": "igpo-system", "job": "igpo-igpo-operator", "instance": "10.0.0.2:8080"}
        series.scrape(self._metrics.registry, labels, at, honor=True)
        series.add("up", labels, at, 1)


def _scrape_gpu(series: Series, run: _Run, at: float, *, busy: bool) -> None:
    exporter = {"namespace": "gpu", "pod": "dcgm-exporter-1", "job": "dcgm", "gpu": "0"}
    labels = exporter | {"exported_namespace": "lab", "exported_pod": run.labels["pod"]}
    for name, (working, idle) in _DCGM.items():
        series.add(name, labels, at, working if busy else idle)


def _identity(records: Iterable[JournalRecord]) -> RunIdentity:
    start = start_of(list(records))
    spec: Any = start.spec
    return RunIdentity(
        kind=start.kind,
        name=start.name,
        algorithm=spec.get("algorithm", ""),
        model="scratch",
        dataset=spec["dataset"]["source"],
        seed=start.seed,
        spec_hash="ae2949ffccd2",
        planned_steps=start.planned_steps,
    )


def _rewriting(record: RewriteRecord, budget: int | None, at: float) -> RewriteStatus:
    done = min(1.0, max(0.0, 1 - (record.time.at - at) / record.time.seconds))
    tokens = int(done * (record.prompt_tokens + record.completion_tokens))
    rows = int(done * record.rows)
    counts = {"done": rows, "kept": int(done * record.kept), "requests": rows + rows // 50, "retries": rows // 50}
    return RewriteStatus(rows=record.rows, tokens=tokens, token_budget=budget, **counts)


def _condition(kind: str, status: str, reason: str, at: float) -> dict[str, str]:
    return {"type": kind, "status": status, "reason": reason, "lastTransitionTime": _time(at)}


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
