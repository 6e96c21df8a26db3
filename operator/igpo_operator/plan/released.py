"""Finished runs: nothing is ever created; GPUs and quota are released, later also pods and services."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from igpo_operator.api.spec import SpecError, spec_of
from igpo_operator.api.status import RunStatus
from igpo_operator.plan.actions import Action, DeleteChild, Plan
from igpo_operator.plan.children import rendered
from igpo_operator.plan.observed import Observed
from igpo_operator.plan.overdue import overdue
from igpo_operator.plan.queueing import give_back
from igpo_operator.plan.scene import delete_all, delete_unfinished
from igpo_operator.render.names import base_name, service_name


def finished(observed: Observed, now: datetime) -> Plan:
    """Release what still runs; after ttlSecondsAfterFinished remove pods and services, never the run or its claim."""
    run, status = observed.run, observed.run.status
    told = give_back(observed.pods)
    due = _release_at(run.spec, status)
    if status.released or due is None or now < due:
        actions: tuple[Action, ...] = (*told, *delete_unfinished(observed.pods))
        kept = _refreshed(status, run.generation)
        requeue = None if status.released else due
        return Plan(actions, kept if kept != status else None, requeue_at=requeue)
    late = overdue(observed, observed.pods, None, now, stopped_too=True)
    actions = (*told, *delete_all(observed.pods), *late.forced, *_children(observed))
    new = _refreshed(status, run.generation)
    if not observed.pods:
        new = new.model_copy(update={"released": True, "last_update_time": now})
    return Plan(actions, new if new != status else None, requeue_at=late.requeue_at)


def _release_at(spec: Mapping[str, Any], status: RunStatus) -> datetime | None:
    """When the time to live is over; read from the stored spec, which need not be one that this operator can parse."""
    seconds = (spec.get("runPolicy") or {}).get("ttlSecondsAfterFinished")
    if not isinstance(seconds, int) or status.completion_time is None:
        return None
    return status.completion_time + timedelta(seconds=seconds)


def _children(observed: Observed) -> Iterator[DeleteChild]:
    run = observed.run
    yield DeleteChild("Service", service_name(run.kind, run.name))
    yield DeleteChild("NetworkPolicy", base_name(run.kind, run.name))
    status = run.status
    if status.resolved is None or status.attempt is None:
        return
    try:
        resource = spec_of(run.kind, run.spec)
    except SpecError:  # its ConfigMap then stays until the run is deleted
        return
    objects = rendered(run, resource, status.resolved, status.attempt, observed.facts)
    yield DeleteChild("ConfigMap", objects.manifest["metadata"]["name"])


def _refreshed(status: RunStatus, generation: int) -> RunStatus:
    """A finished run's status says only that it has seen the newest spec."""
    if status.observed_generation == generation:
        return status
    conditions = [it.model_copy(update={"observed_generation": generation}) for it in status.conditions]
    return status.model_copy(update={"observed_generation": generation, "conditions": conditions})
