"""Suspended runs: nothing runs, the volume stays, and resuming is a new attempt."""

from igpo_operator.api.reasons import Phase, Reason
from igpo_operator.api.status import AttemptStatus, RunStatus
from igpo_operator.plan.actions import Action
from igpo_operator.plan.conditions import View
from igpo_operator.plan.overdue import overdue
from igpo_operator.plan.queueing import give_back
from igpo_operator.plan.rewriting import origin, unfinished, with_attempt
from igpo_operator.plan.scene import Scene, Step, delete_all
from igpo_trainer.spec.contract import MAX_ATTEMPT

_REMEDY = "set spec.suspend to false to go on"


def before_start(scene: Scene) -> Step:
    """A run that was suspended before its first attempt."""
    return Step(scene.status, View(Phase.SUSPENDED, Reason.SUSPENDED, f"suspended before it started; {_REMEDY}"))


def rest(scene: Scene) -> Step:
    """Stay suspended; clear away what is left of the pods, after Kueue has been told."""
    pods = scene.observed.pods
    late = overdue(scene.observed, pods, scene.terms.force_delete_after, scene.now, stopped_too=True)
    actions: tuple[Action, ...] = (*give_back(pods), *delete_all(pods), *late.forced)
    return Step(scene.status, suspended_view(scene.status), actions, late.requeue_at)


def suspended_view(status: RunStatus) -> View:
    """What a suspended run says."""
    at = f" after step {status.checkpoint.step}" if status.checkpoint else ""
    if status.attempt is None:
        return View(Phase.SUSPENDED, Reason.SUSPENDED, f"suspended before it started; {_REMEDY}")
    saved = f"saved{at}" if status.checkpoint else "no checkpoint was saved yet"
    if (stage := unfinished(status)) is not None:
        saved = f"{stage.done} of {stage.rows} traces are rewritten" if stage.rows else "no trace is rewritten yet"
    elif status.rewriting is not None and not status.checkpoint:
        saved = f"the traces are rewritten, {saved}"
    return View(Phase.SUSPENDED, Reason.SUSPENDED, f"suspended, {saved}; {_REMEDY}")


def resume(scene: Scene, last: AttemptStatus) -> Step:
    """Record the next attempt, with the image that may have been changed meanwhile."""
    status, number = scene.status, last.number + 1
    if number > MAX_ATTEMPT:
        text = f"attempt {last.number} was the last that a run may have; start a new run with model.from"
        failed = status.model_copy(update={"completion_time": scene.now})
        return Step(failed, View(Phase.FAILED, Reason.TOO_MANY_DISRUPTIONS, text))
    resolved = status.resolved
    if resolved is not None and scene.terms.image and scene.terms.image != resolved.image:
        resolved = resolved.model_copy(update={"image": scene.terms.image, "image_digest": None})
    return Step(
        with_attempt(status.model_copy(update={"resolved": resolved}), scene.terms, number, scene.now),
        View(Phase.PENDING, Reason.RESUMED, f"resumes as attempt {number} {origin(status)}"),
    )
