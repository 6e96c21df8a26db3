"""What the executor takes from the API server's answer to the deletion of a pod."""

import asyncio
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio.client import Configuration

from igpo_operator.apply.cache import Cache, Source
from igpo_operator.apply.execute import Executor
from igpo_operator.apply.kube import Kube
from igpo_operator.plan.actions import DeletePod
from operatorworld.bodies import pod_body
from operatorworld.clock import ManualClock
from operatorworld.http import serving

KEY = ("LengthAlignedSFT", "team", "tiny")
MARKED = {"deletionTimestamp": "2026-11-24T12:01:00Z", "deletionGracePeriodSeconds": 30}


def _delete(answer: dict[str, Any]) -> Cache:
    """Delete the only pod of the cache; the server answers so."""
    cache = Cache(ManualClock())
    cache.put_pod(pod_body(version=20), Source.WATCH)

    async def delete() -> None:
        async def serve(_: web.Request) -> web.Response:
            return web.json_response(answer)

        async with serving(serve) as port:
            kube = Kube(Configuration(host=f"http://127.0.0.1:{port}"))
            try:
                await Executor(kube, cache).run("team", "run-1", [DeletePod("tiny-lasft-a1-0", "pod-1")])
            finally:
                await kube.close()

    asyncio.run(delete())
    return cache


def test_a_pod_that_is_being_deleted_is_known_to_be_at_once() -> None:
    [owned] = _delete(pod_body(version=21, metadata=MARKED)).pods_of(KEY)
    assert owned.pod.deleted_at is not None


def test_a_pod_that_was_gone_before_the_server_could_mark_it_is_forgotten() -> None:
    gone = pod_body(metadata=MARKED)
    del gone["metadata"]["resourceVersion"]
    assert _delete(gone).pods_of(KEY) == []


@pytest.mark.parametrize("answer", [{"kind": "Status", "status": "Success"}, pod_body(version=20)])
def test_an_answer_that_says_nothing_new_is_left_to_the_watch(answer: dict[str, Any]) -> None:
    [owned] = _delete(answer).pods_of(KEY)
    assert owned.pod.deleted_at is None
