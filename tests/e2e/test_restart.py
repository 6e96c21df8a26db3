"""Ranks die: the gang restarts from its last checkpoint, and only what is the run's own fault is charged."""

import signal

from igpo_cluster.cluster import Cluster
from igpo_e2e.faults import break_reward, evict, fragile
from igpo_e2e.manifests import RL, slow
from igpo_e2e.operator import Operator
from igpo_e2e.ranks import rank_process
from igpo_e2e.run import Body, Run


def test_a_killed_rank_restarts_the_gang_from_its_checkpoint(cluster: Cluster, training: str) -> None:
    run = Run(cluster, RL, training, "killed").apply(slow("killed"))
    saved = run.wait_checkpoint(4)["checkpoint"]["step"]
    first = {pod["metadata"]["name"] for pod in run.pods()}
    rank_process(run, 1).send(signal.SIGKILL)
    status = run.wait_complete()

    assert status["attempt"]["number"] == 2
    record = status["attempts"][0]
    assert (record["class"], record["rank"]) == ("Application", 1)
    assert record["checkpointStep"] >= saved
    assert status["restarts"]["application"] == 1
    assert status["progress"]["step"] == 16
    assert {pod["metadata"]["name"] for pod in run.pods()}.isdisjoint(first), "both ranks are new"


def test_an_evicted_pod_is_not_charged(cluster: Cluster, training: str) -> None:
    run = Run(cluster, RL, training, "evicted").apply(slow("evicted", runPolicy={"backoffLimit": 0}))
    run.wait_step(2)
    evict(cluster, run.pod(1))
    status = run.wait_complete()

    assert status["attempt"]["number"] == 2
    assert status["attempts"][0]["class"] in ("Evicted", "Deleted")
    assert status["restarts"]["infrastructure"] == 1
    assert status["restarts"].get("application", 0) == 0
    assert status["attempts"][0]["checkpointStep"] >= 2, "the evicted rank saved first"


def test_checkpoint_progress_gives_the_budget_back(cluster: Cluster, training: str) -> None:
    run = Run(cluster, RL, training, "progress").apply(slow("progress", runPolicy={"backoffLimit": 1}))
    run.wait_checkpoint(2)
    rank_process(run, 0, attempt=1).send(signal.SIGKILL)
    first = run.wait("attempt 2", lambda body: _attempt(body) == 2)["status"]
    saved = first["attempts"][0]["checkpointStep"]
    run.wait_checkpoint(saved + 2)
    rank_process(run, 1, attempt=2).send(signal.SIGKILL)
    status = run.wait_complete()

    assert status["attempt"]["number"] == 3
    assert status["restarts"]["application"] == 2
    assert status["budget"]["charged"] <= 1


def test_a_crash_at_the_same_step_fails_fast(cluster: Cluster, training: str) -> None:
    manifest = slow("same-step", checkpoints={"everySteps": 1}, runPolicy={"backoffLimit": 5})
    run = Run(cluster, RL, training, "same-step").apply(fragile(cluster, training, manifest))
    run.wait_checkpoint(2)
    break_reward(run)
    status = run.wait_failed("SameStepCrash", within=120)

    assert status["attempt"]["number"] == 2
    assert [record["class"] for record in status["attempts"]] == ["Application", "Application"]
    assert len({record["step"] for record in status["attempts"]}) == 1


def test_the_operator_may_be_killed_at_any_moment(cluster: Cluster, operator: Operator, training: str) -> None:
    run = Run(cluster, RL, training, "headless").apply(slow("headless"))
    run.wait("pods", lambda body: _attempt(body) == 1, within=30)
    operator.kill()
    run.wait_checkpoint(2)
    operator.kill()
    rank_process(run, 1).send(signal.SIGKILL)
    operator.wait_ready()
    status = run.wait_complete()

    assert status["attempt"]["number"] == 2
    assert status["restarts"]["application"] == 1
    assert len(run.pods(2)) == 2


def _attempt(run: Body) -> int:
    return int(((run.get("status") or {}).get("attempt") or {}).get("number", 0))
