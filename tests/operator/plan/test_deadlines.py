from dataclasses import replace
from datetime import timedelta

import pytest

from igpo_operator.api.reasons import EndClass
from igpo_operator.api.status import AttemptStatus, RunStatus
from igpo_operator.plan.deadlines import deadlines, passed, running_seconds, upcoming
from igpo_operator.plan.gang import Gang
from igpo_operator.plan.terms import Terms
from planworld.pictures import FACTS, NOW, after, ended, picture, pod, scrape, waiting

CREATED = AttemptStatus(number=1, decided_at=NOW, created_at=NOW)
RUNNING = CREATED.model_copy(update={"running_at": NOW})


def limits(*pods, attempt=RUNNING, terms=None, ran=0, said=None, facts=FACTS):
    observed = picture(pods=pods, scrape=said, facts=facts)
    gang = Gang.of(pods, 1, 2)
    return deadlines(observed, terms or Terms(), RunStatus(running_seconds=ran), attempt, gang)


def waits(rank, **changes):
    return pod(rank, phase="Pending", trainer=waiting("ContainerCreating"), **changes)


def test_a_gang_must_run_in_time_after_its_first_pod_was_placed():
    pods = (pod(0, scheduled_at=after(50)), waits(1, scheduled_at=after(40)))
    (limit,) = limits(*pods, attempt=CREATED)
    assert (limit.at, limit.end_class) == (after(1840), EndClass.GANG_INCOMPLETE)
    assert "only 1 of 2 pods ran" in limit.message
    assert "gsm8k-igpo-a1-1 did not (ContainerCreating)" in limit.message


def test_time_in_a_queue_or_unscheduled_is_free():
    unplaced = [waits(rank, scheduled_at=None, node=None) for rank in (0, 1)]
    assert limits(*unplaced, attempt=CREATED) == []
    gated = [waits(rank, gates=("kueue.x-k8s.io/admission",)) for rank in (0, 1)]
    assert limits(*gated, attempt=CREATED) == []


def test_running_time_counts_over_all_attempts():
    terms = Terms(active_deadline=100)
    at = [limit.at for limit in limits(terms=terms, ran=30) if limit.end_class is EndClass.DEADLINE]
    assert at == [after(70)]
    at = [limit.at for limit in limits(terms=terms, ran=300) if limit.end_class is EndClass.DEADLINE]
    assert at == [NOW]


def stall(**changes):
    (limit,) = limits(**changes)
    assert limit.end_class is EndClass.HANG
    return limit


def test_a_gang_hangs_when_nothing_has_moved_for_the_stall_timeout():
    assert stall(terms=Terms(stall_timeout=60)).at == after(60)
    moved = stall(terms=Terms(stall_timeout=60), said=scrape(3, at=50, moved=20, stage="evaluate"))
    assert moved.at == after(80)
    assert "stage evaluate, step 3" in moved.message


def test_a_trainer_that_never_answered_is_told_as_such():
    assert "rank 0 has never answered on port 9400" in stall(terms=Terms(stall_timeout=60)).message


def test_fractions_of_a_second_are_given_to_the_trainer():
    assert stall(terms=Terms(stall_timeout=60), said=scrape(3, moved=20.25)).at == after(81)


def test_another_attempts_scrape_is_no_movement():
    assert stall(terms=Terms(stall_timeout=60), said=scrape(3, attempt=2, moved=20)).at == after(60)


def test_no_hang_is_declared_for_the_time_before_the_operator_started():
    facts = replace(FACTS, started_at=after(500))
    assert stall(terms=Terms(stall_timeout=60), facts=facts).at == after(560)


@pytest.mark.parametrize(("at", "over"), [(-1, False), (0, True), (1, True)])
def test_a_deadline_is_over_at_its_very_moment(at, over):
    ending = passed(limits(terms=Terms(stall_timeout=60)), after(60 + at))
    assert (ending is not None) is over


def test_the_earliest_deadline_decides():
    both = limits(terms=Terms(stall_timeout=60, active_deadline=50))
    assert passed(both, after(1000)).reason_class is EndClass.DEADLINE
    assert upcoming(both) == after(50)
    assert upcoming([]) is None
    assert passed([], NOW) is None


def test_running_seconds_are_those_from_running_to_the_end():
    assert running_seconds(RUNNING, NOW + timedelta(seconds=9)) == 9
    assert running_seconds(CREATED, NOW + timedelta(seconds=9)) == 0
    assert running_seconds(RUNNING, NOW - timedelta(seconds=9)) == 0


def test_a_rank_that_has_finished_is_not_late():
    (limit,) = limits(pod(0, trainer=ended(0)), waits(1), attempt=CREATED)
    assert "only 1 of 2" in limit.message


def test_the_schedulers_words_say_why_a_pod_is_late():
    late = pod(1, phase="Pending", trainer=None, node=None, scheduled_at=None, unschedulable="no GPU")
    (limit,) = limits(pod(0), late, attempt=CREATED)
    assert "(no GPU)" in limit.message
