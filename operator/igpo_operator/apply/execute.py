"""Carrying out a plan's actions, in order. Each may already have been carried out by an operator that died."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from igpo_operator.apply.cache import Cache, Source
from igpo_operator.apply.errors import (
    AlreadyExistsError,
    ConflictError,
    LeaseLostError,
    NotFoundError,
    NotOursError,
)
from igpo_operator.apply.kube import Body, Kube
from igpo_operator.apply.resources import CLAIMS, PODS, child_resource, resource_of
from igpo_operator.apply.view import owner_of
from igpo_operator.plan.actions import Action, AnnotatePod, Apply, Create, DeleteChild, DeletePod

logger = logging.getLogger(__name__)

_MOST_TOGETHER: Final = 16
"""Pods of one gang that are created at the same time."""


class Executor:
    """Carries out actions through the client and puts what came of them into the cache at once."""

    def __init__(self, kube: Kube, cache: Cache, may_work: Callable[[str], bool] = lambda _namespace: True) -> None:
        """`may_work(namespace)` is asked again before each action: a Lease may run out while the server is slow."""
        self._kube = kube
        self._cache = cache
        self._may_work = may_work

    async def run(self, namespace: str, owner_uid: str | None, actions: Sequence[Action]) -> None:
        """Carry out actions for a run (None: for pods whose run is gone).

        RefusedError, NotOursError or LeaseLostError ends it: the rest of the plan assumed that this would work.
        """
        for together in _batches(actions):
            if not self._may_work(namespace):
                raise LeaseLostError(f"the Lease that covers {namespace} ran out before {type(together[0]).__name__}")
            steps = (self._carry_out(namespace, owner_uid, action) for action in together)
            for outcome in await asyncio.gather(*steps, return_exceptions=True):
                if outcome is not None:
                    raise outcome

    async def _carry_out(self, namespace: str, owner_uid: str | None, action: Action) -> None:
        match action:
            case Apply(manifest):
                await self._apply(manifest, owner_uid)
            case Create(manifest):
                await self._create(manifest, owner_uid)
            case DeletePod(name, uid, grace_seconds):
                await self._delete_pod(namespace, name, uid, grace_seconds)
            case AnnotatePod(name, uid, annotations):
                await self._annotate_pod(namespace, name, uid, annotations)
            case DeleteChild(api_kind, name):
                await self._delete_child(namespace, api_kind, name, owner_uid)

    async def _apply(self, manifest: Mapping[str, Any], owner_uid: str | None) -> None:
        resource, metadata = resource_of(manifest), manifest["metadata"]
        try:
            live = await self._kube.get(resource, metadata["namespace"], metadata["name"])
        except NotFoundError:
            pass
        else:
            _check_owner(resource.kind, live, owner_uid)
            if holds(live, manifest):
                return  # an apply would change nothing, yet cost a write
        await self._kube.apply(manifest)

    async def _create(self, manifest: Mapping[str, Any], owner_uid: str | None) -> None:
        resource, metadata = resource_of(manifest), manifest["metadata"]
        try:
            body = await self._kube.create(manifest)
        except AlreadyExistsError:
            if resource is CLAIMS:
                return  # a volume outlives its run on purpose; whose it is, the trainer finds out from run.json
            body = await self._kube.get(resource, metadata["namespace"], metadata["name"])
            _check_owner(resource.kind, body, owner_uid)
        if resource is PODS:
            self._cache.put_pod(body, Source.WRITE)

    async def _delete_pod(self, namespace: str, name: str, uid: str, grace_seconds: int | None) -> None:
        try:
            body = await self._kube.delete(PODS, namespace, name, uid, grace_seconds)
        except (NotFoundError, ConflictError):
            await self._look_again(namespace, name, uid)
            return
        if body.get("kind") != PODS.kind:
            return
        if "resourceVersion" not in body["metadata"]:  # it was gone before the server could mark it
            self._cache.remove_pod(namespace, name, uid)
        elif body["metadata"].get("deletionTimestamp"):
            self._cache.put_pod(body, Source.WRITE)

    async def _annotate_pod(self, namespace: str, name: str, uid: str, annotations: Mapping[str, str]) -> None:
        try:
            body = await self._kube.annotate(PODS, namespace, name, uid, annotations)
        except (NotFoundError, ConflictError):
            await self._look_again(namespace, name, uid)
            return
        self._cache.put_pod(body, Source.WRITE)

    async def _look_again(self, namespace: str, name: str, uid: str) -> None:
        """A pod is not what it was thought to be: gone, or its name is another pod's by now."""
        try:
            body = await self._kube.get(PODS, namespace, name)
        except NotFoundError:
            self._cache.remove_pod(namespace, name, uid)
            return
        if body["metadata"]["uid"] != uid:
            self._cache.remove_pod(namespace, name, uid)
        self._cache.put_pod(body, Source.WRITE)

    async def _delete_child(self, namespace: str, api_kind: str, name: str, owner_uid: str | None) -> None:
        resource = child_resource(api_kind)
        try:
            live = await self._kube.get(resource, namespace, name)
            if _controller_uid(live) != owner_uid:
                logger.info("%s %s/%s is not of this run: kept", api_kind, namespace, name)
                return
            await self._kube.delete(resource, namespace, name, live["metadata"]["uid"])
        except (NotFoundError, ConflictError):
            return


def _batches(actions: Sequence[Action]) -> Iterator[Sequence[Action]]:
    """Actions that are carried out together: one after the other, but pods of a gang by 1, 2, 4, … at a time.

    So a large gang does not wait for a thousand answers in a row, and one that is refused costs few requests.
    """
    start, most = 0, 1
    while start < len(actions):
        stop = start
        while stop - start < most and stop < len(actions) and _creates_pod(actions[stop]):
            stop += 1
        most = min(2 * most, _MOST_TOGETHER) if stop > start else 1
        stop = max(stop, start + 1)
        yield actions[start:stop]
        start = stop


def _creates_pod(action: Action) -> bool:
    return isinstance(action, Create) and action.manifest["kind"] == PODS.kind


def _controller_uid(body: Body) -> str | None:
    owner = owner_of(body)
    return None if owner is None else owner[1]


def _check_owner(kind: str, live: Body, owner_uid: str | None) -> None:
    if _controller_uid(live) == owner_uid:
        return
    metadata = live["metadata"]
    owners = ", ".join(f"{o['kind']} {o['name']}" for o in metadata.get("ownerReferences") or ()) or "nobody"
    raise NotOursError(
        f"{kind} {metadata['name']} already exists and belongs to {owners}; delete it or give the run another name"
    )


def holds(live: object, wanted: object) -> bool:
    """Whether a live object has every field that is wanted, as wanted; it may have more (defaults, status)."""
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(holds(live.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list | tuple):
        if not isinstance(live, list) or len(live) != len(wanted):
            return False
        return all(holds(one, other) for one, other in zip(live, wanted, strict=True))
    return bool(live == wanted)
