"""Runs and pods as last seen. Fed by watches, listings and the answers to our own writes; the newest version wins.

Only the event loop changes it. Other threads (metrics) may read the lists that it hands out.
"""

import logging
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any, Final

from igpo_operator.api.kinds import KINDS
from igpo_operator.apply.clock import Clock
from igpo_operator.apply.view import RunKey, UnreadableError, UnreadableRun, owner_of, pod_of, run_of
from igpo_operator.plan.observed import Pod, Run

logger = logging.getLogger(__name__)

_TOMBSTONES: Final = 20_000
"""UIDs remembered after deletion, so that a late answer to a write does not bring an object back."""


class Source(Enum):
    """How an object came to be known."""

    WATCH = "watch"
    LISTING = "listing"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class OwnedPod:
    """A pod and the run that controls it."""

    namespace: str
    pod: Pod
    owner: RunKey
    owner_uid: str


class Cache:
    """What is known of the watched namespaces."""

    def __init__(self, clock: Clock) -> None:
        """Start empty; `last_event` then tells for each watched resource when its watch last delivered."""
        self._clock = clock
        self._runs: dict[RunKey, Run] = {}
        self._pods: dict[tuple[str, str], OwnedPod] = {}
        self._pods_of: defaultdict[RunKey, dict[str, OwnedPod]] = defaultdict(dict)
        self._dependents: defaultdict[RunKey, set[RunKey]] = defaultdict(set)
        self._unreadable: dict[str, UnreadableRun] = {}
        self._gone: OrderedDict[str, None] = OrderedDict()
        self._unconfirmed: dict[str, tuple[int, datetime]] = {}
        self.last_event: dict[str, datetime] = {}

    def run(self, key: RunKey) -> Run | None:
        """Find a run."""
        return self._runs.get(key)

    def runs(self) -> list[Run]:
        """Every run."""
        return list(self._runs.values())

    def pods(self) -> list[OwnedPod]:
        """Every pod of every run, also of runs that are gone."""
        return list(self._pods.values())

    def pods_of(self, key: RunKey) -> list[OwnedPod]:
        """Pods that a run of this name controls or has controlled (look at the owner's UID)."""
        return list(self._pods_of[key].values()) if key in self._pods_of else []

    def dependents(self, key: RunKey) -> list[RunKey]:
        """Runs that start from this one."""
        return list(self._dependents.get(key, ()))

    def unreadable(self, uid: str) -> bool:
        """Whether a run exists whose status could not be read: it and its pods are left alone."""
        return uid in self._unreadable

    def unreadable_run(self, key: RunKey) -> UnreadableRun | None:
        """Find a run whose status could not be read."""
        return next((run for run in self._unreadable.values() if run.key == key), None)

    def keys(self, namespace: str | None = None) -> set[RunKey]:
        """Keys of every run and of every pod's owner, in one namespace or in all."""
        every = set(self._runs) | {run.key for run in self._unreadable.values()}
        every |= {key for key, pods in self._pods_of.items() if pods}
        return {key for key in every if namespace is None or key[1] == namespace}

    def put_run(self, body: Mapping[str, Any], source: Source) -> RunKey:
        """Take over a custom resource; returns its key."""
        metadata = body["metadata"]
        key = body["kind"], metadata["namespace"], metadata["name"]
        if not self._is_news(metadata, self._runs.get(key) or self._unreadable.get(metadata["uid"]), source):
            return key
        try:
            run = run_of(body)
        except UnreadableError as problem:
            if metadata["uid"] not in self._unreadable:
                logger.warning("%s %s/%s is left as it is: %s", *key, problem)
            self._unreadable[metadata["uid"]] = UnreadableRun.of(body, str(problem))
            self._forget_run(key)
            return key
        self._unreadable.pop(run.uid, None)
        self._forget_run(key)
        self._runs[key] = run
        source_key = source_of(run)
        if source_key is not None:
            self._dependents[source_key].add(key)
        return key

    def put_pod(self, body: Mapping[str, Any], source: Source) -> RunKey | None:
        """Take over a pod; returns its run's key, None if it is no run's."""
        metadata = body["metadata"]
        owner = owner_of(body)
        if owner is None:
            return None
        place = metadata["namespace"], metadata["name"]
        held = self._pods.get(place)
        if not self._is_news(metadata, None if held is None else held.pod, source):
            return owner[0]
        try:
            pod = pod_of(body)
        except UnreadableError as problem:
            logger.warning("%s; the pod is left alone", problem)
            return None
        if held is not None:
            self._pods_of[held.owner].pop(held.pod.name, None)
        entry = OwnedPod(metadata["namespace"], pod, *owner)
        self._pods[place] = entry
        self._pods_of[entry.owner][pod.name] = entry
        return entry.owner

    def remove_run(self, key: RunKey, uid: str) -> None:
        """Forget a run that no longer exists."""
        self._bury(uid)
        self._unreadable.pop(uid, None)
        held = self._runs.get(key)
        if held is not None and held.uid == uid:
            self._forget_run(key)

    def remove_pod(self, namespace: str, name: str, uid: str) -> None:
        """Forget a pod that no longer exists."""
        self._bury(uid)
        held = self._pods.get((namespace, name))
        if held is not None and held.pod.uid == uid:
            del self._pods[namespace, name]
            self._pods_of[held.owner].pop(name, None)
            if not self._pods_of[held.owner]:
                del self._pods_of[held.owner]

    def remove_vanished(self, namespace: str | None, kind: str, seen: Iterable[str], version: str) -> list[RunKey]:
        """Forget what a full listing of a kind (Pod, IGPOTraining, …) at a version no longer holds; the keys."""
        present, at, changed = set(seen), int(version), []
        if kind == "Pod":
            for owned in self.pods():
                if self._vanished(owned.namespace, owned.pod, namespace, present, at):
                    self.remove_pod(owned.namespace, owned.pod.name, owned.pod.uid)
                    changed.append(owned.owner)
            return changed
        for run in self.runs():
            if run.kind.kind == kind and self._vanished(run.namespace, run, namespace, present, at):
                self.remove_run(run.key, run.uid)
                changed.append(run.key)
        return changed

    def delivered(self, plural: str) -> None:
        """Note that the watch of a resource delivered something just now."""
        self.last_event[plural] = self._clock.now()

    def oldest_unconfirmed_seconds(self) -> float:
        """How long the watches have failed to deliver a version known from elsewhere: large when one is dead."""
        oldest = min((since for _, since in self._unconfirmed.values()), default=None)
        return 0.0 if oldest is None else (self._clock.now() - oldest).total_seconds()

    def _is_news(self, metadata: Mapping[str, Any], held: Run | UnreadableRun | Pod | None, source: Source) -> bool:
        uid, version = metadata["uid"], int(metadata["resourceVersion"])
        if uid in self._gone:
            return False
        newer = held is None or version > int(held.resource_version)
        waiting = self._unconfirmed.get(uid)
        if source is Source.WATCH:
            if waiting is not None and version >= waiting[0]:
                del self._unconfirmed[uid]
        elif newer:
            self._unconfirmed[uid] = version, self._clock.now() if waiting is None else waiting[1]
        return newer

    def _forget_run(self, key: RunKey) -> None:
        held = self._runs.pop(key, None)
        if held is None:
            return
        source_key = source_of(held)
        if source_key is not None:
            self._dependents[source_key].discard(key)
            if not self._dependents[source_key]:
                del self._dependents[source_key]

    def _bury(self, uid: str) -> None:
        self._unconfirmed.pop(uid, None)
        self._gone[uid] = None
        if len(self._gone) > _TOMBSTONES:
            self._gone.popitem(last=False)

    @staticmethod
    def _vanished(where: str, held: Run | Pod, namespace: str | None, present: set[str], at: int) -> bool:
        in_scope = namespace is None or where == namespace
        return in_scope and held.uid not in present and int(held.resource_version) <= at


def source_of(run: Run) -> RunKey | None:
    """Key of the run that `model.from` names."""
    origin = (run.spec.get("model") or {}).get("from") or {}
    kind, name = origin.get("kind"), origin.get("name")
    if not isinstance(name, str) or kind not in {known.kind for known in KINDS}:
        return None
    return str(kind), run.namespace, name
