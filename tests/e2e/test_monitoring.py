"""What a real Prometheus makes of the chart: metrics, what is left of them, and an alert that arrives."""

import json
import secrets
import signal
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product

import pytest

from igpo_cluster.cluster import Cluster
from igpo_cluster.images import Images
from igpo_cluster.waiting import until
from igpo_e2e.faults import run_folder
from igpo_e2e.manifests import RL, ROOT, SFT, aligned, merged, slow
from igpo_e2e.monitoring import PAGES, STALLED_SECONDS, Monitoring, monitoring
from igpo_e2e.operator import DEPLOYMENT, Operator
from igpo_e2e.operator import NAMESPACE as OPERATORS
from igpo_e2e.prometheus import Labels
from igpo_e2e.ranks import rank_process
from igpo_e2e.run import Body, Run
from igpo_e2e.teacher import Teacher
from igpo_trainer.observe.catalogue import SCRAPE_LABELS, Metric, Type, metrics_of
from igpo_trainer.observe.exporter import Exporter, RunIdentity
from igpo_trainer.observe.records import JOURNAL
from promworld.operator import exported_names

pytestmark = pytest.mark.timeout(1200)  # the first test waits for the whole chain
NAME = "length-aligned"
TRAINERS = f"{OPERATORS}/{DEPLOYMENT}-trainers"
"""Label job of their series."""
IMPOSSIBLE = {"igpo_trainer_gpu_memory_peak_bytes": "no GPU"}
NOT_OF_THE_JOURNAL = {
    "igpo_run_info",
    "igpo_build_info",
    "igpo_trainer_state",
    "igpo_trainer_progress_total",
    "igpo_trainer_skipped_updates_total",
}
Series = dict[str, list[tuple[Labels, float]]]


@dataclass(frozen=True)
class Chain:
    """Two finished runs, watched from their first pod on: traces rewritten by a teacher, SFT, RL that needs rescue."""

    watched: Monitoring
    runs: dict[str, Run]

    def of(self, kind: str, what: str = "") -> str:
        """A selector of the series of one run."""
        run = self.runs[kind]
        return f'{{namespace="{run.namespace}", kind="{kind}", training="{run.name}"{what}}}'

    def last(self, kind: str, names: str = "igpo_.+", what: str = "") -> Series:
        """The last sample that there ever was of every series of a run, by name."""
        found: Series = defaultdict(list)
        selector = self.of(kind, f', __name__=~"{names}"{what}')
        for labels, value in self.watched.prometheus.now(f"last_over_time({selector}[1h])"):
            found[labels.pop("__name__")].append((labels, value))
        return found


@pytest.fixture(scope="module")
def watched(cluster: Cluster, operator: Operator) -> Iterator[Monitoring]:
    with monitoring(cluster, operator) as everything:
        yield everything


@pytest.fixture(scope="module")
def chain(cluster: Cluster, images: Images, watched: Monitoring) -> Iterator[Chain]:
    namespace = f"watched-{secrets.token_hex(3)}"
    cluster.create_namespace(namespace, pod_security="restricted")
    teacher = Teacher(cluster, namespace)
    teacher.start(images.trainer, wrong=0.1)
    found = Chain(watched, {kind: Run(cluster, kind, namespace, NAME) for kind in (SFT, RL)})
    teacher.hold(after=100)
    together = {"apiVersion": "v1", "kind": "List", "items": _manifests(teacher)}
    cluster.kubectl("apply", "--server-side", "-n", namespace, "-f", "-", stdin=together)
    done = found.of(SFT, ', source="teacher"')
    query = f"igpo_sft_rewrite_done_rows{done} == 100"
    until(lambda: watched.prometheus.now(query), "a scrape of 100 rewritten traces", within=240, every=0.5)
    teacher.release()
    for run in found.runs.values():
        run.wait_complete()
    until(lambda: namespace not in _namespaces(watched), "targets without a pod that is over", within=60, every=0.5)
    yield found
    cluster.delete_namespace(namespace)


def _manifests(teacher: Teacher) -> list[Body]:
    """Long enough at SFT that hints rescue some groups of every step, at problems of one and two steps."""
    problems = {"rows": 200, "difficulties": [{"steps": steps, "share": 0.5} for steps in (1, 2)]}
    measured = [{"source": "holdout"}, {"source": "builtin:word-problems", "samples": 4, "temperature": 1.0}]
    both = {
        "dataset": {"wordProblems": problems},
        "evaluation": {"datasets": measured},
        "storage": {"accessModes": ["ReadWriteMany"]},
        "workers": {"replicas": 2},
    }
    changes = {
        SFT: {
            "training": {"steps": 120, "batchSize": 16},
            "optimizer": {"learningRate": 3e-3, "warmupUpdates": 5, "schedule": "Constant"},
            "checkpoints": {"everySteps": 60},
        },
        RL: {"steps": 5, "promptsPerStep": 32, "evaluation": {"everySteps": 3}, "checkpoints": {"everySteps": 2}},
    }
    found = aligned(teacher.spec)
    for manifest in found:
        manifest["spec"] = merged(merged(manifest["spec"], both), changes[manifest["kind"]])
    return found


def test_prometheus_has_the_targets_and_the_rules_that_the_chart_promises(
    cluster: Cluster, operator: Operator, chain: Chain
) -> None:
    watched = chain.watched.prometheus
    [target] = [target for target in watched.targets() if target["labels"]["job"] == DEPLOYMENT]
    assert (target["labels"]["namespace"], target["health"]) == (OPERATORS, "up")
    past = {labels["job"] for labels, _ in watched.now(f"last_over_time(up{chain.of(RL)}[1h])")}
    assert past == {TRAINERS}

    [rule] = cluster.items("prometheusrules", "-n", OPERATORS)
    ours = {one.get("alert") or one["record"] for group in rule["spec"]["groups"] for one in group["rules"]}
    assert {one["name"] for one in watched.rules()} == ours
    assert [one for one in watched.rules() if one["health"] != "ok"] == []


@pytest.mark.parametrize("kind", [SFT, RL])
def test_every_metric_of_the_catalogue_that_the_run_can_produce_is_there(chain: Chain, kind: str) -> None:
    found = chain.last(kind, what=f', job="{TRAINERS}"')
    expected = {metric.name: metric for metric in metrics_of(kind)}
    parts = {part: name for name, metric in expected.items() for part in _parts(metric)}
    assert {parts[name] for name in found} == expected.keys() - IMPOSSIBLE.keys()
    for name, series in found.items():
        metric = expected[parts[name]]
        own = {*metric.label_names, *(["le"] if name.endswith("_bucket") else [])}
        for labels, _ in series:
            assert labels.keys() == SCRAPE_LABELS | own, name
        closed = [label for label in metric.labels if not label.open]
        seen = {tuple(labels[label.name] for label in closed) for labels, _ in series}
        assert seen == set(product(*(label.values for label in closed))), name


def test_the_labels_say_which_pod_of_which_run_it_was(chain: Chain) -> None:
    steps = chain.last(SFT, "igpo_trainer_step")["igpo_trainer_step"]
    rewriting, gang = (f"{NAME}-lasft-a{attempt}-0" for attempt in (1, 2))
    assert {(labels["pod"], labels["container"]) for labels, _ in steps} == {(rewriting, "trainer"), (gang, "trainer")}
    [(info, _)] = chain.last(RL, "igpo_run_info")["igpo_run_info"]
    run = chain.runs[RL]
    assert (info["run"], info["run_kind"]) == (run.name, RL)
    assert info["spec_hash"] == str(run.status()["resolved"]["specHash"])[:12]
    assert info["endpoint"] == "metrics"


def test_every_metric_of_the_operator_is_there_and_its_namespace_is_that_of_the_run(chain: Chain) -> None:
    watched = chain.watched.prometheus
    names = {labels["__name__"] for labels, _ in watched.now(f'{{job="{DEPLOYMENT}"}}')}
    assert exported_names() - names == set()
    assert {labels["job"] for labels, _ in watched.now(f"igpo_operator_run_info{chain.of(RL)}")} == {DEPLOYMENT}
    assert watched.now('{__name__=~"igpo_.+", exported_namespace!=""}') == []


def test_the_recording_rules_over_hours_have_values(chain: Chain) -> None:
    asked = {one["name"] for one in chain.watched.prometheus.rules() if one["type"] == "recording"}
    dcgm = {name for name in asked if "DCGM" in name}
    assert chain.last(RL, "namespace_kind_training.*:.+").keys() == asked - dcgm


@pytest.mark.parametrize("kind", [SFT, RL])
def test_after_completion_the_operator_still_has_the_final_values(chain: Chain, kind: str) -> None:
    watched, status = chain.watched.prometheus, chain.runs[kind].status()
    metrics = {labels["metric"]: value for labels, value in watched.now(f"igpo_operator_run_metric{chain.of(kind)}")}
    assert metrics == {name: float(value) for name, value in status["metrics"].items()}
    assert watched.value(f"igpo_operator_run_step{chain.of(kind)}") == status["progress"]["plannedSteps"]
    assert watched.value(f"igpo_operator_run_checkpoint_step{chain.of(kind)}") == status["checkpoint"]["step"]
    phases = watched.now(f"igpo_operator_run_status_phase{chain.of(kind)} == 1")
    assert [labels["phase"] for labels, _ in phases] == ["Complete"]


@pytest.mark.parametrize("kind", [SFT, RL])
def test_the_trainers_last_samples_are_those_of_the_end_of_its_journal(chain: Chain, kind: str) -> None:
    run = chain.runs[kind]
    attempt = run.status()["attempt"]["number"]
    found = chain.last(kind, what=f', pod=~".+-a{attempt}-0"')
    assert {labels["state"] for labels, value in found["igpo_trainer_state"] if value} == {"finished"}
    exporter = Exporter(RunIdentity(kind, run.name))
    for line in (run_folder(run) / "metrics.jsonl").read_text().splitlines():
        exporter.publish(JOURNAL.validate_python(json.loads(line)))
    for family in exporter.registry.collect():
        for sample in family.samples:
            if sample.name.startswith("igpo_") and sample.name not in NOT_OF_THE_JOURNAL:
                [value] = [value for labels, value in found[sample.name] if sample.labels.items() <= labels.items()]
                assert value == pytest.approx(sample.value, rel=1e-9), (sample.name, sample.labels)


def test_a_trainer_that_stands_still_raises_an_alert_that_arrives_and_ends_when_it_goes_on(
    cluster: Cluster, training: str, watched: Monitoring
) -> None:
    run = Run(cluster, RL, training, "frozen").apply(slow("frozen", steps=12))
    run.wait_step(2)
    labels = {"namespace": training, "kind": RL, "training": "frozen"}
    alert = {"alertname": "IGPOTrainingStalled", **labels}
    rank = rank_process(run, 0)
    stopped = datetime.now(UTC)  # until its first step it may have stood still for as long
    rank.send(signal.SIGSTOP)
    try:
        fired = watched.webhook.wait("firing", alert, stopped, within=180)
        selector = f'{{namespace="{training}", kind="{RL}", training="frozen"}}'
        assert watched.prometheus.now(f"igpo_trainer_step{selector}") == [], "a trainer that is stopped answers nobody"
        idle = watched.prometheus.value(f"time() - igpo_operator_run_last_progress_timestamp_seconds{selector}")
    finally:
        rank.send(signal.SIGCONT)

    assert idle > STALLED_SECONDS
    assert fired["labels"]["severity"] == "critical"
    assert f"{RL} {training}/frozen is Running" in fired["annotations"]["description"]
    page = fired["annotations"]["runbook_url"].removeprefix(f"{PAGES}/")
    assert (ROOT / "docs" / "runbooks" / page).is_file()
    assert "var-training=frozen" in fired["annotations"]["dashboard_url"]
    watched.webhook.wait("resolved", alert, stopped, within=120)
    assert run.wait_complete()["attempt"]["number"] == 1
    assert {one["labels"]["alertname"] for one in watched.webhook.of(labels)} == {"IGPOTrainingStalled"}


def _namespaces(watched: Monitoring) -> set[str]:
    """Where there is something to scrape."""
    return {target["labels"]["namespace"] for target in watched.prometheus.targets()}


def _parts(metric: Metric) -> tuple[str, ...]:
    """Names of its series."""
    ends = ("_bucket", "_sum", "_count") if metric.type is Type.HISTOGRAM else ("",)
    return tuple(metric.name + end for end in ends)
