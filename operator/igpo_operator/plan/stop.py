"""An attempt that is over: recorded first, stopped next, and closed once nothing of it runs."""

from datetime import datetime

from igpo_operator.api.reasons import ConditionType, EndClass, Phase, Reason, Stage
from igpo_operator.api.status import AttemptRecord, AttemptStatus, Budget, Ending, Replicas, RestartCounts, RunStatus
from igpo_operator.plan.actions import Action
from igpo_operator.plan.budget import Ended, Verdict, judge
from igpo_operator.plan.cause import final_cause
from igpo_operator.plan.conditions import View, find, is_true
from igpo_operator.plan.deadlines import running_seconds
from igpo_operator.plan.gang import Gang
from igpo_operator.plan.overdue import Overdue, overdue
from igpo_operator.plan.progress import completed, ended, scraped
from igpo_operator.plan.queueing import give_back, leaves_queue
from igpo_operator.plan.rewriting import finished, origin, outcome, running_phase, way_on, with_attempt
from igpo_operator.plan.scene import Admission, Scene, Step, delete_unfinished, replicas
from igpo_operator.plan.suspend import suspended_view
from igpo_trainer.spec.contract import MAX_ATTEMPT

LEDGER = 10
"""Attempts that status remembers."""


def suspended_ending(now: datetime) -> Ending:
    """Our own suspend."""
    return Ending(reason_class=EndClass.SUSPENDED, message="spec.suspend is true", at=now)


def end(scene: Scene, attempt: AttemptStatus, ending: Ending) -> Step:
    """Record why the attempt ends. Nothing is deleted yet: the next reconcile reads this back and does it."""
    gang = scene.gang(attempt)
    scheduled = attempt.scheduled_at or gang.first_scheduled
    attempt = attempt.model_copy(update={"ending": ending, "scheduled_at": scheduled})
    status = scraped(scene.status.model_copy(update={"attempt": attempt}), scene.observed.scrape)
    status = ended(status, gang, scene.now)
    status = status.model_copy(
        update={"replicas": replicas(gang), "start_time": status.start_time or attempt.running_at}
    )
    admission = None
    if ending.reason_class is EndClass.GANG_INCOMPLETE:
        admission = Admission(False, Reason.GANG_INCOMPLETE, ending.message)
    return Step(status, _stopping(scene, attempt, ending), admission=admission)


def stop(scene: Scene, attempt: AttemptStatus, ending: Ending) -> Step:
    """Delete what still runs, force what is overdue, and close the attempt once every trainer has stopped."""
    gang = scene.gang(attempt)
    late = overdue(scene.observed, gang.pods, scene.terms.force_delete_after, scene.now)
    told = give_back(gang.pods) if leaves_queue(ending.reason_class) else ()
    actions: tuple[Action, ...] = (*told, *delete_unfinished(gang.pods), *late.forced)
    if gang.all_stopped:
        ending = final_cause(gang, ending, scene.now)
        step = _close(scene, attempt.model_copy(update={"ending": ending}), ending, gang)
        return Step(step.status, step.view, actions=actions, requeue_at=step.requeue_at)
    view = _overdue_view(_stopping(scene, attempt, ending), late)
    return Step(scene.status, view, actions=actions, requeue_at=late.requeue_at)


def _stopping(scene: Scene, attempt: AttemptStatus, ending: Ending) -> View:
    """What is said from the ending until the attempt is closed."""
    status, end_class = scene.status, ending.reason_class
    if end_class is EndClass.COMPLETED:
        who, reason = "every rank has", Reason.TRAINING
        if attempt.stage is Stage.REWRITING:
            who, reason = "the pod that rewrites has", Reason.REWRITING
        text = f"{who} finished; what is left of the pods is stopped"
        return View(running_phase(attempt), reason, text, ready=is_true(status, ConditionType.READY))
    if end_class is EndClass.SUSPENDED:
        text = f"stopping attempt {attempt.number}: it saves its state first"
        return View(Phase.SUSPENDING, Reason.SUSPENDING, text)
    verdict = _verdict(scene, attempt, ending, status)
    text = f"stopping attempt {attempt.number}: {ending.message}"
    if verdict.failure is not None:
        phase = running_phase(attempt) if attempt.running_at is not None else Phase.STARTING
        return View(phase, verdict.failure.reason, text)
    if end_class is EndClass.REFUSED:
        return View(Phase.RESTARTING, Reason.stored(ending.cause, Reason.POD_REFUSED), ending.message, stalled=True)
    if end_class is EndClass.GANG_INCOMPLETE:
        return _incomplete(status, Phase.RESTARTING, ending.message)
    return View(Phase.RESTARTING, Reason.RESTARTING, text)


def _incomplete(status: RunStatus, phase: Phase, message: str) -> View:
    """An incomplete gang; what stalled it goes on being shown, since a person still has to act."""
    known = find(status, ConditionType.STALLED)
    if known is not None:
        return View(phase, Reason.stored(known.reason, Reason.GANG_INCOMPLETE), known.message, stalled=True)
    return View(phase, Reason.GANG_INCOMPLETE, message)


def _overdue_view(view: View, late: Overdue) -> View:
    if not late.message:
        return view
    reason = Reason.POD_FORCE_DELETED if late.forced else view.reason
    return View(view.phase, reason, late.message, stalled=view.stalled)


def _verdict(scene: Scene, attempt: AttemptStatus, ending: Ending, status: RunStatus) -> Verdict:
    checkpoint, stage = status.checkpoint, status.rewriting
    rows = stage.done if stage is not None and attempt.stage is Stage.REWRITING else None
    step = checkpoint.step if checkpoint else None
    over = Ended(attempt.number, ending, step, attempt.running_at is not None, rewritten_rows=rows)
    return judge(
        over,
        status.budget,
        backoff_limit=scene.terms.backoff_limit,
        facts=scene.observed.facts,
        uid=scene.observed.run.uid,
        now=scene.now,
    )


def _close(scene: Scene, attempt: AttemptStatus, ending: Ending, gang: Gang) -> Step:
    """Ledger, counters, budget; then the end of the run, Suspended, or the next attempt: all in one write."""
    status = ended(scraped(scene.status, scene.observed.scrape), gang, scene.now)
    status = status.model_copy(update={"attempt": attempt})
    verdict = _verdict(scene, attempt, ending, status)
    ran = running_seconds(attempt, ending.at)
    status = status.model_copy(
        update={
            "attempts": [*status.attempts, _record(scene, attempt, ending, gang, status, ran)][-LEDGER:],
            "budget": verdict.budget,
            "running_seconds": status.running_seconds + ran,
            "replicas": replicas(gang),
        }
    )
    if ending.reason_class is EndClass.COMPLETED:
        if attempt.stage is Stage.REWRITING:
            return _rewritten(scene, status, attempt)
        return _complete(scene, status, ending)
    if verdict.failure is not None:
        status = status.model_copy(update={"completion_time": scene.now})
        text = verdict.failure.message
        if verdict.failure.reason is not Reason.VOLUME_HOLDS_ANOTHER_RUN:
            text += way_on(status)
        return Step(status, View(Phase.FAILED, verdict.failure.reason, text))
    suspended = scene.terms.suspend or ending.reason_class is EndClass.SUSPENDED
    status = _requeued(status, suspended or leaves_queue(ending.reason_class))
    status = status.model_copy(update={"restarts": _counted(status.restarts, ending.reason_class)})
    if suspended:
        return Step(status, suspended_view(status))
    return _next(scene, status, attempt, ending, verdict)


def _record(
    scene: Scene, attempt: AttemptStatus, ending: Ending, gang: Gang, status: RunStatus, ran: int
) -> AttemptRecord:
    step = status.progress.step if ending.step is None and status.progress else ending.step
    if attempt.stage is Stage.REWRITING:
        step = None
    planned = status.replicas.desired if status.replicas else 0  # pods that are gone by now belonged to it, too
    return AttemptRecord(
        number=attempt.number,
        stage=attempt.stage,
        reason_class=ending.reason_class,
        rank=ending.rank,
        exit_code=ending.exit_code,
        step=step,
        checkpoint_step=status.checkpoint.step if status.checkpoint else None,
        message=ending.message[:1024],
        last_lines=ending.last_lines[-10:],
        started_at=attempt.running_at or attempt.created_at,
        ended_at=ending.at,
        running_seconds=ran,
        workers=max(planned, len(gang.pods)) or scene.size(attempt),
        image=status.resolved.image if status.resolved else None,
    )


def _rewritten(scene: Scene, status: RunStatus, attempt: AttemptStatus) -> Step:
    """The traces are rewritten, once and for all: the gang follows, with nothing charged to it yet."""
    status = finished(status, scene.now).model_copy(update={"budget": Budget()})
    if scene.terms.suspend:
        return Step(status, suspended_view(status))
    number = attempt.number + 1
    if number > MAX_ATTEMPT:
        text = f"attempt {attempt.number} was the last that a run may have; delete the run and apply it again"
        failed = status.model_copy(update={"completion_time": scene.now})
        return Step(failed, View(Phase.FAILED, Reason.TOO_MANY_DISRUPTIONS, text))
    status = with_attempt(status, scene.terms, number, scene.now)
    status = status.model_copy(update={"replicas": Replicas(desired=scene.terms.replicas)})
    came_to = outcome(status.rewriting) if status.rewriting is not None else ""
    return Step(status, View(Phase.PENDING, Reason.REWRITTEN, f"{came_to}; attempt {number} trains on them"))


def _complete(scene: Scene, status: RunStatus, ending: Ending) -> Step:
    status = completed(status, ending.step).model_copy(
        update={
            "completion_time": scene.now,
            "replicas": Replicas(desired=scene.terms.replicas, finished=scene.terms.replicas),
        }
    )
    claim = status.resolved.claim_name if status.resolved else None
    steps = status.progress.step if status.progress else 0
    text = f"finished after step {steps}" + (f"; the model is on volume claim {claim}" if claim else "")
    return Step(status, View(Phase.COMPLETE, Reason.COMPLETED, text))


def _next(scene: Scene, status: RunStatus, attempt: AttemptStatus, ending: Ending, verdict: Verdict) -> Step:
    number = attempt.number + 1
    status = with_attempt(status, scene.terms, number, scene.now, verdict.not_before)
    assert status.attempt is not None
    following = status.attempt
    status = status.model_copy(update={"replicas": Replicas(desired=scene.size(following))})
    return Step(status, _following(status, following, ending), requeue_at=verdict.not_before)


def _following(status: RunStatus, attempt: AttemptStatus, ending: Ending) -> View:
    if ending.reason_class is EndClass.REFUSED:
        return View(Phase.PENDING, Reason.stored(ending.cause, Reason.POD_REFUSED), ending.message, stalled=True)
    if ending.reason_class is EndClass.GANG_INCOMPLETE:
        return _incomplete(status, Phase.PENDING, ending.message)
    when = f"at {attempt.not_before:%H:%M:%SZ}" if attempt.not_before else "at once"
    reason = Reason.BACKING_OFF if attempt.not_before else Reason.RESTARTING
    last = f"the last one ended ({ending.reason_class}): {ending.message}"
    text = f"attempt {attempt.number} starts {when}, {origin(status)}; {last}"
    return View(Phase.PENDING, reason, text)


def _requeued(status: RunStatus, leaves: bool) -> RunStatus:
    if not leaves or status.resolved is None:
        return status
    epoch = status.resolved.queue_epoch + 1
    return status.model_copy(update={"resolved": status.resolved.model_copy(update={"queue_epoch": epoch})})


def _counted(restarts: RestartCounts, end_class: EndClass) -> RestartCounts:
    if end_class.charged:
        name = "application"
    elif end_class.infrastructure:
        name = "infrastructure"
    elif end_class is EndClass.SUSPENDED:
        name = "suspended"
    else:
        name = "scheduling"
    return restarts.model_copy(update={"total": restarts.total + 1, name: getattr(restarts, name) + 1})
