"""The stage before training, in the model cluster."""

from dataclasses import replace

import pytest

from igpo_operator.api.kinds import LENGTH_ALIGNED_SFT
from igpo_operator.api.reasons import ConditionType, EndClass, Phase, Reason, Stage
from igpo_operator.api.spec import spec_of
from igpo_operator.api.status import RewritingStatus, RunStatus
from igpo_operator.plan.conditions import find, is_true
from igpo_operator.plan.rewriting import outcome
from igpo_operator.plan.terms import Terms
from planworld import pictures
from planworld.life import QUOTA
from planworld.world import World


def new(**changes):
    return World(spec=pictures.rewriting_spec(**changes), kind=LENGTH_ALIGNED_SFT)


def rewriting(rows=0, **changes):
    world = new(**changes)
    for _ in range(3):
        world.live(1)
    assert world.status.phase is Phase.REWRITING
    if rows:
        world.rewrite(rows)
        world.tick(60)
        world.settle()
    return world


def training(world):
    for _ in range(3):
        world.live(1)
    assert world.status.phase is Phase.RUNNING
    return world


def failed(world, rank, code):
    """A rank of the gang ends, and with it its attempt."""
    world.exit(world.of_attempt()[rank], code)
    world.settle()
    world.kubelet()
    world.settle()
    return world


def terms(**changes):
    return Terms.of(spec_of(LENGTH_ALIGNED_SFT, pictures.rewriting_spec(**changes)))


def reasons(world):
    return [event.reason for event in world.events]


def test_one_pod_rewrites_and_then_the_gang_trains():
    world = rewriting(rows=20)
    assert list(world.pods) == ["gsm8k-lasft-a1-0"]
    assert world.status.replicas.desired == 1
    world.finish()
    world.settle()
    status = world.status
    assert (status.phase, status.attempt.number, status.attempt.stage) == (Phase.STARTING, 2, Stage.TRAINING)
    assert (status.attempts[0].stage, status.attempts[0].reason_class) == (Stage.REWRITING, EndClass.COMPLETED)
    assert status.restarts.total == 0
    training(world)
    assert sorted(pod.name for pod in world.running()) == ["gsm8k-lasft-a2-0", "gsm8k-lasft-a2-1"]
    world.finish()
    world.settle()
    assert world.status.phase is Phase.COMPLETE
    assert reasons(world) == [
        Reason.ATTEMPT_STARTED,
        Reason.REWRITING,
        Reason.REWRITTEN,
        Reason.ATTEMPT_STARTED,
        Reason.TRAINING,
        Reason.COMPLETED,
    ]


def test_counts_and_tokens_are_in_status_and_are_written_only_now_and_then():
    world = rewriting()
    before = len(world.writes)
    for _ in range(18):
        world.rewrite(1)
        world.tick(5)
        world.settle()
    assert len(world.writes) - before <= 1 + 90 / 30 + 1
    world.tick(60)
    world.settle()
    stage = world.status.rewriting
    assert (stage.attempt, stage.rows, stage.done, stage.kept, stage.dropped) == (1, 20, 18, 15, 3)
    assert (stage.tokens, stage.finished_at) == (1800, None)


def test_it_is_ready_from_the_first_answer_and_reconciling_again_until_the_gang_trains():
    world = rewriting()
    assert not is_true(world.status, ConditionType.READY)
    assert is_true(world.status, ConditionType.RECONCILING)
    world.rewrite(1)
    world.settle()
    ready = find(world.status, ConditionType.READY)
    assert (ready.status, ready.reason) == ("True", Reason.REWRITING)
    assert find(world.status, ConditionType.RECONCILING) is None
    world.finish()
    world.settle()
    assert not is_true(world.status, ConditionType.READY)
    assert is_true(world.status, ConditionType.RECONCILING)


def test_the_last_counts_come_from_the_termination_message():
    world = rewriting()
    world.finish()
    world.settle()
    stage = world.status.rewriting
    assert (stage.done, stage.tokens) == (20, 2000)
    assert stage.finished_at is not None
    (event,) = [event for event in world.events if event.reason is Reason.REWRITTEN]
    assert event.message == "16 of 20 rewritten traces are kept, for 2000 tokens of the teacher"


@pytest.mark.parametrize(("code", "reason"), [(64, Reason.INVALID_RUN), (65, Reason.INVALID_DATA)])
def test_what_can_never_work_is_not_tried_again(code, reason):
    world = rewriting(rows=3)
    world.exit(world.of_attempt()[0], code)
    world.settle()
    status = world.status
    assert status.phase is Phase.FAILED
    assert find(status, ConditionType.FAILED).reason == reason
    assert (
        "the teacher's answers for 3 of 20 traces are on the volume: delete the run and apply it again"
        in status.message
    )
    assert find(status, ConditionType.STALLED).message == find(status, ConditionType.FAILED).message == status.message
    assert status.rewriting.finished_at is None
    assert len(world.created) == 1


def test_a_stage_that_fails_with_nothing_rewritten_promises_nothing():
    world = rewriting()
    world.exit(world.of_attempt()[0], 64)
    world.settle()
    assert world.status.phase is Phase.FAILED
    assert "apply it again" not in world.status.message


def test_a_gang_that_fails_after_the_stage_says_nothing_of_traces():
    world = rewriting()
    world.finish()
    failed(training(world), rank=0, code=65)
    assert world.status.phase is Phase.FAILED
    assert "traces" not in world.status.message


def test_a_pod_that_is_killed_is_charged_and_only_the_stage_is_restarted():
    world = rewriting(rows=3)
    world.exit(world.of_attempt()[0], 137)
    world.settle()
    status = world.status
    assert (status.attempt.number, status.attempt.stage) == (2, Stage.REWRITING)
    assert (status.budget.charged, status.restarts.application) == (1, 1)
    assert "with 3 of 20 traces rewritten" in status.message
    world.tick(20)
    for _ in range(3):
        world.live(1)
    assert [pod.name for pod in world.running()] == ["gsm8k-lasft-a2-0"]
    assert world.status.rewriting.attempt == 2


@pytest.mark.parametrize("code", [75, 143])
def test_a_pod_that_saved_by_itself_starts_again_at_once_and_free(code):
    world = rewriting(rows=3)
    world.exit(world.of_attempt()[0], code)
    world.settle()
    assert (world.status.budget.charged, world.status.restarts.infrastructure) == (0, 1)
    assert world.status.attempt.not_before is None


def test_further_answers_make_earlier_failures_forgotten_and_none_means_the_end():
    world = rewriting(runPolicy={"backoffLimit": 1})
    for rows in (2, 2, 2):
        world.rewrite(rows)
        world.exit(world.of_attempt()[0], 1)
        world.settle()
        world.tick(400)
        for _ in range(3):
            world.live(1)
    assert (world.status.phase, world.status.budget.charged, world.status.budget.rewritten_rows) == (
        Phase.REWRITING, 1, 6
    )  # fmt: skip
    world.exit(world.of_attempt()[0], 1)
    world.settle()
    failed = find(world.status, ConditionType.FAILED)
    assert failed.reason == Reason.BACKOFF_LIMIT_EXCEEDED
    assert "without a further rewritten trace exceed backoffLimit 1" in failed.message


def test_the_gang_begins_with_its_whole_budget():
    world = rewriting(rows=3)
    world.exit(world.of_attempt()[0], 1)
    world.settle()
    world.tick(60)
    for _ in range(3):
        world.live(1)
    assert world.status.budget.charged == 1
    world.finish()
    world.settle()
    assert world.status.budget.charged == 0


def test_suspended_in_the_middle_it_stops_and_goes_on_as_the_next_attempt():
    world = rewriting(rows=5)
    world.change(suspend=True)
    world.settle()
    assert world.status.phase is Phase.SUSPENDING
    world.kubelet()
    world.settle()
    status = world.status
    assert (status.phase, status.budget.charged, status.restarts.suspended) == (Phase.SUSPENDED, 0, 1)
    assert "5 of 20 traces are rewritten" in status.message
    assert not world.running()
    world.change(suspend=False)
    for _ in range(3):
        world.live(1)
    status = world.status
    assert (status.phase, status.attempt.number, status.attempt.stage) == (Phase.REWRITING, 2, Stage.REWRITING)


def test_one_that_finishes_while_it_is_being_suspended_is_not_run_again():
    world = rewriting(rows=20)
    world.change(suspend=True)
    world.reconcile()
    world.finish()
    world.settle()
    assert (world.status.phase, world.status.rewriting.finished_at is None) == (Phase.SUSPENDED, False)
    assert "the traces are rewritten, no checkpoint was saved yet" in world.status.message
    world.change(suspend=False)
    assert training(world).status.attempt.stage is Stage.TRAINING


def test_what_is_rewritten_is_not_rewritten_again_after_failures_and_suspends_of_the_gang():
    world = rewriting()
    world.finish()
    failed(training(world), rank=1, code=1)
    world.tick(60)
    training(world)
    world.change(suspend=True)
    world.settle()
    world.kubelet()
    world.settle()
    world.change(suspend=False)
    training(world)
    assert [record.stage for record in world.status.attempts] == [Stage.REWRITING, Stage.TRAINING, Stage.TRAINING]
    assert world.status.rewriting.attempt == 1


def test_what_the_gangs_trainer_says_of_rewriting_changes_nothing():
    world = rewriting()
    world.finish()
    training(world)
    before = world.status.rewriting
    world.train(1)
    said = world.scrape.status.model_copy(update={"rewrite": world.teacher.said.model_copy(update={"tokens": 7})})
    world.scrape = replace(world.scrape, status=said)
    world.tick(60)
    world.settle()
    assert world.status.rewriting == before


def test_no_answer_for_stall_timeout_seconds_is_a_hang():
    world = rewriting(rows=2, runPolicy={"stallTimeoutSeconds": 600})
    world.tick(601)
    world.settle()
    ending = world.status.attempt.ending
    assert ending.reason_class is EndClass.HANG
    assert "the pod that rewrites hangs" in ending.message


def test_its_time_counts_for_the_active_deadline_which_names_the_way_on():
    world = rewriting(rows=2, runPolicy={"activeDeadlineSeconds": 1000})
    world.tick(1001)
    world.settle()
    world.kubelet()
    world.settle()
    failed = find(world.status, ConditionType.FAILED)
    assert failed.reason == Reason.DEADLINE_EXCEEDED
    assert failed.message == (
        "activeDeadlineSeconds 1000 of running time are used up; allow more; the teacher's answers for 2 of 20 traces "
        "are on the volume: delete the run and apply it again to go on with them"
    )
    other = rewriting(rows=2, runPolicy={"activeDeadlineSeconds": 1000})
    other.tick(600)
    other.finish()
    training(other)
    assert other.status.running_seconds >= 600


def test_a_missing_secret_is_told_as_for_any_pod():
    world = new()
    world.settle()
    world.schedule()
    for pod in world.of_attempt():
        world.put(pod, trainer=pictures.waiting("CreateContainerConfigError", 'secret "teacher" not found'))
    world.tick(20)
    world.settle()
    stalled = find(world.status, ConditionType.STALLED)
    assert stalled.reason == Reason.POD_CONFIG_ERROR
    assert 'secret "teacher" not found' in stalled.message


def test_a_pod_that_never_runs_is_given_up_and_tried_again():
    world = new(runPolicy={"preRunningDeadlineSeconds": 100})
    world.settle()
    world.schedule()
    world.settle()
    world.tick(101)
    world.settle()
    assert world.status.attempt.ending.reason_class is EndClass.GANG_INCOMPLETE


def test_a_pod_that_is_refused_is_tried_again_as_a_rewriting_attempt():
    world = new()
    world.refuse = QUOTA
    world.settle()
    world.refuse = world.refusal = None
    world.tick(100)
    for _ in range(3):
        world.live(1)
    assert (world.status.phase, world.status.attempt.number) == (Phase.REWRITING, 2)


def test_the_stage_waits_in_no_queue_and_the_gang_does():
    world = World(
        spec=pictures.rewriting_spec(runPolicy={"queueName": "gpus"}), kind=LENGTH_ALIGNED_SFT, queued=True
    )  # fmt: skip
    world.settle()
    world.schedule()
    world.start()
    world.settle()
    assert world.status.phase is Phase.REWRITING
    assert find(world.status, ConditionType.ADMITTED) is None
    world.finish()
    world.settle()
    assert world.status.phase is Phase.QUEUED
    assert find(world.status, ConditionType.ADMITTED).status == "False"


def test_a_run_of_the_same_kind_without_rewrite_trains_at_once():
    world = World(spec=pictures.sft_spec(), kind=LENGTH_ALIGNED_SFT)
    training(world)
    assert (world.status.rewriting, world.status.attempt.stage) == (None, Stage.TRAINING)


def test_a_status_of_an_operator_that_knew_no_stages_is_a_training_one():
    world = World(spec=pictures.sft_spec(), kind=LENGTH_ALIGNED_SFT)
    training(world)
    del world.stored["attempt"]["stage"]
    assert world.status.attempt.stage is Stage.TRAINING


def test_the_hash_is_of_what_rewrites_depend_on():
    base = terms()
    assert base.rewrite_hash is not None
    assert terms(workers={"replicas": 4}, optimizer={"learningRate": 0.5}).rewrite_hash == base.rewrite_hash
    assert terms(training={"steps": 3, "batchSize": 2}).rewrite_hash == base.rewrite_hash
    teacher = pictures.rewriting_spec()["rewrite"]["teacher"]
    same = terms(rewrite={"teacher": teacher, "concurrency": 3, "tokenBudget": 9, "attempts": 2, "timeoutSeconds": 1})
    assert same.rewrite_hash == base.rewrite_hash
    for changes in (
        {"seed": 4},
        {"rewrite": {"teacher": teacher, "maxTokens": 7}},
        {"rewrite": {"teacher": {**teacher, "model": "another"}}},
        {"dataset": {**pictures.spec()["dataset"], "maxPromptTokens": 41}},
    ):
        assert terms(**changes).rewrite_hash != base.rewrite_hash


def test_a_finished_stage_of_another_hash_is_run_again():
    over = RewritingStatus(hash="another", attempt=1, done=3, finished_at=pictures.NOW)
    world = new()
    world.stored = RunStatus(rewriting=over).dump()
    world.settle()
    assert world.status.attempt.stage is Stage.REWRITING
    assert world.status.rewriting.done == 0


def test_a_result_that_the_volume_held_already_is_told_as_such():
    stage = RewritingStatus(hash="h", attempt=1, rows=20, done=20, cached=20, kept=16, tokens=5)
    assert outcome(stage) == (
        "16 of 20 rewritten traces are kept, for 5 tokens of the teacher; the volume already held them"
    )
    assert outcome(RewritingStatus(hash="h", attempt=1)) == "the traces are rewritten"
