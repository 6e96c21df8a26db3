"""Suspend saves first, frees everything, and resumes where it stopped."""

import json

from igpo_cluster.cluster import Cluster
from igpo_e2e.faults import run_folder
from igpo_e2e.manifests import RL, slow
from igpo_e2e.run import Run


def test_suspend_saves_and_resume_goes_on_at_the_same_step(cluster: Cluster, training: str) -> None:
    run = Run(cluster, RL, training, "paused").apply(slow("paused", checkpoints={"everySteps": 100}))
    run.wait_step(2)
    run.patch({"suspend": True})
    run.wait_condition("Suspended", within=60)
    run.wait_pods("none", lambda pods: not pods)
    status = run.status()

    assert status["phase"] == "Suspended"
    saved = status["checkpoint"]["step"]
    assert saved >= 2, "there was no checkpoint but the one that suspending saved"
    assert status["attempts"][-1]["class"] == "Suspended" or status["attempt"]["ending"]["class"] == "Suspended"

    run.patch({"suspend": False})
    status = run.wait_complete()
    assert status["attempt"]["number"] == 2
    assert status["attempts"][0]["class"] == "Suspended"
    assert status["attempts"][0]["checkpointStep"] == saved
    assert status["restarts"].get("application", 0) == 0
    assert {"Suspended", "Resumed"} <= {event["reason"] for event in run.events()}
    assert _steps_of(run) == list(range(1, 17)), "no step was lost or done twice"


def test_a_suspend_that_is_taken_back_at_once_ends_up_running(cluster: Cluster, training: str) -> None:
    run = Run(cluster, RL, training, "flipped").apply(slow("flipped", steps=8))
    run.wait_step(1)
    run.patch({"suspend": True})
    run.patch({"suspend": False})
    status = run.wait_complete()

    assert status["attempt"]["number"] in (1, 2)
    assert status["progress"]["step"] == 8


def test_a_run_that_is_born_suspended_makes_no_pods(cluster: Cluster, training: str) -> None:
    run = Run(cluster, RL, training, "born-suspended").apply(slow("born-suspended", suspend=True))
    run.wait_condition("Suspended", within=20)
    assert run.pods() == []
    run.delete()


def _steps_of(run: Run) -> list[int]:
    records = map(json.loads, (run_folder(run) / "metrics.jsonl").read_text().splitlines())
    return [record["step"] for record in records if record["event"] == "step"]
