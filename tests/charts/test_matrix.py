"""Every values file of ci/, rendered and held against the schemas of Kubernetes, unknown fields refused."""

import copy
import re
from pathlib import Path

import kubernetes_validate
import pytest

from chartworld.helm import CHART, CRDS_CHART, MONITORING, Body, every, helm, only, read, rendered

pytestmark = pytest.mark.timeout(600)  # the first test may have to build helm

VERSIONS = ("1.33", "1.34", "1.35", "1.36", "1.37")
CUSTOM = {"PodMonitor", "ServiceMonitor", "PrometheusRule", "GrafanaDashboard"}
EXTRA = {"igpo-map", "trainings-text"}
"""extraObjects, which are labelled as their authors like."""
MATRIX = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))


def _objects(case: str, kubernetes: str = "1.35.4") -> list[Body]:
    return rendered(read(CHART / "ci" / f"{case}-values.yaml"), kubernetes=kubernetes)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", MATRIX)
def test_what_is_rendered_is_valid_in_every_kubernetes(case: str, version: str) -> None:
    objects = _objects(case, f"{version}.0")
    assert objects
    for item in objects:
        if item["apiVersion"] in MONITORING:  # test_release.py holds these against their CRDs
            assert item["kind"] in CUSTOM
        else:
            kubernetes_validate.validate(item, version, strict=True)


def test_every_kind_that_the_chart_can_render_is_in_the_matrix() -> None:
    kinds = {item["kind"] for case in MATRIX for item in _objects(case)}
    written = "".join(path.read_text() for path in CHART.rglob("templates/**/*.yaml"))
    assert set(re.findall(r"^kind: (\w+)$", written, re.MULTILINE)) <= kinds
    assert kinds >= CUSTOM


def test_every_value_of_monitoring_is_changed_by_the_matrix() -> None:
    ours = read(CHART / "values.yaml")["monitoring"]
    given: set[str] = set()
    for case in MATRIX:
        given |= _changed(ours, read(CHART / "ci" / f"{case}-values.yaml").get("monitoring", {}))
    thresholds = {path for path in _paths(ours) if path.startswith("rules.thresholds.")}
    assert _paths(ours) - thresholds <= given
    assert thresholds & given


def test_the_validator_sees_a_field_that_kubernetes_does_not_know() -> None:
    broken = copy.deepcopy(only(_objects("default"), "Deployment"))
    broken["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="livenesProbe"):
        kubernetes_validate.validate(broken, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("chart", [CHART, CRDS_CHART], ids=lambda chart: chart.name)
def test_helm_lint_finds_nothing_in(chart: Path) -> None:
    files = [word for path in sorted((chart / "ci").glob("*-values.yaml")) for word in ("--values", path)]
    for words in [[], *(files[at : at + 2] for at in range(0, len(files), 2))]:
        assert "0 chart(s) failed" in helm("lint", "--strict", "--kube-version", "1.35.4", chart, *words)


@pytest.mark.parametrize("case", MATRIX)
def test_every_object_names_its_release_and_no_two_have_one_name(case: str) -> None:
    objects = [item for item in _objects(case) if item["kind"] != "CustomResourceDefinition"]
    names = [(item["kind"], item["metadata"].get("namespace"), item["metadata"]["name"]) for item in objects]
    assert len(set(names)) == len(names)
    for item in objects:
        if item["metadata"]["name"] not in EXTRA:
            assert item["metadata"]["labels"]["app.kubernetes.io/instance"] == "igpo"
            assert item["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "Helm"


def test_a_namespaced_release_asks_for_nothing_outside_its_namespaces() -> None:
    objects = _objects("namespaced")
    assert not every(objects, "ClusterRole")
    assert not every(objects, "CustomResourceDefinition")
    assert {item["metadata"]["namespace"] for item in objects} == {"igpo-system", "team-a", "team-b"}


def test_an_image_is_named_by_its_digest() -> None:
    container = only(_objects("digest"), "Deployment")["spec"]["template"]["spec"]["containers"][0]
    digest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    assert container["image"].startswith("registry.example/igpo-operator@sha256:5f0c")
    trainer = next(entry["value"] for entry in container["env"] if entry["name"] == "IGPO_OPERATOR_TRAINER_IMAGE")
    assert trainer == f"registry.example/igpo-trainer:0.1.0@{digest}"


def test_what_a_cluster_shall_decide_is_left_out() -> None:
    objects = _objects("openshift")
    pod = only(objects, "Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    assert pod["serviceAccountName"] == "trainings"
    assert [item["kind"] for item in objects] == ["Deployment"]


def test_further_objects_are_templates_as_text_or_as_maps() -> None:
    names = {item["metadata"]["name"]: item["data"] for item in every(_objects("everything"), "ConfigMap")}
    assert names.keys() == EXTRA
    assert names == {"igpo-map": {"note": "an object"}, "trainings-text": {"note": "a text"}}


def test_everything_that_is_set_arrives() -> None:
    objects = _objects("everything")
    deployment = only(objects, "Deployment")
    pod, metadata = deployment["spec"]["template"]["spec"], deployment["spec"]["template"]["metadata"]
    container = pod["containers"][0]
    variables = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert variables["IGPO_OPERATOR_DISRUPTION_LIMIT"] == "100000"
    assert variables["IGPO_OPERATOR_PROGRESS_INTERVAL_SECONDS"] == "0.5"
    assert variables["HTTPS_PROXY"] == "http://proxy.example:3128"
    assert metadata["labels"]["team"] == "research"
    assert metadata["labels"]["cost-center"] == "42"
    assert metadata["annotations"] == {"example.org/owner": "research"}
    assert pod["priorityClassName"] == "system-cluster-critical"
    assert pod["terminationGracePeriodSeconds"] == 60
    assert pod["tolerations"][0]["key"] == "control"
    assert container["livenessProbe"]["periodSeconds"] == 30
    assert container["livenessProbe"]["timeoutSeconds"] == 5
    assert {mount["name"] for mount in container["volumeMounts"]} == {"tmp", "certificates"}
    policy = only(objects, "NetworkPolicy")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert (
        policy["ingress"][0]["from"][0]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        == "monitoring"
    )
    assert policy["egress"][1] == {"ports": [{"port": 6443, "protocol": "TCP"}]}


def test_monitoring_arrives_where_and_as_it_is_asked_for() -> None:
    objects = _objects("monitoring-pods")
    monitors = every(objects, "PodMonitor")
    assert [item["metadata"]["namespace"] for item in monitors] == ["igpo-system"] * 2
    assert all(len(item["metadata"]["name"]) <= 63 for item in objects)
    boards = every(objects, "ConfigMap")
    assert {item["metadata"]["namespace"] for item in boards} == {"grafana"}
    assert len({item["metadata"]["name"] for item in boards}) == len(boards) == 4
    (rule,) = every(_objects("monitoring"), "PrometheusRule")
    alerts = {each["alert"]: each for group in rule["spec"]["groups"] for each in group["rules"] if "alert" in each}
    assert "IGPORankStraggler" not in alerts
    assert alerts["IGPOTrainingQueuedTooLong"]["for"] == "1h"
    assert all(alert["labels"]["team"] == "research" for alert in alerts.values())


def _paths(values: Body, before: str = "") -> set[str]:
    """Names of all values, with dots; a map with nothing in it, or in braces, is a value."""
    found = set()
    for name, value in values.items():
        deeper = isinstance(value, dict) and value and name != "instanceSelector"
        found |= _paths(value, f"{before}{name}.") if deeper else {f"{before}{name}"}
    return found


def _changed(ours: Body, given: Body, before: str = "") -> set[str]:
    """Names of the values that differ from the defaults."""
    found = set()
    for name, value in given.items():
        if f"{before}{name}" in _paths(ours, before):
            found |= {f"{before}{name}"} if value != ours[name] else set()
        else:
            found |= _changed(ours[name], value, f"{before}{name}.")
    return found
