"""An attempt that is recorded but whose pods are not all there: create them once, after its back-off."""

from datetime import timedelta
from typing import Final

from igpo_operator.api.reasons import FROZEN, ConditionType, EndClass, Phase, Reason
from igpo_operator.api.status import AttemptStatus, Ending
from igpo_operator.plan.actions import Action, Apply, Create
from igpo_operator.plan.budget import WAITED
from igpo_operator.plan.cause import first_cause
from igpo_operator.plan.children import rendered
from igpo_operator.plan.conditions import View, find
from igpo_operator.plan.gang import Gang, stopped
from igpo_operator.plan.message import refusal_message, refusal_reason
from igpo_operator.plan.observed import Refusal
from igpo_operator.plan.scene import Scene, Step, delete_unfinished
from igpo_operator.plan.stop import end, suspended_ending
from igpo_operator.plan.watch import watch

NAME_RETRY: Final = timedelta(seconds=15)
NAME_PATIENCE: Final = timedelta(seconds=300)
"""Pods of a deleted run of the same name need their grace period; a name taken for longer will not become free."""


def create(scene: Scene, attempt: AttemptStatus) -> Step:
    """Create what is missing, or end the attempt if that is refused or a pod has already failed."""
    gang = scene.gang(attempt)
    if ending := _ending(scene, gang):
        return end(scene, attempt, ending)
    if not gang.missing:
        return watch(scene, attempt.model_copy(update={"created_at": scene.now}))
    if refusal := _refusal(scene, attempt):
        return _refused(scene, attempt, refusal)
    if attempt.not_before is not None and scene.now < attempt.not_before:
        return Step(scene.status, view_of(scene, attempt), requeue_at=attempt.not_before)
    if running := [pod for pod in scene.other_pods(attempt) if not stopped(pod)]:
        return Step(scene.status, view_of(scene, attempt), actions=delete_unfinished(running))
    return Step(scene.status, view_of(scene, attempt), actions=_actions(scene, attempt, gang))


def _ending(scene: Scene, gang: Gang) -> Ending | None:
    cause = first_cause(gang, scene.now, created=False)
    if scene.terms.suspend and (cause is None or cause.reason_class.infrastructure):
        return suspended_ending(scene.now)
    return cause


def _actions(scene: Scene, attempt: AttemptStatus, gang: Gang) -> tuple[Action, ...]:
    """Children first: a pod whose ConfigMap or Service is missing would only wait."""
    observed = scene.observed
    objects = rendered(observed.run, scene.resource, scene.resolved, attempt, observed.facts)
    claim = (Create(objects.claim),) if objects.claim is not None else ()
    shared = (objects.manifest, objects.service, objects.network_policy)
    pods = tuple(Create(objects.pods[rank]) for rank in gang.missing)
    return (*claim, *(Apply(child) for child in shared), *pods)


def view_of(scene: Scene, attempt: AttemptStatus) -> View:
    """What a run that is about to create its pods says: the same before, during and after the back-off."""
    known, past = find(scene.status, ConditionType.STALLED), scene.status.attempts
    if known is not None and known.reason not in FROZEN and past and past[-1].reason_class in WAITED:
        # It stays so until this one is created.
        return View(Phase.PENDING, Reason.stored(known.reason, Reason.POD_REFUSED), known.message, stalled=True)
    busy = find(scene.status, ConditionType.RECONCILING)
    if busy is not None and scene.status.phase is Phase.PENDING:
        return View(Phase.PENDING, Reason.stored(busy.reason, Reason.STARTING), busy.message)
    return View(Phase.PENDING, Reason.STARTING, f"attempt {attempt.number} is about to start")


def _refusal(scene: Scene, attempt: AttemptStatus) -> Refusal | None:
    refusal = scene.observed.refusal
    return refusal if refusal is not None and refusal.attempt == attempt.number else None


def _refused(scene: Scene, attempt: AttemptStatus, refusal: Refusal) -> Step:
    """A name that is taken may become free by itself; everything else gives back what the partial gang holds."""
    reason, message = refusal_reason(refusal), refusal_message(refusal)
    since = attempt.not_before or attempt.decided_at
    if reason is not Reason.NAME_TAKEN or scene.now >= since + NAME_PATIENCE:
        ending = Ending(reason_class=EndClass.REFUSED, message=message[:1024], cause=reason, at=scene.now)
        return end(scene, attempt, ending)
    view = View(Phase.PENDING, reason, message)
    again = refusal.at.replace(microsecond=0) + NAME_RETRY
    if scene.now < again:
        return Step(scene.status, view, requeue_at=again)
    actions = _actions(scene, attempt, scene.gang(attempt))
    return Step(scene.status, view, actions=actions, requeue_at=scene.now + NAME_RETRY)
