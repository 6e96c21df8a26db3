"""Gangs that the scheduler has no room for, or room for a part only."""

from collections.abc import Callable

from igpo_cluster import kwok
from igpo_cluster.waiting import until
from operatorworld.process import OperatorProcess
from operatorworld.runs import Team, sft


def test_a_run_that_fits_nowhere_says_so_in_the_schedulers_words_and_starts_when_a_node_comes(
    team: Team, node: str, operator: OperatorProcess
) -> None:
    team.apply(sft("greedy", gpus=8))
    condition = team.wait_for_condition("greedy", "Reconciling", "Unschedulable")
    assert "Insufficient nvidia.com/gpu" in condition["message"]
    assert "greedy-lasft-a1-" in condition["message"]
    assert team.status("greedy")["message"] == condition["message"]
    large = f"{node}-large"
    kwok.add_nodes(team.cluster, large, gpus=16)
    try:
        status = team.wait_for_phase("greedy", "Running")
    finally:
        kwok.remove_nodes(team.cluster, large)
    assert status["attempt"]["number"] == 1


def test_a_run_whose_claim_is_missing_asks_for_it_and_starts_when_it_is_there(
    team: Team, node: str, operator: OperatorProcess
) -> None:
    team.apply(sft("homeless", storage={"claimName": "shared"}))
    stalled = team.wait_for_condition("homeless", "Stalled", "PodConfigError")
    assert 'persistentvolumeclaim "shared" not found' in stalled["message"]
    assert "create the claim, or name another one" in stalled["message"]
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "shared"}}
    spec = {"accessModes": ["ReadWriteMany"], "storageClassName": "", "resources": {"requests": {"storage": "1Gi"}}}
    team.cluster.apply(claim | {"spec": spec}, namespace=team.namespace)
    status = team.wait_for_phase("homeless", "Running")
    assert "Stalled" not in {condition["type"] for condition in status["conditions"]}


def test_a_gang_that_is_placed_in_part_gives_its_share_back_after_the_deadline(
    team: Team, node: str, operators: Callable[..., OperatorProcess]
) -> None:
    patient = {"wait_base_seconds": "600", "wait_max_seconds": "900"}
    operators(team.cluster.kubeconfig, namespaces=team.namespace, **patient).start()
    team.apply(sft("wide", gpus=2, runPolicy={"preRunningDeadlineSeconds": 5}))
    until(lambda: team.status("wide").get("attempts"), "the partial gang to be given up", every=0.2)
    status = team.status("wide")
    admitted = next(condition for condition in status["conditions"] if condition["type"] == "Admitted")
    assert (admitted["status"], admitted["reason"]) == ("False", "GangIncomplete")
    assert "only 1 of 2 pods ran within preRunningDeadlineSeconds 5" in admitted["message"]
    assert "Insufficient nvidia.com/gpu" in admitted["message"]
    assert status["attempts"][0]["class"] == "GangIncomplete"
    assert (status["restarts"]["scheduling"], status["budget"]["charged"]) == (1, 0)
    assert "notBefore" in status["attempt"]

    team.apply(sft("small", replicas=1, gpus=3))
    team.wait_for_phase("small", "Running")
    assert {name for name, pod in team.pods().items() if pod["status"]["phase"] == "Running"} == {"small-lasft-a1-0"}
