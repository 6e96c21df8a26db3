"""Runs that nothing happens to cost the API server nothing."""

import time

import pytest

from igpo_cluster.waiting import until
from operatorworld.process import OperatorProcess
from operatorworld.runs import Team, sft

WINDOW_SECONDS = 60


@pytest.mark.timeout(240)
def test_in_sixty_seconds_stuck_and_running_runs_are_written_to_not_once(
    team: Team, node: str, operator: OperatorProcess
) -> None:
    team.add_volumes(4)
    runs = {
        "running": sft("running"),
        "unschedulable": sft("unschedulable", gpus=8),
        "waiting": sft("waiting", model={"from": {"kind": "LengthAlignedSFT", "name": "missing"}}),
        "suspended": sft("suspended", suspend=True),
    }
    team.apply(*runs.values())
    team.wait_for_phase("running", "Running")
    team.wait_for_phase("waiting", "Waiting")
    team.wait_for_phase("suspended", "Suspended")
    until(lambda: "Insufficient" in team.status("unschedulable").get("message", ""), "the scheduler's words", every=0.2)
    audit, before = team.cluster.audit.mark(), _statuses(team)
    over = time.monotonic() + WINDOW_SECONDS
    until(lambda: time.monotonic() > over, "the window to be over", within=WINDOW_SECONDS + 30, every=1.0)
    ours = [w for w in audit.writes(namespace=team.namespace) if w.agent.startswith("igpo-operator")]
    assert [w for w in ours if w.resource != "leases"] == []
    assert _statuses(team) == before
    assert operator.running


def _statuses(team: Team) -> dict[str, object]:
    runs = team.cluster.items("lengthalignedsfts", f"--namespace={team.namespace}")
    return {run["metadata"]["name"]: run.get("status") for run in runs}
