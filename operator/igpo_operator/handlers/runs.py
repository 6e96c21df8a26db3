"""Watching custom resources: every version goes into the cache, then the run and its dependents are looked at."""

from collections.abc import Callable

import kopf

from igpo_operator.api.kinds import GROUP, KINDS, VERSION
from igpo_operator.apply.cache import Cache, Source
from igpo_operator.apply.view import RunKey


def register(registry: kopf.OperatorRegistry, cache: Cache, wake: Callable[[RunKey], None]) -> None:
    """Watch both kinds. Indices of the whole first listing come before any handler: so the cache is whole."""
    for kind in KINDS:
        plural = kind.plural

        async def remember(body: kopf.Body, plural: str = plural, **_: object) -> None:
            cache.put_run(body, Source.WATCH)
            cache.delivered(plural)

        async def look(event: kopf.RawEvent, plural: str = plural, **_: object) -> None:
            body = event["object"]
            metadata = body["metadata"]
            key = body["kind"], metadata["namespace"], metadata["name"]
            if event["type"] == "DELETED":
                cache.remove_run(key, metadata["uid"])
                cache.delivered(plural)
            wake(key)
            for dependent in cache.dependents(key):
                wake(dependent)

        kopf.index(GROUP, VERSION, plural, id=f"remember-{plural}", registry=registry)(remember)
        kopf.on.event(GROUP, VERSION, plural, id=f"look-{plural}", registry=registry)(look)
