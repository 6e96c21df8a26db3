import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from igpo_operator.apply.errors import AlreadyExistsError, ConflictError, NotFoundError
from igpo_operator.apply.kube import Account, Listing
from igpo_operator.apply.lease import LeaseKeeper
from operatorworld.clock import ManualClock


class Leases:
    """Leases with versions: what the API server does with them, in ten lines."""

    def __init__(self) -> None:
        self.stored: dict[str, dict[str, Any]] = {}
        self._version = 0
        self.whose: Account | None = None

    async def account(self) -> Account | None:
        return self.whose

    async def get(self, _: Any, namespace: str, name: str) -> dict[str, Any]:
        if namespace not in self.stored:
            raise NotFoundError("get", 404, name)
        live = self.stored[namespace]
        return live | {"metadata": dict(live["metadata"]), "spec": dict(live["spec"])}

    async def create(self, manifest: dict[str, Any]) -> dict[str, Any]:
        if manifest["metadata"]["namespace"] in self.stored:
            raise AlreadyExistsError("create", 409, "exists")
        return self._store(manifest)

    async def replace(self, manifest: dict[str, Any]) -> dict[str, Any]:
        live = self.stored[manifest["metadata"]["namespace"]]
        if live["metadata"]["resourceVersion"] != manifest["metadata"]["resourceVersion"]:
            raise ConflictError("update", 409, "stale")
        return self._store(manifest)

    async def list(self, _: Any, __: None, keep: Callable[[Any], Any], *, labels: str) -> Listing[Any]:
        assert labels == "app.kubernetes.io/managed-by=igpo-operator"
        kept = [keep(live) for live in self.stored.values()]
        return Listing([one for one in kept if one is not None], str(self._version))

    def _store(self, manifest: dict[str, Any]) -> dict[str, Any]:
        self._version += 1
        stored = manifest | {"metadata": manifest["metadata"] | {"resourceVersion": str(self._version)}}
        self.stored[manifest["metadata"]["namespace"]] = stored
        return stored


class Party:
    """A keeper, and what it was told to do."""

    def __init__(self, leases: Leases, clock: ManualClock, who: str, *namespaces: str, wide: bool = False) -> None:
        self.told: list[tuple[str, str | None]] = []
        self.keeper = LeaseKeeper(
            leases,
            clock,
            identity=who,
            namespaces=namespaces,
            clusterwide=wide,
            duration_seconds=15,
            prepare=self._prepare,
            begin=self._begin,
        )

    async def _prepare(self, namespace: str | None) -> None:
        assert not any(self.keeper.may_work(one) for one in ("team", "other") if namespace in (None, one))
        self.told.append(("prepare", namespace))

    def _begin(self, namespace: str | None) -> None:
        self.told.append(("begin", namespace))


def _play(scene: Callable[[Leases, ManualClock], Awaitable[None]]) -> None:
    async def play() -> None:
        await scene(Leases(), ManualClock())

    asyncio.run(play())


def test_work_begins_only_after_everything_was_listed() -> None:
    async def scene(leases: Leases, clock: ManualClock) -> None:
        party = Party(leases, clock, "a", "team")
        assert not party.keeper.may_work("team")
        await party.keeper.tend("team")
        assert party.keeper.may_work("team")
        assert not party.keeper.may_work("other")
        assert party.told == [("prepare", "team"), ("begin", "team")]
        await party.keeper.tend("team")
        assert len(party.told) == 2

    _play(scene)


def test_a_lease_that_cannot_be_renewed_ends_work_when_it_runs_out() -> None:
    async def scene(leases: Leases, clock: ManualClock) -> None:
        party = Party(leases, clock, "a", "team")
        await party.keeper.tend("team")
        await clock.advance(14)
        assert party.keeper.may_work("team")
        await clock.advance(1)
        assert not party.keeper.may_work("team")
        assert party.keeper.held == 0

    _play(scene)


def test_another_waits_until_the_holder_was_silent_for_the_whole_duration() -> None:
    async def scene(leases: Leases, clock: ManualClock) -> None:
        first, second = Party(leases, clock, "a", "team"), Party(leases, clock, "b", "team")
        await first.keeper.tend("team")
        await clock.advance(100)
        await second.keeper.tend("team")
        assert not second.keeper.may_work("team"), "it was seen for the first time only now"
        await clock.advance(10)
        await first.keeper.tend("team")
        await second.keeper.tend("team")
        await clock.advance(14)
        await second.keeper.tend("team")
        assert not second.keeper.may_work("team")
        await clock.advance(1)
        await second.keeper.tend("team")
        assert second.keeper.may_work("team")
        await first.keeper.tend("team")
        assert not first.keeper.may_work("team")
        assert leases.stored["team"]["spec"]["leaseTransitions"] == 1

    _play(scene)


def test_a_lease_that_was_given_back_is_taken_at_once() -> None:
    async def scene(leases: Leases, clock: ManualClock) -> None:
        first, second = Party(leases, clock, "a", "team"), Party(leases, clock, "b", "team")
        await first.keeper.tend("team")
        await first.keeper.stop()
        assert not first.keeper.may_work("team")
        await second.keeper.tend("team")
        assert second.keeper.may_work("team")

    _play(scene)


def test_the_same_pod_started_again_does_not_wait_for_itself() -> None:
    async def scene(leases: Leases, clock: ManualClock) -> None:
        await Party(leases, clock, "a", "team").keeper.tend("team")
        again = Party(leases, clock, "a", "team")
        await again.keeper.tend("team")
        assert again.keeper.may_work("team")

    _play(scene)


def test_of_two_that_create_it_at_once_one_has_it() -> None:
    async def scene(leases: Leases, clock: ManualClock) -> None:
        parties = [Party(leases, clock, who, "team") for who in "ab"]
        await asyncio.gather(*(party.keeper.tend("team") for party in parties))
        assert sum(party.keeper.may_work("team") for party in parties) == 1

    _play(scene)


def test_an_operator_of_all_namespaces_leaves_those_alone_that_another_holds() -> None:
    async def scene(leases: Leases, clock: ManualClock) -> None:
        own = Party(leases, clock, "own", "team")
        await own.keeper.tend("team")
        wide = Party(leases, clock, "wide", "home", wide=True)
        running = asyncio.create_task(wide.keeper.run())
        await _true(lambda: wide.keeper.may_work("other"))
        assert not wide.keeper.may_work("team")
        await own.keeper.stop()
        await clock.advance(5)
        await _true(lambda: wide.keeper.may_work("team"))
        assert wide.told == [("prepare", None), ("begin", None), ("prepare", "team"), ("begin", "team")]
        await wide.keeper.stop()
        await running

    _play(scene)


async def _true(probe: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not probe():
            await asyncio.sleep(0)


def test_a_lease_in_the_operators_own_namespace_goes_with_its_account_and_others_cannot() -> None:
    async def scene(leases: Leases, clock: ManualClock) -> None:
        before = Party(leases, clock, "a", "home", "team")
        await before.keeper.tend("home")
        assert "ownerReferences" not in leases.stored["home"]["metadata"], "nobody is known to own it"
        leases.whose = Account("home", "igpo-operator", "uid-1")
        party = Party(leases, clock, "a", "home", "team")
        working = asyncio.create_task(party.keeper.run())
        await _true(lambda: party.keeper.held == 2)
        await party.keeper.stop()
        await working
        assert leases.stored["home"]["metadata"]["ownerReferences"] == [
            {"apiVersion": "v1", "kind": "ServiceAccount", "name": "igpo-operator", "uid": "uid-1"}
        ]
        assert "ownerReferences" not in leases.stored["team"]["metadata"]

    _play(scene)
