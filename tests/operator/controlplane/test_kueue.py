"""Gangs in the real Kueue's queues: whole or not at all, and no quota is ever kept by nobody."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from igpo_cluster import kueue, kwok
from igpo_cluster.cluster import Cluster
from igpo_cluster.waiting import until
from operatorworld.process import OperatorProcess
from operatorworld.runs import Team, sft

CRDS = Path(__file__).parents[3] / "crds"
GPUS = 4
"""Of the queue; a gang here asks for all of them."""

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def queued(queued_control_plane: Cluster) -> Cluster:
    queued_control_plane.apply_crds(CRDS)
    return queued_control_plane


@pytest.fixture
def team(queued: Cluster) -> Iterator[Team]:
    """A namespace with a queue of its own, which bears the namespace's name, and nodes that never are the limit."""
    cluster = queued
    name = f"queued-{secrets.token_hex(3)}"
    cluster.create_namespace(name, pod_security="restricted")
    kueue.add_priority(cluster, "urgent", 1000)
    kueue.add_queue(cluster, name, name, gpus=GPUS, preemption=True)
    kwok.add_nodes(cluster, name, gpus=4 * GPUS)
    team = Team(cluster, name)
    team.add_volumes(3)
    yield team
    cluster.delete_namespace(name)
    kwok.remove_nodes(cluster, name)
    team.remove_volumes()


def test_a_gang_waits_whole_until_the_quota_is_free_and_gives_it_back_at_the_end(
    team: Team, operator: OperatorProcess
) -> None:
    team.apply(_queued(team, "first"))
    team.wait_for_phase("first", "Running")
    team.apply(_queued(team, "second"))
    status = team.wait_for_phase("second", "Queued")
    assert _condition(status, "Admitted") == ("False", "Queued")
    assert team.namespace in status["message"]
    assert _running(team, "second") == 0

    team.end_all("first", 1)
    team.wait_for_phase("first", "Complete")
    status = team.wait_for_phase("second", "Running")
    assert _condition(status, "Admitted") == ("True", "Admitted")
    team.end_all("second", 1)
    team.wait_for_phase("second", "Complete")
    _quota_is_back(team)


def test_a_restarted_gang_keeps_its_quota(team: Team, operator: OperatorProcess) -> None:
    team.apply(_queued(team, "first"))
    team.wait_for_phase("first", "Running")
    team.apply(_queued(team, "second"))
    team.wait_for_phase("second", "Queued")
    team.end("first-lasft-a1-0", 1, step=5)

    until(lambda: team.status("first")["attempt"]["number"] == 2, "attempt 2", within=60, every=0.2)
    team.wait_for_phase("first", "Running", within=60)
    assert team.status("second")["phase"] == "Queued"
    assert "startTime" not in team.status("second"), "the waiting gang never ran in between"
    team.end_all("first", 2)
    team.wait_for_phase("first", "Complete")
    team.wait_for_phase("second", "Running")


def test_a_preempted_gang_is_not_charged_and_comes_back(team: Team, operator: OperatorProcess) -> None:
    team.apply(_queued(team, "lowly", backoffLimit=0))
    team.wait_for_phase("lowly", "Running")
    team.apply(_queued(team, "lordly", workloadPriorityClassName="urgent"))
    team.wait_for_phase("lordly", "Running", within=60)
    status = team.wait_for_phase("lowly", "Queued", within=60)
    assert status["attempts"][0]["class"] == "Preempted"
    assert status["restarts"]["infrastructure"] == 1

    team.end_all("lordly", 1)
    team.wait_for_phase("lordly", "Complete")
    status = team.wait_for_phase("lowly", "Running", within=60)
    team.end_all("lowly", status["attempt"]["number"])
    status = team.wait_for_phase("lowly", "Complete")
    assert status["restarts"]["application"] == 0
    _quota_is_back(team)


def test_a_suspended_gang_frees_its_quota_and_queues_again_when_resumed(team: Team, operator: OperatorProcess) -> None:
    team.apply(_queued(team, "first"))
    team.wait_for_phase("first", "Running")
    team.apply(_queued(team, "second"))
    team.wait_for_phase("second", "Queued")
    team.apply(_queued(team, "first") | {"spec": {**_queued(team, "first")["spec"], "suspend": True}})
    team.wait_for_phase("first", "Suspended", within=60)
    team.wait_for_phase("second", "Running", within=60)

    team.apply(_queued(team, "first"))
    team.wait_for_phase("first", "Queued", within=60)
    team.end_all("second", 1)
    team.wait_for_phase("first", "Running", within=60)


def test_a_run_deleted_while_it_runs_or_queues_leaves_no_quota_behind(team: Team, operator: OperatorProcess) -> None:
    team.apply(_queued(team, "first"))
    team.wait_for_phase("first", "Running")
    team.apply(_queued(team, "second"))
    team.wait_for_phase("second", "Queued")
    for name in ("second", "first"):
        team.cluster.kubectl("delete", "lasft", name, f"--namespace={team.namespace}", "--timeout=30s")
    _quota_is_back(team)


def test_a_run_deleted_while_no_operator_is_there_gives_its_quota_back_when_one_comes(
    team: Team, operator: OperatorProcess
) -> None:
    team.apply(_queued(team, "first"))
    team.wait_for_phase("first", "Running")
    operator.kill()
    team.cluster.kubectl("delete", "lasft", "first", f"--namespace={team.namespace}", "--timeout=30s")
    operator.start()
    _quota_is_back(team)


def test_a_queue_that_nobody_made_is_named_and_the_gang_starts_when_it_is_made(
    team: Team, operator: OperatorProcess
) -> None:
    name = f"{team.namespace}-new"
    team.apply(_queued(team, "early", queueName=name))
    status = team.wait_for_phase("early", "Queued")
    assert _condition(status, "Admitted") == ("False", "Queued")
    assert f"wait in queue {name}" in status["message"]
    assert "kubectl get workloads" in status["message"]
    kueue.add_queue(team.cluster, name, team.namespace, gpus=GPUS)
    team.wait_for_phase("early", "Running", within=60)


def _queued(team: Team, name: str, **policy: Any) -> dict[str, Any]:
    return sft(name, gpus=GPUS // 2, runPolicy={"queueName": team.namespace, **policy})


def _quota_is_back(team: Team) -> None:
    until(lambda: kueue.used_gpus(team.cluster, team.namespace) == 0, "the whole quota to be free", 60, every=0.5)


def _running(team: Team, run: str) -> int:
    return sum(
        pod["status"].get("phase") == "Running" for name, pod in team.pods().items() if name.startswith(f"{run}-")
    )


def _condition(status: dict[str, Any], kind: str) -> tuple[str, str]:
    found = next(condition for condition in status["conditions"] if condition["type"] == kind)
    return found["status"], found["reason"]
