"""The phase machine, whole lives of runs in the model cluster."""

from dataclasses import replace

import pytest

from igpo_operator.api.reasons import ConditionType, EndClass, Phase, Reason
from igpo_operator.api.status import RunStatus
from igpo_operator.plan.actions import AnnotatePod, Plan
from igpo_operator.plan.conditions import find, is_true
from igpo_operator.plan.plan import plan
from planworld import pictures
from planworld.pictures import after, picture, pod
from planworld.world import World


def running(**changes):
    world = World(**changes)
    for _ in range(3):
        world.live(1)
    assert world.status.phase is Phase.RUNNING
    return world


def reasons(world):
    return [event.reason for event in world.events]


def test_an_undisturbed_run_is_ready_after_four_writes_and_two_events():
    world = World()
    world.settle()
    for happens in (world.schedule, world.start):
        world.tick(5)
        world.settle()
        happens()
    world.settle()
    assert world.status.phase is Phase.RUNNING
    assert world.status.attempt.scheduled_at == after(5)
    world.tick()
    world.look()
    world.settle()
    world.tick(60)
    world.train()
    world.settle()
    assert is_true(world.status, ConditionType.READY)
    assert len(world.writes) == 4
    assert reasons(world) == [Reason.ATTEMPT_STARTED, Reason.TRAINING]


def test_a_steady_run_is_written_only_for_its_progress_and_that_rarely():
    world = running()
    world.train(1)
    world.settle()
    before = len(world.writes)
    for _ in range(60):
        world.tick(1)
        world.train(0)
        world.settle()
    assert len(world.writes) == before
    for _ in range(29):
        world.tick(5)
        world.train(1)
        world.settle()
    assert len(world.writes) - before <= 145 / 30 + 1


def test_a_finished_run_is_complete_with_all_its_progress():
    world = running()
    world.train(3)
    world.finish()
    world.settle()
    status = world.status
    assert status.phase is Phase.COMPLETE
    assert (status.progress.step, status.progress.percentage) == (30, 100)
    assert (status.checkpoint.step, status.checkpoint.digest) == (30, "d30")
    assert status.attempts[-1].reason_class is EndClass.COMPLETED
    assert status.replicas.finished == 2
    assert is_true(status, ConditionType.READY)
    assert reasons(world)[-1] is Reason.COMPLETED


def test_a_sidecar_that_never_ends_does_not_hold_completion():
    world = running()
    for each in world.of_attempt():
        world.exit(each, 0)
        world.put(world.pods[each.name], phase="Running", accompanied=True)
    world.settle()
    assert world.status.phase is Phase.COMPLETE
    assert all(each.deleted_at is not None for each in world.pods.values()) or not world.pods


def test_finished_pods_are_kept_also_while_kubelet_has_not_written_their_phase():
    world = running()
    for each in world.of_attempt():
        world.exit(each, 0)
        world.put(world.pods[each.name], phase="Running")
    world.settle()
    assert world.status.phase is Phase.COMPLETE
    assert [each.deleted_at for each in world.pods.values()] == [None, None]


def test_a_completed_run_whose_pods_are_deleted_is_not_created_again():
    world = running()
    world.finish()
    world.settle()
    world.pods.clear()
    world.tick(10)
    world.settle()
    assert world.status.phase is Phase.COMPLETE
    assert not world.pods


def test_a_killed_rank_restarts_the_gang_as_attempt_2():
    world = running()
    world.train(3, save=True)
    world.exit(world.of_attempt()[1], 137)
    world.settle()
    assert world.status.phase is Phase.RESTARTING
    world.kubelet()
    world.settle()
    status = world.status
    assert (status.attempt.number, status.budget.charged, status.phase) == (2, 1, Phase.PENDING)
    assert find(status, ConditionType.RECONCILING).reason == Reason.BACKING_OFF
    assert "from the checkpoint of step 3" in status.message
    assert not world.of_attempt()
    world.now = status.attempt.not_before
    for _ in range(3):
        world.live()
    status = world.status
    assert status.phase is Phase.RUNNING
    assert status.restarts.application == status.restarts.total == 1
    assert {each.attempt for each in world.pods.values()} == {2}
    record = status.attempts[0]
    assert (record.reason_class, record.rank, record.exit_code, record.workers) == (EndClass.APPLICATION, 1, 137, 2)
    assert record.image == pictures.IMAGE


def test_finished_pods_keep_their_logs_until_the_next_attempt_is_there():
    world = running()
    world.exit(world.of_attempt()[1], 1)
    world.settle()
    world.kubelet()
    world.settle()
    world.kubelet()
    assert [each.rank for each in world.pods.values()] == [1]
    world.tick(60)
    world.settle()
    assert {each.attempt for each in world.pods.values()} == {2}


def test_an_invalid_run_fails_at_once_with_the_trainers_own_line():
    world = running()
    world.exit(world.of_attempt()[1], 64)
    world.settle()
    world.kubelet()
    world.settle()
    status = world.status
    assert status.phase is Phase.FAILED
    assert status.message == "rank 1 ends with 64"
    assert find(status, ConditionType.FAILED).reason == Reason.INVALID_RUN
    assert is_true(status, ConditionType.STALLED)
    assert status.restarts.total == 0
    assert world.events[-1].type == "Warning"


def test_a_volume_that_holds_another_run_is_told_by_its_reason():
    world = running()
    for each in world.of_attempt():
        world.exit(each, 64, cause="VolumeHoldsAnotherRun")
    world.settle()
    assert find(world.status, ConditionType.STALLED).reason == Reason.VOLUME_HOLDS_ANOTHER_RUN


def test_a_run_fails_after_its_backoff_limit():
    world = running(spec=pictures.spec(replicas=1))
    for step in range(40):
        if world.status.phase.terminal:
            break
        world.trainer.step = step
        if gang := world.of_attempt():
            world.exit(gang[0], 1)
        world.live(400)
    status = world.status
    assert find(status, ConditionType.FAILED).reason == Reason.BACKOFF_LIMIT_EXCEEDED
    assert (status.restarts.application, len(status.attempts)) == (3, 4)


def test_an_evicted_pod_is_not_charged():
    world = running()
    world.disrupt(world.of_attempt()[1], "EvictionByEvictionAPI")
    for _ in range(4):
        world.live()
    status = world.status
    assert (status.attempt.number, status.phase) == (2, Phase.RUNNING)
    assert (status.restarts.infrastructure, status.budget.charged) == (1, 0)


def test_a_pod_on_a_dead_node_is_forced_and_the_run_goes_on():
    world = running()
    victim = world.of_attempt()[1]
    world.dead_nodes.add(victim.node)
    world.disrupt(victim, "DeletionByTaintManager")
    world.settle()
    world.kubelet()
    world.settle()
    assert world.status.attempt.number == 1
    world.now = victim.deleted_at or world.now
    world.tick(60)
    decided = world.reconcile()
    assert [action.grace_seconds for action in decided.actions] == [0]
    assert Reason.POD_FORCE_DELETED in reasons(world)
    world.live()
    world.live()
    world.live()
    assert (world.status.attempt.number, world.status.phase) == (2, Phase.RUNNING)


def test_a_gang_without_progress_hangs_and_is_charged():
    world = running()
    world.train()
    world.settle()
    due = world.requeue_at
    assert due == world.scrape.moved_at + (due - world.scrape.moved_at)
    world.now = due
    world.look()
    world.settle()
    assert world.status.attempt.ending.reason_class is EndClass.HANG
    world.kubelet()
    world.settle()
    assert world.status.budget.charged == 1


def test_an_incomplete_gang_is_released_and_tried_again_later():
    world = World()
    world.settle()
    first = world.of_attempt()[0]
    world.put(first, node="n", scheduled_at=world.now, trainer=pictures.Running(world.now), phase="Running")
    world.settle()
    assert world.requeue_at == after(1800)
    world.now = world.requeue_at
    world.settle()
    status = world.status
    assert find(status, ConditionType.ADMITTED).reason == Reason.GANG_INCOMPLETE
    world.kubelet()
    world.settle()
    status = world.status
    assert (status.attempt.number, status.restarts.scheduling, status.budget.charged) == (2, 1, 0)
    assert not world.running()
    assert world.requeue_at == status.attempt.not_before
    world.now = status.attempt.not_before
    for _ in range(3):
        world.live()
    assert is_true(world.status, ConditionType.ADMITTED)


def test_used_up_running_time_is_final_and_counts_over_attempts():
    world = running(spec=pictures.spec(runPolicy={"activeDeadlineSeconds": 100}))
    world.tick(60)
    world.exit(world.of_attempt()[0], 75)
    for _ in range(4):
        world.live(1)
    assert (world.status.attempt.number, world.status.phase) == (2, Phase.RUNNING)
    assert 55 <= world.status.running_seconds <= 65
    world.now = world.requeue_at
    world.settle()
    world.kubelet()
    world.settle()
    assert find(world.status, ConditionType.FAILED).reason == Reason.DEADLINE_EXCEEDED
    assert world.status.running_seconds == 100


def test_a_run_of_another_manager_is_left_alone_altogether():
    raw = pictures.spec(managedBy="kueue.x-k8s.io/multikueue")
    assert plan(picture(pictures.run(raw), (pod(0),))) == Plan()


def test_a_run_that_is_being_deleted_creates_nothing_and_only_tells_kueue():
    going = pod(0, queued=True, deleted_at=after(0))
    decided = plan(picture(pictures.run(deleting=True), (going,)))
    assert decided.status is None
    assert [type(action) for action in decided.actions] == [AnnotatePod]
    assert plan(picture(pictures.run(deleting=True))) == Plan()


def test_a_spec_that_cannot_be_read_stalls_the_run_and_touches_nothing():
    world = running()
    world.change(steps=-1, hints={"nonsense": True})
    decided = world.reconcile()
    assert decided.actions == ()
    status = world.status
    assert find(status, ConditionType.STALLED).reason == Reason.INVALID_SPEC
    assert "steps" in status.message
    assert (status.phase, status.attempt.ending) == (Phase.RUNNING, None)
    assert len(world.running()) == 2
    world.settle()
    world.change(steps=30, hints={})
    world.train()
    world.settle()
    assert is_true(world.status, ConditionType.READY)


def test_a_status_that_was_wiped_by_hand_never_makes_two_gangs_run():
    world = running()
    world.stored = {}
    world.settle()
    assert world.status.attempt.number == 2
    assert len(world.running()) == 2
    world.kubelet()
    world.settle()
    for _ in range(3):
        world.live()
    assert (world.status.phase, {each.attempt for each in world.running()}) == (Phase.RUNNING, {2})


def test_an_operator_upgrade_never_changes_the_image_of_a_run():
    world = running()
    world.settle()
    newer = replace(world.observe(), facts=replace(pictures.FACTS, trainer_image="registry.example/igpo-trainer:2"))
    assert plan(newer).status is None
    gone = replace(newer, pods=())
    ending = plan(gone).status
    for _ in range(3):
        status = plan(replace(gone, run=replace(gone.run, status=ending), now=after(9999))).status or ending
        ending = status
    assert (ending.attempt.number, ending.resolved.image) == (2, pictures.IMAGE)


def test_adoption_is_told_once():
    world = running()
    world.train()
    said = replace(world.scrape, status=world.scrape.status.model_copy(update={"adopted": True}))
    world.scrape = said
    world.settle()
    world.tick(60)
    world.settle()
    assert reasons(world).count(Reason.ADOPTED) == 1


def test_a_number_that_is_not_finite_shows_and_recovers():
    world = running()
    world.train()
    healthy = world.scrape
    world.scrape = replace(healthy, status=healthy.status.model_copy(update={"non_finite": ["loss"]}))
    world.settle()
    assert find(world.status, ConditionType.TRAINING_HEALTHY).status == "False"
    world.scrape = healthy
    world.settle()
    assert is_true(world.status, ConditionType.TRAINING_HEALTHY)
    assert reasons(world)[-2:] == [Reason.NON_FINITE, Reason.HEALTHY]


@pytest.mark.parametrize("phase", [Phase.COMPLETE, Phase.FAILED])
def test_a_finished_run_only_notes_that_it_has_seen_a_new_spec(phase):
    status = RunStatus(phase=phase, observed_generation=1, completion_time=after(0))
    decided = plan(picture(pictures.run(status=status, generation=2)))
    assert decided.actions == ()
    assert decided.status == status.model_copy(update={"observed_generation": 2})


@pytest.mark.parametrize("settled", [0, 1, 3])
def test_under_an_older_crd_nothing_is_done_and_the_run_says_so_once_until_it_has_every_field(settled):
    world = World()
    for _ in range(settled):
        world.live(1)
    before, created = world.status, list(world.created)
    world.lacking = "status.attempt"
    for _ in range(3):
        world.settle()
        world.tick(5)
    assert world.created == created
    assert (world.status.phase, world.status.attempt) == (before.phase, before.attempt)
    stalled = find(world.status, ConditionType.STALLED)
    assert stalled.reason == Reason.CRD_OUTDATED
    assert "it lacks status.attempt; install the CRDs of release 1.0.0" in stalled.message
    assert reasons(world).count(Reason.CRD_OUTDATED) == 1
    world.lacking = None
    for _ in range(4):
        world.live(1)
    world.train()
    world.settle()
    assert find(world.status, ConditionType.STALLED) is None
    assert is_true(world.status, ConditionType.READY)
