"""Kubernetes Events on runs: one per transition, however often it is posted."""

import hashlib
from typing import Any, Final

from igpo_operator.apply.clock import Clock
from igpo_operator.apply.errors import AlreadyExistsError, ApiError
from igpo_operator.apply.kube import Kube
from igpo_operator.apply.resources import EVENTS, runs_of
from igpo_operator.plan.actions import Event
from igpo_operator.plan.observed import Run
from igpo_operator.render.names import MANAGER, base_name

_NOTE_BYTES: Final = 1024


class EventPoster:
    """Posts events; a lost one costs nobody a run, so errors are told and dropped by the caller."""

    def __init__(self, kube: Kube, clock: Clock, identity: str) -> None:
        """`identity` names this operator process in the events."""
        self._kube = kube
        self._clock = clock
        self._identity = identity

    async def post(self, run: Run, event: Event) -> ApiError | None:
        """Post an event about the transition away from this version of the run; the error if that failed."""
        try:
            await self._kube.create(event_manifest(run, event, self._clock, self._identity))
        except AlreadyExistsError:
            return None
        except ApiError as error:
            return error
        return None


def event_manifest(run: Run, event: Event, clock: Clock, identity: str) -> dict[str, Any]:
    """Write an event. Its name is a function of the transition: a version of a run is left once only."""
    digest = hashlib.sha256(f"{run.uid}/{run.resource_version}/{event.reason}/{event.message}".encode()).hexdigest()
    return {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {"namespace": run.namespace, "name": f"{base_name(run.kind, run.name)}.{digest[:16]}"},
        "eventTime": clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": MANAGER,
        "reportingInstance": identity[:128],
        "type": event.type,
        "reason": str(event.reason),
        "action": "Reconcile",
        "note": event.message.encode()[:_NOTE_BYTES].decode(errors="ignore"),
        "regarding": {
            "apiVersion": runs_of(run.kind).api_version,
            "kind": run.kind.kind,
            "namespace": run.namespace,
            "name": run.name,
            "uid": run.uid,
            "resourceVersion": run.resource_version,
        },
    }
