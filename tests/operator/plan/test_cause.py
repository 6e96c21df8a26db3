from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igpo_operator.api.reasons import EndClass
from igpo_operator.plan.cause import disruption_class, final_cause, first_cause, undecided_until
from igpo_operator.plan.gang import Gang
from igpo_operator.plan.observed import Disruption, Terminated
from planworld.pictures import NOW, after, ended, pod


def gang(*pods, size=None):
    return Gang.of(pods, 1, size or len(pods))


def cause(*pods, size=None, created=True):
    return first_cause(gang(*pods, size=size), NOW, created=created)


def failed(rank, code, at=0.0, reason="Error", **message):
    return pod(rank, phase="Failed", trainer=ended(code, at=at, reason=reason, **message))


def disrupted(rank, reason, at=0.0, **changes):
    return pod(rank, disruption=Disruption(reason, "why", after(at)), **changes)


def test_a_gang_that_runs_has_no_cause():
    assert cause(pod(0), pod(1)) is None


def test_a_gang_of_which_one_rank_has_finished_has_no_cause():
    assert cause(pod(0), pod(1, phase="Succeeded", trainer=ended(0))) is None


def test_all_ranks_at_0_is_completed_with_the_highest_step():
    ending = cause(failed(0, 0, reason="", step=30), failed(1, 0))
    assert (ending.reason_class, ending.exit_code, ending.step) == (EndClass.COMPLETED, 0, 30)


def test_completed_is_told_by_the_container_even_while_sidecars_run():
    assert cause(pod(0, trainer=ended(0)), pod(1, trainer=ended(0))).reason_class is EndClass.COMPLETED


@pytest.mark.parametrize(
    ("container", "expected"),
    [
        (ended(64), EndClass.INVALID),
        (ended(65), EndClass.INVALID),
        (ended(75), EndClass.SAVED),
        (ended(143), EndClass.SAVED),
        (ended(1), EndClass.APPLICATION),
        (ended(2), EndClass.APPLICATION),
        (ended(137), EndClass.APPLICATION),
        (ended(139), EndClass.APPLICATION),
        (ended(137, reason="OOMKilled"), EndClass.OUT_OF_MEMORY),
        (ended(1, reason="OOMKilled"), EndClass.OUT_OF_MEMORY),
    ],
)
def test_a_containers_end_has_its_class(container, expected):
    ending = cause(pod(0), pod(1, phase="Failed", trainer=container))
    assert ending.reason_class is expected
    assert (ending.rank, ending.exit_code) == (1, container.exit_code)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("PreemptionByScheduler", EndClass.PREEMPTED),
        ("PreemptionByKubeScheduler", EndClass.PREEMPTED),
        ("WorkloadEvictedDueToPreempted", EndClass.PREEMPTED),
        ("Preempted", EndClass.PREEMPTED),
        ("WorkloadEvictedDueToPodsReadyTimeout", EndClass.PREEMPTED),
        ("EvictionByEvictionAPI", EndClass.EVICTED),
        ("TerminationByKubelet", EndClass.EVICTED),
        ("Evicted", EndClass.EVICTED),
        ("UnexpectedAdmissionError", EndClass.EVICTED),
        ("DeletionByTaintManager", EndClass.NODE_LOST),
        ("DeletionByPodGC", EndClass.NODE_LOST),
        ("NodeLost", EndClass.NODE_LOST),
        ("NodeShutdown", EndClass.NODE_LOST),
        ("Terminated", EndClass.NODE_LOST),
    ],
)
def test_a_disruption_has_its_class(reason, expected):
    assert disruption_class(reason) is expected
    assert cause(pod(0), disrupted(1, reason)).reason_class is expected


def test_a_pod_that_the_kubelet_evicted_is_no_failure_of_the_trainer():
    evicted = pod(1, phase="Failed", reason="Evicted", message="low on memory", trainer=ended(137))
    ending = cause(pod(0), evicted)
    assert ending.reason_class is EndClass.EVICTED
    assert "low on memory" in ending.message


def test_a_pod_that_the_kubelet_did_not_take_is_no_failure_of_the_trainer():
    refused = pod(1, phase="Failed", reason="OutOfcpu", message="no room", trainer=None)
    assert cause(pod(0), refused).reason_class is EndClass.EVICTED


def test_an_init_container_that_fails_is_an_application_failure():
    ending = cause(pod(0), pod(1, phase="Failed", trainer=None))
    assert ending.reason_class is EndClass.APPLICATION
    assert "before its trainer started" in ending.message


def test_a_pod_that_somebody_deletes_is_deleted():
    ending = cause(pod(0), pod(1, deleted_at=NOW))
    assert (ending.reason_class, ending.rank) == (EndClass.DELETED, 1)


def test_a_pod_that_is_missing_is_deleted_only_once_the_gang_was_there():
    assert cause(pod(0), size=2, created=True).reason_class is EndClass.DELETED
    assert cause(pod(0), size=2, created=False) is None


def test_the_first_rank_to_fail_is_the_cause():
    ending = cause(failed(0, 1, at=-3), failed(1, 137, at=-10))
    assert (ending.rank, ending.exit_code) == (1, 137)


def test_among_simultaneous_ends_the_more_telling_wins():
    ending = cause(failed(0, 1, at=-10), failed(1, 137, at=-8.5, reason="OOMKilled"))
    assert ending.reason_class is EndClass.OUT_OF_MEMORY


def test_a_disruption_explains_the_failures_of_the_other_ranks():
    ending = cause(failed(0, 1, at=-10), disrupted(1, "EvictionByEvictionAPI", at=-9))
    assert ending.reason_class is EndClass.EVICTED


def test_a_signal_tells_more_than_an_error_and_an_error_more_than_75():
    assert cause(failed(0, 75, at=-2), failed(1, 1, at=-1)).exit_code == 1
    assert cause(failed(0, 1, at=-2), failed(1, 139, at=-1)).exit_code == 139


def test_an_invalid_run_wins_however_late_it_is_said():
    ending = cause(failed(0, 137, at=-100), failed(1, 64, at=0))
    assert (ending.reason_class, ending.exit_code) == (EndClass.INVALID, 64)


def test_an_invalid_run_wins_over_the_disruption_of_its_own_pod():
    pods = disrupted(0, "EvictionByEvictionAPI", at=-10, phase="Failed", trainer=ended(65))
    assert cause(pods, pod(1)).reason_class is EndClass.INVALID


def test_each_rank_counts_by_its_earliest_event():
    saved_after_eviction = disrupted(1, "EvictionByEvictionAPI", at=-30, phase="Failed", trainer=ended(75, at=-20))
    assert cause(failed(0, 1, at=-25), saved_after_eviction).reason_class is EndClass.EVICTED


def test_a_rank_that_ended_with_0_is_no_cause_even_if_its_pod_is_deleted():
    assert cause(pod(0), pod(1, phase="Succeeded", trainer=ended(0), deleted_at=NOW)) is None


def test_an_end_without_a_time_counts_as_now():
    ending = cause(pod(0, phase="Failed", trainer=Terminated(1)), failed(1, 2, at=-60))
    assert ending.exit_code == 2


def test_the_trainers_own_line_is_the_message():
    said = ended(64, says="the volume holds another run", cause="VolumeHoldsAnotherRun", last_lines=["a", "b"])
    ending = cause(pod(0, phase="Failed", trainer=said))
    assert ending.message == "the volume holds another run"
    assert ending.cause == "VolumeHoldsAnotherRun"
    assert ending.last_lines == ["a", "b"]


def test_without_a_message_the_last_log_line_and_the_signal_are_told():
    silent = Terminated(137, "Error", None, "line one\n\x1b[31mKilled\x1b[0m\n", after(-1))
    ending = cause(pod(0, phase="Failed", trainer=silent))
    assert ending.message == "rank 0 ended with exit code 137 (SIGKILL): [31mKilled[0m"
    assert ending.last_lines == ["line one", "[31mKilled[0m"]


def test_an_endless_log_is_cut():
    wordy = Terminated(1, "Error", None, "\n".join("x" * 5000 for _ in range(100)), after(-1))
    ending = cause(pod(0, phase="Failed", trainer=wordy))
    assert len(ending.last_lines) == 20
    assert max(map(len, ending.last_lines)) == 300
    assert len(ending.message) <= 1024


def test_a_gang_that_finished_while_it_was_stopped_has_finished():
    ending = cause(pod(0), pod(1, deleted_at=NOW))
    assert final_cause(gang(failed(0, 0), failed(1, 0)), ending, NOW).reason_class is EndClass.COMPLETED


def test_a_rank_that_says_64_while_it_is_stopped_still_wins():
    ending = cause(pod(0), failed(1, 1))
    final = final_cause(gang(failed(0, 64), failed(1, 1)), ending, NOW)
    assert (final.reason_class, final.rank, final.at) == (EndClass.INVALID, 0, ending.at)


def test_what_follows_from_stopping_changes_nothing():
    ending = cause(pod(0), failed(1, 1))
    assert final_cause(gang(failed(0, 75), failed(1, 1)), ending, NOW) == ending


@given(st.permutations([failed(0, 1, at=-9), failed(1, 137, at=-8), disrupted(2, "X", at=-8), pod(3)]))
def test_the_order_in_which_pods_are_listed_does_not_matter(pods):
    assert cause(*pods) == cause(failed(0, 1, at=-9), failed(1, 137, at=-8), disrupted(2, "X", at=-8), pod(3))


@given(st.lists(st.tuples(st.sampled_from([1, 2, 64, 75, 137, 143]), st.integers(-100, 0)), min_size=1, max_size=6))
def test_the_cause_lies_within_two_seconds_of_the_first_event_unless_it_is_invalid(ends):
    ending = cause(*(failed(rank, code, at=at) for rank, (code, at) in enumerate(ends)))
    code, at = ends[ending.rank]
    assert ending.exit_code == code
    if 64 in [code for code, _ in ends]:
        assert code == 64
    else:
        assert timedelta(seconds=at - min(moment for _, moment in ends)) <= timedelta(seconds=2)


def test_a_rank_that_only_lost_its_peer_waits_for_that_ones_end_which_is_the_cause():
    lost = failed(0, 1, cause="PeerLost", says="RuntimeError: Connection closed by peer")
    waiting = gang(lost, pod(1))
    assert first_cause(waiting, after(14), created=True) is None
    assert undecided_until(waiting, after(14), created=True) == after(15)
    ending = first_cause(gang(lost, failed(1, 137, at=9)), after(9), created=True)
    assert (ending.rank, ending.exit_code) == (1, 137)


def test_ranks_that_all_lost_a_peer_that_goes_on_are_a_failure_of_their_own_after_a_while():
    lost = failed(0, 1, cause="PeerLost")
    ending = first_cause(gang(lost, pod(1)), after(15), created=True)
    assert (ending.reason_class, ending.rank) == (EndClass.APPLICATION, 0)
    assert first_cause(gang(lost, failed(1, 1, cause="PeerLost", at=1)), after(1), created=True).rank == 0


def test_what_explains_itself_is_not_waited_for():
    assert undecided_until(gang(failed(0, 1), pod(1)), NOW, created=True) is None
    assert first_cause(gang(failed(0, 1), pod(1)), NOW, created=True).rank == 0
