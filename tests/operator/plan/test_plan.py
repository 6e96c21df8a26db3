"""Whole lives of runs, in the model cluster."""

from igpo_operator.api.reasons import ConditionType, EndClass, Phase, Reason
from igpo_operator.plan.conditions import find, is_true
from planworld.world import World


def running(**changes):
    world = World(**changes)
    for _ in range(3):
        world.live(1)
    assert world.status.phase is Phase.RUNNING
    return world


def test_an_undisturbed_run_is_ready_after_four_writes_and_two_events():
    world = running()
    world.tick()
    world.train()
    world.settle()
    status = world.status
    assert is_true(status, ConditionType.READY)
    assert len(world.writes) <= 4
    assert [event.reason for event in world.events] == [Reason.ATTEMPT_STARTED, Reason.TRAINING]


def test_a_finished_run_is_complete_with_all_its_progress():
    world = running()
    world.train(3)
    world.finish()
    world.settle()
    status = world.status
    assert status.phase is Phase.COMPLETE
    assert (status.progress.step, status.progress.percentage) == (30, 100)
    assert status.checkpoint.step == 30
    assert status.attempts[-1].reason_class is EndClass.COMPLETED


def test_a_killed_rank_restarts_the_gang_as_attempt_2():
    world = running()
    world.train(3, save=True)
    world.exit(world.of_attempt()[1], 137)
    world.settle()
    assert world.status.phase is Phase.RESTARTING
    world.kubelet()
    world.settle()
    assert world.status.attempt.number == 2
    assert world.status.budget.charged == 1
    for _ in range(5):
        world.live()
    status = world.status
    assert status.phase is Phase.RUNNING
    assert status.restarts.application == 1
    assert {pod.attempt for pod in world.pods.values()} == {2}


def test_suspend_saves_stops_and_resumes_as_the_next_attempt():
    world = running()
    world.train(3)
    world.change(suspend=True)
    world.settle()
    assert world.status.phase is Phase.SUSPENDING
    world.change(suspend=False)
    world.settle()
    assert world.status.phase is Phase.SUSPENDING
    world.change(suspend=True)
    world.kubelet()
    world.settle()
    status = world.status
    assert status.phase is Phase.SUSPENDED
    assert find(status, ConditionType.READY) is None
    assert status.checkpoint.step == 3
    world.kubelet()
    assert not world.pods
    world.change(suspend=False)
    for _ in range(3):
        world.live()
    assert world.status.attempt.number == 2
    assert world.status.phase is Phase.RUNNING
    assert world.status.restarts.suspended == 1
    assert world.status.budget.charged == 0
