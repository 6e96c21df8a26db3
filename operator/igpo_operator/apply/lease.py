"""One operator at a time: a Lease in every namespace that is watched, or in the operator's own when it watches all.

A cluster-wide operator leaves a namespace alone while another operator holds the Lease in it. Expiry is judged by our
own clock, from when a holder was last seen to renew: clocks of two machines are never compared.

A Lease in the operator's own namespace belongs to its service account, so that nothing is left of it when the operator
is uninstalled. To its pod it must not belong: a pod forced away may still have a process that works.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from igpo_operator.apply.clock import Clock
from igpo_operator.apply.errors import ApiError, ConflictError, NotFoundError
from igpo_operator.apply.kube import Account, Body, Kube
from igpo_operator.apply.resources import LEASES
from igpo_operator.render.names import MANAGED_BY_LABEL, MANAGER

logger = logging.getLogger(__name__)

LEASE_NAME: Final = MANAGER


@dataclass(slots=True)
class _Seen:
    """A Lease of another, and when it was last seen to change."""

    version: str
    at: datetime


class LeaseKeeper:
    """Acquires Leases, renews them, and knows where work is allowed."""

    def __init__(
        self,
        kube: Kube,
        clock: Clock,
        *,
        identity: str,
        namespaces: tuple[str, ...],
        clusterwide: bool,
        duration_seconds: float,
        prepare: Callable[[str | None], Awaitable[object]],
        begin: Callable[[str | None], None],
    ) -> None:
        """`prepare(namespace)` (None: all) runs before work in it is allowed, `begin` as soon as it is."""
        self._kube = kube
        self._clock = clock
        self._identity = identity
        self._namespaces = namespaces
        self._clusterwide = clusterwide
        self._duration = timedelta(seconds=duration_seconds)
        self._prepare = prepare
        self._begin = begin
        self._held_until: dict[str, datetime] = {}
        self._ready: set[str] = set()
        self._seen: dict[str, _Seen] = {}
        self._elsewhere: set[str] = set()
        self._account: Account | None = None
        self._stop = asyncio.Event()

    def may_work(self, namespace: str) -> bool:
        """Whether runs of a namespace are ours right now."""
        home = self._namespaces[0] if self._clusterwide else namespace
        until = self._held_until.get(home)
        if until is None or home not in self._ready or self._clock.now() >= until:
            return False
        return not (self._clusterwide and namespace in self._elsewhere)

    @property
    def held(self) -> int:
        """How many of our Leases are held."""
        now = self._clock.now()
        return sum(until > now for until in self._held_until.values())

    async def run(self) -> None:
        """Acquire and renew until `stop`; errors are told and tried again."""
        try:
            self._account = await self._kube.account()
        except ApiError as problem:
            logger.warning("the Lease will outlive this installation: %s", problem)
        while not self._stop.is_set():
            started = self._clock.now()
            if self._clusterwide:
                await self._look_elsewhere()
            for namespace in self._namespaces:
                try:
                    await self.tend(namespace)
                except ApiError as problem:
                    logger.warning("Lease in %s could not be tended: %s", namespace, problem)
            await self._clock.wait(self._stop, started + self._duration / 3)

    async def stop(self) -> None:
        """Let go of every Lease, so that a successor need not wait."""
        self._stop.set()
        for namespace in [n for n in self._namespaces if n in self._held_until]:
            del self._held_until[namespace]
            try:
                live = await self._kube.get(LEASES, namespace, LEASE_NAME)
                if live["spec"].get("holderIdentity") == self._identity:
                    live["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._time()}
                    await self._kube.replace(live)
            except ApiError as problem:
                logger.info("Lease in %s was not released: %s; it runs out by itself", namespace, problem)

    async def tend(self, namespace: str) -> None:
        """Acquire or renew one Lease if it is free, ours or run out."""
        started = self._clock.now()
        try:
            live = await self._kube.get(LEASES, namespace, LEASE_NAME)
        except NotFoundError:
            live = None
        if live is not None and not self._is_free(namespace, live):
            self._lose(namespace, str(live["spec"].get("holderIdentity")))
            return
        try:
            await self._take(namespace, live)
        except ConflictError:
            return  # another was faster; the next look tells who
        newly = namespace not in self._ready
        self._held_until[namespace] = started + self._duration
        if newly:
            logger.info("holding the Lease of %s as %s", namespace, self._identity)
            scope = None if self._clusterwide else namespace
            await self._prepare(scope)
            self._ready.add(namespace)
            self._begin(scope)

    def _is_free(self, namespace: str, live: Body) -> bool:
        holder = live["spec"].get("holderIdentity")
        if not holder or holder == self._identity:
            return True
        version, now = live["metadata"]["resourceVersion"], self._clock.now()
        seen = self._seen.get(namespace)
        if seen is None or seen.version != version:
            self._seen[namespace] = _Seen(version, now)
            return False
        return now - seen.at >= timedelta(seconds=live["spec"].get("leaseDurationSeconds") or 0)

    async def _take(self, namespace: str, live: Body | None) -> None:
        if live is None:
            await self._kube.create(self._manifest(namespace))
            return
        spec = live.setdefault("spec", {})
        if spec.get("holderIdentity") != self._identity:
            spec |= {"acquireTime": self._time(), "leaseTransitions": (spec.get("leaseTransitions") or 0) + 1}
        spec |= self._claim()
        live["metadata"] |= self._owners(namespace)
        await self._kube.replace(live)

    def _lose(self, namespace: str, holder: str) -> None:
        if self._held_until.pop(namespace, None) is not None:
            logger.error("the Lease of %s went to %s: no more work there", namespace, holder)
        elif namespace not in self._ready:
            logger.debug("the Lease of %s is held by %s: waiting", namespace, holder)
        self._ready.discard(namespace)

    async def _look_elsewhere(self) -> None:
        """Find the namespaces that an operator of their own works in."""
        try:
            found = await self._kube.list(LEASES, None, self._foreign, labels=f"{MANAGED_BY_LABEL}={MANAGER}")
        except ApiError as problem:
            logger.warning("other operators' Leases could not be listed: %s", problem)
            return
        elsewhere = set(found.items)
        for namespace in elsewhere - self._elsewhere:
            logger.info("namespace %s has an operator of its own: left alone", namespace)
            self._elsewhere.add(namespace)
        for namespace in self._elsewhere - elsewhere:
            logger.info("namespace %s has no operator of its own any more: taken over", namespace)
            await self._prepare(namespace)
            self._elsewhere.discard(namespace)
            self._begin(namespace)

    def _foreign(self, live: Body) -> str | None:
        namespace = str(live["metadata"]["namespace"])
        other = namespace not in self._namespaces and live["metadata"]["name"] == LEASE_NAME
        return namespace if other and not self._is_free(namespace, live) else None

    def _manifest(self, namespace: str) -> Body:
        metadata: Body = {"namespace": namespace, "name": LEASE_NAME, "labels": {MANAGED_BY_LABEL: MANAGER}}
        metadata |= self._owners(namespace)
        spec = {"acquireTime": self._time(), "leaseTransitions": 0} | self._claim()
        return {"apiVersion": LEASES.api_version, "kind": LEASES.kind, "metadata": metadata, "spec": spec}

    def _owners(self, namespace: str) -> Body:
        """An owner lives in the same namespace, or garbage collection takes what it owns at once."""
        account = self._account
        if account is None or account.namespace != namespace:
            return {}
        reference = {"apiVersion": "v1", "kind": "ServiceAccount", "name": account.name, "uid": account.uid}
        return {"ownerReferences": [reference]}

    def _claim(self) -> dict[str, Any]:
        seconds = max(1, round(self._duration.total_seconds()))
        return {"holderIdentity": self._identity, "leaseDurationSeconds": seconds, "renewTime": self._time()}

    def _time(self) -> str:
        return self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
