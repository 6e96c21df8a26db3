from functools import cache

from hypothesis import given
from hypothesis import strategies as st

from igpo_operator.api.reasons import EndClass, Phase, Reason
from igpo_operator.api.status import AttemptStatus, Ending, RunStatus
from igpo_operator.plan.events import events
from planworld.moments import MOMENTS
from planworld.pictures import NOW

NAMES = st.sampled_from(sorted(MOMENTS))


@cache
def status(name):
    return MOMENTS[name]().status


def reasons(old, new):
    return [event.reason for event in events(old, new)]


@given(NAMES)
def test_without_a_change_there_is_no_event(name):
    assert events(status(name), status(name)) == ()


@given(NAMES, NAMES)
def test_events_are_few_short_and_have_words(old, new):
    happened = events(status(old), status(new))
    assert len(happened) <= 6
    assert all(event.message and len(event.message) <= 1000 for event in happened)


def ended(end_class, phase=Phase.RESTARTING):
    ending = Ending(reason_class=end_class, message="why", at=NOW)
    return RunStatus(phase=phase, attempt=AttemptStatus(number=1, decided_at=NOW, created_at=NOW, ending=ending))


RUNNING = RunStatus(phase=Phase.RUNNING, attempt=AttemptStatus(number=1, decided_at=NOW, created_at=NOW))


def test_why_a_gang_restarts_is_told_once_with_class_and_words():
    (event,) = events(RUNNING, ended(EndClass.NODE_LOST))
    assert (event.type, event.reason) == ("Warning", Reason.RESTARTING)
    assert event.message == "attempt 1 ends (NodeLost): why"
    assert events(ended(EndClass.NODE_LOST), ended(EndClass.NODE_LOST)) == ()


def test_a_suspend_is_normal_and_an_incomplete_gang_is_not():
    (event,) = events(RUNNING, ended(EndClass.SUSPENDED, Phase.SUSPENDING))
    assert (event.type, event.reason) == ("Normal", Reason.SUSPENDING)
    assert reasons(RUNNING, ended(EndClass.GANG_INCOMPLETE)) == [Reason.GANG_INCOMPLETE]


def test_ends_that_another_event_tells_are_not_told_twice():
    assert reasons(RUNNING, ended(EndClass.COMPLETED, Phase.RUNNING)) == []
    assert reasons(RUNNING, ended(EndClass.REFUSED)) == []
    assert reasons(RUNNING, ended(EndClass.INVALID, Phase.RUNNING)) == []


def test_a_failed_run_is_one_warning_with_its_reason():
    assert reasons(status("running"), status("failed")) == [Reason.VOLUME_HOLDS_ANOTHER_RUN]


def test_trouble_is_told_when_it_comes_and_not_when_it_goes():
    assert reasons(RunStatus(), status("image-unavailable"))[-1] is Reason.IMAGE_UNAVAILABLE
    assert Reason.IMAGE_UNAVAILABLE not in reasons(status("image-unavailable"), status("running"))
