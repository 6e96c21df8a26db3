"""What goes wrong while a teacher rewrites: every trouble is a condition with the count and what to do about it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from igpo_cluster import kwok
from igpo_cluster.cluster import Cluster
from operatorworld.process import OperatorProcess
from operatorworld.runs import Team, igpo, sft

TEACHER = {
    "baseUrl": "https://teacher.example/v1",
    "model": "concise-70b",
    "apiKeySecretRef": {"name": "teacher", "key": "token"},
}
COUNTS = {"rows": 10, "done": 4, "kept": 3, "dropped": 1, "tokens": 1234}
KEPT = (
    "the teacher's answers for 4 of 10 traces are on the volume: delete the run and apply it again to go on with them"
)
FINAL = {
    "budget": (64, "InvalidRun", "rewrite.tokenBudget 2000 is spent: 1234 tokens for 4 answers, 6 traces are left"),
    "key": (64, "InvalidRun", "the teacher at https://teacher.example/v1 refuses the key (401); correct the Secret"),
    "model": (64, "InvalidRun", "the teacher knows no model 'concise-70b' (404); correct rewrite.teacher.model"),
    "dropped": (65, "InvalidData", "none of 4 rewrites by concise-70b can be kept (4 rewrite with a wrong answer)"),
}
DOWN = "the teacher at https://teacher.example/v1 left 6 of 10 traces without an answer after 6 attempts each"


@pytest.mark.parametrize("trouble", FINAL)
def test_what_trying_again_cannot_help_fails_with_the_teachers_words_the_count_and_the_way_on(
    team: Team, node: str, operator: OperatorProcess, trouble: str
) -> None:
    code, reason, words = FINAL[trouble]
    team.apply(sft("tiny", rewrite={"teacher": TEACHER}))
    team.wait_for_phase("tiny", "Rewriting")
    team.end("tiny-lasft-a1-0", code, reason=words, rewrite=COUNTS)
    failed = team.wait_for_condition("tiny", "Failed", reason)
    stalled = team.wait_for_condition("tiny", "Stalled", reason)
    assert failed["message"] == stalled["message"] == f"{words}; {KEPT}"
    status = team.status("tiny")
    assert {name: status["rewriting"][name] for name in COUNTS} == COUNTS
    assert status["attempt"]["number"] == 1
    assert KEPT in " ".join(igpo(team, "describe", "tiny", "-n", team.namespace).split())


def test_a_teacher_that_is_down_is_tried_again_and_then_given_up_with_its_count(
    team: Team, node: str, operator: OperatorProcess
) -> None:
    team.apply(sft("tiny", rewrite={"teacher": TEACHER}, runPolicy={"backoffLimit": 1}))
    for attempt in (1, 2):
        team.wait_for_attempt("tiny", attempt, "Rewriting")
        team.end(f"tiny-lasft-a{attempt}-0", 1, reason=DOWN, rewrite=COUNTS)
    failed = team.wait_for_condition("tiny", "Failed", "BackoffLimitExceeded")
    assert failed["message"] == (
        f"2 failures without a further rewritten trace exceed backoffLimit 1; the last: {DOWN}; {KEPT}"
    )
    status = team.status("tiny")
    assert [record["message"] for record in status["attempts"]] == [DOWN] * 2
    assert status["restarts"]["application"] == 1


def test_a_secret_that_is_missing_is_asked_for_and_then_the_stage_begins(
    team: Team, frozen: str, operator: OperatorProcess
) -> None:
    place = {
        "nodeSelector": {"kubernetes.io/hostname": frozen},
        "tolerations": [{"key": "kwok.x-k8s.io/node", "operator": "Exists"}],
    }
    run = sft("tiny", rewrite={"teacher": TEACHER})
    run["spec"]["workers"] |= place
    team.apply(run)
    team.wait_for_phase("tiny", "Starting")
    missing = {"reason": "CreateContainerConfigError", "message": 'secret "teacher" not found'}
    kwok.patch_pod(team.cluster, team.namespace, "tiny-lasft-a1-0", containerStatuses=[_trainer(waiting=missing)])
    stalled = team.wait_for_condition("tiny", "Stalled", "PodConfigError")
    assert stalled["message"] == (
        'pod tiny-lasft-a1-0: CreateContainerConfigError: secret "teacher" not found; create what is missing, or start '
        "a new run without it"
    )
    began = {"startedAt": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
    statuses = [_trainer(running=began)]
    kwok.patch_pod(team.cluster, team.namespace, "tiny-lasft-a1-0", phase="Running", containerStatuses=statuses)
    status = team.wait_for_phase("tiny", "Rewriting")
    assert "Stalled" not in {condition["type"] for condition in status["conditions"]}
    assert (status["attempt"]["number"], status["restarts"]["total"]) == (1, 0)


def test_a_volume_that_holds_the_result_is_told_of_and_the_gang_follows(
    team: Team, node: str, operator: OperatorProcess
) -> None:
    team.apply(sft("tiny", rewrite={"teacher": TEACHER}))
    team.wait_for_phase("tiny", "Rewriting")
    team.end("tiny-lasft-a1-0", rewrite=COUNTS | {"done": 10, "kept": 8, "dropped": 2, "cached": 10})
    status = team.wait_for_phase("tiny", "Running")
    assert (status["rewriting"]["cached"], status["attempt"]["stage"]) == (10, "Training")
    events = team.cluster.items("events.events.k8s.io", f"--namespace={team.namespace}")
    [told] = [event["note"] for event in events if event["reason"] == "Rewritten"]
    assert told == "8 of 10 rewritten traces are kept, for 1234 tokens of the teacher; the volume already held them"


@pytest.fixture
def frozen(served: Cluster, namespace: str) -> Iterator[str]:
    """A node that starts no pod, and takes only those that tolerate it."""
    name = f"{kwok.FROZEN}{namespace}"
    kwok.add_nodes(served, name, taint=True)
    yield name
    kwok.remove_nodes(served, name)


def _trainer(**state: dict[str, str]) -> dict[str, Any]:
    ready = "running" in state
    common = {"name": "trainer", "image": "i", "imageID": "", "restartCount": 0, "ready": ready, "started": ready}
    return {**common, "state": state}
