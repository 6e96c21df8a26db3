"""An attempt whose pods all exist: queued, starting, running; and what ends it."""

from datetime import datetime, timedelta
from typing import Final

from igpo_operator.api.reasons import ConditionType, Phase, Reason, Stage
from igpo_operator.api.status import AttemptStatus, Ending, RunStatus
from igpo_operator.plan.cause import first_cause, undecided_until
from igpo_operator.plan.conditions import View, find, is_true
from igpo_operator.plan.deadlines import Deadline, deadlines, passed, upcoming
from igpo_operator.plan.gang import Gang
from igpo_operator.plan.message import Obstacle, obstacle
from igpo_operator.plan.progress import scraped
from igpo_operator.plan.scene import Admission, Scene, Step, delete_all, earliest, replicas
from igpo_operator.plan.stop import end, suspended_ending

MESSAGE_PAUSE: Final = timedelta(seconds=60)
"""The same obstacle in other words is written at most this often."""


def watch(scene: Scene, attempt: AttemptStatus) -> Step:
    """Say how the gang is doing; end the attempt at the first cause, a suspend or a deadline."""
    gang = scene.gang(attempt)
    attempt = _started(attempt, gang, scene.now)
    status = scraped(scene.status.model_copy(update={"attempt": attempt}), scene.observed.scrape)
    limits = deadlines(scene.observed, scene.terms, status, attempt, gang)
    if ending := _ending(scene, gang, limits):
        return end(scene, attempt, ending)
    status = _counted(status, attempt, gang)
    view, look = _view(scene, attempt, gang)
    stored = scene.status.attempt
    replaced = stored is not None and stored.created_at is not None
    return Step(
        status,
        view,
        actions=delete_all(scene.other_pods(attempt)) if replaced else (),
        requeue_at=earliest(upcoming(limits), look, undecided_until(gang, scene.now, created=True)),
        admission=_admission(scene, attempt, gang),
    )


def _started(attempt: AttemptStatus, gang: Gang, now: datetime) -> AttemptStatus:
    """Note once when every rank ran. The first pod's placement is noted with it: it is not worth a write of its own."""
    if attempt.running_at is not None or not gang.all_started:
        return attempt
    moment = min(max(gang.last_started or now, attempt.decided_at), now).replace(microsecond=0)
    return attempt.model_copy(update={"running_at": moment, "scheduled_at": gang.first_scheduled})


def _ending(scene: Scene, gang: Gang, limits: list[Deadline]) -> Ending | None:
    cause = first_cause(gang, scene.now, created=True)
    if scene.terms.suspend and (cause is None or cause.reason_class.infrastructure):
        return suspended_ending(scene.now)
    return cause or passed(limits, scene.now)


def _counted(status: RunStatus, attempt: AttemptStatus, gang: Gang) -> RunStatus:
    resolved = status.resolved
    image_id = gang.pods[0].image_id
    if resolved is not None and attempt.running_at is not None and image_id and not resolved.image_digest:
        resolved = resolved.model_copy(update={"image_digest": image_id[-256:]})
    return status.model_copy(
        update={
            "replicas": replicas(gang),
            "resolved": resolved,
            "start_time": status.start_time or attempt.running_at,
        }
    )


def _view(scene: Scene, attempt: AttemptStatus, gang: Gang) -> tuple[View, datetime | None]:
    if attempt.running_at is not None:
        return _running(scene, attempt, gang), None
    if gang.gated:
        text = f"{len(gang.pods)} pods wait for admission"
        if queue := _queue(scene, attempt):
            text = f"{len(gang.pods)} pods wait in queue {queue} for quota; see kubectl get workloads"
        return View(Phase.QUEUED, Reason.QUEUED, text), None
    trouble, look = obstacle(gang, scene.now)
    if trouble is not None:
        message = _message(scene, trouble)
        return View(Phase.STARTING, trouble.reason, message, stalled=trouble.stalled), look
    text = f"attempt {attempt.number}: waits for {gang.size} pods to run"
    return View(Phase.STARTING, Reason.STARTING, text), look


def _queue(scene: Scene, attempt: AttemptStatus) -> str:
    """The queue that an attempt's pods wait in; the pod that rewrites waits in none."""
    return scene.terms.queue_name if attempt.stage is Stage.TRAINING else ""


def _running(scene: Scene, attempt: AttemptStatus, gang: Gang) -> View:
    stored, scrape = scene.status.attempt, scene.observed.scrape
    was_ready = stored is not None and stored.running_at is not None and is_true(scene.status, ConditionType.READY)
    if attempt.stage is Stage.REWRITING:
        said = scrape.status.rewrite if scrape is not None and scrape.attempt == attempt.number else None
        if was_ready or (said is not None and said.done >= 1):
            text = f"attempt {attempt.number}: a teacher rewrites the traces; status.rewriting counts them"
            return View(Phase.REWRITING, Reason.REWRITING, text, ready=True)
        text = f"attempt {attempt.number}: the pod that rewrites runs; the teacher has not answered yet"
        return View(Phase.REWRITING, Reason.REWRITING, text)
    stepped = scrape is not None and scrape.attempt == attempt.number and scrape.status.step >= 1
    if was_ready or stepped:
        text = f"attempt {attempt.number} trains on {gang.size} pods"
        return View(Phase.RUNNING, Reason.TRAINING, text, ready=True)
    text = f"attempt {attempt.number}: all {gang.size} pods run; the first step is not finished yet"
    return View(Phase.RUNNING, Reason.FIRST_STEP_PENDING, text)


def _message(scene: Scene, trouble: Obstacle) -> str:
    """The obstacle's words, or the stored ones as long as new words would only be noise."""
    kind = ConditionType.STALLED if trouble.stalled else ConditionType.RECONCILING
    known, last = find(scene.status, kind), scene.status.last_update_time
    if known is None or known.reason != trouble.reason or scene.status.phase is not Phase.STARTING:
        return trouble.message
    if trouble.repeated or (last is not None and scene.now < last + MESSAGE_PAUSE):
        return known.message
    return trouble.message


def _admission(scene: Scene, attempt: AttemptStatus, gang: Gang) -> Admission | None:
    """Mirror the queue; a gang that once was incomplete is admitted again when it runs."""
    queue = _queue(scene, attempt)
    if gang.gated:
        return Admission(False, Reason.QUEUED, f"waits in queue {queue or 'of another controller'}")
    incomplete = find(scene.status, ConditionType.ADMITTED)
    if queue:
        return Admission(True, Reason.ADMITTED, f"admitted by queue {queue}")
    if incomplete is not None and attempt.running_at is not None:
        return Admission(True, Reason.ADMITTED, "every pod runs")
    return None
