"""What nobody should write, written all the same: it is said, it costs nothing, and it passes when it is put right."""

import json
from typing import Any

import pytest
from kubernetes.client import CustomObjectsApi

from igpo_cluster.audit import Request
from igpo_cluster.waiting import until
from igpo_trainer.spec.contract import MAX_NAME_LENGTH
from operatorworld.process import OperatorProcess
from operatorworld.runs import Team, igpo, sft

FLIPS = 200


def test_a_run_with_the_longest_name_that_is_allowed_runs_and_completes(
    team: Team, node: str, operator: OperatorProcess
) -> None:
    name = "9" + "n" * (MAX_NAME_LENGTH - 1)
    team.apply(sft(name))
    team.wait_for_phase(name, "Running")
    team.end_all(name, 1)
    team.wait_for_phase(name, "Complete")


def test_runs_that_only_a_person_can_help_say_so_and_go_on_when_they_are_put_right(
    team: Team, node: str, operator: OperatorProcess
) -> None:
    audit = team.cluster.audit.mark()
    team.apply(
        sft("delegated", managedBy="kueue.x-k8s.io/multikueue"),
        sft("hen", model=_from("egg")),
        sft("egg", model=_from("hen")),
        sft("garbled", replicas=1, suspend=True),
    )
    for name in ("hen", "egg"):
        stalled = team.wait_for_condition(name, "Stalled", "SourceCycle")
        other = "egg" if name == "hen" else "hen"
        assert f"lasft/{name} → lasft/{other} → lasft/{name}" in stalled["message"]
        assert "delete one of them" in stalled["message"]
    team.wait_for_phase("garbled", "Suspended")
    _write_status(team, "garbled", {"phase": "Dancing"})
    stalled = team.wait_for_condition("garbled", "Stalled", "InvalidStatus")
    assert "status.phase 'Dancing': Input should be 'Pending', 'Waiting'" in stalled["message"]
    assert "kubectl edit --subresource=status" in stalled["message"]
    assert team.status("garbled")["phase"] == "Dancing"
    table = igpo(team, "status", "-n", team.namespace)
    assert "SourceCycle" in table or "leads in a circle" in table
    assert f"LengthAlignedSFT {team.namespace}/garbled: status.phase 'Dancing'" in table
    assert team.status("delegated") == {}
    assert not [write for write in audit.writes(namespace=team.namespace) if _is_ours(write, "delegated")]
    assert "Traceback" not in operator.log

    _write_status(team, "garbled", {"phase": "Suspended"})
    team.apply(sft("garbled", replicas=1, suspend=False))
    status = team.wait_for_phase("garbled", "Running")
    assert "Stalled" not in {condition["type"] for condition in status["conditions"]}
    team.cluster.kubectl("delete", "lasft", "egg", f"--namespace={team.namespace}")
    team.wait_for_condition("hen", "Reconciling", "WaitingForSource")


def test_a_pod_of_somebody_else_under_a_ranks_name_is_named_left_alone_and_waited_for(
    team: Team, node: str, operator: OperatorProcess
) -> None:
    container = {"name": "c", "image": "i", "securityContext": _RESTRICTED}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tiny-lasft-a1-1", "labels": {"igpo.dev/run": "x"}}}
    team.cluster.apply(pod | {"spec": {"containers": [container]}}, namespace=team.namespace)
    uid = team.pods()["tiny-lasft-a1-1"]["metadata"]["uid"]
    team.apply(sft("tiny"))
    taken = team.wait_for_condition("tiny", "Reconciling", "NameTaken")
    assert "Pod tiny-lasft-a1-1 already exists and belongs to nobody" in taken["message"]
    assert "give this run another name" in taken["message"]
    assert team.pods()["tiny-lasft-a1-1"]["metadata"]["uid"] == uid

    team.cluster.kubectl("delete", "pod", "tiny-lasft-a1-1", f"--namespace={team.namespace}")
    status = team.wait_for_phase("tiny", "Running", within=60)
    assert (status["attempt"]["number"], status["restarts"]["total"]) == (1, 0)


def test_a_status_edited_by_hand_does_not_lead_to_two_gangs(team: Team, node: str, operator: OperatorProcess) -> None:
    team.apply(sft("tiny"))
    team.wait_for_phase("tiny", "Running")
    _write_status(team, "tiny", {"attempt": None, "resolved": None, "conditions": [_ODD], "phase": "Pending"})
    until(lambda: team.status("tiny").get("attempt", {}).get("number") == 2, "a new attempt", every=0.2)
    team.wait_for_phase("tiny", "Running")
    until(lambda: set(team.pods()) == {"tiny-lasft-a2-0", "tiny-lasft-a2-1"}, "one gang", every=0.2)
    assert "Traceback" not in operator.log


@pytest.mark.timeout(240)  # a busy machine takes half a second for a flip
def test_hundreds_of_rapid_suspends_and_resumes_end_as_the_last_one_says(
    team: Team, node: str, operator: OperatorProcess
) -> None:
    team.apply(sft("tiny"))
    team.wait_for_phase("tiny", "Running")
    runs = CustomObjectsApi(team.cluster.api)
    for flip in range(FLIPS):
        patch = {"spec": {"suspend": flip % 2 == 0}}
        runs.patch_namespaced_custom_object("igpo.dev", "v1alpha1", team.namespace, "lengthalignedsfts", "tiny", patch)
    generation = team.run("tiny")["metadata"]["generation"]
    assert generation > FLIPS
    until(lambda: _settled(team, generation, "Running"), "the run to run", every=0.2)
    status = team.status("tiny")
    number = status["attempt"]["number"]
    assert number == 1 + status["restarts"]["suspended"] == 1 + status["restarts"]["total"]
    assert {record["class"] for record in status.get("attempts", [])} <= {"Suspended"}
    until(lambda: set(team.pods()) == {f"tiny-lasft-a{number}-{rank}" for rank in (0, 1)}, "one gang", every=0.2)
    assert status["budget"]["charged"] == 0
    assert "Traceback" not in operator.log


_ODD = {
    "type": "Stalled",
    "status": "True",
    "reason": "Odd",
    "message": "",
    "lastTransitionTime": "2026-01-01T00:00:00Z",
}
_RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def _from(name: str) -> dict[str, Any]:
    return {"from": {"kind": "LengthAlignedSFT", "name": name}}


def _write_status(team: Team, name: str, status: dict[str, Any]) -> None:
    """As a person with kubectl does."""
    patch = json.dumps({"status": status})
    words = ("--subresource=status", "--type=merge", f"--patch={patch}")
    team.cluster.kubectl("patch", "lasft", name, f"--namespace={team.namespace}", *words)


def _is_ours(write: Request, run: str) -> bool:
    """Whether the operator wrote something that bears a run's name."""
    return run in write.name and write.agent.startswith("igpo-operator")


def _settled(team: Team, generation: int, phase: str) -> bool:
    status = team.status("tiny")
    return bool(status["phase"] == phase and status["observedGeneration"] == generation)
