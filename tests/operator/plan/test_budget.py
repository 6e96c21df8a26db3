import pytest
from hypothesis import given
from hypothesis import strategies as st

from igpo_operator.api.reasons import EndClass, Reason
from igpo_operator.api.status import Budget, Ending
from igpo_operator.plan.budget import Ended, judge
from planworld.pictures import FACTS, NOW

CHARGED = [EndClass.APPLICATION, EndClass.OUT_OF_MEMORY, EndClass.HANG]
FREE = [EndClass.SAVED, EndClass.EVICTED, EndClass.PREEMPTED, EndClass.NODE_LOST, EndClass.DELETED]
WAITS = [EndClass.GANG_INCOMPLETE, EndClass.REFUSED]


def verdict(end_class, budget=None, *, number=1, step=None, checkpoint=None, ran=True, limit=3, **ending):
    over = Ending(reason_class=end_class, message="it broke", step=step, at=NOW, **ending)
    ended = Ended(number, over, checkpoint, ran)
    return judge(ended, budget or Budget(), backoff_limit=limit, facts=FACTS, uid="u", now=NOW)


@pytest.mark.parametrize("end_class", CHARGED)
def test_a_failure_of_the_trainer_is_charged_and_backs_off(end_class):
    judged = verdict(end_class)
    assert judged.budget.charged == 1
    assert judged.failure is None
    assert 10 <= (judged.not_before - NOW).total_seconds() <= 12.5


@pytest.mark.parametrize("end_class", FREE)
def test_a_disruption_is_free_and_the_next_attempt_starts_at_once(end_class):
    judged = verdict(end_class)
    assert (judged.budget.charged, judged.budget.disruptions) == (0, 1)
    assert (judged.failure, judged.not_before) == (None, None)


def test_a_run_that_is_disrupted_again_and_again_waits_longer_and_longer():
    first, second = verdict(FREE[0], Budget(disruptions=1)), verdict(FREE[0], Budget(disruptions=3))
    assert NOW < first.not_before < second.not_before


@pytest.mark.parametrize("end_class", WAITS)
def test_a_gang_that_found_no_room_is_free_without_a_cap(end_class):
    judged = verdict(end_class, Budget(waits=500, charged=3, disruptions=100), ran=False)
    assert judged.failure is None
    assert (judged.budget.charged, judged.budget.disruptions, judged.budget.waits) == (3, 100, 501)
    assert 720 <= (judged.not_before - NOW).total_seconds() <= 900


def test_waits_begin_anew_once_a_gang_has_run():
    assert verdict(EndClass.REFUSED, Budget(waits=7), ran=True).budget.waits == 1
    assert verdict(EndClass.REFUSED, Budget(waits=7), ran=False).budget.waits == 8


@pytest.mark.parametrize("end_class", [EndClass.COMPLETED, EndClass.SUSPENDED])
def test_completed_and_suspended_cost_nothing(end_class):
    judged = verdict(end_class, Budget(charged=2, disruptions=5))
    assert (judged.budget.charged, judged.budget.disruptions, judged.failure) == (2, 5, None)


def test_backoff_limit_failures_are_retried_and_one_more_is_the_end():
    budget = Budget()
    for _ in range(3):
        judged = verdict(EndClass.APPLICATION, budget)
        assert judged.failure is None
        budget = judged.budget
    judged = verdict(EndClass.APPLICATION, budget)
    assert judged.failure.reason is Reason.BACKOFF_LIMIT_EXCEEDED
    assert "backoffLimit 3" in judged.failure.message
    assert "it broke" in judged.failure.message


def test_a_limit_of_0_allows_no_failure():
    assert verdict(EndClass.HANG, limit=0).failure.reason is Reason.BACKOFF_LIMIT_EXCEEDED


def test_a_newer_checkpoint_makes_earlier_failures_forgotten():
    judged = verdict(EndClass.APPLICATION, Budget(charged=3, disruptions=9, checkpoint_step=10), checkpoint=20)
    assert judged.failure is None
    assert (judged.budget.charged, judged.budget.disruptions, judged.budget.checkpoint_step) == (1, 0, 20)


def test_the_same_checkpoint_is_no_progress():
    judged = verdict(EndClass.APPLICATION, Budget(charged=3, checkpoint_step=20), checkpoint=20)
    assert judged.failure.reason is Reason.BACKOFF_LIMIT_EXCEEDED


def test_crashing_twice_after_the_same_step_fails_fast():
    first = verdict(EndClass.APPLICATION, step=7, checkpoint=5)
    second = verdict(EndClass.APPLICATION, first.budget, step=7, checkpoint=5)
    assert first.failure is None
    assert second.failure.reason is Reason.SAME_STEP_CRASH
    assert "step 7" in second.failure.message


def test_crashing_after_the_same_step_with_a_newer_checkpoint_is_another_crash():
    first = verdict(EndClass.APPLICATION, step=7, checkpoint=5)
    assert verdict(EndClass.APPLICATION, first.budget, step=7, checkpoint=6).failure is None


def test_crashing_at_an_unknown_step_twice_is_not_the_same_step():
    first = verdict(EndClass.APPLICATION)
    assert verdict(EndClass.APPLICATION, first.budget).failure is None


def test_a_disruption_between_two_crashes_of_one_step_does_not_hide_them():
    budget = verdict(EndClass.EVICTED, verdict(EndClass.APPLICATION, step=7).budget).budget
    assert verdict(EndClass.APPLICATION, budget, step=7).failure.reason is Reason.SAME_STEP_CRASH


def test_a_hang_between_two_crashes_of_one_step_does():
    budget = verdict(EndClass.HANG, verdict(EndClass.APPLICATION, step=7).budget).budget
    assert verdict(EndClass.APPLICATION, budget, step=7).failure is None


def test_free_restarts_have_a_high_cap():
    assert verdict(EndClass.EVICTED, Budget(disruptions=99)).failure is None
    judged = verdict(EndClass.EVICTED, Budget(disruptions=100))
    assert judged.failure.reason is Reason.TOO_MANY_DISRUPTIONS


@pytest.mark.parametrize(
    ("ending", "reason"),
    [
        ({"exit_code": 64}, Reason.INVALID_RUN),
        ({"exit_code": 65}, Reason.INVALID_DATA),
        ({"exit_code": 64, "cause": "VolumeHoldsAnotherRun"}, Reason.VOLUME_HOLDS_ANOTHER_RUN),
        ({"exit_code": 64, "cause": "VolumeNotWritable"}, Reason.INVALID_RUN),
    ],
)
def test_an_invalid_run_is_never_retried(ending, reason):
    judged = verdict(EndClass.INVALID, **ending)
    assert (judged.failure.reason, judged.failure.message) == (reason, "it broke")


def test_a_used_up_running_time_is_the_end():
    assert verdict(EndClass.DEADLINE).failure.reason is Reason.DEADLINE_EXCEEDED


@pytest.mark.parametrize("end_class", [*CHARGED, *FREE, *WAITS])
def test_attempt_999_is_the_last(end_class):
    assert verdict(end_class, number=998).failure is None
    assert verdict(end_class, number=999).failure.reason is Reason.TOO_MANY_DISRUPTIONS


@given(st.lists(st.tuples(st.sampled_from([*CHARGED, *FREE, *WAITS]), st.integers(0, 30)), max_size=60))
def test_the_charge_is_that_of_the_failures_since_the_last_progress(story):
    budget, expected, newest = Budget(), 0, -1
    for end_class, checkpoint in story:
        if checkpoint > newest:
            newest, expected = checkpoint, 0
        expected += end_class in CHARGED
        budget = verdict(end_class, budget, checkpoint=newest, limit=100).budget
        assert budget.charged == expected
