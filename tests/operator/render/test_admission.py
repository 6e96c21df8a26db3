"""Every golden object against the real API server, in a namespace where Pod Security `restricted` is enforced."""

import json

import pytest

CLASSES = (
    {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": "research"},
        "value": 10,
    },
    {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": "nvidia"},
        "handler": "nvidia",
    },
)
PLACES = {
    "Pod": "api/v1/namespaces/{}/pods",
    "Service": "api/v1/namespaces/{}/services",
    "ConfigMap": "api/v1/namespaces/{}/configmaps",
    "PersistentVolumeClaim": "api/v1/namespaces/{}/persistentvolumeclaims",
    "NetworkPolicy": "apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
}


def create(cluster, namespace, thing):
    """Create an object with a dry run on the server: status, what it became or why not, and the server's warnings."""
    body = json.loads(json.dumps(thing))
    body["metadata"]["namespace"] = namespace
    url = f"{cluster.server}/{PLACES[thing['kind']].format(namespace)}?dryRun=All&fieldValidation=Strict"
    headers = {"Content-Type": "application/json", "Accept": "application/json"}
    answer = cluster.api.call_api("POST", url, header_params=headers, body=body)
    return answer.status, json.loads(answer.read()), answer.getheader("Warning")


@pytest.fixture
def restricted(control_plane, namespace):
    """A restricted namespace with the account and classes that the overrides name."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "trainer"}}
    control_plane.apply(*CLASSES, account, namespace=namespace)
    return namespace


def test_a_restricted_namespace_takes_every_golden_object_without_a_warning(control_plane, restricted, golden, name):
    for thing in golden.every(golden.rendered(name)):
        status, answer, warning = create(control_plane, restricted, thing)
        assert (status, warning) == (201, None), answer


def within(ours, theirs):
    """Whether all that we wrote is there as we wrote it; the server may add defaults."""
    if isinstance(ours, dict):
        return isinstance(theirs, dict) and all(key in theirs and within(ours[key], theirs[key]) for key in ours)
    if isinstance(ours, list):
        return len(theirs) >= len(ours) and all(within(*pair) for pair in zip(ours, theirs, strict=False))
    return ours == theirs


def test_the_server_changes_nothing_that_was_written(control_plane, restricted, golden, name):
    for thing in golden.every(golden.rendered(name)):
        _, answer, _ = create(control_plane, restricted, thing)
        answer["metadata"]["namespace"] = thing["metadata"]["namespace"]
        assert within(thing, answer), thing["kind"]


def test_the_namespace_does_refuse_a_pod_that_asks_for_more(control_plane, restricted, golden):
    (pod,) = json.loads(json.dumps(golden.rendered("minimal").pods))
    pod["spec"]["hostNetwork"] = True
    status, answer, _ = create(control_plane, restricted, pod)
    assert status == 403
    assert "violates PodSecurity" in answer["message"]


def test_a_warning_of_the_server_would_be_seen(control_plane, restricted, golden):
    (pod,) = json.loads(json.dumps(golden.rendered("minimal").pods))
    pod["spec"]["containers"][0]["env"] += pod["spec"]["containers"][0]["env"][:1]
    status, _, warning = create(control_plane, restricted, pod)
    assert status == 201
    assert "hides previous definition" in warning


def test_applying_the_children_again_changes_nothing(control_plane, restricted, golden, name):
    these = golden.rendered(name)
    children = json.loads(json.dumps([these.manifest, these.service, these.network_policy]))
    for child in children:
        child["metadata"] |= {"namespace": restricted, "ownerReferences": []}
    control_plane.apply(*children)
    kinds = "configmap,service,networkpolicy"
    before = control_plane.items(kinds, "--selector=app.kubernetes.io/managed-by", f"--namespace={restricted}")
    control_plane.apply(*children)
    after = control_plane.items(kinds, "--selector=app.kubernetes.io/managed-by", f"--namespace={restricted}")
    assert len(before) == 3
    assert before == after
