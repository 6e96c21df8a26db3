"""Objects of the API server as plans see them: pure functions that keep the little that matters of each body."""

import contextlib
import json
import reprlib
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from igpo_operator.api.kinds import GROUP, kind_named
from igpo_operator.api.status import RunStatus
from igpo_operator.plan.observed import Disruption, Pod, Run, Running, Terminated, Waiting
from igpo_operator.render.names import (
    ATTEMPT_LABEL,
    KUEUE_GROUP_LABEL,
    KUEUE_RETRIABLE_ANNOTATION,
    RANK_LABEL,
    TRAINER_CONTAINER,
)
from igpo_trainer.spec.contract import TerminationMessage

Body = Mapping[str, Any]
RunKey = tuple[str, str, str]
"""(kind, namespace, name) of a run."""

_DISRUPTIONS: Final = ("DisruptionTarget", "TerminationTarget")
_RAW_MESSAGE_CHARACTERS: Final = 2048
_MESSAGE_CHARACTERS: Final = 1024


class UnreadableError(ValueError):
    """A stored object is not what its schema promises; it is left alone."""


@dataclass(frozen=True, slots=True)
class UnreadableRun:
    """A run whose status cannot be read: enough of it to say so on the run itself."""

    key: RunKey
    uid: str
    generation: int
    resource_version: str
    status: Mapping[str, Any]
    """As stored."""
    problem: str
    """One line."""

    @classmethod
    def of(cls, body: Body, problem: str) -> "UnreadableRun":
        """Keep what is needed of a custom resource."""
        metadata = body["metadata"]
        return cls(
            key=(body["kind"], metadata["namespace"], metadata["name"]),
            uid=metadata["uid"],
            generation=metadata.get("generation", 1),
            resource_version=metadata["resourceVersion"],
            status=body["status"],
            problem=problem,
        )


def run_of(body: Body) -> Run:
    """Read a custom resource; UnreadableError if its status is of another version, which this one cannot read."""
    metadata = body["metadata"]
    try:
        status = RunStatus.read(body.get("status"))
    except ValidationError as error:
        raise UnreadableError("; ".join(map(_line, error.errors()[:3]))) from error
    return Run(
        kind=kind_named(body["kind"]),
        namespace=sys.intern(metadata["namespace"]),
        name=metadata["name"],
        uid=metadata["uid"],
        generation=metadata.get("generation", 1),
        resource_version=metadata["resourceVersion"],
        created_at=moment(metadata["creationTimestamp"]),
        spec=body.get("spec") or {},
        status=status,
        deleting="deletionTimestamp" in metadata,
        annotations={k: v for k, v in (metadata.get("annotations") or {}).items() if k.startswith(f"{GROUP}/")},
    )


def owner_of(body: Body) -> tuple[RunKey, str] | None:
    """Find the run that controls an object: its key and UID; None if no run does."""
    metadata = body["metadata"]
    for reference in metadata.get("ownerReferences") or ():
        if reference.get("controller") and reference["apiVersion"].split("/")[0] == GROUP:
            key = sys.intern(reference["kind"]), sys.intern(metadata["namespace"]), reference["name"]
            return key, reference["uid"]
    return None


def pod_of(body: Body) -> Pod:
    """Read a pod of a gang; UnreadableError if its labels are not ours."""
    metadata, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    try:
        attempt, rank = int(labels[ATTEMPT_LABEL]), int(labels[RANK_LABEL])
    except (KeyError, ValueError) as error:
        raise UnreadableError(
            f"pod {metadata['namespace']}/{metadata['name']}: labels {ATTEMPT_LABEL} and {RANK_LABEL} must be numbers"
        ) from error
    conditions = {condition["type"]: condition for condition in status.get("conditions") or ()}
    scheduled = conditions.get("PodScheduled", {})
    gone_by = _maybe(metadata.get("deletionTimestamp"))
    grace = timedelta(seconds=metadata.get("deletionGracePeriodSeconds") or 0)
    containers = status.get("containerStatuses") or ()
    container = _trainer(containers)
    return Pod(
        name=metadata["name"],
        uid=metadata["uid"],
        resource_version=metadata["resourceVersion"],
        attempt=attempt,
        rank=rank,
        phase=sys.intern(status.get("phase", "Pending")),
        created_at=moment(metadata["creationTimestamp"]),
        reason=sys.intern(status.get("reason", "")),
        message=status.get("message", "")[:_MESSAGE_CHARACTERS],
        node=sys.intern(spec["nodeName"]) if spec.get("nodeName") else None,
        ip=status.get("podIP") or None,
        scheduled_at=_maybe(scheduled.get("lastTransitionTime")) if scheduled.get("status") == "True" else None,
        unschedulable=_unschedulable(scheduled),
        gates=tuple(sys.intern(gate["name"]) for gate in spec.get("schedulingGates") or ()),
        deleted_at=None if gone_by is None else gone_by - grace,
        gone_by=gone_by,
        disruption=_disruption(conditions.values()),
        trainer=_state(container, status),
        ready_to_start=_truth(conditions.get("PodReadyToStartContainers", {})),
        accompanied=any(map(_goes_on, containers)),
        image_id=container.get("imageID") or None,
        retriable=annotations.get(KUEUE_RETRIABLE_ANNOTATION),
        queued=KUEUE_GROUP_LABEL in labels,
    )


def node_is_ready(body: Body) -> bool:
    """Whether a node's condition Ready is True."""
    conditions = (body.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def moment(text: str) -> datetime:
    """Read a time as Kubernetes writes it."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def lenient(model: type[BaseModel], data: object) -> object:
    """Drop fields that a newer trainer added, at every level, so that an older operator still understands the rest."""
    if not isinstance(data, dict):
        return data
    kept = {}
    for name, field in model.model_fields.items():
        if name in data:
            nested = [t for t in _types(field.annotation) if isinstance(t, type) and issubclass(t, BaseModel)]
            kept[name] = lenient(nested[0], data[name]) if nested else data[name]
    return kept


def _line(error: ErrorDetails) -> str:
    place = ".".join(str(part) for part in ("status", *error["loc"]))
    return f"{place} {reprlib.repr(error['input'])}: {error['msg']}"


def _types(annotation: object) -> tuple[object, ...]:
    return (annotation, *getattr(annotation, "__args__", ()))


def _maybe(text: str | None) -> datetime | None:
    return moment(text) if text else None


def _truth(condition: Body) -> bool | None:
    return {"True": True, "False": False}.get(condition.get("status", ""))


def _trainer(statuses: Iterable[Body]) -> Body:
    return next((status for status in statuses if status["name"] == TRAINER_CONTAINER), {})


def _goes_on(status: Body) -> bool:
    """Whether this is a sidecar that has not ended."""
    return status["name"] != TRAINER_CONTAINER and "terminated" not in (status.get("state") or {})


def _unschedulable(scheduled: Body) -> str | None:
    if scheduled.get("status") == "False" and scheduled.get("reason") == "Unschedulable":
        return str(scheduled.get("message", ""))[:_MESSAGE_CHARACTERS]
    return None


def _disruption(conditions: Iterable[Body]) -> Disruption | None:
    for condition in conditions:
        if condition["type"] in _DISRUPTIONS and condition["status"] == "True":
            return Disruption(
                reason=condition.get("reason", ""),
                message=condition.get("message", "")[:_MESSAGE_CHARACTERS],
                at=moment(condition["lastTransitionTime"]),
            )
    return None


def _state(container: Body, status: Body) -> Waiting | Running | Terminated | None:
    state = container.get("state") or {}
    if "terminated" in state:
        return _terminated(state["terminated"])
    if "running" in state:
        return Running(since=moment(state["running"]["startedAt"]))
    if "waiting" in state:
        return _waiting(state["waiting"], status)
    return None


def _waiting(waiting: Body, status: Body) -> Waiting:
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    if reason == "PodInitializing":
        for container in status.get("initContainerStatuses") or ():
            state = container.get("state") or {}
            blocker = state.get("waiting") or {}
            if blocker.get("reason", "PodInitializing") != "PodInitializing":
                reason = blocker["reason"]
                message = f"init container {container['name']}: {blocker.get('message', '')}"
                break
    return Waiting(reason=sys.intern(reason), message=message[:_MESSAGE_CHARACTERS])


def _terminated(terminated: Body) -> Terminated:
    raw = terminated.get("message") or ""
    message = None
    with contextlib.suppress(ValueError):  # FallbackToLogsOnError: a log, not our JSON
        message = TerminationMessage.model_validate(lenient(TerminationMessage, json.loads(raw)))
    return Terminated(
        exit_code=terminated["exitCode"],
        reason=sys.intern(terminated.get("reason") or ""),
        message=message,
        raw_message="" if message is not None else raw[-_RAW_MESSAGE_CHARACTERS:],
        finished_at=_maybe(terminated.get("finishedAt")),
    )
