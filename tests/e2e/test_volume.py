"""Whose volume it is: the same run goes on, another is refused, an older attempt is fenced off."""

import json
import signal

from igpo_cluster.cluster import Cluster
from igpo_cluster.waiting import until
from igpo_e2e.faults import run_folder
from igpo_e2e.manifests import RL, SFT, slow, tiny
from igpo_e2e.ranks import rank_process
from igpo_e2e.run import Body, Run, condition


def test_the_same_spec_applied_again_adopts_the_volume_and_goes_on(cluster: Cluster, training: str) -> None:
    manifest = slow("adopted", steps=8)
    run = Run(cluster, RL, training, "adopted").apply(manifest)
    saved = run.wait_checkpoint(4)["checkpoint"]["step"]
    run.delete()
    run.apply(manifest)
    status = run.wait_complete()

    assert status["attempt"]["number"] == 1
    assert "Adopted" in {event["reason"] for event in run.events()}
    assert saved >= 4
    assert status["progress"]["step"] == 8


def test_another_spec_under_the_same_name_is_refused_with_the_remedy(cluster: Cluster, training: str) -> None:
    run = Run(cluster, SFT, training, "taken").apply(tiny(SFT, "taken", training={"steps": 2}))
    run.wait_complete()
    run.delete()
    run.apply(tiny(SFT, "taken", training={"steps": 2}, seed=7))
    status = run.wait_failed("VolumeHoldsAnotherRun")

    assert status["attempt"]["number"] == 1
    message = condition(run.body(), "Failed")["message"]
    assert "storage.subPath" in message
    assert condition(run.body(), "Stalled")["reason"] == "VolumeHoldsAnotherRun"


def test_a_revived_pod_of_an_old_attempt_writes_nothing(cluster: Cluster, training: str) -> None:
    alone = slow("revived", workers={"replicas": 1}, checkpoints={"everySteps": 1})
    run = Run(cluster, RL, training, "revived").apply(alone)
    run.wait_checkpoint(1)
    ghost = _as_bare_pod(run.pod(0))
    rank_process(run, 0).send(signal.SIGKILL)
    record = run_folder(run) / "run.json"
    until(lambda: json.loads(record.read_text())["attempt"] == 2, "attempt 2 to own the volume", 240, every=0.5)
    owner = record.read_text()
    cluster.apply(ghost, namespace=training)
    ended = until(lambda: _terminated(cluster, training, "ghost"), "the ghost to end", within=60, every=0.5)

    assert ended["exitCode"] == 75
    assert "fenced off" in ended["message"]
    assert record.read_text() == owner
    assert run.wait_complete()["attempt"]["number"] == 2
    cluster.kubectl("delete", "pod", "ghost", "-n", training, "--wait=false")


def _as_bare_pod(pod: Body) -> Body:
    spec = {key: value for key, value in pod["spec"].items() if key != "nodeName"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ghost"}, "spec": spec}


def _terminated(cluster: Cluster, namespace: str, name: str) -> Body | None:
    statuses = cluster.get("pod", name, "-n", namespace)["status"].get("containerStatuses", [])
    return statuses[0]["state"].get("terminated") if statuses else None
