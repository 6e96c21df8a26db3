import asyncio
from datetime import timedelta
from typing import Any

from igpo_operator.apply.errors import NotFoundError, RefusedError
from igpo_operator.apply.nodes import NodeReader
from igpo_operator.apply.view import pod_of
from igpo_operator.plan.observed import Pod
from operatorworld.bodies import pod_body
from operatorworld.clock import START


class Clock:
    time = START + timedelta(hours=1)

    def now(self):
        return self.time


class Kube:
    def __init__(self, **nodes: Any) -> None:
        self.nodes = nodes
        self.asked: list[str] = []

    async def get(self, _: Any, namespace: None, name: str) -> dict[str, Any]:
        self.asked.append(name)
        answer = self.nodes.get(name, NotFoundError("get", 404, "no"))
        if isinstance(answer, Exception):
            raise answer
        return {"status": {"conditions": [{"type": "Ready", "status": answer}]}}


def _pod(node: str, *, overdue: bool = True) -> Pod:
    body = pod_body(node, uid=node, spec={"nodeName": node})
    if overdue:
        body["metadata"]["deletionTimestamp"] = "2026-11-24T12:30:00Z"
    return pod_of(body)


def _read(reader: NodeReader, *pods: Pod) -> dict[str, bool]:
    return asyncio.run(reader.of_overdue(pods))


def test_only_nodes_of_overdue_pods_are_read_and_a_node_that_is_gone_is_not_ready() -> None:
    kube = Kube(up="True", down="Unknown")
    pods = [_pod("up"), _pod("down"), _pod("gone"), _pod("busy", overdue=False)]
    assert _read(NodeReader(kube, Clock(), allowed=True), *pods) == {"up": True, "down": False, "gone": False}
    assert sorted(kube.asked) == ["down", "gone", "up"]


def test_what_was_read_stays_for_ten_seconds() -> None:
    kube, clock = Kube(up="True"), Clock()
    reader = NodeReader(kube, clock, allowed=True)
    _read(reader, _pod("up"))
    clock.time += timedelta(seconds=9)
    _read(reader, _pod("up"))
    assert kube.asked == ["up"]
    clock.time += timedelta(seconds=2)
    _read(reader, _pod("up"))
    assert kube.asked == ["up", "up"]


def test_without_the_right_nothing_is_known_and_nothing_is_asked_again() -> None:
    kube = Kube(up=RefusedError("get", 403, "no"))
    reader = NodeReader(kube, Clock(), allowed=True)
    assert _read(reader, _pod("up")) == {}
    assert _read(reader, _pod("up")) == {}
    assert kube.asked == ["up"]
    assert _read(NodeReader(kube, Clock(), allowed=False), _pod("up")) == {}
    assert kube.asked == ["up"]
