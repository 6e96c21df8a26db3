from dataclasses import replace

from igpo_operator.api.reasons import ConditionType, Phase, Reason
from igpo_operator.api.status import CheckpointView, Resolved, RunStatus
from igpo_operator.plan.conditions import find, is_true
from igpo_operator.plan.plan import plan
from planworld import pictures
from planworld.pictures import FACTS, picture, source

CHAINED = pictures.spec(model={"from": {"name": "base"}}, seed=7)
DONE = RunStatus(
    phase=Phase.COMPLETE,
    checkpoint=CheckpointView(step=30, digest="last"),
    resolved=Resolved(image="i", claim_name="models"),
)


def status(raw=None, **changes):
    return plan(picture(pictures.run(raw), **changes)).status


def test_attempt_1_is_recorded_with_all_that_is_known_before_anything_is_created():
    decided = plan(picture())
    assert decided.actions == ()
    assert decided.requeue_at == pictures.NOW
    new = decided.status
    assert (new.attempt.number, new.attempt.created_at, new.observed_generation) == (1, None, 1)
    resolved = new.resolved
    assert (resolved.image, resolved.operator_version, resolved.claim_name) == (pictures.IMAGE, "1.0.0", "gsm8k-igpo")
    assert len(resolved.spec_hash) == 64
    assert is_true(new, ConditionType.RECONCILING)
    assert find(new, ConditionType.READY).status == "False"


def test_an_image_of_its_own_comes_before_the_operators():
    assert status(pictures.spec(image="mine:1")).resolved.image == "mine:1"


def test_without_any_image_a_person_must_act_and_nothing_else_is_written():
    bare = picture(facts=replace(FACTS, trainer_image=""))
    new = plan(bare).status
    assert find(new, ConditionType.STALLED).reason == Reason.NO_IMAGE
    assert new.attempt is None
    again = plan(replace(bare, run=replace(bare.run, status=new), now=pictures.after(1000)))
    assert (again.status, again.requeue_at) == (None, None)


def test_a_run_waits_for_its_source_and_starts_when_it_is_complete():
    waiting = status(CHAINED)
    assert (waiting.phase, find(waiting, ConditionType.RECONCILING).reason) == (Phase.WAITING, "WaitingForSource")
    started = status(CHAINED, source=source(DONE))
    taken = started.resolved.source
    assert (taken.name, taken.digest, taken.claim_name) == ("base", "last", "models")
    assert started.resolved.seed == 7


def test_a_source_that_failed_stalls_the_run():
    failed = status(CHAINED, source=source(RunStatus(phase=Phase.FAILED, message="broken")))
    assert find(failed, ConditionType.STALLED).reason == Reason.SOURCE_FAILED


def test_waiting_is_one_event_and_trouble_another():
    events = plan(picture(pictures.run(CHAINED))).events
    assert [(event.type, event.reason) for event in events] == [("Normal", Reason.WAITING_FOR_SOURCE)]
    broken = picture(pictures.run(CHAINED), source=source(RunStatus(phase=Phase.FAILED, message="broken")))
    assert [(event.type, event.reason) for event in plan(broken).events] == [("Warning", Reason.SOURCE_FAILED)]


def test_pods_of_a_forgotten_attempt_make_the_next_one_start_after_them():
    assert status(pods=(pictures.pod(0, attempt=4),)).attempt.number == 5


def test_an_attempt_without_provenance_begins_anew():
    known = status().model_copy(update={"resolved": None})
    new = plan(picture(pictures.run(status=known))).status
    assert (new.attempt.number, new.resolved.image) == (2, pictures.IMAGE)
