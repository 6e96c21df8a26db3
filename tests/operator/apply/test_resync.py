import asyncio
from typing import Any

from igpo_operator.apply.cache import Cache, Source
from igpo_operator.apply.clock import SystemClock
from igpo_operator.apply.kube import Listing
from igpo_operator.apply.resync import Resync
from operatorworld.bodies import pod_body, run_body

KEY = ("LengthAlignedSFT", "team", "tiny")
LOST = ("LengthAlignedSFT", "team", "lost")


class Kube:
    """Lists what is stored, as of version 100."""

    def __init__(self, *bodies: dict[str, Any]) -> None:
        self.bodies = bodies
        self.asked: list[tuple[str, str | None, str | None]] = []

    async def list(self, resource: Any, namespace: str | None, keep: Any, labels: str | None = None) -> Listing[Any]:
        self.asked.append((resource.kind, namespace, labels))
        return Listing([keep(body) for body in self.bodies if body["kind"] == resource.kind], "100")


def test_a_listing_brings_what_was_missed_forgets_what_is_gone_and_names_every_key() -> None:
    cache = Cache(SystemClock())
    cache.put_run(run_body("lost", uid="lost"), Source.WATCH)
    cache.put_pod(pod_body("lost-pod", uid="lost-pod", owner="lost", owner_uid="lost"), Source.WATCH)
    resync = Resync(Kube(run_body(), pod_body()), cache, SystemClock())
    before = resync.finished_at
    keys = asyncio.run(resync.run([None]))
    assert keys == {KEY, LOST}
    assert cache.run(KEY) is not None
    assert cache.run(LOST) is None
    assert [owned.pod.name for owned in cache.pods()] == ["tiny-lasft-a1-0"]
    assert resync.finished_at >= before


def test_each_namespace_is_listed_for_both_kinds_and_for_labelled_pods() -> None:
    kube = Kube()
    asyncio.run(Resync(kube, Cache(SystemClock()), SystemClock()).run(["a", "b"]))
    kinds = [("IGPOTraining", None), ("LengthAlignedSFT", None), ("Pod", "igpo.dev/run")]
    assert kube.asked == [(kind, namespace, labels) for namespace in ("a", "b") for kind, labels in kinds]
