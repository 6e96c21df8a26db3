"""Full listings: at the start, when a Lease is won, and now and then, to find what a watch has missed."""

from collections.abc import Sequence

from igpo_operator.api.kinds import KINDS
from igpo_operator.apply.cache import Cache, Source
from igpo_operator.apply.clock import Clock
from igpo_operator.apply.kube import Body, Kube
from igpo_operator.apply.resources import PODS, runs_of
from igpo_operator.apply.view import RunKey
from igpo_operator.render.names import RUN_LABEL


class Resync:
    """Lists everything of a namespace into the cache."""

    def __init__(self, kube: Kube, cache: Cache, clock: Clock) -> None:
        """Nothing is listed until `run`."""
        self._kube = kube
        self._cache = cache
        self._clock = clock
        self.finished_at = clock.now()
        """When the last one ended; the start counts as one."""

    async def run(self, namespaces: Sequence[str | None]) -> set[RunKey]:
        """List the namespaces (None: all) and forget what is no longer there; every key worth looking at."""
        keys: set[RunKey] = set()
        for namespace in namespaces:
            for kind in KINDS:
                keys.update(await self._list_runs(namespace, kind.kind))
            keys.update(await self._list_pods(namespace))
            keys |= self._cache.keys(namespace)
        self.finished_at = self._clock.now()
        return keys

    async def _list_runs(self, namespace: str | None, kind: str) -> list[RunKey]:
        resource = next(runs_of(one) for one in KINDS if one.kind == kind)

        def keep(body: Body) -> str:
            self._cache.put_run(body, Source.LISTING)
            return str(body["metadata"]["uid"])

        listing = await self._kube.list(resource, namespace, keep)
        return self._cache.remove_vanished(namespace, kind, listing.items, listing.resource_version)

    async def _list_pods(self, namespace: str | None) -> list[RunKey]:
        def keep(body: Body) -> str:
            self._cache.put_pod(body, Source.LISTING)
            return str(body["metadata"]["uid"])

        listing = await self._kube.list(PODS, namespace, keep, labels=RUN_LABEL)
        return self._cache.remove_vanished(namespace, PODS.kind, listing.items, listing.resource_version)
