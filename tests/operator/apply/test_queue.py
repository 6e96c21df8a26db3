import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igpo_operator.apply.queue import WorkQueue
from operatorworld.clock import START, ManualClock


class Worker:
    """Handles keys as a test says, and counts."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.active: set[str] = set()
        self.most_active = 0
        self.answers: dict[str, datetime | None] = {}
        self.failures: dict[str, int] = {}
        self.gate: asyncio.Event | None = None
        self._changed = asyncio.Condition()

    async def handle(self, key: str) -> datetime | None:
        assert key not in self.active, "one key, two workers"
        self.active.add(key)
        self.most_active = max(self.most_active, len(self.active))
        try:
            if self.gate is not None:
                await self.gate.wait()
            else:
                await asyncio.sleep(0)
            self.seen.append(key)
            if self.failures.get(key, 0) > 0:
                self.failures[key] -= 1
                raise ValueError("no luck")
            return self.answers.pop(key, None)
        finally:
            self.active.discard(key)
            async with self._changed:
                self._changed.notify_all()

    async def until_seen(self, *keys: str) -> None:
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: len(self.seen) >= len(keys))
        assert sorted(self.seen) == sorted(keys)


def _play(scene: Callable[[WorkQueue[str], Worker, ManualClock], Awaitable[None]], workers: int = 2) -> None:
    async def play() -> None:
        clock, worker = ManualClock(), Worker()
        queue: WorkQueue[str] = WorkQueue(
            worker.handle, clock=clock, workers=workers, retry_base_seconds=2, retry_max_seconds=10, jitter=lambda: 1.0
        )
        queue.start()
        await scene(queue, worker, clock)
        if worker.gate is not None:
            worker.gate.set()
        assert await queue.stop(10)

    asyncio.run(play())


def test_a_key_that_is_added_often_while_it_waits_is_handled_once() -> None:
    async def scene(queue: WorkQueue[str], worker: Worker, clock: ManualClock) -> None:
        for _ in range(5):
            queue.add("a")
        assert queue.depth == 1
        await worker.until_seen("a")

    _play(scene)


def test_a_key_added_while_it_is_handled_is_handled_once_more_afterwards() -> None:
    async def scene(queue: WorkQueue[str], worker: Worker, clock: ManualClock) -> None:
        worker.gate = asyncio.Event()
        queue.add("a")
        await _true(lambda: "a" in worker.active)
        queue.add("a")
        queue.add("a")
        worker.gate.set()
        await worker.until_seen("a", "a")

    _play(scene)


def test_other_keys_go_on_while_one_is_slow() -> None:
    async def scene(queue: WorkQueue[str], worker: Worker, clock: ManualClock) -> None:
        worker.gate = asyncio.Event()
        queue.add("a")
        queue.add("b")
        await _true(lambda: worker.active == {"a", "b"})
        queue.add("c")
        await clock.advance(7)
        assert queue.oldest_seconds() == 7
        assert queue.busiest_seconds() == 7
        worker.gate.set()
        await worker.until_seen("a", "b", "c")

    _play(scene)


def test_a_key_is_handled_at_its_moment_and_not_before() -> None:
    async def scene(queue: WorkQueue[str], worker: Worker, clock: ManualClock) -> None:
        queue.add_at("late", START + timedelta(seconds=60))
        queue.add_at("late", START + timedelta(seconds=90))
        queue.add_at("soon", START + timedelta(seconds=5))
        queue.add_at("past", START - timedelta(seconds=5))
        await worker.until_seen("past")
        await clock.advance(5)
        await worker.until_seen("past", "soon")
        await clock.advance(55)
        await worker.until_seen("past", "soon", "late")

    _play(scene)


def test_the_handlers_answer_sets_the_next_moment() -> None:
    async def scene(queue: WorkQueue[str], worker: Worker, clock: ManualClock) -> None:
        worker.answers["a"] = START + timedelta(seconds=30)
        queue.add("a")
        await worker.until_seen("a")
        await clock.advance(30)
        await worker.until_seen("a", "a")

    _play(scene)


def test_a_key_that_fails_comes_again_later_each_time_and_hurts_no_other(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(queue: WorkQueue[str], worker: Worker, clock: ManualClock) -> None:
        worker.failures["bad"] = 2
        queue.add("bad")
        await worker.until_seen("bad")
        await clock.advance(1)
        queue.add("good")
        await worker.until_seen("bad", "good")
        await clock.advance(1)
        await worker.until_seen("bad", "good", "bad")
        await clock.advance(3)
        assert worker.seen.count("bad") == 2
        await clock.advance(1)
        await worker.until_seen("bad", "good", "bad", "bad")

    with caplog.at_level(logging.ERROR):
        _play(scene)
    assert [record.message.split(";")[0] for record in caplog.records] == [
        "queue: bad failed 1 times",
        "queue: bad failed 2 times",
    ]


def test_stopping_lets_the_current_keys_finish_and_takes_no_other() -> None:
    async def play() -> None:
        clock, worker = ManualClock(), Worker()
        worker.gate = asyncio.Event()
        queue: WorkQueue[str] = WorkQueue(worker.handle, clock=clock, workers=1)
        queue.start()
        queue.add("a")
        queue.add("b")
        await _true(lambda: "a" in worker.active)
        stopping = asyncio.create_task(queue.stop(10))
        await asyncio.sleep(0)
        worker.gate.set()
        assert await stopping
        assert worker.seen == ["a"]

    asyncio.run(play())


def test_a_handler_that_does_not_end_in_time_is_cut_off() -> None:
    async def play() -> None:
        worker = Worker()
        worker.gate = asyncio.Event()
        queue: WorkQueue[str] = WorkQueue(worker.handle, clock=ManualClock(), workers=1)
        queue.start()
        queue.add("a")
        await _true(lambda: "a" in worker.active)
        assert not await queue.stop(0.01)

    asyncio.run(play())


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("add"), st.sampled_from("abc"), st.just(0)),
            st.tuples(st.just("at"), st.sampled_from("abc"), st.integers(0, 50)),
            st.tuples(st.just("advance"), st.just(""), st.integers(0, 20)),
        ),
        max_size=30,
    )
)
def test_every_key_that_is_added_is_handled_after_it_was_added(moves: list[tuple[str, str, int]]) -> None:
    async def scene(queue: WorkQueue[str], worker: Worker, clock: ManualClock) -> None:
        for move, key, number in moves:
            if move == "add":
                queue.add(key)
            elif move == "at":
                queue.add_at(key, clock.now() + timedelta(seconds=number))
            else:
                await clock.advance(number)
        await clock.advance(1000)
        wanted = {key for _, key, _ in moves if key}
        await _true(lambda: wanted <= set(worker.seen))

    _play(scene)


async def _true(probe: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not probe():
            await asyncio.sleep(0)
