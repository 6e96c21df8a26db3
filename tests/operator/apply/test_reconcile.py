import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest

from igpo_operator.api.kinds import Kind
from igpo_operator.api.reasons import Phase, Reason
from igpo_operator.api.status import AttemptStatus
from igpo_operator.apply.cache import Cache, Source
from igpo_operator.apply.errors import ConflictError, LeaseLostError, NotFoundError, NotOursError, RefusedError
from igpo_operator.apply.reconcile import Hands, Reconciler, source_chain
from igpo_operator.plan.actions import Action, AnnotatePod, DeletePod, Event, Plan
from igpo_operator.plan.observed import Facts, Observed, Pod
from operatorworld.bodies import pod_body, run_body
from operatorworld.clock import START, ManualClock

KEY = ("LengthAlignedSFT", "team", "tiny")
LATER = START + timedelta(seconds=60)


class World:
    """A reconciler between a planner of the test's own and hands that only take notes."""

    def __init__(self, plan: Callable[[Observed], Plan], *bodies: dict[str, Any]) -> None:
        self.clock = ManualClock()
        self.cache = Cache(self.clock)
        for body in bodies:
            put = self.cache.put_pod if body["kind"] == "Pod" else self.cache.put_run
            put(body, Source.WATCH)
        self.notes: list[Any] = []
        self.written: list[dict[str, Any]] = []
        self.refusals: list[Exception] = []
        self.stored: dict[str, Any] | Exception | None = None
        self.write_problem: Exception | None = None
        self.ours = True
        self.fields: str | None = None
        self.seen: list[Observed] = []

        def look(observed: Observed) -> Plan:
            self.seen.append(observed)
            return plan(observed)

        self._reconciler = Reconciler(
            Hands(self, self.cache, self.clock, self, self, self),
            plan=look,
            plan_orphan=self._plan_orphan,
            facts=Facts(trainer_image="t", version="1", started_at=START),
            scrapes=self,
            schemas=self,
            may_work=lambda _namespace: self.ours,
        )

    def reconcile(self) -> datetime | None:
        return asyncio.run(self._reconciler.reconcile(KEY))

    def _plan_orphan(self, pods: Sequence[Pod]) -> Sequence[Action]:
        return [AnnotatePod(pod.name, pod.uid, {}) for pod in pods]

    async def run(self, namespace: str, owner_uid: str | None, actions: Sequence[Action]) -> None:
        self.notes.append((owner_uid, tuple(actions)))
        if self.refusals:
            raise self.refusals.pop(0)

    async def replace(self, manifest: dict[str, Any], *, subresource: str) -> dict[str, Any]:
        assert subresource == "status"
        if self.write_problem is not None:
            raise self.write_problem
        self.written.append(manifest["status"])
        self.notes.append("status")
        return run_body(version=11, status=manifest["status"])

    async def get(self, *_: Any) -> dict[str, Any]:
        if isinstance(self.stored, Exception):
            raise self.stored
        assert self.stored is not None
        return self.stored

    async def post(self, run: Any, event: Event) -> None:
        self.notes.append(event.reason)

    async def of_overdue(self, pods: Sequence[Pod]) -> dict[str, bool]:
        return {"n1": False}

    def last(self, uid: str) -> None:
        return None

    def lacking(self, kind: Kind) -> str | None:
        return self.fields


def _plan(observed: Observed, *actions: Action, phase: Phase = Phase.RUNNING) -> Plan:
    attempt = AttemptStatus(number=1, decided_at=START)
    status = observed.run.status.model_copy(update={"phase": phase, "attempt": attempt})
    return Plan(actions, status, (Event("Normal", Reason.TRAINING, "x"),), LATER)


def test_actions_come_first_then_one_status_then_events() -> None:
    action = DeletePod("p", "u")
    world = World(lambda observed: _plan(observed, action), run_body())
    assert world.reconcile() == LATER
    assert world.notes == [("run-1", (action,)), "status", Reason.TRAINING]
    assert world.cache.run(KEY).status.phase is Phase.RUNNING


def test_a_status_that_would_not_change_is_not_written_and_nothing_is_told() -> None:
    world = World(
        lambda observed: Plan((), observed.run.status, (Event("Normal", Reason.TRAINING, "x"),), LATER), run_body()
    )
    assert world.reconcile() == LATER
    assert world.notes == [("run-1", ())]


def test_a_plan_sees_its_own_pods_in_order_its_source_and_its_chain() -> None:
    pods = [
        pod_body("b", uid="b", rank=1),
        pod_body("a", uid="a", rank=0),
        pod_body("old", uid="o", owner_uid="run-0", rank=0),
    ]
    runs = [run_body(source="first"), run_body("first", uid="run-f", source="tiny")]
    world = World(lambda _: Plan(), *runs, *pods)
    world.reconcile()
    [observed] = world.seen
    assert [pod.name for pod in observed.pods] == ["a", "b"]
    assert observed.source.uid == "run-f"
    assert observed.source_chain == (("LengthAlignedSFT", "first"), ("LengthAlignedSFT", "tiny"))
    assert observed.node_ready == {"n1": False}


@pytest.mark.parametrize(
    ("problem", "code"),
    [(RefusedError("create", 403, "exceeded quota"), 403), (NotOursError("Pod p belongs to nobody"), 409)],
)
def test_a_refusal_is_planned_for_at_once_and_remembered(problem: Exception, code: int) -> None:
    status = {"phase": "Pending", "attempt": {"number": 1, "decidedAt": "2026-11-24T12:00:00Z"}}
    world = World(lambda observed: Plan() if observed.refusal else _plan(observed), run_body(status=status))
    world.refusals = [problem]
    world.reconcile()
    assert [observed.refusal and observed.refusal.code for observed in world.seen] == [None, code]
    assert world.seen[1].refusal.attempt == 1
    assert world.written == []
    world.reconcile()
    assert world.seen[-1].refusal is not None


def test_a_refusal_of_an_earlier_attempt_is_forgotten() -> None:
    status = {"phase": "Pending", "attempt": {"number": 1, "decidedAt": "2026-11-24T12:00:00Z"}}
    world = World(lambda _: Plan(), run_body(status=status))
    world.refusals = [RefusedError("create", 403, "no")]
    world.reconcile()
    later = run_body(version=12, status=status | {"attempt": status["attempt"] | {"number": 2}})
    world.cache.put_run(later, Source.WATCH)
    world.reconcile()
    world.reconcile()
    assert world.seen[-1].refusal is None


def test_a_lost_race_for_status_takes_the_run_as_it_is_stored_and_looks_again_soon() -> None:
    world = World(_plan, run_body())
    world.write_problem, world.stored = ConflictError("update", 409, "stale"), run_body(version=15)
    assert world.reconcile() - START < timedelta(seconds=2)
    assert world.cache.run(KEY).resource_version == "15"
    assert world.notes == [("run-1", ())]


def test_a_run_that_is_gone_meanwhile_is_forgotten() -> None:
    world = World(_plan, run_body())
    world.write_problem, world.stored = ConflictError("update", 409, "stale"), NotFoundError("get", 404, "no")
    world.reconcile()
    assert world.cache.run(KEY) is None


def test_pods_whose_run_is_gone_are_looked_after_and_those_of_an_unreadable_run_are_not() -> None:
    world = World(lambda _: Plan(), pod_body())
    assert world.reconcile() is None
    assert world.notes == [(None, (AnnotatePod("tiny-lasft-a1-0", "pod-1", {}),))]
    world = World(lambda _: Plan(), run_body(status={"phase": "Dreaming"}), pod_body())
    world.reconcile()
    assert [note for note in world.notes if note != "status"] == []


def test_a_run_whose_status_cannot_be_read_says_so_once() -> None:
    world = World(lambda _: Plan(), run_body(status={"phase": "Dreaming", "message": "zzz"}))
    assert world.reconcile() is None
    [written] = world.written
    assert (written["phase"], written["conditions"][0]["reason"]) == ("Dreaming", "InvalidStatus")
    assert "status.phase 'Dreaming'" in written["message"]
    world.cache.put_run(run_body(version=12, status=written), Source.WATCH)
    assert world.reconcile() is None
    assert len(world.written) == 1


@pytest.mark.parametrize("problem", [ConflictError("update", 409, "stale"), RefusedError("update", 422, "no")])
def test_a_run_that_cannot_even_be_marked_is_left_to_its_next_change(problem: Exception) -> None:
    world = World(lambda _: Plan(), run_body(status={"phase": "Dreaming"}))
    world.write_problem = problem
    assert world.reconcile() is None
    assert world.written == []


def test_a_plan_is_told_what_the_crd_lacks() -> None:
    world = World(lambda _: Plan(), run_body())
    world.fields = "status.attempt"
    world.reconcile()
    assert world.seen[0].lacking == "status.attempt"


def test_without_the_lease_nothing_is_even_looked_at() -> None:
    world = World(_plan, run_body(), pod_body())
    world.ours = False
    assert world.reconcile() is None
    assert world.seen == world.notes == []


def test_a_lease_that_runs_out_in_the_middle_leaves_the_rest_to_its_next_holder() -> None:
    world = World(_plan, run_body())
    world.refusals = [LeaseLostError("the Lease ran out")]
    assert world.reconcile() is None
    assert world.written == []


def test_a_chain_ends_at_the_first_run_that_does_not_exist() -> None:
    world = World(lambda _: Plan(), run_body(source="b"), run_body("b", uid="b", source="c"))
    assert source_chain(world.cache, world.cache.run(KEY)) == (("LengthAlignedSFT", "b"), ("LengthAlignedSFT", "c"))
