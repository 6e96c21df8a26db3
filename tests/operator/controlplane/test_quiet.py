"""Runs that nothing happens to cost the API server nothing."""

import time
from collections.abc import Callable

import pytest

from igpo_cluster.waiting import until
from operatorworld.process import OperatorProcess
from operatorworld.runs import Team, sft

WINDOW_SECONDS = 60


@pytest.mark.timeout(240)
def test_in_sixty_seconds_stuck_and_running_runs_are_written_to_not_once(
    team: Team, node: str, operators: Callable[..., OperatorProcess]
) -> None:
    patient = {"wait_base_seconds": "600", "wait_max_seconds": "900"}
    operator = operators(team.cluster.kubeconfig, namespaces=team.namespace, **patient).start()
    team.add_volumes(4)
    runs = {
        "running": sft("running"),
        "unschedulable": sft("unschedulable", gpus=8),
        "waiting": sft("waiting", model={"from": {"kind": "LengthAlignedSFT", "name": "missing"}}),
        "suspended": sft("suspended", suspend=True),
        "hen": sft("hen", model={"from": {"kind": "LengthAlignedSFT", "name": "egg"}}),
        "egg": sft("egg", model={"from": {"kind": "LengthAlignedSFT", "name": "hen"}}),
        "delegated": sft("delegated", managedBy="kueue.x-k8s.io/multikueue"),
    }
    team.apply(*runs.values())
    team.wait_for_phase("running", "Running")
    team.wait_for_phase("waiting", "Waiting")
    team.wait_for_phase("suspended", "Suspended")
    until(lambda: "Insufficient" in team.status("unschedulable").get("message", ""), "the scheduler's words", every=0.2)
    team.wait_for_condition("hen", "Stalled", "SourceCycle")
    _refuse(team)
    audit, before = team.cluster.audit.mark(), _statuses(team)
    over = time.monotonic() + WINDOW_SECONDS
    until(lambda: time.monotonic() > over, "the window to be over", within=WINDOW_SECONDS + 30, every=1.0)
    ours = [w for w in audit.writes(namespace=team.namespace) if w.agent.startswith("igpo-operator")]
    assert [w for w in ours if w.resource != "leases"] == []
    assert _statuses(team) == before
    assert team.status("delegated") == {}
    assert operator.running
    assert "Traceback" not in operator.log


def _refuse(team: Team) -> None:
    """A run for whose gang the quota has one pod too few."""
    quota = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}}
    team.cluster.apply(quota | {"spec": {"hard": {"pods": str(len(team.pods()) + 1)}}}, namespace=team.namespace)
    words = ("resourcequota", "few", f"--namespace={team.namespace}")
    until(lambda: team.cluster.get(*words).get("status", {}).get("hard"), "the quota to be in force", every=0.2)
    team.apply(sft("refused"))
    team.wait_for_condition("refused", "Stalled", "QuotaExceeded")
    until(lambda: not [pod for pod in team.pods() if pod.startswith("refused")], "the partial gang to go", every=0.2)
    until(lambda: team.status("refused")["attempt"]["number"] == 2, "the back-off to begin", every=0.2)


def _statuses(team: Team) -> dict[str, object]:
    runs = team.cluster.items("lengthalignedsfts", f"--namespace={team.namespace}")
    return {run["metadata"]["name"]: run.get("status") for run in runs}
