"""The stage before a gang on a real API server: one pod without GPUs, restarted on its own, never run twice."""

import json

from igpo_cluster.waiting import until
from operatorworld.process import OperatorProcess
from operatorworld.runs import Team, sft

REWRITE = {
    "teacher": {
        "baseUrl": "https://teacher.example/v1",
        "model": "concise-70b",
        "apiKeySecretRef": {"name": "teacher", "key": "token"},
    }
}
DONE = {"rows": 10, "done": 10, "kept": 8, "dropped": 2, "tokens": 1234}


def test_a_pod_rewrites_ends_with_its_counts_and_the_gang_follows(
    team: Team, node: str, operator: OperatorProcess
) -> None:
    team.apply(sft("tiny", gpus=1, rewrite=REWRITE))
    team.wait_for_phase("tiny", "Rewriting")
    (pod,) = team.pods().values()
    assert pod["metadata"]["name"] == "tiny-lasft-a1-0"
    assert "nvidia.com/gpu" not in json.dumps(pod["spec"]["containers"])
    assert "secretKeyRef" in json.dumps(pod["spec"]["containers"][0]["env"])

    team.end("tiny-lasft-a1-0", 0, rewrite=DONE)
    status = team.wait_for_phase("tiny", "Running")
    assert {name: status["rewriting"][name] for name in DONE} == DONE
    assert status["rewriting"]["finishedAt"]
    assert (status["attempt"]["number"], status["attempt"]["stage"]) == (2, "Training")
    until(lambda: sorted(team.pods()) == ["tiny-lasft-a2-0", "tiny-lasft-a2-1"], "the first pod to be cleared away")
    team.end_all("tiny", 2)
    assert team.wait_for_phase("tiny", "Complete")["restarts"]["total"] == 0


def test_a_stage_that_can_never_work_ends_the_run(team: Team, node: str, operator: OperatorProcess) -> None:
    team.apply(sft("tiny", rewrite=REWRITE))
    team.wait_for_phase("tiny", "Rewriting")
    team.end("tiny-lasft-a1-0", 64)
    status = team.wait_for_phase("tiny", "Failed")
    assert [c["reason"] for c in status["conditions"] if c["type"] == "Failed"] == ["InvalidRun"]
    assert list(team.pods()) == ["tiny-lasft-a1-0"]


def test_killed_and_suspended_in_the_middle_it_goes_on_and_only_then_the_gang_starts(
    team: Team, node: str, operator: OperatorProcess
) -> None:
    team.apply(sft("tiny", rewrite=REWRITE))
    team.wait_for_phase("tiny", "Rewriting")
    team.end("tiny-lasft-a1-0", 137, rewrite=DONE | {"done": 4})
    until(lambda: _rewrites(team, 2), "the stage to be started again", every=0.2)
    assert team.status("tiny")["restarts"]["application"] == 1

    _suspend(team, True)
    status = team.wait_for_phase("tiny", "Suspended")
    assert "4 of 10 traces are rewritten" in status["message"]
    until(lambda: not team.pods(), "the pods to be gone")
    operator.stop()
    operator.start()
    _suspend(team, False)
    until(lambda: _rewrites(team, 3), "the stage to go on", every=0.2)
    team.end("tiny-lasft-a3-0", 0, rewrite=DONE)
    status = team.wait_for_phase("tiny", "Running")
    assert (status["attempt"]["number"], status["rewriting"]["attempt"]) == (4, 3)
    assert [record["stage"] for record in status["attempts"]] == ["Rewriting"] * 3


def _rewrites(team: Team, attempt: int) -> bool:
    status = team.status("tiny")
    return bool(status["phase"] == "Rewriting" and status["attempt"]["number"] == attempt)


def _suspend(team: Team, on: bool) -> None:
    patch = json.dumps({"spec": {"suspend": on}})
    team.cluster.kubectl(
        "patch", "lengthalignedsft/tiny", f"--namespace={team.namespace}", "--type=merge", f"--patch={patch}"
    )
