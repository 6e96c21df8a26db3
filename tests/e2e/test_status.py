"""What GitOps tools make of everything that the operator wrote in this session."""

import json

from igpo_cluster.cluster import Cluster
from igpo_e2e.judges import argo_runs, argo_says_modified, kstatus
from igpo_e2e.manifests import ROOT, TINY, documents
from igpo_e2e.recorder import Record
from igpo_e2e.run import Body, Run, phase_of

HEALTH = ROOT / "examples" / "gitops" / "argocd" / "resource_customizations" / "igpo.dev"
ARGO_CALLS = {"InProgress": "Progressing", "Current": "Healthy", "Failed": "Degraded"}
"""Words of kstatus in Argo CD's."""
IN_PROGRESS = {"Pending", "Waiting", "Queued", "Starting", "Restarting", "Suspending"}


def test_kstatus_reads_every_status_rightly(record: Record, trained: Run) -> None:
    versions = [version for version in record.versions if "status" in version]
    assert len(versions) > 5
    verdicts = kstatus(versions)
    wrong = [
        (version["metadata"]["name"], version["metadata"]["resourceVersion"], verdict, version["status"])
        for version, verdict in zip(versions, verdicts, strict=True)
        if verdict not in _expected(version)
    ]
    assert not record.errors
    assert not wrong, json.dumps(wrong[:3], indent=1)
    assert {phase_of(version) for version in versions} >= {"Starting", "Running", "Complete"}


def test_argos_health_check_agrees_with_kstatus_on_every_status(record: Record, trained: Run) -> None:
    versions = [one for one in record.versions if "status" in one and "deletionTimestamp" not in one["metadata"]]
    for kind in {version["kind"] for version in versions}:
        ours = [version for version in versions if version["kind"] == kind]
        for version, verdict, health in zip(
            ours, kstatus(ours), argo_runs(HEALTH / kind / "health.lua", ours), strict=True
        ):
            suspended = phase_of(version) == "Suspended" and verdict == "Current"
            wanted = "Suspended" if suspended else ARGO_CALLS[verdict]
            assert health["status"] == wanted, json.dumps(version["status"], indent=1)
            assert health["message"]


def test_every_status_names_the_generation_it_is_about(record: Record, trained: Run) -> None:
    for version in record.versions:
        if "status" in version:
            assert 1 <= version["status"]["observedGeneration"] <= version["metadata"]["generation"]


def test_applying_a_manifest_twice_changes_nothing(cluster: Cluster, namespace: str) -> None:
    versions = []
    for _ in range(2):
        cluster.kubectl("apply", "--server-side", "-n", namespace, "-f", TINY)
        items = [Run(cluster, document["kind"], namespace, "tiny").body() for document in documents(TINY)]
        versions.append([(item["metadata"]["generation"], item["spec"]) for item in items])
    assert versions[0] == versions[1]


def test_argo_sees_no_drift_at_any_phase(record: Record, trained: Run) -> None:
    git = next(document for document in documents(TINY) if document["kind"] == trained.kind)
    git["metadata"]["name"] = trained.name
    uid = trained.body()["metadata"]["uid"]
    first_of_each_phase: dict[str, Body] = {}
    for version in record.of(uid):
        first_of_each_phase.setdefault(phase_of(version), version)
    assert len(first_of_each_phase) > 3
    for phase, live in first_of_each_phase.items():
        verdict = argo_says_modified(git, live)
        assert not verdict["modified"], f"{phase}: {verdict}"


def _expected(run: Body) -> set[str]:
    """What a person would say, from the phase; a run that waits for a person is Failed to kstatus."""
    phase, status = phase_of(run), run["status"]
    conditions = {found["type"] for found in status["conditions"] if found["status"] == "True"}
    if "deletionTimestamp" in run["metadata"]:
        return {"Terminating"}
    if status["observedGeneration"] != run["metadata"]["generation"]:
        return {"InProgress"}
    if phase == "Failed" or "Stalled" in conditions:
        return {"Failed"}
    if phase in IN_PROGRESS:
        return {"InProgress"}
    working = {"Running": _trains(status), "Rewriting": "Ready" in conditions}
    return {"Current"} if working.get(phase, True) else {"InProgress"}


def _trains(status: Body) -> bool:
    """A step of this attempt is finished (progress may show the one before) and the attempt is not being ended."""
    ending = (status.get("attempt") or {}).get("ending")
    if ending and ending["class"] != "Completed":
        return False
    reasons = {found["reason"] for found in status["conditions"] if found["type"] == "Ready"}
    return (status.get("progress") or {}).get("step", 0) >= 1 and "FirstStepPending" not in reasons
