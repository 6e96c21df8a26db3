"""What the API server refuses shows on the run, with the remedy, and passes when its cause does."""

from typing import Any

from igpo_cluster.errors import ClusterError
from igpo_cluster.waiting import until
from operatorworld.process import OperatorProcess
from operatorworld.runs import Team, sft


def test_a_quota_of_one_pod_stalls_the_run_and_frees_the_pod_until_it_is_raised(
    team: Team, node: str, operator: OperatorProcess
) -> None:
    _quota(team, 1)
    team.apply(sft("tiny"))
    stalled = team.wait_for_condition("tiny", "Stalled", "QuotaExceeded")
    assert "limited: pods=1" in stalled["message"]
    until(lambda: not team.pods(), "the partial gang to be gone", every=0.2)
    _quota(team, 10)
    status = team.wait_for_phase("tiny", "Running")
    assert "Stalled" not in {condition["type"] for condition in status["conditions"]}
    assert status["budget"]["charged"] == 0


def test_a_policy_that_refuses_pods_is_quoted(team: Team, node: str, operator: OperatorProcess) -> None:
    rule = {"expression": "false", "message": "no GPUs on Fridays"}
    policy = _policy(team.namespace, rule)
    team.cluster.apply(*policy)
    try:
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", "labels": {"igpo.dev/run": "x"}}}
        allowed = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        containers = [{"name": "c", "image": "i", "securityContext": allowed}]
        spec = {"spec": {"securityContext": security, "containers": containers}}
        until(lambda: _refused(team, pod | spec), "the policy to be in force", every=0.2)
        team.apply(sft("tiny"))
        stalled = team.wait_for_condition("tiny", "Stalled", "PodRefused")
        assert "no GPUs on Fridays" in stalled["message"]
        assert not team.pods()
    finally:
        for one in policy:
            team.cluster.kubectl("delete", one["kind"], one["metadata"]["name"])
    team.wait_for_phase("tiny", "Running")


def test_an_object_of_somebody_else_under_our_name_is_named_and_left_alone(
    team: Team, node: str, operator: OperatorProcess
) -> None:
    policy = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "tiny-lasft"}}
    team.cluster.apply(policy | {"spec": {"podSelector": {}}}, namespace=team.namespace)
    team.apply(sft("tiny"))
    status = until(lambda: _says(team, "tiny-lasft"), "the run to name the policy", every=0.2)
    assert "nobody" in status["message"]
    live = team.cluster.get("networkpolicy", "tiny-lasft", f"--namespace={team.namespace}")
    assert live["spec"]["podSelector"] == {}


def _says(team: Team, words: str) -> dict[str, Any] | None:
    status = team.status("tiny")
    taken = any(condition["reason"] == "NameTaken" for condition in status.get("conditions", []))
    return status if taken and words in status["message"] else None


def _quota(team: Team, pods: int) -> None:
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}}
    team.cluster.apply(quota | {"spec": {"hard": {"pods": str(pods)}}}, namespace=team.namespace)
    until(
        lambda: (
            team.cluster.get("resourcequota", "few", f"--namespace={team.namespace}")
            .get("status", {})
            .get("hard", {})
            .get("pods")
            == str(pods)
        ),
        "the quota to be in force",
        every=0.2,
    )


def _policy(namespace: str, rule: dict[str, str]) -> list[dict[str, Any]]:
    name = f"{namespace}-refuses"
    version = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    selector = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    spec = {"validations": [rule], "matchConstraints": {"namespaceSelector": selector, "resourceRules": [pods]}}
    binding = {"policyName": name, "validationActions": ["Deny"]}
    return [
        version | {"kind": "ValidatingAdmissionPolicyBinding", "spec": binding},
        version | {"kind": "ValidatingAdmissionPolicy", "spec": spec},
    ]


def _refused(team: Team, pod: dict[str, Any]) -> bool:
    try:
        team.cluster.kubectl("create", f"--namespace={team.namespace}", "--dry-run=server", "-f", "-", stdin=pod)
    except ClusterError as error:
        return "no GPUs on Fridays" in str(error)
    return False
