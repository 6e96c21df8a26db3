from igpo_operator.api.reasons import ConditionType, EndClass, Phase, Reason
from igpo_operator.plan.actions import Apply, Create
from igpo_operator.plan.conditions import find, is_true
from planworld import pictures
from planworld.life import NAME, POLICY, QUOTA
from planworld.pictures import after
from planworld.world import World


def recorded(**changes):
    world = World(**changes)
    world.reconcile()
    return world


def reason(world, kind=ConditionType.STALLED):
    condition = find(world.status, kind)
    return None if condition is None else condition.reason


def test_children_are_created_before_the_pods_that_need_them():
    decided = recorded().reconcile()
    kinds = [action.manifest["kind"] for action in decided.actions]
    assert kinds == ["PersistentVolumeClaim", "ConfigMap", "Service", "NetworkPolicy", "Pod", "Pod"]
    assert [type(action) for action in decided.actions] == [Create, Apply, Apply, Apply, Create, Create]


def test_only_missing_pods_are_created():
    world = recorded()
    world.reconcile(crash_after=5)
    decided = world.reconcile()
    names = [a.manifest["metadata"]["name"] for a in decided.actions if a.manifest["kind"] == "Pod"]
    assert names == ["gsm8k-igpo-a1-1"]


def test_a_claim_that_exists_is_not_created():
    decided = recorded(spec=pictures.spec(storage={"claimName": "shared"})).reconcile()
    assert "PersistentVolumeClaim" not in {action.manifest["kind"] for action in decided.actions}


def test_nothing_is_created_before_the_back_off_is_over():
    world = recorded()
    status = world.status
    late = status.attempt.model_copy(update={"not_before": after(50)})
    world.stored = status.model_copy(update={"attempt": late}).dump()
    decided = world.reconcile()
    assert (decided.actions, decided.status, decided.requeue_at) == ((), None, after(50))
    world.now = after(50)
    assert world.reconcile().actions


def test_a_quota_that_is_exceeded_gives_the_partial_gang_back_and_stalls_with_its_numbers():
    world = recorded()
    world.reconcile(crash_after=5)
    world.refuse = QUOTA
    world.settle()
    status = world.status
    assert not world.pods
    assert reason(world) == Reason.QUOTA_EXCEEDED
    assert "requested: pods=1, used: pods=1, limited: pods=1" in status.message
    assert (status.attempt.number, status.phase) == (2, Phase.PENDING)
    assert (status.restarts.scheduling, status.budget.charged) == (1, 0)
    assert status.attempts[-1].reason_class is EndClass.REFUSED
    assert is_true(status, ConditionType.STALLED)
    assert [event.reason for event in world.events] == [Reason.QUOTA_EXCEEDED]


def test_a_refused_run_is_not_written_again_for_a_minute():
    world = recorded()
    world.refuse = POLICY
    world.settle()
    before = len(world.writes)
    for _ in range(59):
        world.tick(1)
        world.settle()
    assert len(world.writes) == before
    assert reason(world) == Reason.POD_REFUSED


def test_a_refusal_stays_shown_until_the_next_attempt_is_created():
    world = recorded()
    world.refuse = QUOTA
    world.settle()
    for _ in range(5):
        world.now = world.status.attempt.not_before
        world.settle()
        assert reason(world) == Reason.QUOTA_EXCEEDED
    assert world.status.budget.waits == 6
    assert [event.reason for event in world.events] == [Reason.QUOTA_EXCEEDED]
    world.refuse = None
    world.now = world.status.attempt.not_before
    world.settle()
    assert (reason(world), world.status.phase) == (None, Phase.STARTING)


def test_a_reason_of_a_newer_operator_does_not_stop_an_older_one():
    world = recorded()
    world.refuse = QUOTA
    world.settle()
    for condition in world.stored["conditions"]:
        condition["reason"] = "QuotaOfTheFuture"
    assert world.reconcile().status is not None
    assert reason(world) == Reason.POD_REFUSED
    world.refuse = None
    world.now = world.status.attempt.not_before
    world.settle()
    assert world.status.phase is Phase.STARTING


def test_a_name_that_is_taken_is_tried_again_before_the_attempt_is_given_up():
    world = recorded()
    world.refuse = NAME
    world.settle()
    assert (reason(world), reason(world, ConditionType.RECONCILING)) == (None, Reason.NAME_TAKEN)
    writes = len(world.writes)
    for _ in range(10):
        world.tick(20)
        world.settle()
    assert len(world.writes) == writes
    assert world.status.attempt.number == 1
    world.refuse = None
    world.tick(20)
    world.settle()
    assert world.status.phase is Phase.STARTING


def test_a_name_that_stays_taken_needs_a_person():
    world = recorded()
    world.refuse = NAME
    for _ in range(21):
        world.settle()
        world.tick(15)
    assert reason(world) == Reason.NAME_TAKEN
    assert world.status.attempt.number == 2


def test_a_pod_that_fails_before_the_others_are_created_ends_the_attempt():
    world = recorded()
    world.reconcile(crash_after=5)
    (pod,) = world.of_attempt()
    world.put(pod, phase="Failed", reason="OutOfcpu", message="no room")
    world.reconcile()
    assert world.status.attempt.ending.reason_class is EndClass.EVICTED


def test_pods_of_another_attempt_that_still_run_are_stopped_first():
    world = recorded()
    stray = pictures.pod(0, attempt=7)
    world.pods[stray.name] = stray
    decided = world.reconcile()
    assert [action.name for action in decided.actions] == [stray.name]
    assert not world.of_attempt()
