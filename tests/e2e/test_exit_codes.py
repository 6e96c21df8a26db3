"""What the trainer's exit means, in gangs of two pods of two processes: its own line is what people read."""

import os
import signal
from typing import Any

import pytest

from igpo_cluster.cluster import Cluster
from igpo_e2e.faults import break_reward, fragile
from igpo_e2e.manifests import RL, Manifest, merged, slow
from igpo_e2e.ranks import launcher, rank_process, ranks
from igpo_e2e.run import Run, condition

pytestmark = pytest.mark.usefixtures("gpus")


def two_by_two(manifest: Manifest, **changes: Any) -> Manifest:
    """The manifest with two processes in each of its two pods."""
    return {**manifest, "spec": merged(manifest["spec"], {"workers": {"gpusPerWorker": 2}, **changes})}


def test_137_is_charged_75_is_free_and_0_completes(cluster: Cluster, training: str) -> None:
    run = Run(cluster, RL, training, "ends").apply(two_by_two(slow("ends")))
    run.wait_checkpoint(2)
    assert [rank.rank for rank in ranks(run)] == [0, 1, 2, 3]
    rank_process(run, 3).send(signal.SIGKILL)
    status = run.wait("attempt 2", lambda body: body["status"]["attempt"]["number"] == 2)["status"]
    killed = status["attempts"][0]
    assert (killed["class"], killed["rank"], killed["exitCode"]) == ("Application", 1, 137)
    assert status["restarts"]["application"] == 1

    run.wait_step(killed["checkpointStep"] + 1, attempt=2)
    os.kill(launcher(run, 1), signal.SIGTERM)  # nobody here has asked for it
    status = run.wait("attempt 3", lambda body: body["status"]["attempt"]["number"] == 3)["status"]
    saved = status["attempts"][1]
    assert (saved["class"], saved["exitCode"]) == ("Saved", 75)
    assert saved["checkpointStep"] == saved["step"] > killed["checkpointStep"]
    assert (status["restarts"]["application"], status["restarts"]["infrastructure"]) == (1, 1)

    status = run.wait_complete()
    assert (status["attempt"]["number"], status["progress"]["step"]) == (3, 16)
    states = [pod["status"]["containerStatuses"][0]["state"]["terminated"] for pod in run.pods(3)]
    assert [state["exitCode"] for state in states] == [0, 0]


def test_exit_64_is_never_retried_and_its_own_line_is_in_status(cluster: Cluster, training: str) -> None:
    manifest = two_by_two(slow("flex", model={"attention": "Flex"}))
    run = Run(cluster, RL, training, "flex").apply(manifest)
    status = run.wait_failed("InvalidRun")

    assert status["attempt"]["number"] == 1
    assert status["attempt"]["ending"]["exitCode"] == 64
    failed = condition(run.body(), "Failed")
    assert "model.attention Flex cannot train without a GPU; set SDPA or Eager" in failed["message"]
    assert condition(run.body(), "Stalled")["status"] == "True"
    assert len(run.pods()) == 2, "finished pods are kept for their logs"


def test_exit_65_is_never_retried(cluster: Cluster, training: str) -> None:
    rows = '{"question": "1 + 1 =", "answer":\n'
    cluster.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "rows"}, "data": {"train.jsonl": rows}},
        namespace=training,
    )
    mount = {
        "volumes": [{"name": "rows", "configMap": {"name": "rows"}}],
        "volumeMounts": [{"name": "rows", "mountPath": "/rows", "readOnly": True}],
    }
    dataset = {"source": "/rows/train.jsonl", "wordProblems": None}
    manifest = two_by_two(slow("no-answers", dataset=dataset, workers=mount))
    run = Run(cluster, RL, training, "no-answers").apply(manifest)
    status = run.wait_failed("InvalidData")

    assert status["attempt"]["number"] == 1
    assert status["attempt"]["ending"]["exitCode"] == 65
    assert "/rows/train.jsonl" in condition(run.body(), "Failed")["message"]


def test_exit_1_is_charged_until_the_budget_is_gone(cluster: Cluster, training: str) -> None:
    manifest = two_by_two(slow("broken", checkpoints={"everySteps": 100}, runPolicy={"backoffLimit": 0}))
    run = Run(cluster, RL, training, "broken").apply(fragile(cluster, training, manifest))
    run.wait_step(1)
    break_reward(run)
    status = run.wait_failed("BackoffLimitExceeded")

    assert status["attempt"]["ending"]["exitCode"] == 1
    assert "unjudged" in status["attempt"]["ending"]["message"] or "verdict" in status["attempt"]["ending"]["message"]
    assert status["restarts"].get("total", 0) == 0
