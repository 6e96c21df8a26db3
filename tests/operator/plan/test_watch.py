from dataclasses import replace

from igpo_operator.api.reasons import ConditionType, EndClass, Phase, Reason
from igpo_operator.plan.conditions import find, is_true
from planworld import pictures
from planworld.pictures import waiting
from planworld.world import World

UNPLACED = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."


def created(**changes):
    world = World(**changes)
    world.settle()
    return world


def test_a_gang_behind_a_gate_is_queued_and_admitted_when_the_gate_opens():
    world = created(spec=pictures.spec(runPolicy={"queueName": "gpus"}), queued=True)
    status = world.status
    assert status.phase is Phase.QUEUED
    assert "queue gpus" in status.message
    assert find(status, ConditionType.ADMITTED).status == "False"
    assert is_true(status, ConditionType.RECONCILING)
    world.tick(10**6)
    world.settle()
    assert world.status.phase is Phase.QUEUED
    for _ in range(2):
        world.live(1)
    assert is_true(world.status, ConditionType.ADMITTED)
    assert [event.reason for event in world.events] == [Reason.QUEUED, Reason.ADMITTED, Reason.TRAINING]


def test_gates_of_other_controllers_count_as_a_queue():
    world = created()
    for pod in world.of_attempt():
        world.put(pod, gates=("example.com/wait",))
    world.settle()
    assert world.status.phase is Phase.QUEUED


def test_a_preempted_gang_queues_again_in_the_same_group_and_for_free():
    world = created(spec=pictures.spec(runPolicy={"queueName": "gpus"}), queued=True)
    for _ in range(2):
        world.live(1)
    for pod in world.of_attempt():
        world.disrupt(pod, "WorkloadEvictedDueToPreempted")
    world.settle()
    assert world.status.attempt.ending.reason_class is EndClass.PREEMPTED
    assert all(pod.attempt == 1 for pod in world.pods.values()), "no replacement before all have stopped"
    world.kubelet()
    world.settle()
    status = world.status
    assert (status.attempt.number, status.phase) == (2, Phase.QUEUED)
    assert (status.resolved.queue_epoch, status.budget.charged) == (0, 0)
    assert {pod.retriable for pod in world.pods.values()} == {None}


def unplaced(world, words=UNPLACED):
    for pod in world.of_attempt():
        world.put(pod, unschedulable=words)


def test_an_unschedulable_gang_says_so_in_the_schedulers_words_once():
    world = created()
    unplaced(world)
    world.settle()
    assert world.status.message.startswith("attempt 1: waits")
    world.tick(10)
    world.settle()
    status = world.status
    assert "3 Insufficient nvidia.com/gpu" in status.message
    assert find(status, ConditionType.RECONCILING).reason == Reason.UNSCHEDULABLE
    assert world.events[-1].reason is Reason.UNSCHEDULABLE
    before = len(world.writes)
    for _ in range(60):
        world.tick(1)
        world.settle()
    assert len(world.writes) == before


def test_new_words_for_the_same_obstacle_are_written_once_a_minute():
    world = created()
    unplaced(world)
    world.tick(10)
    world.settle()
    before = len(world.writes)
    for number in range(60):
        world.tick(1)
        unplaced(world, f"0/{number} nodes are available")
        world.settle()
    assert len(world.writes) == before + 1


def test_an_image_that_cannot_be_pulled_is_written_once_however_often_it_is_tried():
    world = created()
    world.schedule()
    states = [
        waiting("ErrImagePull", 'failed to pull "x": not found'),
        waiting("ImagePullBackOff", 'Back-off pulling image "x"'),
    ]
    world.tick(20)
    for number in range(200):
        for pod in world.of_attempt():
            world.put(pod, trainer=states[number % 2])
        world.settle()
        world.tick(5)
    assert find(world.status, ConditionType.STALLED).reason == Reason.IMAGE_UNAVAILABLE
    assert "not found" in world.status.message
    assert sum(status.phase is Phase.STARTING for status in world.writes) == 2


def test_what_stalled_an_incomplete_gang_stays_shown_until_a_gang_runs():
    world = created()
    world.schedule()
    for pod in world.of_attempt():
        world.put(pod, trainer=waiting("CreateContainerConfigError", 'secret "token" not found'))
    world.tick(20)
    world.settle()
    assert find(world.status, ConditionType.STALLED).reason == Reason.POD_CONFIG_ERROR
    world.tick(1800)
    world.settle()
    for pod in world.of_attempt():
        world.put(pod, trainer=None, phase="Failed")
    world.settle()
    status = world.status
    assert (status.attempt.number, status.restarts.scheduling) == (2, 1)
    assert 'secret "token" not found' in find(status, ConditionType.STALLED).message
    world.now = status.attempt.not_before
    for _ in range(3):
        world.live(1)
    assert find(world.status, ConditionType.STALLED) is None


def test_finished_pods_go_only_once_it_is_stored_that_their_replacements_exist():
    world = created()
    for _ in range(2):
        world.live(1)
    world.exit(world.of_attempt()[0], 1)
    world.settle()
    world.kubelet()
    world.settle()
    world.tick(60)
    while not world.of_attempt():
        world.reconcile()
    assert world.status.attempt.created_at is None
    assert world.reconcile().actions == ()
    assert world.status.attempt.created_at is not None
    assert "gsm8k-igpo-a1-0" in [action.name for action in world.reconcile().actions]


def test_ready_does_not_flap_when_the_operator_restarts():
    world = created()
    for _ in range(2):
        world.live(1)
    world.train()
    world.settle()
    assert is_true(world.status, ConditionType.READY)
    world.scrape = None
    world.settle()
    assert is_true(world.status, ConditionType.READY)


def test_ready_waits_for_the_first_step_of_this_attempt():
    world = created()
    for _ in range(2):
        world.live(1)
    world.look()
    world.settle()
    status = world.status
    assert (status.phase, find(status, ConditionType.READY).reason) == (Phase.RUNNING, Reason.FIRST_STEP_PENDING)
    world.train()
    world.scrape = replace(world.scrape, attempt=9)
    world.settle()
    assert not is_true(world.status, ConditionType.READY)


def test_the_image_that_really_runs_is_recorded():
    world = created()
    for _ in range(2):
        world.live(1)
    assert world.status.resolved.image_digest == "image@sha256:1"


def test_an_evaluation_that_moves_the_counter_is_no_hang():
    world = created(spec=pictures.spec(runPolicy={"stallTimeoutSeconds": 60}))
    for _ in range(2):
        world.live(1)
    for _ in range(20):
        world.tick(30)
        world.trainer.counter += 1
        world.look()
        world.settle()
    assert world.status.attempt.ending is None


def test_a_scrape_that_fails_is_no_progress():
    world = created(spec=pictures.spec(runPolicy={"stallTimeoutSeconds": 60}))
    for _ in range(2):
        world.live(1)
    world.train()
    world.settle()
    world.tick(61)
    world.settle()
    assert world.status.attempt.ending.reason_class is EndClass.HANG
    assert "step 1" in world.status.attempt.ending.message


def test_one_finished_rank_among_running_ones_is_no_end():
    world = created()
    for _ in range(2):
        world.live(1)
    world.exit(world.of_attempt()[1], 0)
    world.settle()
    assert (world.status.phase, world.status.attempt.ending) == (Phase.RUNNING, None)
