"""Events: a pure function of the old and the new status, so that none is posted twice for one transition."""

from collections.abc import Iterator
from typing import Final

from igpo_operator.api.reasons import ConditionType, EndClass, Phase, Reason, Stage
from igpo_operator.api.status import RunStatus
from igpo_operator.plan.actions import Event
from igpo_operator.plan.conditions import find, is_true
from igpo_operator.plan.rewriting import outcome, unfinished

_MESSAGE_CHARACTERS: Final = 1000
_NOTABLE: Final = frozenset({Reason.UNSCHEDULABLE, Reason.POD_FORCE_DELETED})
"""Reasons of Reconciling that a person wants to hear of."""


def events(old: RunStatus, new: RunStatus) -> tuple[Event, ...]:
    """What happened between two stored statuses; from apply to Running: AttemptStarted and Training."""
    kinds = (_admitted, _rewritten, _attempt, _ending, _phase, _trouble, _health)
    return tuple(event for kind in kinds for event in kind(old, new))


def _event(kind: str, reason: Reason, message: str) -> Event:
    return Event("Warning" if kind == "Warning" else "Normal", reason, message[:_MESSAGE_CHARACTERS])


def _admitted(old: RunStatus, new: RunStatus) -> Iterator[Event]:
    if old.phase is Phase.QUEUED and new.phase is not Phase.QUEUED and is_true(new, ConditionType.ADMITTED):
        yield _event("Normal", Reason.ADMITTED, "Kueue has admitted the gang")


def _rewritten(old: RunStatus, new: RunStatus) -> Iterator[Event]:
    stage = new.rewriting
    if stage is not None and stage.finished_at is not None and (old.rewriting is None or unfinished(old) is not None):
        yield _event("Normal", Reason.REWRITTEN, outcome(stage))


def _attempt(old: RunStatus, new: RunStatus) -> Iterator[Event]:
    before, after = old.attempt, new.attempt
    if after is None:
        return
    same = before is not None and before.number == after.number
    if old.phase is Phase.SUSPENDED and not same:
        yield _event("Normal", Reason.RESUMED, new.message or "resumed")
    created = after.created_at is not None and not (same and before is not None and before.created_at is not None)
    if created and new.phase is not Phase.QUEUED:
        pods = f"{new.replicas.desired if new.replicas else 0} pods are created"
        what = "the pod that rewrites is created" if after.stage is Stage.REWRITING else pods
        yield _event("Normal", Reason.ATTEMPT_STARTED, f"attempt {after.number}: {what}")
    if after.running_at is not None and not (same and before is not None and before.running_at is not None):
        if after.stage is Stage.REWRITING:
            yield _event("Normal", Reason.REWRITING, f"attempt {after.number}: the pod that rewrites runs")
        else:
            yield _event("Normal", Reason.TRAINING, f"attempt {after.number}: all ranks run")


def _ending(old: RunStatus, new: RunStatus) -> Iterator[Event]:
    after = new.attempt
    if after is None or after.ending is None:
        return
    if old.attempt is not None and old.attempt.number == after.number and old.attempt.ending is not None:
        return
    ending = after.ending
    text = f"attempt {after.number} ends ({ending.reason_class}): {ending.message}"
    if ending.reason_class is EndClass.SUSPENDED:
        yield _event("Normal", Reason.SUSPENDING, text)
    elif ending.reason_class is EndClass.GANG_INCOMPLETE:
        yield _event("Warning", Reason.GANG_INCOMPLETE, text)
    elif new.phase is Phase.RESTARTING and ending.reason_class is not EndClass.REFUSED:
        yield _event("Warning", Reason.RESTARTING, text)


def _word(new: RunStatus) -> Reason:
    condition = find(new, ConditionType.READY)
    return Reason(condition.reason) if condition is not None else Reason.RESTARTING


def _phase(old: RunStatus, new: RunStatus) -> Iterator[Event]:
    if old.phase is new.phase:
        return
    message = new.message or ""
    match new.phase:
        case Phase.WAITING if not is_true(new, ConditionType.STALLED):
            yield _event("Normal", Reason.WAITING_FOR_SOURCE, message)
        case Phase.QUEUED:
            yield _event("Normal", Reason.QUEUED, message)
        case Phase.SUSPENDED:
            yield _event("Normal", Reason.SUSPENDED, message)
        case Phase.COMPLETE:
            yield _event("Normal", Reason.COMPLETED, message)
        case Phase.FAILED:
            yield _event("Warning", _word(new), message)


def _trouble(old: RunStatus, new: RunStatus) -> Iterator[Event]:
    if new.phase is Phase.FAILED:
        return
    for kind in (ConditionType.STALLED, ConditionType.RECONCILING):
        before, after = find(old, kind), find(new, kind)
        if after is None or (before is not None and before.reason == after.reason):
            continue
        if kind is ConditionType.STALLED or Reason(after.reason) in _NOTABLE:
            yield _event("Warning", Reason(after.reason), after.message)


def _health(old: RunStatus, new: RunStatus) -> Iterator[Event]:
    if new.resolved is not None and new.resolved.adopted and not (old.resolved is not None and old.resolved.adopted):
        yield _event(
            "Normal", Reason.ADOPTED, "the volume already held this run; it goes on from the newest checkpoint there"
        )
    after, before = find(new, ConditionType.TRAINING_HEALTHY), find(old, ConditionType.TRAINING_HEALTHY)
    if after is None or (before is not None and before.status == after.status):
        return
    if after.status == "False":
        yield _event("Warning", Reason(after.reason), after.message)
    elif before is not None:
        yield _event("Normal", Reason.HEALTHY, after.message)
