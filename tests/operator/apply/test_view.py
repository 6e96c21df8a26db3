import json
from datetime import UTC, datetime

import pytest

from igpo_operator.apply.view import UnreadableError, node_is_ready, owner_of, pod_of, run_of
from igpo_operator.plan.observed import Disruption, Running, Terminated, Waiting
from operatorworld.bodies import pod_body, run_body, running


def _condition(kind: str, status: str, reason: str = "", message: str = "") -> dict:
    at = "2026-11-24T12:00:03Z"
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": at}


def _at(second: int, minute: int = 0) -> datetime:
    return datetime(2026, 11, 24, 12, minute, second, tzinfo=UTC)


def _ended(code: int, message: str = "", reason: str = "Error") -> dict:
    return {
        "terminated": {"exitCode": code, "reason": reason, "message": message, "finishedAt": "2026-11-24T12:00:09Z"}
    }


def test_a_gated_pod_shows_who_holds_it() -> None:
    gates = [{"name": "kueue.x-k8s.io/admission"}, {"name": "kueue.x-k8s.io/topology"}]
    body = pod_body(spec={"schedulingGates": gates})
    body["metadata"]["labels"]["kueue.x-k8s.io/pod-group-name"] = "g"
    body["metadata"]["annotations"] = {"kueue.x-k8s.io/retriable-in-group": "false"}
    pod = pod_of(body)
    assert pod.gates == ("kueue.x-k8s.io/admission", "kueue.x-k8s.io/topology")
    assert pod.queued
    assert pod.retriable == "false"
    assert pod.scheduled_at is None


def test_an_unschedulable_pod_keeps_the_schedulers_words() -> None:
    words = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    pod = pod_of(pod_body(conditions=[_condition("PodScheduled", "False", "Unschedulable", words)]))
    assert pod.unschedulable == words
    assert pod.scheduled_at is None


def test_a_scheduled_pod_has_its_moment_and_says_whether_it_is_set_up() -> None:
    conditions = [_condition("PodScheduled", "True"), _condition("PodReadyToStartContainers", "False")]
    pod = pod_of(pod_body(spec={"nodeName": "n1"}, conditions=conditions))
    assert (pod.scheduled_at, pod.node, pod.ready_to_start) == (_at(3), "n1", False)


def test_a_running_pod_has_an_address() -> None:
    pod = pod_of(pod_body(**running(podIP="fd00::7")))
    assert pod.trainer == Running(since=_at(5))
    assert (pod.ip, pod.image_id, pod.terminal) == ("fd00::7", "sha256:1", False)


def test_an_image_that_cannot_be_pulled_is_a_reason_to_wait() -> None:
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}
    assert pod_of(pod_body(state=waiting)).trainer == Waiting("ImagePullBackOff", "Back-off pulling image")


def test_a_blocked_init_container_is_named_instead_of_pod_initializing() -> None:
    blocker = {"name": "setup", "state": {"waiting": {"reason": "ErrImagePull", "message": "no such image"}}}
    body = pod_body(state={"waiting": {"reason": "PodInitializing"}}, initContainerStatuses=[blocker])
    assert pod_of(body).trainer == Waiting("ErrImagePull", "init container setup: no such image")


def test_a_terminating_pod_tells_when_it_was_asked_and_when_it_should_be_gone() -> None:
    metadata = {"deletionTimestamp": "2026-11-24T12:02:10Z", "deletionGracePeriodSeconds": 120}
    body = pod_body(**running())
    body["metadata"] |= metadata
    pod = pod_of(body)
    assert (pod.deleted_at, pod.gone_by) == (_at(10), _at(10, minute=2))


def test_an_evicted_pod_has_no_container_but_a_cause() -> None:
    conditions = [_condition("DisruptionTarget", "True", "TerminationByKubelet", "low on memory")]
    pod = pod_of(pod_body(phase="Failed", reason="Evicted", message="The node was low", conditions=conditions))
    assert pod.trainer is None
    assert pod.terminal
    assert (pod.reason, pod.disruption) == ("Evicted", Disruption("TerminationByKubelet", "low on memory", _at(3)))


def test_a_disruption_condition_that_is_false_is_none() -> None:
    assert pod_of(pod_body(conditions=[_condition("DisruptionTarget", "False", "x")])).disruption is None


def test_a_preemption_by_kueue_is_a_disruption() -> None:
    conditions = [_condition("TerminationTarget", "True", "Preempted", "higher priority")]
    assert pod_of(pod_body(conditions=conditions)).disruption.reason == "Preempted"


def test_a_container_out_of_memory_has_the_kubelets_word() -> None:
    trainer = pod_of(pod_body(state=_ended(137, reason="OOMKilled"))).trainer
    assert (trainer.exit_code, trainer.reason, trainer.message) == (137, "OOMKilled", None)


def test_the_termination_message_is_read_also_with_fields_of_a_newer_trainer() -> None:
    left = {"code": 1, "reason": "it broke", "step": 7, "last_lines": ["a", "b"], "mood": "bad"}
    trainer = pod_of(pod_body(state=_ended(1, json.dumps(left)))).trainer
    assert trainer.message.step == 7
    assert trainer.message.last_lines == ["a", "b"]
    assert trainer.raw_message == ""
    assert trainer.finished_at == _at(9)


@pytest.mark.parametrize("text", ["Traceback: boom", '{"code": 1', "[1]", "null", '{"code": "many"}', ""])
def test_a_message_that_is_no_message_of_ours_stays_as_text(text: str) -> None:
    trainer = pod_of(pod_body(state=_ended(1, text))).trainer
    assert isinstance(trainer, Terminated)
    assert trainer.message is None
    assert trainer.raw_message == text


def test_a_sidecar_says_nothing_about_the_rank() -> None:
    body = pod_body(state=_ended(0), phase="Running")
    body["status"]["containerStatuses"].insert(0, {"name": "proxy", "state": {"running": {"startedAt": "x"}}})
    pod = pod_of(body)
    assert pod.trainer.exit_code == 0
    assert pod.terminal
    assert pod.accompanied


def test_a_sidecar_that_has_ended_accompanies_nobody() -> None:
    body = pod_body(state=_ended(0), phase="Running")
    assert not pod_of(body).accompanied
    body["status"]["containerStatuses"].append({"name": "proxy", "state": {"terminated": {"exitCode": 0}}})
    assert not pod_of(body).accompanied


def test_an_end_without_a_time_is_an_end() -> None:
    state = {"terminated": {"exitCode": 137, "reason": "ContainerStatusUnknown", "finishedAt": None}}
    assert pod_of(pod_body(state=state)).trainer.finished_at is None


def test_a_pod_of_a_lost_node_carries_the_reason() -> None:
    assert pod_of(pod_body(phase="Running", reason="NodeLost")).reason == "NodeLost"


def test_a_run_keeps_its_spec_and_only_our_annotations() -> None:
    body = run_body(annotations={"igpo.dev/note": "x", "kubectl.kubernetes.io/last-applied": "{…}"})
    run = run_of(body)
    assert run.key == ("LengthAlignedSFT", "team", "tiny")
    assert run.annotations == {"igpo.dev/note": "x"}
    assert not run.deleting
    assert run_of(run_body(deletionTimestamp="2026-11-24T12:00:00Z")).deleting


def test_a_status_of_another_version_is_refused_not_forgotten() -> None:
    with pytest.raises(UnreadableError, match=r"status\.attempt\.number 'many': Input should be"):
        run_of(run_body(status={"attempt": {"number": "many"}}))


def test_only_a_controller_of_our_group_owns_a_pod() -> None:
    body = pod_body()
    assert owner_of(body) == (("LengthAlignedSFT", "team", "tiny"), "run-1")
    body["metadata"]["ownerReferences"][0]["controller"] = False
    assert owner_of(body) is None
    body["metadata"]["ownerReferences"] = [
        {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "u", "controller": True}
    ]
    assert owner_of(body) is None


def test_a_node_is_ready_when_it_says_so() -> None:
    assert node_is_ready({"status": {"conditions": [_condition("Ready", "True")]}})
    assert not node_is_ready({"status": {"conditions": [_condition("Ready", "Unknown")]}})
    assert not node_is_ready({})
