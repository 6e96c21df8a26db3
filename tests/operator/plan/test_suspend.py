import pytest

from igpo_operator.api.reasons import ConditionType, EndClass, Phase, Reason
from igpo_operator.plan.actions import AnnotatePod, DeletePod
from igpo_operator.plan.conditions import find, is_true
from planworld import pictures
from planworld.world import World

OTHER_IMAGE = "registry.example/igpo-trainer:fixed"


def suspended(**changes):
    world = World(**changes)
    for _ in range(3):
        world.live(1)
    world.train(3)
    world.change(suspend=True)
    world.settle()
    world.kubelet()
    world.settle()
    world.kubelet()
    assert world.status.phase is Phase.SUSPENDED
    return world


def test_a_suspended_run_has_saved_and_holds_nothing():
    world = suspended()
    status = world.status
    assert status.checkpoint.step == 3
    assert not world.pods
    assert find(status, ConditionType.READY) is None
    assert find(status, ConditionType.RECONCILING) is None
    assert is_true(status, ConditionType.SUSPENDED)
    assert (status.restarts.suspended, status.budget.charged) == (1, 0)
    assert status.resolved.queue_epoch == 1


def test_a_suspend_that_has_begun_is_finished_even_if_the_flag_flips_back():
    world = World()
    for _ in range(3):
        world.live(1)
    world.change(suspend=True)
    world.settle()
    assert world.status.phase is Phase.SUSPENDING
    world.change(suspend=False)
    world.settle()
    assert world.status.phase is Phase.SUSPENDING
    world.kubelet()
    world.reconcile()
    assert world.status.phase is Phase.SUSPENDED
    for _ in range(3):
        world.live(1)
    assert (world.status.phase, world.status.attempt.number) == (Phase.RUNNING, 2)


def test_resuming_is_the_next_attempt_and_an_event():
    world = suspended()
    world.change(suspend=False)
    for _ in range(3):
        world.live(1)
    status = world.status
    assert (status.phase, status.attempt.number) == (Phase.RUNNING, 2)
    assert find(status, ConditionType.SUSPENDED).status == "False"
    assert [event.reason for event in world.events][-3:] == [
        Reason.RESUMED,
        Reason.ATTEMPT_STARTED,
        Reason.TRAINING,
    ]


def test_what_was_changed_while_suspended_shows_in_the_ledger():
    world = suspended()
    world.change(suspend=False, image=OTHER_IMAGE, workers={"replicas": 3, "gpusPerWorker": 0})
    for _ in range(3):
        world.live(1)
    assert world.status.resolved.image == OTHER_IMAGE
    assert len(world.running()) == 3
    world.finish()
    world.settle()
    assert [(record.workers, record.image) for record in world.status.attempts] == [
        (2, pictures.IMAGE),
        (3, OTHER_IMAGE),
    ]


def test_a_run_can_be_created_suspended():
    world = World(spec=pictures.spec(suspend=True))
    world.settle()
    assert (world.status.phase, world.status.attempt) == (Phase.SUSPENDED, None)
    assert len(world.writes) == 1
    world.change(suspend=False)
    for _ in range(3):
        world.live(1)
    assert (world.status.phase, world.status.attempt.number) == (Phase.RUNNING, 1)


def test_a_suspend_during_a_back_off_is_not_overtaken_by_the_next_attempt():
    world = World()
    for _ in range(3):
        world.live(1)
    world.exit(world.of_attempt()[0], 1)
    world.settle()
    world.kubelet()
    world.settle()
    assert world.status.attempt.not_before is not None
    world.change(suspend=True)
    world.settle()
    world.kubelet()
    assert world.status.phase is Phase.SUSPENDED
    assert not world.pods


def test_a_failure_of_a_run_that_shall_be_suspended_is_charged_and_then_it_rests():
    world = World()
    for _ in range(3):
        world.live(1)
    world.exit(world.of_attempt()[0], 1)
    world.change(suspend=True)
    world.settle()
    world.kubelet()
    world.settle()
    status = world.status
    assert (status.phase, status.budget.charged) == (Phase.SUSPENDED, 1)
    assert status.attempts[-1].reason_class is EndClass.APPLICATION


def test_workers_that_change_with_the_suspend_do_not_look_like_lost_pods():
    world = World()
    for _ in range(3):
        world.live(1)
    world.change(suspend=True, workers={"replicas": 5, "gpusPerWorker": 0})
    world.settle()
    assert world.status.attempt.ending.reason_class is EndClass.SUSPENDED


def test_a_run_that_finishes_while_it_is_being_suspended_is_complete():
    world = World()
    for _ in range(3):
        world.live(1)
    world.change(suspend=True)
    world.settle()
    world.finish()
    world.settle()
    assert world.status.phase is Phase.COMPLETE
    assert world.status.restarts.total == 0


def test_kueue_is_told_before_the_pods_go_and_the_next_attempt_queues_anew():
    raw = pictures.spec(runPolicy={"queueName": "gpus"})
    world = suspended(spec=raw, queued=True)
    assert not world.pods, "Kueue's finalizer holds no pod that was given up"
    assert world.status.resolved.queue_epoch == 1


def test_a_failed_gang_that_shall_rest_gives_its_quota_back_before_its_pods_go():
    world = World(spec=pictures.spec(replicas=1, runPolicy={"queueName": "gpus"}), queued=True)
    for _ in range(3):
        world.live(1)
    world.exit(world.of_attempt()[0], 1)
    world.change(suspend=True)
    while world.status.phase is not Phase.SUSPENDED:
        world.reconcile()
    assert [type(action) for action in world.reconcile().actions] == [AnnotatePod, DeletePod]
    assert world.status.resolved.queue_epoch == 1


@pytest.mark.parametrize("number", [998, 999])
def test_attempt_999_cannot_be_resumed(number):
    world = suspended()
    status = world.status
    attempt = status.attempt.model_copy(update={"number": number})
    world.stored = status.model_copy(update={"attempt": attempt}).dump()
    world.change(suspend=False)
    world.settle()
    if number == 999:
        assert find(world.status, ConditionType.FAILED).reason == Reason.TOO_MANY_DISRUPTIONS
    else:
        assert world.status.attempt.number == 999
