from dataclasses import replace

import pytest

from igpo_operator.api.reasons import ConditionType, EndClass, Phase, Reason
from igpo_operator.plan.actions import AnnotatePod, DeletePod
from igpo_operator.plan.conditions import find
from planworld import pictures
from planworld.world import World


def running(**changes):
    world = World(**changes)
    for _ in range(3):
        world.live(1)
    return world


def test_why_an_attempt_ends_is_written_before_anything_is_deleted():
    world = running()
    world.exit(world.of_attempt()[1], 1)
    decided = world.reconcile()
    assert decided.actions == ()
    assert decided.requeue_at == world.now
    assert world.status.attempt.ending.reason_class is EndClass.APPLICATION
    assert [action.name for action in world.reconcile().actions] == ["gsm8k-igpo-a1-0"]
    assert world.reconcile().actions == ()


def kinds(decided):
    return [type(action) for action in decided.actions]


def queued():
    return running(spec=pictures.spec(runPolicy={"queueName": "gpus"}), queued=True)


def test_kueue_is_told_that_a_suspended_gang_does_not_come_back_before_its_pods_go():
    world = queued()
    world.change(suspend=True)
    world.reconcile()
    assert kinds(world.reconcile()) == [AnnotatePod, AnnotatePod, DeletePod, DeletePod]


def test_an_incomplete_gang_gives_its_quota_back_and_queues_anew():
    world = World(spec=pictures.spec(runPolicy={"queueName": "gpus"}), queued=True)
    world.settle()
    world.admit()
    world.schedule()
    world.tick(1800)
    world.reconcile()
    assert kinds(world.reconcile()) == [AnnotatePod, AnnotatePod, DeletePod, DeletePod]
    world.kubelet()
    world.settle()
    assert world.status.resolved.queue_epoch == 1


def test_a_gang_that_restarts_keeps_its_quota():
    world = queued()
    world.exit(world.of_attempt()[0], 1)
    world.reconcile()
    assert kinds(world.reconcile()) == [DeletePod]
    world.kubelet()
    world.settle()
    assert (world.status.attempt.number, world.status.resolved.queue_epoch) == (2, 0)


def test_only_when_every_rank_has_stopped_the_next_attempt_is_recorded():
    world = running(spec=pictures.spec(replicas=3))
    world.exit(world.of_attempt()[1], 1)
    world.settle()
    assert world.status.attempt.number == 1
    for pod in world.of_attempt()[:2]:
        world.exit(pod, 75)
    world.settle()
    assert world.status.attempt.number == 1
    world.kubelet()
    world.settle()
    assert world.status.attempt.number == 2


@pytest.mark.parametrize("count", [12, 25])
def test_the_ledger_keeps_the_last_ten_attempts(count):
    world = running(spec=pictures.spec(replicas=1))
    while world.status.attempt.number <= count:
        for pod in world.of_attempt():
            world.delete_by_hand(pod)
        world.live(400)
        world.kubelet()
    numbers = [record.number for record in world.status.attempts]
    assert numbers == list(range(numbers[-1] - 9, numbers[-1] + 1))
    assert world.status.restarts.infrastructure == numbers[-1]


def test_a_stuck_pod_is_named_and_written_once():
    world = running()
    victim = world.of_attempt()[1]
    world.exit(world.of_attempt()[0], 1)
    world.settle()
    world.tick(60)
    world.settle()
    assert f"pod {victim.name} on node {victim.node}" in world.status.message
    before = len(world.writes)
    for _ in range(10):
        world.tick(30)
        world.settle()
    assert len(world.writes) == before


def test_force_delete_after_seconds_forces_a_pod_of_a_node_that_nobody_may_look_at():
    raw = pictures.spec(runPolicy={"forceDeleteAfterSeconds": 100})
    world = running(spec=raw)
    world.exit(world.of_attempt()[0], 1)
    world.settle()
    world.tick(130)
    world.settle()
    assert not world.running()
    assert world.status.attempt.number == 2
    assert Reason.POD_FORCE_DELETED in [event.reason for event in world.events]


def test_the_same_crash_twice_after_one_step_fails_fast():
    world = running(spec=pictures.spec(replicas=1))
    for _ in range(6):
        if world.status.phase.terminal:
            break
        world.trainer.step = 4
        for pod in world.of_attempt():
            world.exit(pod, 1)
        world.trainer.saved = None
        world.live(100)
    assert find(world.status, ConditionType.FAILED).reason == Reason.SAME_STEP_CRASH
    assert world.status.attempt.number == 2


def test_the_last_words_of_the_first_cause_reach_the_ledger():
    world = running()
    world.exit(world.of_attempt()[1], 1, last_lines=[f"line {number}" for number in range(15)])
    world.settle()
    assert len(world.status.attempt.ending.last_lines) == 15
    world.kubelet()
    world.settle()
    record = world.status.attempts[0]
    assert record.last_lines[-1] == "line 14"
    assert len(record.last_lines) == 10


def test_running_time_is_that_until_the_end_was_seen():
    world = running()
    began = world.status.attempt.running_at
    world.tick(40)
    world.exit(world.of_attempt()[1], 1)
    world.settle()
    seconds = (world.now - began).total_seconds()
    world.tick(100)
    world.kubelet()
    world.settle()
    assert world.status.attempts[0].running_seconds == world.status.running_seconds == seconds


def test_without_any_progress_a_record_has_no_step():
    world = running()
    pod = world.of_attempt()[1]
    world.put(pod, phase="Failed", trainer=pictures.ended(1))
    world.settle()
    world.kubelet()
    world.settle()
    assert world.status.attempts[0].step is None


def test_a_run_without_a_scrape_takes_its_last_step_from_the_message():
    world = running()
    world.scrape = None
    world.finish()
    world.settle()
    status = world.status
    assert (status.progress.step, status.checkpoint.digest) == (30, "d30")
    assert "finished after step 30" in status.message


def test_the_last_metrics_of_the_lingering_trainer_are_kept():
    world = running()
    world.train(30)
    world.scrape = replace(world.scrape, status=world.scrape.status.model_copy(update={"metrics": {"accuracy": 0.75}}))
    world.finish()
    world.settle()
    assert world.status.phase is Phase.COMPLETE
    assert world.status.metrics["accuracy"] == "0.75"


def test_a_record_counts_the_pods_of_its_gang_that_are_already_gone():
    world = running(spec=pictures.spec(replicas=2))
    world.delete_by_hand(world.of_attempt()[1])
    world.kubelet()
    world.settle()
    world.kubelet()
    world.settle()
    assert world.status.attempts[0].workers == 2
