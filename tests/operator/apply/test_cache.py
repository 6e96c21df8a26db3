from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igpo_operator.apply.cache import Cache, Source
from operatorworld.bodies import pod_body, run_body
from operatorworld.clock import START

KEY = ("LengthAlignedSFT", "team", "tiny")


class Clock:
    def __init__(self) -> None:
        self.time = START

    def now(self):
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def cache(clock: Clock) -> Cache:
    return Cache(clock)


def test_the_newest_version_wins_and_versions_are_numbers(cache: Cache) -> None:
    cache.put_run(run_body(version=9), Source.WATCH)
    cache.put_run(run_body(version=10), Source.WRITE)
    cache.put_run(run_body(version=9), Source.WATCH)
    assert cache.run(KEY).resource_version == "10"


def test_a_late_answer_does_not_bring_a_deleted_pod_back(cache: Cache) -> None:
    cache.put_pod(pod_body(version=20), Source.WATCH)
    cache.remove_pod("team", "tiny-lasft-a1-0", "pod-1")
    cache.put_pod(pod_body(version=21), Source.WRITE)
    assert cache.pods_of(KEY) == []
    assert cache.keys() == set()


def test_the_end_of_an_old_object_does_not_remove_its_successor_of_the_same_name(cache: Cache) -> None:
    cache.put_run(run_body(uid="old", version=5), Source.WATCH)
    cache.put_run(run_body(uid="new", version=8), Source.WATCH)
    cache.remove_run(KEY, "old")
    assert cache.run(KEY).uid == "new"


def test_pods_are_found_by_their_owner_and_foreign_pods_are_passed_over(cache: Cache) -> None:
    assert cache.put_pod(pod_body(), Source.WATCH) == KEY
    assert cache.put_pod(pod_body("other", uid="2", metadata={"ownerReferences": []}), Source.WATCH) is None
    [owned] = cache.pods_of(KEY)
    assert (owned.pod.name, owned.owner_uid) == ("tiny-lasft-a1-0", "run-1")


def test_a_pod_with_labels_that_are_no_numbers_is_left_alone(cache: Cache) -> None:
    body = pod_body()
    body["metadata"]["labels"]["igpo.dev/rank"] = "first"
    assert cache.put_pod(body, Source.WATCH) is None
    assert cache.pods() == []


def test_runs_that_start_from_another_are_found(cache: Cache) -> None:
    cache.put_run(run_body("next", uid="n", source="tiny"), Source.WATCH)
    assert cache.dependents(KEY) == [("LengthAlignedSFT", "team", "next")]
    cache.remove_run(("LengthAlignedSFT", "team", "next"), "n")
    assert cache.dependents(KEY) == []


def test_a_run_whose_status_cannot_be_read_is_hidden_and_its_pods_are_no_orphans(cache: Cache) -> None:
    cache.put_run(run_body(version=10), Source.WATCH)
    cache.put_run(run_body(version=11, status={"phase": "Dreaming"}), Source.WATCH)
    assert cache.run(KEY) is None
    assert cache.unreadable("run-1")
    cache.put_run(run_body(version=12), Source.WATCH)
    assert cache.run(KEY) is not None
    assert not cache.unreadable("run-1")


def test_a_full_listing_removes_what_it_no_longer_holds_but_nothing_newer_than_itself(cache: Cache) -> None:
    cache.put_pod(pod_body("a", uid="a", version=20), Source.WATCH)
    cache.put_pod(pod_body("b", uid="b", version=21), Source.WATCH)
    cache.put_pod(pod_body("c", uid="c", version=40), Source.WRITE)
    assert cache.remove_vanished(None, "Pod", ["a"], "30") == [KEY]
    assert {owned.pod.name for owned in cache.pods()} == {"a", "c"}


def test_a_listing_of_one_namespace_says_nothing_about_another(cache: Cache) -> None:
    cache.put_run(run_body(version=5), Source.WATCH)
    assert cache.remove_vanished("elsewhere", "LengthAlignedSFT", [], "30") == []
    assert cache.remove_vanished("team", "IGPOTraining", [], "30") == []
    assert cache.remove_vanished("team", "LengthAlignedSFT", [], "30") == [KEY]


def test_a_watch_that_misses_a_version_known_from_elsewhere_is_found_out(cache: Cache, clock: Clock) -> None:
    cache.put_run(run_body(version=10), Source.WATCH)
    assert cache.oldest_unconfirmed_seconds() == 0
    cache.put_run(run_body(version=11), Source.WRITE)
    clock.time += timedelta(seconds=50)
    cache.put_run(run_body(version=12), Source.WRITE)
    clock.time += timedelta(seconds=50)
    assert cache.oldest_unconfirmed_seconds() == 100
    cache.put_run(run_body(version=11), Source.WATCH)
    assert cache.oldest_unconfirmed_seconds() == 100
    cache.put_run(run_body(version=12), Source.WATCH)
    assert cache.oldest_unconfirmed_seconds() == 0


def test_a_deleted_object_is_not_waited_for(cache: Cache, clock: Clock) -> None:
    cache.put_pod(pod_body(version=11), Source.WRITE)
    clock.time += timedelta(seconds=50)
    cache.remove_pod("team", "tiny-lasft-a1-0", "pod-1")
    assert cache.oldest_unconfirmed_seconds() == 0


@given(st.permutations([(uid, version) for uid in "abc" for version in (1, 5, 12)]))
def test_in_whatever_order_versions_come_the_newest_stays(order: list[tuple[str, int]]) -> None:
    cache = Cache(Clock())
    for uid, version in order:
        cache.put_pod(pod_body(uid, uid=uid, version=version), Source.WATCH)
    assert {owned.pod.uid: owned.pod.resource_version for owned in cache.pods()} == dict.fromkeys("abc", "12")
