"""The chart as helm renders it."""

import json
from datetime import UTC, datetime

import pytest

from chartworld.helm import CHART, ROOT, Body, every, only, read, rendered
from igpo_operator.apply.config import OperatorConfig

pytestmark = pytest.mark.timeout(600)  # the first test may have to build helm

TEAMS = {"scope": "Namespaced", "watchNamespaces": ["a", "b"], "crds": {"enabled": False}}
HOOK = "helm.sh/hook"


def test_the_operator_runs_once_in_a_restricted_namespace() -> None:
    deployment = only(rendered(), "Deployment")
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
    for values in ({}, TEAMS):
        for rule in _rules(rendered(values)):
            assert not {"secrets", "pods/log", "pods/exec", "*"} & {*rule["resources"], *rule["verbs"]}
            assert "*" not in rule["apiGroups"]


def test_spec_belongs_to_git_so_the_operator_cannot_change_runs() -> None:
    verbs = {
        verb
        for rule in _rules(rendered())
        if "igpotrainings" in rule["resources"] and rule["apiGroups"] == ["igpo.dev"]
        for verb in rule["verbs"]
    }
    assert verbs == {"get", "list", "watch"}


def test_watched_namespaces_get_roles_and_the_cluster_only_what_is_asked_for() -> None:
    objects = rendered(TEAMS)
    assert [role["metadata"]["namespace"] for role in _standing(every(objects, "Role"))] == ["a", "b"]
    assert not every(objects, "ClusterRole")
    objects = rendered(TEAMS | {"rbac": {"readNodes": True}})
    resources = [rule["resources"] for role in every(objects, "ClusterRole") for rule in role["rules"]]
    assert resources == [["nodes"]]
    assert not _standing(every(rendered(), "Role"))


def test_both_rights_are_the_same_in_one_namespace_and_in_all() -> None:
    whole = _cluster_role(rendered(), "")["rules"]
    part = _standing(every(rendered(TEAMS), "Role"))[0]["rules"]
    assert [rule for rule in whole if rule["resources"] != ["nodes"]] == part


def test_whoever_may_view_edit_or_administer_a_namespace_may_do_so_with_runs() -> None:
    objects = rendered()
    verbs = {}
    for name in ("view", "edit", "admin"):
        role = _cluster_role(objects, f"-{name}")
        assert role["metadata"]["labels"][f"rbac.authorization.k8s.io/aggregate-to-{name}"] == "true"
        assert role["rules"][0]["resources"] == ["igpotrainings", "lengthalignedsfts"]
        verbs[name] = role["rules"][0]["verbs"]
    assert verbs == {
        "view": ["get", "list", "watch"],
        "edit": ["create", "update", "patch", "delete"],
        "admin": ["deletecollection"],
    }
    assert not every(rendered(TEAMS | {"rbac": {"aggregateRoles": False}}), "ClusterRole")
    assert len(every(rendered(TEAMS | {"rbac": {"aggregateRoles": True}}), "ClusterRole")) == 3


def test_the_crds_are_those_of_the_repository_and_stay_on_uninstall() -> None:
    shipped = {crd["metadata"]["name"]: crd for crd in every(rendered(), "CustomResourceDefinition")}
    source = {document["metadata"]["name"]: document for document in map(read, (ROOT / "crds").glob("*.yaml"))}
    assert shipped.keys() == source.keys() == {"igpotrainings.igpo.dev", "lengthalignedsfts.igpo.dev"}
    for name, crd in shipped.items():
        assert crd["metadata"]["annotations"].pop("helm.sh/resource-policy") == "keep"
        assert crd == source[name]
        assert len(json.dumps(crd)) < 262_144, "kubectl apply and Argo CD keep the last applied object in an annotation"
    assert every(rendered({"crds": {"keep": False}}), "CustomResourceDefinition") == [source[name] for name in shipped]
    assert not every(rendered({"crds": {"enabled": False}}), "CustomResourceDefinition")


def test_prometheus_alone_reaches_the_operator_and_nobody_does_if_nobody_is_named() -> None:
    policy = only(rendered(), "NetworkPolicy")["spec"]
    labels = only(rendered(), "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    assert policy["policyTypes"] == ["Ingress"]
    (rule,) = policy["ingress"]
    assert [peer["podSelector"]["matchLabels"] for peer in rule["from"]] == [{"app.kubernetes.io/name": "prometheus"}]
    assert rule["ports"] == [{"port": "metrics", "protocol": "TCP"}]
    assert only(rendered({"metricsFrom": []}), "NetworkPolicy")["spec"]["ingress"] == []


def test_the_rights_of_the_test_last_as_long_as_it_runs_and_are_for_runs_in_one_namespace() -> None:
    for values, namespace in (({}, "igpo-system"), (TEAMS, "a")):
        hooks = [item for item in rendered(values) if HOOK in item["metadata"].get("annotations", {})]
        assert sorted(item["kind"] for item in hooks) == ["Job", "Role", "RoleBinding", "ServiceAccount"]
        for item in hooks:
            policy = item["metadata"]["annotations"]["helm.sh/hook-delete-policy"]
            assert policy == "before-hook-creation,hook-succeeded"
        role, binding, job = only(hooks, "Role"), only(hooks, "RoleBinding"), only(hooks, "Job")
        assert role["rules"] == [
            {"apiGroups": ["igpo.dev"], "resources": ["igpotrainings"], "verbs": ["create", "get", "delete"]}
        ]
        assert {role["metadata"]["namespace"], binding["metadata"]["namespace"]} == {namespace}
        assert job["metadata"]["namespace"] == binding["subjects"][0]["namespace"] == "igpo-system"
        container = job["spec"]["template"]["spec"]["containers"][0]
        assert f"--namespace={namespace}" in container["args"]
        owned = "--owner=$(POD_NAME)/$(POD_UID)" in container["args"]
        assert owned == (namespace == "igpo-system"), "an owner lives in the same namespace"


def test_the_test_runs_as_restricted_as_the_operator_and_is_not_taken_for_it() -> None:
    objects = rendered()
    operator, trial = (only(objects, kind)["spec"]["template"] for kind in ("Deployment", "Job"))
    ours, theirs = operator["spec"], trial["spec"]
    assert theirs["securityContext"] == ours["securityContext"]
    assert theirs["containers"][0]["securityContext"] == ours["containers"][0]["securityContext"]
    assert theirs["containers"][0]["image"] == ours["containers"][0]["image"]
    selector = only(objects, "Deployment")["spec"]["selector"]["matchLabels"]
    assert not selector.items() & trial["metadata"]["labels"].items()


def test_every_setting_is_a_variable_that_the_operator_knows() -> None:
    known = {name.upper() for name in OperatorConfig.model_fields}
    values = TEAMS | {"config": {"progressIntervalSeconds": 5, "logLevel": "DEBUG"}}
    variables = {
        entry["name"].removeprefix("IGPO_OPERATOR_"): entry.get("value")
        for entry in only(rendered(values), "Deployment")["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    assert variables.keys() <= known
    assert variables["NAMESPACES"] == "a,b"
    assert variables["MAY_READ_NODES"] == "false"
    assert variables["PROGRESS_INTERVAL_SECONDS"] == "5"
    assert variables["TRAINER_IMAGE"].endswith(f":{read(CHART / 'Chart.yaml')['appVersion']}")


def test_the_operator_mayread_metrics_under_any_name_and_so_may_whom_the_values_name() -> None:
    prometheus = {"podSelector": {"matchLabels": {"team": "monitoring"}}}
    deployment = only(rendered({"nameOverride": "trainings", "metricsFrom": [prometheus]}), "Deployment")
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


def _standing(objects: list[Body]) -> list[Body]:
    """Those that are there all the time, not only while `helm test` runs."""
    return [item for item in objects if HOOK not in item["metadata"].get("annotations", {})]


def _cluster_role(objects: list[Body], end: str) -> Body:
    (found,) = [
        role
        for role in every(objects, "ClusterRole")
        if role["metadata"]["name"] == f"igpo-igpo-operator-igpo-system{end}"
    ]
    return found


def _rules(objects: list[Body]) -> list[Body]:
    """What the operator's own account may do."""
    bindings = [item for kind in ("RoleBinding", "ClusterRoleBinding") for item in _standing(every(objects, kind))]
    bound = {(binding["roleRef"]["kind"], binding["roleRef"]["name"]) for binding in bindings}
    roles = [role for kind, name in bound for role in every(objects, kind) if role["metadata"]["name"] == name]
    assert roles
    return [rule for role in roles for rule in role["rules"]]
