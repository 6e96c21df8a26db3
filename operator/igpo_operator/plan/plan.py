"""The phase machine: `plan(observed) -> Plan`, pure. docs/operator.md has its table and the reasons for its order."""

from datetime import datetime

from igpo_operator.api.cluster import MANAGER
from igpo_operator.api.reasons import ConditionType, Phase, Reason
from igpo_operator.api.spec import SpecError, spec_of
from igpo_operator.api.status import RunStatus
from igpo_operator.plan.actions import Plan
from igpo_operator.plan.begin import begin
from igpo_operator.plan.conditions import MESSAGE_CHARACTERS, Conditions, View, show
from igpo_operator.plan.create import create
from igpo_operator.plan.events import events
from igpo_operator.plan.health import show_health
from igpo_operator.plan.observed import Observed
from igpo_operator.plan.orphans import plan_orphan
from igpo_operator.plan.released import finished
from igpo_operator.plan.scene import Scene, Step, earliest
from igpo_operator.plan.stop import stop
from igpo_operator.plan.suspend import rest, resume
from igpo_operator.plan.terms import Terms
from igpo_operator.plan.throttle import due
from igpo_operator.plan.watch import watch

__all__ = ["plan", "plan_orphan"]


def plan(observed: Observed) -> Plan:
    """Decide what to do next about one run.

    Actions are only what the stored status already asks for; what follows from the picture is first written to
    status, and acted upon by the next reconcile that reads it back.
    """
    run, now = observed.run, observed.now.replace(microsecond=0)
    if run.spec.get("managedBy", MANAGER) != MANAGER:
        return Plan()
    if run.deleting:
        return Plan(plan_orphan(observed.pods))
    if run.status.phase.terminal:
        return finished(observed, now)
    if observed.lacking is not None:
        return _settled(observed, _outdated(observed, observed.lacking), now)
    try:
        resource = spec_of(run.kind, run.spec)
    except SpecError as error:
        return _settled(observed, _unreadable(run.status, error), now)
    return _settled(observed, _step(Scene(observed, resource, Terms.of(resource), now)), now)


def _step(scene: Scene) -> Step:
    """Choose the branch by what is stored."""
    status, attempt = scene.status, scene.status.attempt
    if status.phase is Phase.SUSPENDED and scene.terms.suspend:
        return rest(scene)
    if attempt is None or status.resolved is None:
        return begin(scene)
    if status.phase is Phase.SUSPENDED:
        return resume(scene, attempt)
    if attempt.ending is not None:
        return stop(scene, attempt, attempt.ending)
    if attempt.created_at is None:
        return create(scene, attempt)
    return watch(scene, attempt)


def _unreadable(status: RunStatus, error: SpecError) -> Step:
    """A spec stored under another version of the CRD: nothing is done, and nothing that runs is touched."""
    problems = "; ".join(str(error).splitlines()[:3])
    text = f"this operator cannot read the spec: {problems}; correct it, or install CRDs and operator of one version"
    return Step(status, View(status.phase, Reason.INVALID_SPEC, text, stalled=True))


def _outdated(observed: Observed, lacking: str) -> Step:
    """Nothing is done that rests on a status which the server would not keep; nothing that runs is touched."""
    run = observed.run
    text = (
        f"the CRD of {run.kind.kind} is older than this operator: it lacks {lacking}; install the CRDs of release "
        f"{observed.facts.version}: kubectl apply --server-side -f crds/, or helm upgrade with crds.enabled: true"
    )
    return Step(run.status, View(run.status.phase, Reason.CRD_OUTDATED, text, stalled=True))


def _settled(observed: Observed, step: Step, now: datetime) -> Plan:
    """Turn a branch's step into the one status to write, its events, and when to look again."""
    old, view, generation = observed.run.status, step.view, observed.run.generation
    conditions = Conditions(step.status, generation, now)
    show(conditions, view)
    if step.admission is not None:
        conditions.set(ConditionType.ADMITTED, step.admission.value, step.admission.reason, step.admission.message)
    show_health(conditions, step.status, observed.scrape)
    wanted = step.status.model_copy(
        update={
            "observed_generation": generation,
            "phase": view.phase,
            "message": view.message[:MESSAGE_CHARACTERS],
            "conditions": conditions.listed(),
        }
    )
    written, look = due(old, wanted, observed.facts.progress_interval_seconds, now)
    if written is None:
        return Plan(step.actions, requeue_at=earliest(step.requeue_at, look))
    again = now if _intent(written) != _intent(old) else step.requeue_at
    return Plan(step.actions, written, events(old, written), again)


def _intent(status: RunStatus) -> tuple[object, ...]:
    """What later reconciles act upon."""
    attempt = status.attempt
    settled = status.phase if status.phase.terminal or status.phase is Phase.SUSPENDED else None
    return (settled, attempt and (attempt.number, attempt.created_at is None, attempt.ending is None))
