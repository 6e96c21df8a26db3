"""Random good manifests, further than the API server: the operator plans them, and their pods are accepted."""

import json
import random
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from igpo_operator.api.kinds import kind_named
from igpo_operator.api.reasons import Phase
from igpo_operator.api.status import RunStatus
from igpo_operator.plan.actions import Apply, Create
from igpo_operator.plan.observed import Facts, Observed, Run
from igpo_operator.plan.plan import plan
from mutants.growth import good_manifest

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
FACTS = Facts(trainer_image="registry.example.com/trainer:1", version="1", started_at=NOW)
PATHS = {
    "Pod": "/api/v1/namespaces/{}/pods",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "Service": "/api/v1/namespaces/{}/services",
    "PersistentVolumeClaim": "/api/v1/namespaces/{}/persistentvolumeclaims",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
}


def stored(manifest: dict[str, Any], spec: dict[str, Any], namespace: str) -> Run:
    return Run(
        kind=kind_named(manifest["kind"]),
        namespace=namespace,
        name=manifest["metadata"]["name"],
        uid="5f3c1e6a-0000-4000-8000-000000000000",
        generation=1,
        resource_version="1",
        created_at=NOW,
        spec=spec,
        status=RunStatus(),
    )


def planned(run: Run) -> tuple[Run, list[dict[str, Any]]]:
    """Plan until pods are asked for, or nothing changes any more; what is to be created, and the run then."""
    for _ in range(6):
        decided = plan(Observed(run=run, pods=(), facts=FACTS, now=NOW))
        objects = [dict(action.manifest) for action in decided.actions if isinstance(action, Apply | Create)]
        if objects or decided.status is None or decided.status == run.status:
            break
        run = replace(run, status=RunStatus.read(decided.status.dump()))
    return run, objects


def answers(api, objects: list[dict[str, Any]], namespace: str) -> list[str]:
    """What the API server has against these objects, in a dry run."""
    client, complaints = api.cluster.api, []
    for item in objects:
        response = client.rest_client.pool_manager.request(
            "POST",
            client.configuration.host + PATHS[item["kind"]].format(namespace) + "?dryRun=All&fieldValidation=Strict",
            body=json.dumps(item),
            headers={"Content-Type": "application/json", "Accept": "application/json"},
        )
        if response.status not in (200, 201):
            complaints.append(f"{item['kind']}: {json.loads(response.data)['message']}")
    return complaints


@pytest.fixture(scope="module")
def good() -> list[dict[str, Any]]:
    rng = random.Random(20_261_126)
    manifests = [good_manifest(rng) for _ in range(160)]
    for manifest in manifests:
        # These must exist in the cluster; that they do not is another test's subject.
        manifest["spec"].get("runPolicy", {}).pop("priorityClassName", None)
        for name in ("serviceAccountName", "runtimeClassName"):
            manifest["spec"].get("workers", {}).pop(name, None)
        if manifest["spec"].get("workers", {}).get("replicas", 1) > 4:
            manifest["spec"]["workers"]["replicas"] = 4
    return manifests


@pytest.mark.timeout(300)
def test_every_good_manifest_is_planned_and_its_objects_are_accepted(api, control_plane, good):
    control_plane.create_namespace("random-runs")  # without Pod Security: the manifests ask for all sorts of things
    created = 0
    for manifest, answer in zip(good, api.create_all(good), strict=True):
        run, objects = planned(stored(manifest, answer.body["spec"], "random-runs"))
        spec = answer.body["spec"]
        if spec["managedBy"] != "igpo.dev/operator":
            assert (objects, run.status) == ([], RunStatus())
        elif spec["suspend"]:
            assert objects == []
        elif "from" in spec["model"]:
            assert run.status.phase is Phase.WAITING
        else:
            pods = [item for item in objects if item["kind"] == "Pod"]
            assert len(pods) == (1 if "rewrite" in spec else spec["workers"]["replicas"])
            others = [item for item in objects if item["kind"] != "Pod"]
            assert answers(api, [*others, pods[0], pods[-1]], "random-runs") == [], manifest
            created += 1
    assert created > 20
    control_plane.delete_namespace("random-runs")
