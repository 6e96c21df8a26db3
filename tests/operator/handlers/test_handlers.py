import asyncio
from typing import Any

import kopf
import pytest

from igpo_operator.apply.cache import Cache
from igpo_operator.apply.clock import SystemClock
from igpo_operator.handlers import pods, runs
from igpo_operator.handlers.settings import settings_of
from operatorworld.bodies import pod_body, run_body

KEY = ("LengthAlignedSFT", "team", "tiny")


class World:
    """Handlers registered with kopf, called as kopf calls them."""

    def __init__(self) -> None:
        self.cache = Cache(SystemClock())
        self.woken: list[Any] = []
        self.registry = kopf.OperatorRegistry()
        runs.register(self.registry, self.cache, self.woken.append)
        pods.register(self.registry, self.cache, self.woken.append)

    def event(self, body: dict[str, Any], kind: str | None = "MODIFIED") -> None:
        plural = "pods" if body["kind"] == "Pod" else "lengthalignedsfts"
        handlers = {
            handler.id: handler.fn
            for group in (self.registry._indexing, self.registry._watching)
            for handler in group.get_all_handlers()
        }
        if kind != "DELETED":
            asyncio.run(handlers[f"remember-{plural}"](body=body))
        asyncio.run(handlers[f"look-{plural}"](event={"type": kind, "object": body}))


@pytest.fixture
def world() -> World:
    return World()


def test_a_run_is_remembered_and_looked_at_and_so_is_what_starts_from_it(world: World) -> None:
    world.event(run_body("next", uid="n", source="tiny"))
    world.event(run_body(), None)
    assert world.cache.run(KEY) is not None
    assert world.woken == [("LengthAlignedSFT", "team", "next"), KEY, ("LengthAlignedSFT", "team", "next")]
    assert "lengthalignedsfts" in world.cache.last_event


def test_a_pod_wakes_the_run_that_owns_it_and_no_other_pod_does(world: World) -> None:
    world.event(pod_body())
    world.event(pod_body("x", uid="x", metadata={"ownerReferences": []}))
    assert world.woken == [KEY]


def test_what_is_deleted_is_forgotten_and_the_run_is_looked_at(world: World) -> None:
    world.event(run_body())
    world.event(pod_body())
    world.event(pod_body(version=30), "DELETED")
    world.event(run_body(version=31), "DELETED")
    assert world.cache.keys() == set()
    assert world.woken == [KEY] * 4


def test_kopf_only_informs() -> None:
    settings = settings_of()
    assert not settings.posting.enabled
    assert settings.queueing.worker_limit is None
    assert settings.scanning.disabled
    registry = World().registry
    assert not registry._changing.get_all_handlers()
    assert not registry._spawning.get_all_handlers()
