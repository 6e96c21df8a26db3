from igpo_operator.api.reasons import Phase
from igpo_operator.api.status import ProgressStatus, Replicas, RunStatus
from igpo_operator.plan.throttle import due
from planworld.pictures import NOW, after

OLD = RunStatus(phase=Phase.RUNNING, progress=ProgressStatus(step=3, counter=9), last_update_time=NOW)


def at(seconds, old=OLD, **changes):
    return due(old, old.model_copy(update=changes), 30, after(seconds))


def test_what_is_the_same_is_not_written():
    assert at(1000) == (None, None)


def test_what_matters_is_written_at_once_with_everything_that_moves():
    written, look = at(1, phase=Phase.RESTARTING, progress=ProgressStatus(step=4))
    assert (written.phase, written.progress.step, written.last_update_time) == (Phase.RESTARTING, 4, after(1))
    assert look is None


def test_progress_alone_waits_for_its_turn():
    assert at(10, progress=ProgressStatus(step=4)) == (None, after(30))
    written, _ = at(30, progress=ProgressStatus(step=4))
    assert (written.progress.step, written.last_update_time) == (4, after(30))


def test_metrics_and_replicas_wait_as_well():
    for changes in ({"metrics": {"reward": "1"}}, {"replicas": Replicas(desired=2, running=1, finished=1)}):
        assert at(10, **changes) == (None, after(30))
        assert at(31, **changes)[0] is not None


def test_a_counter_or_an_estimate_alone_is_never_written():
    assert at(1000, progress=ProgressStatus(step=3, counter=99, eta_seconds=4)) == (None, None)


def test_before_the_first_step_nothing_that_moves_is_written():
    starting = OLD.model_copy(update={"progress": None})
    assert at(1000, old=starting, progress=ProgressStatus(step=0, stage="data")) == (None, None)


def test_counts_of_a_gang_that_starts_are_not_written():
    starting = OLD.model_copy(update={"phase": Phase.STARTING})
    assert at(1000, old=starting, replicas=Replicas(desired=2, running=1)) == (None, None)


def test_a_status_that_was_never_stamped_is_written():
    unstamped = OLD.model_copy(update={"last_update_time": None})
    assert at(0, old=unstamped, progress=ProgressStatus(step=4))[0] is not None
