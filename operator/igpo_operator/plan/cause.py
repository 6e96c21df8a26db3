"""Why an attempt ends: the first telling event of any rank becomes its `Ending`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from igpo_operator.api.reasons import EndClass
from igpo_operator.api.status import Ending
from igpo_operator.plan.gang import Gang, finished
from igpo_operator.plan.observed import Disruption, Pod, Terminated
from igpo_trainer.spec.contract import Cause, ExitCode

SIMULTANEOUS = timedelta(seconds=2)
"""Kubernetes keeps whole seconds: events this close are ordered by what they tell instead."""
PATIENCE = timedelta(seconds=15)
"""Time for the pod of a rank that was lost to end: its other ranks may still be on their way out."""
_SIGTERM_EXIT = 143
_FIRST_SIGNAL_EXIT = 129
_INVALID = (ExitCode.INVALID_RUN, ExitCode.INVALID_DATA)
_NODE_REASONS = ("DeletionByPodGC", "DeletionByTaintManager", "NodeLost", "NodeShutdown", "Terminated")
_LINES = 20
_LINE_CHARACTERS = 300
_MESSAGE_CHARACTERS = 1024
_SIGNALS = {134: "SIGABRT", 135: "SIGBUS", 136: "SIGFPE", 137: "SIGKILL", 139: "SIGSEGV"}


@dataclass(frozen=True, slots=True)
class Incident:
    """The earliest thing that went wrong with one rank."""

    at: datetime
    telling: int
    """Higher wins among simultaneous ones."""
    rank: int
    end_class: EndClass
    message: str
    container: Terminated | None = None


def first_cause(gang: Gang, now: datetime, *, created: bool) -> Ending | None:
    """What ends the attempt, if anything does yet: Completed, or the first cause.

    created: every pod had been there once, so that a missing one has been deleted.
    """
    if gang.all_finished:
        return _completed(gang, now)
    incidents = list(_incidents(gang, now, created=created))
    undecided = undecided_until(gang, now, created=created)
    if not incidents or (undecided is not None and now < undecided):
        return None
    return _ending(_chosen(incidents), now)


def undecided_until(gang: Gang, now: datetime, *, created: bool) -> datetime | None:
    """How long to wait for the end of the rank whose loss is all that the others complain about; None: no need."""
    incidents = list(_incidents(gang, now, created=created))
    if not incidents or not gang.running or not all(map(_is_consequence, incidents)):
        return None
    return min(incident.at for incident in incidents) + PATIENCE


def final_cause(gang: Gang, ending: Ending, now: datetime) -> Ending:
    """Look again once nothing runs: a rank that says 64 or 65 wins, and a gang that finished after all has finished.

    Everything else that happened since the ending was recorded is its consequence.
    """
    if gang.all_finished and ending.reason_class is not EndClass.COMPLETED:
        return _completed(gang, ending.at)
    incidents = [incident for pod in gang.pods for incident in _of_pod(pod, now)]
    invalid = [incident for incident in incidents if incident.end_class is EndClass.INVALID]
    if invalid and ending.reason_class is not EndClass.INVALID:
        return _ending(_chosen(invalid), ending.at)
    return ending


def _chosen(incidents: list[Incident]) -> Incident:
    invalid = [incident for incident in incidents if incident.end_class is EndClass.INVALID]
    incidents = [incident for incident in incidents if not _is_consequence(incident)] or incidents
    start = min(incident.at for incident in incidents)
    near = invalid or [incident for incident in incidents if incident.at <= start + SIMULTANEOUS]
    return min(near, key=lambda incident: (-incident.telling, incident.at, incident.rank))


def _is_consequence(incident: Incident) -> bool:
    """Whether a rank ended only because another had."""
    message = incident.container.message if incident.container is not None else None
    return message is not None and message.cause == Cause.PEER_LOST


def _incidents(gang: Gang, now: datetime, *, created: bool) -> Iterator[Incident]:
    for pod in gang.pods:
        if not finished(pod):
            yield from _of_pod(pod, now)
    if created:
        for rank in gang.missing:
            yield Incident(now, 0, rank, EndClass.DELETED, f"the pod of rank {rank} was deleted")


def _of_pod(pod: Pod, now: datetime) -> Iterator[Incident]:
    """Yield the pod's earliest event; an exit of 64 or 65 instead of anything else."""
    events = []
    if isinstance(pod.trainer, Terminated):
        events.append(_container(pod, pod.trainer, now))
    elif pod.phase == "Failed":
        events.append(_never_ran(pod, now))
    if pod.disruption is not None:
        events.append(_disrupted(pod, pod.disruption))
    if pod.deleted_at is not None:
        events.append(
            Incident(pod.deleted_at, 0, pod.rank, EndClass.DELETED, f"pod {pod.name} was deleted by somebody else")
        )
    invalid = [event for event in events if event.end_class is EndClass.INVALID]
    if chosen := invalid or events:
        yield min(chosen, key=lambda event: (event.at, -event.telling))


def _disrupted(pod: Pod, disruption: Disruption) -> Incident:
    end_class = disruption_class(disruption.reason)
    text = f": {disruption.message}" if disruption.message else ""
    return Incident(disruption.at, 4, pod.rank, end_class, f"pod {pod.name} was disrupted ({disruption.reason}){text}")


def disruption_class(reason: str) -> EndClass:
    """Class of a DisruptionTarget or TerminationTarget reason, or of a pod's status.reason."""
    if reason in _NODE_REASONS:
        return EndClass.NODE_LOST
    if "Preempt" in reason or reason.startswith("WorkloadEvicted"):
        return EndClass.PREEMPTED
    return EndClass.EVICTED


def _container(pod: Pod, end: Terminated, now: datetime) -> Incident:
    at = end.finished_at or now
    code = end.exit_code
    if code in _INVALID:
        end_class, telling = EndClass.INVALID, 5
    elif pod.reason:  # the kubelet evicted it, or its node went
        end_class, telling = disruption_class(pod.reason), 4
    elif end.reason == "OOMKilled":
        end_class, telling = EndClass.OUT_OF_MEMORY, 3
    elif code in (ExitCode.SAVED_ON_SIGTERM, _SIGTERM_EXIT):
        end_class, telling = EndClass.SAVED, 0
    else:
        end_class, telling = EndClass.APPLICATION, 2 if code >= _FIRST_SIGNAL_EXIT else 1
    return Incident(at, telling, pod.rank, end_class, _container_line(pod, end), end)


def _container_line(pod: Pod, end: Terminated) -> str:
    """The trainer's own line if it left one, else what the kubelet knows."""
    if end.message is not None and end.message.reason:
        return end.message.reason
    if pod.reason:
        return f"pod {pod.name}: {pod.reason}: {pod.message}".rstrip(": ")
    how = end.reason if end.reason not in ("", "Error") else _SIGNALS.get(end.exit_code, "")
    line = f"rank {pod.rank} ended with exit code {end.exit_code}" + (f" ({how})" if how else "")
    tail = _tail(end.raw_message)
    return f"{line}: {tail[-1]}" if tail else line


def _never_ran(pod: Pod, now: datetime) -> Incident:
    """The pod failed without its trainer: refused or evicted by the kubelet, or an init container failed."""
    why = f"{pod.reason}: {pod.message}".strip(": ") or "an init container or the kubelet ended it"
    message = f"pod {pod.name} failed before its trainer started: {why}"
    if pod.reason:
        return Incident(now, 4, pod.rank, disruption_class(pod.reason), message)
    return Incident(now, 1, pod.rank, EndClass.APPLICATION, message)


def _ending(incident: Incident, now: datetime) -> Ending:
    end = incident.container
    message = end.message if end is not None else None
    lines = message.last_lines if message is not None else _tail(end.raw_message) if end is not None else []
    return Ending(
        reason_class=incident.end_class,
        rank=incident.rank,
        exit_code=end.exit_code if end is not None else None,
        message=incident.message[:_MESSAGE_CHARACTERS],
        cause=message.cause[:64] if message is not None and message.cause else None,
        step=message.step if message is not None else None,
        last_lines=[line[:_LINE_CHARACTERS] for line in lines[-_LINES:]],
        at=now,
    )


def _completed(gang: Gang, now: datetime) -> Ending:
    messages = [pod.trainer.message for pod in gang.pods if isinstance(pod.trainer, Terminated) and pod.trainer.message]
    steps = [message.step for message in messages if message.step is not None]
    first = gang.pods[0].trainer
    line = first.message.reason if isinstance(first, Terminated) and first.message else ""
    return Ending(
        reason_class=EndClass.COMPLETED,
        exit_code=0,
        message=line[:_MESSAGE_CHARACTERS] or "every rank ended with 0",
        step=max(steps, default=None),
        at=now,
    )


def _tail(text: str) -> list[str]:
    lines = (re.sub(r"[^\x20-\x7e\u00a0-\uffff]", "", line).strip() for line in text.splitlines())
    return [line[:_LINE_CHARACTERS] for line in lines if line]
