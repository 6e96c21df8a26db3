import pytest
from hypothesis import given
from hypothesis import strategies as st

from igpo_operator.api.reasons import Reason
from igpo_operator.plan.gang import Gang
from igpo_operator.plan.message import PATIENCE, obstacle, refusal_message, refusal_reason, steady
from igpo_operator.plan.observed import Refusal
from planworld.pictures import NOW, after, pod, waiting

LATER = NOW + PATIENCE


def trouble(*pods, at=LATER):
    return obstacle(Gang.of(pods, 1, len(pods)), at)[0]


def waits(reason, message="", rank=0):
    return pod(rank, phase="Pending", trainer=waiting(reason, message))


@pytest.mark.parametrize("reason", ["ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"])
def test_an_image_that_cannot_be_pulled_stalls_the_run(reason):
    found = trouble(pod(0), waits(reason, 'failed to pull "x:1": not found', rank=1))
    assert (found.reason, found.stalled) == (Reason.IMAGE_UNAVAILABLE, True)
    assert "gsm8k-igpo-a1-1" in found.message
    assert 'failed to pull "x:1": not found' in found.message


@pytest.mark.parametrize("reason", ["CreateContainerConfigError", "CreateContainerError", "FailedMount"])
def test_a_missing_secret_stalls_the_run(reason):
    found = trouble(waits(reason, 'secret "token" not found'))
    assert (found.reason, found.stalled) == (Reason.POD_CONFIG_ERROR, True)
    assert 'secret "token" not found' in found.message


def test_an_unschedulable_pod_is_told_in_the_schedulers_words_and_stalls_nothing():
    words = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
    found = trouble(pod(0, phase="Pending", node=None, trainer=None, unschedulable=words))
    assert (found.reason, found.stalled) == (Reason.UNSCHEDULABLE, False)
    assert "3 Insufficient nvidia.com/gpu" in found.message


def test_a_claim_that_does_not_exist_stalls_the_run():
    words = '0/1 nodes are available: persistentvolumeclaim "nope" not found. not eligible'
    found = trouble(pod(0, phase="Pending", node=None, trainer=None, unschedulable=words))
    assert (found.reason, found.stalled) == (Reason.POD_CONFIG_ERROR, True)


def test_a_gated_pod_is_not_unschedulable():
    held = pod(0, phase="Pending", node=None, trainer=None, unschedulable="gated", gates=("g",))
    assert trouble(held) is None


def test_volumes_that_do_not_come_stall_the_run_after_a_while():
    mounting = pod(0, phase="Pending", trainer=waiting("ContainerCreating"), ready_to_start=False, scheduled_at=NOW)
    gang = Gang.of((mounting,), 1, 1)
    assert obstacle(gang, after(89)) == (None, after(90))
    found, _ = obstacle(gang, after(90))
    assert (found.reason, found.stalled) == (Reason.POD_CONFIG_ERROR, True)
    assert "node-0" in found.message


@pytest.mark.parametrize("reason", ["ContainerCreating", "PodInitializing", ""])
def test_ordinary_waiting_is_no_obstacle(reason):
    assert trouble(waits(reason), at=after(10**6)) is None


def test_a_young_pod_is_given_a_moment():
    gang = Gang.of((waits("ErrImagePull"),), 1, 1)
    assert obstacle(gang, NOW) == (None, LATER)


def test_what_a_person_must_mend_is_told_before_what_may_pass():
    placed = pod(0, phase="Pending", node=None, trainer=None, unschedulable="no room")
    assert trouble(placed, waits("InvalidImageName", rank=1)).reason is Reason.IMAGE_UNAVAILABLE


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ('back-off 20s pulling image "x"', 'back-off pulling image "x"'),
        ('back-off 1m20s pulling image "x"', 'back-off pulling image "x"'),
        ("back-off 5m0s", "back-off"),
        ("read udp 10.1.2.3:45678->10.0.0.10:53: timeout", "read udp 10.0.0.10:53: timeout"),
        ("at 2026-03-01T12:00:00Z it broke", "at … it broke"),
        ("two\n  lines.", "two lines"),
        ('persistentvolumeclaim "x" not found. not found', 'persistentvolumeclaim "x" not found'),
    ],
)
def test_what_changes_at_every_try_is_left_out(words, kept):
    assert steady(words) == kept


@given(st.integers(1, 59), st.integers(1, 59))
def test_back_off_messages_are_the_same_at_every_try(one, other):
    assert steady(f"back-off {one}s pulling image") == steady(f"back-off {other}m{one}s pulling image")


def refused(code, message):
    return Refusal(1, code, message, NOW)


def test_a_quota_is_told_with_its_numbers():
    words = 'pods "gsm8k-igpo-a1-1" is forbidden: exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1'
    refusal = refused(403, words)
    assert refusal_reason(refusal) is Reason.QUOTA_EXCEEDED
    assert "exceeded quota: q, requested: pods=1, used: pods=1, limited: pods=1; raise" in refusal_message(refusal)


@pytest.mark.parametrize("code", [400, 403, 422])
def test_other_refusals_are_those_of_a_policy(code):
    refusal = refused(code, "ValidatingAdmissionPolicy 'no-gpus' denied request: no")
    assert refusal_reason(refusal) is Reason.POD_REFUSED
    assert "denied request: no" in refusal_message(refusal)


def test_a_name_that_is_taken_is_told_as_such():
    refusal = refused(409, 'Service "gsm8k-igpo" belongs to another object')
    assert refusal_reason(refusal) is Reason.NAME_TAKEN
    assert "another name" in refusal_message(refusal)
