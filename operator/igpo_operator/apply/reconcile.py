"""One look at one run: observe, plan, act, write status once, tell. Never two looks at the same run at once."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Protocol

from igpo_operator.api.kinds import Kind, kind_named
from igpo_operator.apply.cache import Cache, OwnedPod, Source, source_of
from igpo_operator.apply.clock import Clock
from igpo_operator.apply.errors import ConflictError, LeaseLostError, NotFoundError, NotOursError, RefusedError
from igpo_operator.apply.events import EventPoster
from igpo_operator.apply.execute import Executor
from igpo_operator.apply.kube import Kube
from igpo_operator.apply.nodes import NodeReader
from igpo_operator.apply.resources import RUNS, Resource, runs_of
from igpo_operator.apply.view import RunKey, UnreadableRun
from igpo_operator.plan.actions import Action, Event, Plan
from igpo_operator.plan.observed import Facts, Observed, Pod, Refusal, Run, Scrape
from igpo_operator.plan.unreadable import marked

logger = logging.getLogger(__name__)

_ROUNDS: Final = 3
"""Plans in one look: one more after each refusal, which the next plan must see."""
_REFUSALS: Final = 1000
"""Refusals kept before those of deleted runs are swept out."""
_STALE_PAUSE: Final = timedelta(seconds=0.5)
"""Before another look after a lost race for status; the watch usually wakes the run earlier."""

Planner = Callable[[Observed], Plan]
OrphanPlanner = Callable[[Sequence[Pod]], Sequence[Action]]


class Scrapes(Protocol):
    """Where the last answers of trainers are."""

    def last(self, uid: str) -> Scrape | None:
        """The last answer of a run's rank 0."""
        ...


class Schemas(Protocol):
    """What is known of the installed CRDs."""

    def lacking(self, kind: Kind) -> str | None:
        """Fields that the API server would drop from runs of a kind, in words; None: it keeps all."""
        ...


@dataclass(frozen=True, slots=True)
class Hands:
    """What a reconciler acts with."""

    kube: Kube
    cache: Cache
    clock: Clock
    executor: Executor
    events: EventPoster
    nodes: NodeReader


class Reconciler:
    """Brings runs closer to what they should be."""

    def __init__(
        self,
        hands: Hands,
        *,
        plan: Planner,
        plan_orphan: OrphanPlanner,
        facts: Facts,
        scrapes: Scrapes,
        schemas: Schemas,
        may_work: Callable[[str], bool],
    ) -> None:
        """`may_work(namespace)` is whether this operator holds the Lease that covers it."""
        self._hands = hands
        self._plan = plan
        self._plan_orphan = plan_orphan
        self._facts = facts
        self._scrapes = scrapes
        self._schemas = schemas
        self._may_work = may_work
        self._refusals: dict[str, Refusal] = {}

    async def reconcile(self, key: RunKey) -> datetime | None:
        """Look at one run; returns when to look again. Raises when the API server would not answer."""
        if not self._may_work(key[1]):
            return None
        run = self._hands.cache.run(key)
        owned = self._hands.cache.pods_of(key)
        unreadable = None if run is not None else self._hands.cache.unreadable_run(key)
        try:
            await self._reconcile_orphans(key, run, owned)
            if unreadable is not None:
                await self._mark(unreadable)
            return None if run is None else await self._reconcile_run(run)
        except LeaseLostError as lost:
            logger.warning("%s: left to whoever holds it", lost)
            return None

    async def _reconcile_run(self, run: Run) -> datetime | None:
        for _ in range(_ROUNDS):
            plan = self._plan(await self._observe(run))
            logger.debug("plan: %s, again at %s", [type(action).__name__ for action in plan.actions], plan.requeue_at)
            refusal = await self._act(run, plan)
            if refusal is None:
                break
            self._remember(run, refusal)
        self._forget_old_refusal(run)
        if plan.status is None or plan.status.dump() == run.status.dump():
            return plan.requeue_at
        try:
            await self._write_status(run, plan)
        except (ConflictError, NotFoundError) as stale:
            logger.debug("what was planned for is no longer stored: %s", stale)
            await self._read_again(run)
            return self._hands.clock.now() + _STALE_PAUSE
        await self._tell(run, plan.events)
        return plan.requeue_at

    async def _mark(self, run: UnreadableRun) -> None:
        """Say on the run that its status cannot be read."""
        status = marked(run.status, run.problem, run.generation, self._hands.clock.now())
        if status is None:
            return
        resource = RUNS[run.key[0]]
        try:
            await self._replace_status(resource, run.key, run.uid, run.resource_version, status)
        except (ConflictError, NotFoundError) as stale:
            logger.debug("it has changed meanwhile, and is looked at again when the watch says so: %s", stale)
        except RefusedError as problem:
            logger.warning("its conditions cannot be written, either: %s", problem.message)

    async def _observe(self, run: Run) -> Observed:
        cache = self._hands.cache
        pods = tuple(owned.pod for owned in cache.pods_of(run.key) if owned.owner_uid == run.uid)
        source = source_of(run)
        return Observed(
            run=run,
            pods=tuple(sorted(pods, key=lambda pod: (pod.attempt, pod.rank))),
            facts=self._facts,
            now=self._hands.clock.now(),
            source=None if source is None else cache.run(source),
            source_chain=source_chain(cache, run),
            scrape=self._scrapes.last(run.uid),
            refusal=self._refusals.get(run.uid),
            lacking=self._schemas.lacking(run.kind),
            node_ready=await self._hands.nodes.of_overdue(pods),
        )

    async def _act(self, run: Run, plan: Plan) -> Refusal | None:
        """Carry out a plan's actions; the refusal if the server would not create something."""
        try:
            await self._hands.executor.run(run.namespace, run.uid, plan.actions)
        except RefusedError as problem:
            code, message = problem.code, problem.message
        except NotOursError as problem:
            code, message = 409, str(problem)
        else:
            return None
        attempt = run.status.attempt.number if run.status.attempt is not None else 0
        logger.warning("attempt %d was refused with %d: %s", attempt, code, message)
        return Refusal(attempt=attempt, code=code, message=message, at=self._hands.clock.now())

    async def _write_status(self, run: Run, plan: Plan) -> None:
        assert plan.status is not None
        await self._replace_status(runs_of(run.kind), run.key, run.uid, run.resource_version, plan.status.dump())
        if plan.status.phase is not run.status.phase:
            logger.info("phase %s → %s: %s", run.status.phase, plan.status.phase, plan.status.message or "")

    async def _replace_status(
        self, resource: Resource, key: RunKey, uid: str, resource_version: str, status: Mapping[str, Any]
    ) -> None:
        """One write, only if the run is still as it was read."""
        _, namespace, name = key
        metadata = {"namespace": namespace, "name": name, "uid": uid, "resourceVersion": resource_version}
        manifest = {
            "apiVersion": resource.api_version,
            "kind": resource.kind,
            "metadata": metadata,
            "status": status,
        }
        body = await self._hands.kube.replace(manifest, subresource="status")
        self._hands.cache.put_run(body, Source.WRITE)

    async def _tell(self, run: Run, events: Sequence[Event]) -> None:
        for event in events:
            error = await self._hands.events.post(run, event)
            if error is not None:
                logger.warning("event %s was not posted: %s", event.reason, error)

    async def _reconcile_orphans(self, key: RunKey, run: Run | None, owned: Sequence[OwnedPod]) -> None:
        """Look after pods of this name whose run is gone, by UID."""
        cache = self._hands.cache
        gone: dict[str, list[Pod]] = {}
        for one in owned:
            if (run is None or one.owner_uid != run.uid) and not cache.unreadable(one.owner_uid):
                gone.setdefault(one.owner_uid, []).append(one.pod)
        for uid, pods in gone.items():
            self._refusals.pop(uid, None)
            await self._hands.executor.run(key[1], None, tuple(self._plan_orphan(pods)))

    async def _read_again(self, run: Run) -> None:
        """Take the run as it is stored now, or forget it."""
        cache, resource = self._hands.cache, runs_of(run.kind)
        try:
            body = await self._hands.kube.get(resource, run.namespace, run.name)
        except NotFoundError:
            cache.remove_run(run.key, run.uid)
            return
        if body["metadata"]["uid"] != run.uid:
            cache.remove_run(run.key, run.uid)
        cache.put_run(body, Source.WRITE)

    def _remember(self, run: Run, refusal: Refusal) -> None:
        if len(self._refusals) > _REFUSALS:
            alive = {one.uid for one in self._hands.cache.runs()}
            self._refusals = {uid: known for uid, known in self._refusals.items() if uid in alive}
        self._refusals[run.uid] = refusal

    def _forget_old_refusal(self, run: Run) -> None:
        refusal, attempt = self._refusals.get(run.uid), run.status.attempt
        if refusal is not None and attempt is not None and attempt.number > refusal.attempt:
            del self._refusals[run.uid]


def source_chain(cache: Cache, run: Run) -> tuple[tuple[str, str], ...]:
    """Follow model.from: (kind, name) of the source, its source, and so on, up to the first that repeats."""
    chain: list[tuple[str, str]] = []
    seen = {run.key}
    current: Run | None = run
    while current is not None:
        source = source_of(current)
        if source is None:
            break
        chain.append((kind_named(source[0]).kind, source[2]))
        if source in seen:
            break
        seen.add(source)
        current = cache.run(source)
    return tuple(chain)
