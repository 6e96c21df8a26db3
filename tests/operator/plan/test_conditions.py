import pytest

from igpo_operator.api.reasons import ConditionType, Phase, Reason
from igpo_operator.api.status import RunStatus
from igpo_operator.plan.conditions import Conditions, View, find, is_true, show
from planworld.pictures import NOW, after


def shown(view, status=None, generation=1, at=0):
    conditions = Conditions(status or RunStatus(), generation, after(at))
    show(conditions, view)
    return RunStatus(phase=view.phase, conditions=conditions.listed())


def names(status):
    return {c.type: c.status for c in status.conditions}


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (View(Phase.PENDING, Reason.STARTING, "m"), {"Ready": "False", "Reconciling": "True"}),
        (View(Phase.WAITING, Reason.SOURCE_FAILED, "m", stalled=True), {"Ready": "False", "Stalled": "True"}),
        (View(Phase.RUNNING, Reason.FIRST_STEP_PENDING, "m"), {"Ready": "False", "Reconciling": "True"}),
        (View(Phase.RUNNING, Reason.TRAINING, "m", ready=True), {"Ready": "True"}),
        (View(Phase.SUSPENDED, Reason.SUSPENDED, "m"), {"Suspended": "True"}),
        (View(Phase.COMPLETE, Reason.COMPLETED, "m"), {"Ready": "True", "Complete": "True"}),
        (View(Phase.FAILED, Reason.INVALID_RUN, "m"), {"Ready": "False", "Stalled": "True", "Failed": "True"}),
    ],
)
def test_each_view_has_the_conditions_that_kstatus_reads_rightly(view, expected):
    assert names(shown(view)) == expected


def test_reconciling_and_stalled_are_never_there_as_false():
    status = shown(View(Phase.PENDING, Reason.STARTING, "m"))
    status = shown(View(Phase.STARTING, Reason.IMAGE_UNAVAILABLE, "m", stalled=True), status)
    assert names(status) == {"Ready": "False", "Stalled": "True"}
    status = shown(View(Phase.RUNNING, Reason.TRAINING, "m", ready=True), status)
    assert names(status) == {"Ready": "True"}


def test_a_resumed_run_is_no_longer_suspended():
    status = shown(View(Phase.SUSPENDED, Reason.SUSPENDED, "m"))
    status = shown(View(Phase.PENDING, Reason.RESUMED, "m"), status)
    assert names(status) == {"Ready": "False", "Reconciling": "True", "Suspended": "False"}


def test_the_transition_time_changes_with_the_status_only():
    first = shown(View(Phase.PENDING, Reason.STARTING, "m"))
    second = shown(View(Phase.STARTING, Reason.UNSCHEDULABLE, "other"), first, at=10)
    third = shown(View(Phase.RUNNING, Reason.TRAINING, "m", ready=True), second, at=20)
    times = [find(status, ConditionType.READY).last_transition_time for status in (first, second, third)]
    assert times == [NOW, NOW, after(20)]
    assert find(second, ConditionType.READY).reason == "Unschedulable"


def test_every_condition_has_seen_the_newest_generation():
    status = shown(View(Phase.PENDING, Reason.STARTING, "m"))
    status = shown(View(Phase.PENDING, Reason.STARTING, "m"), status, generation=4)
    assert {c.observed_generation for c in status.conditions} == {4}


def test_conditions_have_one_order():
    status = shown(View(Phase.FAILED, Reason.INVALID_RUN, "m"))
    assert [c.type for c in status.conditions] == ["Ready", "Stalled", "Failed"]


def test_an_endless_message_is_cut():
    status = shown(View(Phase.PENDING, Reason.STARTING, "x" * 10000))
    assert len(find(status, ConditionType.READY).message) == 2048


def test_what_is_not_there_is_not_true():
    assert find(RunStatus(), ConditionType.READY) is None
    assert not is_true(RunStatus(), ConditionType.READY)
