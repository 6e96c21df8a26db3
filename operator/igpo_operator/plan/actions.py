"""What a plan asks for. Every action may be carried out twice without harm."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from igpo_operator.api.reasons import Reason
from igpo_operator.api.status import RunStatus


@dataclass(frozen=True, slots=True)
class Apply:
    """Server-side apply of a Service, ConfigMap or NetworkPolicy; refused if another owner holds the name."""

    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Create:
    """Create a Pod or PersistentVolumeClaim once. 409 is fine if it is ours (pod) or exists at all (claim)."""

    manifest: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DeletePod:
    """Delete one pod, by UID."""

    name: str
    uid: str
    grace_seconds: int | None = None
    """None: the pod's own grace period; 0: force."""


@dataclass(frozen=True, slots=True)
class AnnotatePod:
    """Set annotations of one pod, by UID."""

    name: str
    uid: str
    annotations: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class DeleteChild:
    """Delete a Service, ConfigMap or NetworkPolicy of the run, if its owner is this run."""

    api_kind: Literal["Service", "ConfigMap", "NetworkPolicy"]
    name: str


Action = Apply | Create | DeletePod | AnnotatePod | DeleteChild


@dataclass(frozen=True, slots=True)
class Event:
    """A Kubernetes Event on the run, posted after the status write has succeeded."""

    type: Literal["Normal", "Warning"]
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Carry out actions in order, then write status (if it differs), then post events; look again at requeue_at."""

    actions: tuple[Action, ...] = ()
    status: RunStatus | None = None
    """The whole new status; None: leave it alone, altogether."""
    events: tuple[Event, ...] = ()
    requeue_at: datetime | None = None
