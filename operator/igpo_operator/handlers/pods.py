"""Watching pods of runs: every version goes into the cache, then the run is looked at."""

from collections.abc import Callable

import kopf

from igpo_operator.apply.cache import Cache, Source
from igpo_operator.apply.resources import PODS
from igpo_operator.apply.view import RunKey, owner_of


def register(registry: kopf.OperatorRegistry, cache: Cache, wake: Callable[[RunKey], None]) -> None:
    """Watch the pods that carry our label (main sets the selector, so that the server filters)."""

    async def remember(body: kopf.Body, **_: object) -> None:
        cache.put_pod(body, Source.WATCH)
        cache.delivered(PODS.plural)

    async def look(event: kopf.RawEvent, **_: object) -> None:
        body = event["object"]
        metadata = body["metadata"]
        if event["type"] == "DELETED":
            cache.remove_pod(metadata["namespace"], metadata["name"], metadata["uid"])
            cache.delivered(PODS.plural)
        owner = owner_of(body)
        if owner is not None:
            wake(owner[0])

    kopf.index(PODS.version, PODS.plural, id="remember-pods", registry=registry)(remember)
    kopf.on.event(PODS.version, PODS.plural, id="look-pods", registry=registry)(look)
