"""The monitoring bundle as helm renders it."""

import json
import re
from typing import Any

import pytest

from chartworld.helm import CHART, MONITORING, Body, only, read, refusal, rendered
from igpo_operator.api.kinds import IGPO_TRAINING
from igpo_operator.render.names import METRICS_PORT_NAME, pod_labels
from igpo_trainer.spec.contract import METRICS_LINGER_SECONDS

EVERYTHING = {
    "labels": {"release": "kube-prometheus-stack"},
    "trainers": {"podMonitor": True},
    "operator": {"serviceMonitor": True},
    "rules": {"enabled": True},
    "dashboards": {"configMaps": True, "grafanaDashboards": True},
}

pytestmark = pytest.mark.timeout(600)  # the first test may have to build helm


def test_nothing_of_it_is_there_unless_it_is_asked_for() -> None:
    kinds = {document["kind"] for document in _rendered({}, apis=())}
    assert not kinds & {"PodMonitor", "ServiceMonitor", "PrometheusRule", "GrafanaDashboard", "ConfigMap", "Service"}


def test_every_part_carries_the_labels_that_prometheus_and_grafana_select_by() -> None:
    parts = [d for d in _rendered(EVERYTHING) if d["apiVersion"] in MONITORING or d["kind"] == "ConfigMap"]
    assert sorted(part["kind"] for part in parts) == sorted(
        ["PodMonitor", "ServiceMonitor", "PrometheusRule", *["ConfigMap"] * 4, *["GrafanaDashboard"] * 4]
    )
    for part in parts:
        assert part["metadata"]["labels"]["release"] == "kube-prometheus-stack"
        assert part["metadata"]["namespace"] == "igpo-system"
        assert len(part["metadata"]["name"]) <= 63


def test_trainers_are_found_by_the_labels_of_their_pods_and_named_by_run_and_kind() -> None:
    spec = only(_rendered(EVERYTHING), "PodMonitor")["spec"]
    labels = pod_labels(IGPO_TRAINING, "gsm8k", 1, 0)
    assert spec["selector"]["matchLabels"].items() <= labels.items()
    assert not spec["selector"]["matchLabels"].items() <= pod_labels(IGPO_TRAINING, "gsm8k", 1, 1).items()
    (endpoint,) = spec["podMetricsEndpoints"]
    assert endpoint["port"] == METRICS_PORT_NAME
    assert not endpoint["honorLabels"]
    sources = {f"__meta_kubernetes_pod_label_{re.sub(r'[^a-zA-Z0-9_]', '_', name)}": name for name in labels}
    copied = {rule["targetLabel"]: sources[rule["sourceLabels"][0]] for rule in endpoint["relabelings"]}
    assert copied == {"training": "igpo.dev/run", "kind": "igpo.dev/kind"}
    assert spec["namespaceSelector"] == {"any": True}


def test_a_run_that_has_ended_answers_two_more_scrapes() -> None:
    (endpoint,) = only(_rendered(EVERYTHING), "PodMonitor")["spec"]["podMetricsEndpoints"]
    assert 2 * int(endpoint["interval"].removesuffix("s")) <= METRICS_LINGER_SECONDS


def test_a_namespaced_operator_scrapes_only_its_namespaces() -> None:
    documents = _rendered(EVERYTHING, scope="Namespaced", watchNamespaces=["a", "b"])
    assert only(documents, "PodMonitor")["spec"]["namespaceSelector"] == {"matchNames": ["a", "b"]}


def test_the_operators_series_keep_the_namespace_of_the_run_and_the_alert_knows_its_job() -> None:
    documents = _rendered(EVERYTHING, nameOverride="trainings")
    monitor, service = only(documents, "ServiceMonitor"), only(documents, "Service")
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["honorLabels"]
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    template = only(documents, "Deployment")["spec"]["template"]
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    (port,) = service["spec"]["ports"]
    assert port["name"] == endpoint["port"]
    assert port["targetPort"] in {each["name"] for each in template["spec"]["containers"][0]["ports"]}
    (job,) = [rule["replacement"] for rule in endpoint["relabelings"] if rule["targetLabel"] == "job"]
    assert f'up{{job="{job}", namespace="igpo-system"}}' in _alerts(documents)["IGPOOperatorDown"]["expr"]


def test_a_pod_monitor_can_stand_in_for_service_and_service_monitor() -> None:
    documents = _rendered({"operator": {"podMonitor": True}})
    template = only(documents, "Deployment")["spec"]["template"]
    spec = only(documents, "PodMonitor")["spec"]
    assert spec["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    assert spec["podMetricsEndpoints"][0]["honorLabels"]
    assert not [document for document in documents if document["kind"] == "Service"]


def test_thresholds_waiting_times_severities_and_labels_of_alerts_are_values() -> None:
    rules = {
        "enabled": True,
        "thresholds": {"stalledSeconds": 42.5, "gpuIdlePercent": 7.5},
        "overrides": {"IGPOTrainingStalled": {"for": "1m", "severity": "page"}},
        "disabled": ["IGPOTrainingGPUIdle"],
        "alertLabels": {"team": "ml"},
        "runbookUrl": "https://wiki.example/igpo/",
        "grafanaUrl": "https://grafana.example/",
    }
    alerts = _alerts(_rendered({"rules": rules}))
    stalled = alerts["IGPOTrainingStalled"]
    assert re.search(r"> 42\.5\s", stalled["expr"])
    assert stalled["for"] == "1m"
    assert stalled["labels"] == {"severity": "page", "team": "ml"}
    assert stalled["annotations"]["runbook_url"] == "https://wiki.example/igpo/IGPOTrainingStalled.md"
    assert stalled["annotations"]["dashboard_url"] == (
        "https://grafana.example/d/igpo-training-health?var-namespace={{ $labels.namespace }}"
        "&var-kind={{ $labels.kind }}&var-training={{ $labels.training }}"
    )
    assert "IGPOTrainingGPUIdle" not in alerts
    assert "IGPOTrainingFailed" in alerts


def test_every_threshold_is_used() -> None:
    text = (CHART / "files" / "rules" / "alerts.yaml").read_text()
    values = read(CHART / "values.yaml")["monitoring"]["rules"]["thresholds"]
    assert set(re.findall(r"<(\w+)>", text)) == values.keys() | {"operatorJob", "operatorNamespace"}


def test_dashboards_arrive_in_grafana_as_they_are_in_the_repository() -> None:
    documents = _rendered(EVERYTHING)
    source = {path.name: json.loads(path.read_text()) for path in (CHART / "files" / "dashboards").iterdir()}
    maps = [document for document in documents if document["kind"] == "ConfigMap"]
    assert {name: json.loads(text) for each in maps for name, text in each["data"].items()} == source
    assert all(each["metadata"]["labels"]["grafana_dashboard"] == "1" for each in maps)
    resources = [document for document in documents if document["kind"] == "GrafanaDashboard"]
    assert {json.loads(each["spec"]["json"])["uid"] for each in resources} == {each["uid"] for each in source.values()}


@pytest.mark.parametrize(
    ("monitoring", "said"),
    [
        (
            {"trainers": {"podMonitor": True}},
            "monitoring.trainers.podMonitor is true, but this cluster has no monitoring",
        ),
        ({"operator": {"serviceMonitor": True}}, "monitoring.operator.serviceMonitor is true, but this cluster has no"),
        ({"operator": {"podMonitor": True}}, "monitoring.operator.podMonitor is true, but this cluster has no"),
        ({"rules": {"enabled": True}}, "monitoring.rules.enabled is true, but this cluster has no"),
        ({"dashboards": {"grafanaDashboards": True}}, "this cluster has no grafana.integreatly.org/v1beta1: install"),
    ],
)
def test_a_cluster_without_the_crds_is_told_what_to_install_or_to_set(monitoring: Body, said: str) -> None:
    assert said in _refusal(monitoring, apis=())


@pytest.mark.parametrize(
    ("monitoring", "said"),
    [
        (
            {"operator": {"podMonitor": True, "serviceMonitor": True}},
            "would scrape the operator's port metrics twice and count everything double; set one of them to false",
        ),
        (
            {"rules": {"enabled": True, "disabled": ["IGPOStalled"]}},
            "names the alert IGPOStalled, which does not exist",
        ),
        (
            {"rules": {"enabled": True, "overrides": {"X": {}}}},
            "names the alert X, which does not exist; there are IGPO",
        ),
        ({"rules": {"enabled": True, "thresholds": {"clippedRatio": None}}}, "thresholds lacks clippedRatio: give it"),
    ],
)
def test_values_that_contradict_themselves_are_refused_in_a_sentence(monitoring: Body, said: str) -> None:
    assert said in _refusal(monitoring)


def _rendered(monitoring: Body, apis: tuple[str, ...] = MONITORING, **values: Any) -> list[Body]:
    return rendered({"monitoring": monitoring, "crds": {"enabled": False}, **values}, apis=apis)


def _refusal(monitoring: Body, apis: tuple[str, ...] = MONITORING) -> str:
    return refusal({"monitoring": monitoring}, apis=apis)


def _alerts(documents: list[Body]) -> dict[str, Body]:
    groups = only(documents, "PrometheusRule")["spec"]["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"] if "alert" in rule}
