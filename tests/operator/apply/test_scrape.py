import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from igpo_operator.apply.cache import Cache, Source
from igpo_operator.apply.scrape import Pace, Scraper, read_status
from operatorworld.bodies import pod_body, run_body, running
from operatorworld.clock import START, ManualClock
from operatorworld.http import serving

KEY = ("LengthAlignedSFT", "team", "tiny")


class World:
    """A run with a rank 0 that answers what `says` says."""

    def __init__(self, clock: ManualClock, port: int) -> None:
        self.clock = clock
        self.cache = Cache(clock)
        self.woken: list[Any] = []
        self.results: list[str] = []
        self.says: dict[str, Any] = {"stage": "rollout", "step": 1, "progress": 5, "run_id": "run-1"}
        self.status = 200
        self.scraper = Scraper(
            self.cache,
            clock,
            Pace(progress_seconds=30),
            self.woken.append,
            count=self.results.append,
            jitter=lambda: 0.5,
            port=port,
        )

    def put(self, attempt: int = 1, **pod: Any) -> None:
        status = {"phase": "Running", "attempt": {"number": attempt, "decidedAt": "2026-11-24T12:00:00Z"}}
        self.cache.put_run(run_body(version=10 + attempt, status=status), Source.WATCH)
        self.cache.put_pod(
            pod_body(f"tiny-lasft-a{attempt}-0", uid=f"pod-{attempt}", attempt=attempt, **running(**pod)), Source.WATCH
        )


def _play(scene: Callable[[World], Awaitable[None]], host: str = "127.0.0.1") -> None:
    async def play() -> None:
        world: World

        async def answer(request: web.Request) -> web.Response:
            assert request.path == "/status"
            return web.json_response(world.says, status=world.status)

        async with serving(answer, host) as port:
            world = World(ManualClock(), port)
            world.scraper.start()
            try:
                await scene(world)
            finally:
                await world.scraper.stop()

    asyncio.run(play())


def test_the_first_answer_counts_as_progress_and_wakes_the_run() -> None:
    async def scene(world: World) -> None:
        world.put()
        assert (await world.scraper.look(KEY) - START).total_seconds() == 15
        scrape = world.scraper.last("run-1")
        assert (scrape.status.progress, scrape.moved_at, scrape.attempt) == (5, START, 1)
        assert world.woken == [KEY]

    _play(scene)


def test_a_counter_that_merely_moves_is_noted_at_once_but_wakes_the_run_now_and_then() -> None:
    async def scene(world: World) -> None:
        world.put()
        await world.scraper.look(KEY)
        for progress, woken in ((6, 1), (7, 2), (7, 2), (8, 3), (9, 3)):
            await world.clock.advance(15)
            world.says["progress"] = progress
            await world.scraper.look(KEY)
            assert len(world.woken) == woken, progress

    _play(scene)


def test_a_move_right_after_a_wake_is_told_in_its_turn_even_if_nothing_moves_any_more() -> None:
    async def scene(world: World) -> None:
        world.put()
        await world.scraper.look(KEY)
        world.says |= {"progress": 6, "rewrite": {"rows": 60, "done": 20}}
        for woken in (1, 2, 2, 2):
            await world.clock.advance(15)
            await world.scraper.look(KEY)
            assert len(world.woken) == woken

    _play(scene)


def test_a_counter_that_stands_still_leaves_the_time_of_the_last_move() -> None:
    async def scene(world: World) -> None:
        world.put()
        await world.scraper.look(KEY)
        await world.clock.advance(15)
        await world.scraper.look(KEY)
        scrape = world.scraper.last("run-1")
        assert scrape.moved_at == START
        assert scrape.at == world.clock.now()

    _play(scene)


def test_a_new_step_wakes_the_run() -> None:
    async def scene(world: World) -> None:
        world.put()
        await world.scraper.look(KEY)
        world.says["step"] = 2
        await world.scraper.look(KEY)
        assert len(world.woken) == 2

    _play(scene)


def test_a_trainer_that_fails_to_answer_leaves_the_last_answer_and_is_asked_again() -> None:
    async def scene(world: World) -> None:
        world.put()
        await world.scraper.look(KEY)
        world.status = 500
        assert await world.scraper.look(KEY) is not None
        world.status, world.says = 200, ["no object"]
        assert await world.scraper.look(KEY) is not None
        assert world.scraper.last("run-1").status.step == 1
        assert world.results == ["ok", "error", "error"]

    _play(scene)


@pytest.mark.parametrize("says", [{"run_id": "another"}, {"attempt": 2}])
def test_another_runs_answer_on_a_reused_address_is_passed_over(says: dict[str, Any]) -> None:
    async def scene(world: World) -> None:
        world.put()
        world.says |= says
        await world.scraper.look(KEY)
        assert world.scraper.last("run-1") is None
        assert world.woken == []

    _play(scene)


def test_a_new_attempt_starts_its_clock_anew() -> None:
    async def scene(world: World) -> None:
        world.put()
        await world.scraper.look(KEY)
        await world.clock.advance(100)
        world.put(attempt=2)
        world.says["attempt"] = 2
        await world.scraper.look(KEY)
        scrape = world.scraper.last("run-1")
        assert (scrape.attempt, scrape.moved_at) == (2, world.clock.now())

    _play(scene)


def test_an_ipv6_address_is_asked_in_brackets() -> None:
    async def scene(world: World) -> None:
        world.put(podIP="::1")
        await world.scraper.look(KEY)
        assert world.results == ["ok"]

    _play(scene, host="::1")


def test_nobody_is_asked_before_rank_0_runs_or_after_the_end() -> None:
    async def scene(world: World) -> None:
        assert await world.scraper.look(KEY) is None
        world.put()
        world.cache.put_run(run_body(version=50, status={"phase": "Complete"}), Source.WATCH)
        assert await world.scraper.look(KEY) is None
        assert world.results == []

    _play(scene)


def test_a_run_is_looked_at_by_itself_once_its_rank_0_runs() -> None:
    async def scene(world: World) -> None:
        world.scraper.notice(KEY)
        world.put()
        world.scraper.notice(KEY)
        world.scraper.notice(KEY)
        await world.clock.advance(7.5)
        async with asyncio.timeout(10):
            while not world.woken:
                await asyncio.sleep(0)
        assert world.results == ["ok"]

    _play(scene)


def test_an_answer_of_a_newer_trainer_is_read_and_numbers_that_are_none_are_dropped() -> None:
    says = {"stage": "x", "weather": 1, "checkpoint": {"step": 3, "path": "p", "digest": "d", "colour": 1}}
    text = json.dumps(says | {"metrics": {"reward": 0.5, "loss": float("nan"), "kl": None}})
    status = read_status(text.encode())
    assert status.checkpoint.step == 3
    assert status.metrics == {"reward": 0.5}
