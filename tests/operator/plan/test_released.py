from igpo_operator.api.reasons import Phase
from igpo_operator.plan.actions import AnnotatePod, DeletePod
from planworld import pictures
from planworld.world import World


def finished(code=0, **policy):
    raw = pictures.spec(runPolicy={"ttlSecondsAfterFinished": 60, **policy})
    world = World(spec=raw, queued="queueName" in policy)
    for _ in range(3):
        world.live(1)
    if code:
        world.exit(world.of_attempt()[0], code)
    else:
        world.finish()
    world.settle()
    world.kubelet()
    world.settle()
    assert world.status.phase.terminal
    return world


def test_pods_and_services_go_after_their_time_and_run_and_claim_stay():
    world = finished()
    assert world.pods
    assert world.requeue_at == world.status.completion_time + pictures.timedelta(seconds=60)
    world.now = world.requeue_at
    world.settle()
    assert not world.pods
    assert world.children == {"PersistentVolumeClaim"}
    assert world.status.released
    assert world.requeue_at is None
    assert world.status.phase is Phase.COMPLETE


def test_without_a_time_to_live_everything_stays():
    world = finished()
    world.change(runPolicy={})
    world.tick(10**6)
    world.settle()
    assert world.pods
    assert world.requeue_at is None
    assert not world.status.released


def test_a_released_run_is_left_alone():
    world = finished()
    world.now = world.requeue_at
    world.settle()
    world.tick(10**6)
    decided = world.reconcile()
    assert (decided.actions, decided.status) == ((), None)


def test_a_spec_that_cannot_be_read_any_more_is_still_released():
    world = finished()
    world.change(steps=-1)
    world.tick(61)
    world.settle()
    assert world.status.released
    assert world.children == {"PersistentVolumeClaim", "ConfigMap"}


def test_a_failed_gang_gives_its_quota_back_once_failed_is_written():
    world = finished(code=64, queueName="gpus")
    assert world.status.phase is Phase.FAILED
    assert {pod.retriable for pod in world.pods.values()} <= {"false"}


def test_what_still_runs_in_a_finished_run_is_stopped():
    world = finished()
    pod = world.of_attempt()[0]
    world.put(pod, phase="Running", queued=True, accompanied=True)
    decided = world.reconcile()
    assert [type(action) for action in decided.actions] == [AnnotatePod, DeletePod]
