import asyncio
from typing import Any

import pytest

from igpo_operator.apply.cache import Cache, Source
from igpo_operator.apply.clock import SystemClock
from igpo_operator.apply.errors import (
    AlreadyExistsError,
    ConflictError,
    LeaseLostError,
    NotFoundError,
    NotOursError,
    RefusedError,
)
from igpo_operator.apply.execute import Executor, holds
from igpo_operator.plan.actions import Action, AnnotatePod, Apply, Create, DeleteChild, DeletePod
from operatorworld.bodies import pod_body

KEY = ("LengthAlignedSFT", "team", "tiny")


class Answers:
    """Gives the prepared answer to each kind of request, and keeps what was asked."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[str] = []

    def __getattr__(self, verb: str) -> Any:
        async def ask(*_: Any, **__: Any) -> Any:
            self.asked.append(verb)
            answer = self.answers[verb]
            if isinstance(answer, Exception):
                raise answer
            return answer

        return ask


def _run(kube: Answers, *actions: Action, cache: Cache | None = None) -> Cache:
    cache = cache or Cache(SystemClock())
    asyncio.run(Executor(kube, cache).run("team", "run-1", actions))
    return cache


def _child(kind: str = "Service", owner_uid: str = "run-1", **content: Any) -> dict[str, Any]:
    body = pod_body("tiny-lasft", owner_uid=owner_uid)
    metadata = {key: body["metadata"][key] for key in ("namespace", "name", "uid", "ownerReferences")}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata} | content


def test_a_created_pod_is_known_at_once() -> None:
    cache = _run(Answers(create=pod_body()), Create(pod_body()))
    assert [owned.pod.uid for owned in cache.pods_of(KEY)] == ["pod-1"]


def test_a_pod_of_ours_that_exists_is_adopted() -> None:
    kube = Answers(create=AlreadyExistsError("create", 409, "exists"), get=pod_body(uid="pod-7"))
    cache = _run(kube, Create(pod_body()))
    assert [owned.pod.uid for owned in cache.pods_of(KEY)] == ["pod-7"]


def test_a_pod_of_another_under_our_name_is_named() -> None:
    kube = Answers(create=AlreadyExistsError("create", 409, "exists"), get=pod_body(owner_uid="run-0"))
    with pytest.raises(NotOursError, match="Pod tiny-lasft-a1-0 already exists and belongs to LengthAlignedSFT tiny"):
        _run(kube, Create(pod_body()))


def test_a_claim_that_exists_is_used_whoever_made_it() -> None:
    kube = Answers(create=AlreadyExistsError("create", 409, "exists"))
    _run(kube, Create(_child("PersistentVolumeClaim")))
    assert kube.asked == ["create"]


def test_a_refusal_ends_the_list_of_actions() -> None:
    kube = Answers(create=RefusedError("create", 403, "exceeded quota"))
    with pytest.raises(RefusedError):
        _run(kube, Create(pod_body()), Create(pod_body("second")))
    assert kube.asked == ["create"]


def test_a_child_that_is_as_it_should_be_is_not_written() -> None:
    wanted = _child(spec={"clusterIP": "None", "ports": [{"port": 1}]})
    live = _child(spec={"clusterIP": "None", "ports": [{"port": 1, "protocol": "TCP"}], "type": "ClusterIP"})
    kube = Answers(get=live)
    _run(kube, Apply(wanted))
    assert kube.asked == ["get"]


def test_a_child_that_is_missing_or_differs_is_applied() -> None:
    for found in (NotFoundError("get", 404, "no"), _child(spec={"clusterIP": "10.0.0.1"})):
        kube = Answers(get=found, apply=_child())
        _run(kube, Apply(_child(spec={"clusterIP": "None"})))
        assert kube.asked == ["get", "apply"]


def test_a_child_of_another_run_is_never_written() -> None:
    kube = Answers(get=_child(owner_uid="run-0"))
    with pytest.raises(NotOursError):
        _run(kube, Apply(_child()))
    assert kube.asked == ["get"]


def test_a_pod_that_was_asked_to_go_is_known_to_be_going() -> None:
    going = pod_body(version=30)
    going["metadata"] |= {"deletionTimestamp": "2026-11-24T12:01:00Z", "deletionGracePeriodSeconds": 30}
    cache = _run(Answers(delete=going), DeletePod("tiny-lasft-a1-0", "pod-1"))
    assert cache.pods_of(KEY)[0].pod.deleted_at is not None


@pytest.mark.parametrize("action", [DeletePod("tiny-lasft-a1-0", "pod-1"), AnnotatePod("tiny-lasft-a1-0", "pod-1", {})])
def test_a_pod_that_is_gone_or_another_is_looked_up(action: Action) -> None:
    for error in (NotFoundError("x", 404, "no"), ConflictError("x", 409, "uid")):
        for found, left in ((NotFoundError("get", 404, "no"), []), (pod_body(uid="pod-2", version=40), ["pod-2"])):
            cache = Cache(SystemClock())
            cache.put_pod(pod_body(), Source.WATCH)
            _run(Answers(delete=error, annotate=error, get=found), action, cache=cache)
            assert [owned.pod.uid for owned in cache.pods_of(KEY)] == left


def test_no_action_is_begun_once_the_lease_has_run_out() -> None:
    held = iter([True, False])
    kube = Answers(create=pod_body())
    executor = Executor(kube, Cache(SystemClock()), lambda _namespace: next(held))
    with pytest.raises(LeaseLostError, match="team ran out before Create"):
        asyncio.run(executor.run("team", "run-1", [Create(pod_body()), Create(pod_body("second"))]))
    assert kube.asked == ["create"]


def test_a_child_is_deleted_only_if_it_is_ours() -> None:
    for owner, asked in (("run-1", ["get", "delete"]), ("run-0", ["get"])):
        kube = Answers(get=_child(owner_uid=owner), delete={})
        _run(kube, DeleteChild("Service", "tiny-lasft"))
        assert kube.asked == asked


def test_a_live_object_holds_what_is_wanted_when_it_has_it_and_more() -> None:
    assert holds({"a": 1, "b": [{"c": 2, "d": 3}]}, {"b": [{"c": 2}]})
    assert not holds({"a": 1}, {"a": 2})
    assert not holds({"b": [1, 2]}, {"b": [1]})
    assert not holds({}, {"a": {"b": 1}})
    assert holds({"a": None}, {"a": None})


class Slow:
    """A server whose answers to a batch arrive only when all of the batch have been asked for."""

    def __init__(self, refused: int | None = None) -> None:
        self.refused = refused
        self.batches: list[int] = []
        self._open = 0

    async def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        if self._open == 0:
            self.batches.append(0)
        self._open += 1
        self.batches[-1] += 1
        number = sum(self.batches)
        await asyncio.sleep(0)
        self._open -= 1
        if number == self.refused:
            raise RefusedError("create", 403, "exceeded quota")
        return manifest


def _gang(size: int) -> list[Action]:
    return [Create(pod_body(f"tiny-lasft-a1-{rank}", uid=f"pod-{rank}", rank=rank)) for rank in range(size)]


def test_the_pods_of_a_gang_are_created_by_ever_larger_batches_after_what_they_need() -> None:
    kube = Slow()
    cache = _run(kube, Create(_child("PersistentVolumeClaim")), *_gang(40))
    assert kube.batches == [1, 1, 2, 4, 8, 16, 9]
    assert len(cache.pods_of(KEY)) == 40


def test_a_gang_that_is_refused_costs_one_batch_and_what_was_created_is_known() -> None:
    kube, cache = Slow(refused=5), Cache(SystemClock())
    with pytest.raises(RefusedError):
        _run(kube, *_gang(40), cache=cache)
    assert kube.batches == [1, 2, 4]
    assert len(cache.pods_of(KEY)) == 6
