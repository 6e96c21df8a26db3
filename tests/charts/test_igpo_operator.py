"""The chart as helm renders it."""

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from igpo_cluster import programs
from igpo_operator.apply.config import OperatorConfig

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "igpo-operator"
Body = dict[str, Any]

pytestmark = pytest.mark.timeout(600)  # the first test may have to build helm


def test_the_chart_passes_helm_lint() -> None:
    assert "0 chart(s) failed" in _helm("lint", "--strict", str(CHART))


def test_the_operator_runs_once_in_a_restricted_namespace() -> None:
    deployment = _one(_rendered(), "Deployment")
    spec = deployment["spec"]
    assert (spec["replicas"], spec["strategy"]["type"]) == (1, "Recreate")
    pod = spec["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    container = pod["containers"][0]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["livenessProbe"]["timeoutSeconds"] == 5


def test_the_operator_sees_no_secret_and_no_log() -> None:
    for values in ({}, {"watchNamespaces": ["a", "b"]}):
        for rule in _rules(_rendered(values)):
            assert not {"secrets", "pods/log", "pods/exec", "*"} & {*rule["resources"], *rule["verbs"]}
            assert "*" not in rule["apiGroups"]


def test_spec_belongs_to_git_so_the_operator_cannot_change_runs() -> None:
    verbs = {
        verb
        for rule in _rules(_rendered())
        if "igpotrainings" in rule["resources"] and rule["apiGroups"] == ["igpo.dev"]
        for verb in rule["verbs"]
    }
    assert verbs == {"get", "list", "watch"}


def test_watched_namespaces_get_roles_and_the_cluster_only_what_is_asked_for() -> None:
    without = {"watchNamespaces": ["a", "b"], "rbac": {"readNodes": False}}
    objects = _rendered(without)
    assert [role["metadata"]["namespace"] for role in _all(objects, "Role")] == ["a", "b"]
    assert not _all(objects, "ClusterRole")
    objects = _rendered({"watchNamespaces": ["a"]})
    resources = [rule["resources"] for role in _all(objects, "ClusterRole") for rule in role["rules"]]
    assert resources == [["nodes"]]
    assert not _all(_rendered(), "Role")


def test_both_rights_are_the_same_in_one_namespace_and_in_all() -> None:
    whole = _one(_rendered(), "ClusterRole")["rules"]
    part = _one(_rendered({"watchNamespaces": ["a"]}), "Role")["rules"]
    assert [rule for rule in whole if rule["resources"] != ["nodes"]] == part


def test_the_crds_are_those_of_the_repository_and_stay_on_uninstall() -> None:
    shipped = {crd["metadata"]["name"]: crd for crd in _all(_rendered(), "CustomResourceDefinition")}
    source = {document["metadata"]["name"]: document for document in map(_read, (ROOT / "crds").glob("*.yaml"))}
    assert shipped.keys() == source.keys() == {"igpotrainings.igpo.dev", "lengthalignedsfts.igpo.dev"}
    for name, crd in shipped.items():
        assert crd["metadata"]["annotations"].pop("helm.sh/resource-policy") == "keep"
        assert crd == source[name]
    assert not _all(_rendered({"crds": {"install": False}}), "CustomResourceDefinition")


def test_every_setting_is_a_variable_that_the_operator_knows() -> None:
    known = {name.upper() for name in OperatorConfig.model_fields}
    values = {"config": {"progressIntervalSeconds": 5, "logLevel": "DEBUG"}, "watchNamespaces": ["a", "b"]}
    variables = {
        entry["name"].removeprefix("IGPO_OPERATOR_"): entry.get("value")
        for entry in _one(_rendered(values), "Deployment")["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    assert variables.keys() <= known
    assert variables["NAMESPACES"] == "a,b"
    assert variables["MAY_READ_NODES"] == "true"
    assert variables["PROGRESS_INTERVAL_SECONDS"] == "5"
    assert variables["TRAINER_IMAGE"].endswith(f":{_read(CHART / 'Chart.yaml')['appVersion']}")


def test_the_operator_may_read_metrics_under_any_name_and_so_may_whom_the_values_name() -> None:
    prometheus = {"podSelector": {"matchLabels": {"team": "monitoring"}}}
    deployment = _one(_rendered({"nameOverride": "trainings", "metricsFrom": [prometheus]}), "Deployment")
    template = deployment["spec"]["template"]
    (text,) = [
        entry["value"]
        for entry in template["spec"]["containers"][0]["env"]
        if entry["name"] == "IGPO_OPERATOR_SCRAPERS"
    ]
    operator, named = json.loads(text)
    assert named == prometheus
    assert operator["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "igpo-system"}
    assert operator["podSelector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    scrapers = OperatorConfig(scrapers=text).facts(datetime.now(UTC)).scrapers
    assert list(scrapers) == [operator, named]


def _rendered(values: Body | None = None) -> list[Body]:
    text = _helm(
        "template", "igpo", str(CHART), "-n", "igpo-system", "--kube-version", "1.35.4", "-f", "-", stdin=values or {}
    )
    return [document for document in YAML(typ="safe", pure=True).load_all(text) if document]


def _helm(*arguments: str, stdin: Body | None = None) -> str:
    words = [str(programs.locate("helm")), *arguments]
    done = subprocess.run(words, input=json.dumps(stdin), capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _read(path: Path) -> Body:
    found: Body = YAML(typ="safe", pure=True).load(path)
    return found


def _all(objects: list[Body], kind: str) -> list[Body]:
    return [item for item in objects if item["kind"] == kind]


def _one(objects: list[Body], kind: str) -> Body:
    (found,) = _all(objects, kind)
    return found


def _rules(objects: list[Body]) -> list[Body]:
    return [rule for kind in ("Role", "ClusterRole") for role in _all(objects, kind) for rule in role["rules"]]
