"""Runs that cannot start say what is missing and what to do, once, and wait quietly."""

import pytest

from igpo_cluster.cluster import Cluster
from igpo_e2e.manifests import RL, Manifest, slow
from igpo_e2e.operator import Operator
from igpo_e2e.run import Run, condition

SECRET_KEY = {"secretKeyRef": {"name": "no-such-secret", "key": "token"}}
CONFIG_MAP = {"name": "rows", "configMap": {"name": "no-such-config-map"}}
QUIET_SECONDS = 60
NO_STORAGE = {"size": None, "accessModes": None}

TROUBLES: dict[str, tuple[str, str, Manifest]] = {
    "no-secret": (
        "PodConfigError",
        "no-such-secret",
        {"workers": {"env": [{"name": "TOKEN", "valueFrom": SECRET_KEY}]}},
    ),
    "no-config-map": (
        "PodConfigError",
        "ConfigMap",
        {"workers": {"volumes": [CONFIG_MAP], "volumeMounts": [{"name": "rows", "mountPath": "/rows"}]}},
    ),
    "no-image": ("ImageUnavailable", "no-such-image", {"image": "registry.invalid/no-such-image:1"}),
    "no-claim": ("PodConfigError", "no-such-claim", {"storage": {**NO_STORAGE, "claimName": "no-such-claim"}}),
    "no-node": ("Unschedulable", "node", {"workers": {"nodeSelector": {"disk": "no-such-disk"}}}),
}


@pytest.fixture(scope="module")
def stuck(cluster: Cluster, training: str) -> dict[str, Run]:
    """A run in each kind of trouble, all of them in it for long enough to say so."""
    runs = {}
    for name, (_, _, changes) in TROUBLES.items():
        runs[name] = Run(cluster, RL, training, name).apply(slow(name, **changes))
    for name, run in runs.items():
        kind = "Reconciling" if TROUBLES[name][0] == "Unschedulable" else "Stalled"
        run.wait_condition(kind, within=150, reason=TROUBLES[name][0])
    return runs


@pytest.mark.parametrize("name", TROUBLES)
def test_what_is_missing_is_named_with_the_remedy(stuck: dict[str, Run], name: str) -> None:
    reason, word, _ = TROUBLES[name]
    body = stuck[name].body()
    told = next(c for c in (condition(body, "Stalled"), condition(body, "Reconciling")) if c.get("reason") == reason)
    assert word in told["message"]
    assert body["status"]["message"]
    assert len(stuck[name].pods()) == 2


def test_stuck_runs_are_not_written_again(
    cluster: Cluster, operator: Operator, training: str, stuck: dict[str, Run]
) -> None:
    mark = cluster.audit.mark()
    watch = f"/apis/igpo.dev/v1alpha1/namespaces/{training}/igpotrainings?watch=true&timeoutSeconds={QUIET_SECONDS}"
    cluster.kubectl("get", "--raw", watch)  # returns when that time is over
    writes = [write for write in mark.writes(operator.account) if write.name in stuck and write.resource != "leases"]
    assert writes == []


def test_the_remedy_helps_without_anybody_touching_the_run(
    cluster: Cluster, training: str, stuck: dict[str, Run]
) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "no-such-secret"},
        "stringData": {"token": "x"},
    }
    cluster.apply(secret, namespace=training)
    stuck["no-secret"].wait_step(1, within=150)
    assert "Stalled" not in {found["type"] for found in stuck["no-secret"].status()["conditions"]}
    for run in stuck.values():
        run.delete()
