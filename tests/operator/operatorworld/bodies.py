"""Objects as the API server sends them."""

from typing import Any


def run_body(
    name: str = "tiny",
    *,
    kind: str = "LengthAlignedSFT",
    uid: str = "run-1",
    version: int = 10,
    source: str | None = None,
    status: dict[str, Any] | None = None,
    **metadata: Any,
) -> dict[str, Any]:
    """A custom resource."""
    model = {"from": {"kind": "LengthAlignedSFT", "name": source}} if source else {"scratch": {}}
    return {
        "apiVersion": "igpo.dev/v1alpha1",
        "kind": kind,
        "metadata": {
            "namespace": "team",
            "name": name,
            "uid": uid,
            "generation": 1,
            "resourceVersion": str(version),
            "creationTimestamp": "2026-11-24T12:00:00Z",
        }
        | metadata,
        "spec": {"model": model},
    } | ({"status": status} if status is not None else {})


def pod_body(
    name: str = "tiny-lasft-a1-0",
    *,
    uid: str = "pod-1",
    version: int = 20,
    owner_uid: str = "run-1",
    attempt: int = 1,
    rank: int = 0,
    owner: str = "tiny",
    state: dict[str, Any] | None = None,
    spec: dict[str, Any] | None = None,
    metadata: dict[str, Any] | None = None,
    **status: Any,
) -> dict[str, Any]:
    """A pod of a run; `state` is that of its container trainer."""
    containers = [] if state is None else [{"name": "trainer", "imageID": "sha256:1", "state": state}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "namespace": "team",
            "name": name,
            "uid": uid,
            "resourceVersion": str(version),
            "creationTimestamp": "2026-11-24T12:00:01Z",
            "labels": {"igpo.dev/attempt": str(attempt), "igpo.dev/rank": str(rank), "igpo.dev/run": owner},
            "ownerReferences": [
                {
                    "apiVersion": "igpo.dev/v1alpha1",
                    "kind": "LengthAlignedSFT",
                    "name": owner,
                    "uid": owner_uid,
                    "controller": True,
                }
            ],
        }
        | (metadata or {}),
        "spec": spec or {},
        "status": {"phase": "Pending", "containerStatuses": containers} | status,
    }


def running(**status: Any) -> dict[str, Any]:
    """Arguments of pod_body for a pod that runs."""
    return {
        "state": {"running": {"startedAt": "2026-11-24T12:00:05Z"}},
        "phase": "Running",
        "podIP": "127.0.0.1",
    } | status
