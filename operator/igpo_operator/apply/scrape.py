"""Asking trainers how far they are: rank 0's /status, now and then, away from the reconciles.

A trainer that does not answer costs nobody anything: the last answer stays, and the stall clock runs on.
"""

import json
import logging
import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import aiohttp

from igpo_operator.apply.cache import Cache
from igpo_operator.apply.clock import Clock
from igpo_operator.apply.queue import WorkQueue
from igpo_operator.apply.view import RunKey, lenient
from igpo_operator.plan.observed import Pod, Run, Running, Scrape
from igpo_trainer.spec.contract import METRICS_PORT, TrainerStatus

logger = logging.getLogger(__name__)

_LARGEST_ANSWER_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Pace:
    """How often and how patiently trainers are asked."""

    interval_seconds: float = 15.0
    timeout_seconds: float = 5.0
    concurrency: int = 16
    progress_seconds: float = 30.0
    """A counter that has merely moved wakes its run at most this often."""


class Scraper:
    """Keeps the last answer of every running trainer and wakes its run when the answer says something new."""

    def __init__(
        self,
        cache: Cache,
        clock: Clock,
        pace: Pace,
        wake: Callable[[RunKey], None],
        *,
        count: Callable[[str], None] = lambda _result: None,
        jitter: Callable[[], float] = random.random,
        port: int = METRICS_PORT,
    ) -> None:
        """`count` is told ok or error of each look; `jitter` spreads first looks over an interval."""
        self._cache = cache
        self._clock = clock
        self._pace = pace
        self._wake = wake
        self._count = count
        self._jitter = jitter
        self._port = port
        self._last: dict[str, Scrape] = {}
        self._woken: dict[str, datetime] = {}
        self._watched: set[RunKey] = set()
        self._session: aiohttp.ClientSession | None = None
        self.queue: WorkQueue[RunKey] = WorkQueue(
            self.look, clock=clock, workers=pace.concurrency, name="scrape", retry_max_seconds=pace.interval_seconds
        )

    def start(self) -> None:
        """Start looking."""
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=self._pace.timeout_seconds), trust_env=False
        )
        self.queue.start()

    async def stop(self) -> None:
        """Stop looking; an answer on its way is not waited for longer than its time-out."""
        await self.queue.stop(self._pace.timeout_seconds)
        if self._session is not None:
            await self._session.close()

    def last(self, uid: str) -> Scrape | None:
        """The last answer of a run's rank 0."""
        return self._last.get(uid)

    def notice(self, key: RunKey) -> None:
        """A run or one of its pods has changed: start looking if its rank 0 now runs."""
        if key not in self._watched and self._target(key) is not None:
            self._watched.add(key)
            self.queue.add_at(key, self._later(self._jitter()))

    async def look(self, key: RunKey) -> datetime | None:
        """Ask one trainer; returns when to ask again, None when there is nobody to ask."""
        target = self._target(key)
        if target is None:
            self._watched.discard(key)
            self._forget_gone()
            return None
        run, pod = target
        try:
            status = await self._ask(pod)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as problem:
            self._count("error")
            logger.debug("%s does not tell its status: %s", pod.name, problem or type(problem).__name__)
        else:
            self._count("ok")
            if status.attempt == pod.attempt and status.run_id in ("", run.uid):  # else another's on a reused address
                self._take(run, pod, status)
        return self._later(1.0)

    def _take(self, run: Run, pod: Pod, status: TrainerStatus) -> None:
        now, before = self._clock.now(), self._last.get(run.uid)
        fresh = before is None or before.attempt != pod.attempt
        moved = fresh or (before is not None and before.status.progress != status.progress)
        moved_at = now if moved or before is None else before.moved_at
        self._last[run.uid] = Scrape(attempt=pod.attempt, status=status, at=now, moved_at=moved_at)
        told_at = self._woken.get(run.uid)
        # What has moved since the last wake, not since the last answer: else the end of a movement is never told.
        due = told_at is None or (
            moved_at > told_at and now - told_at >= timedelta(seconds=self._pace.progress_seconds)
        )
        if fresh or before is None or _telling(before.status) != _telling(status) or due:
            self._woken[run.uid] = now
            self._wake(run.key)

    def _target(self, key: RunKey) -> tuple[Run, Pod] | None:
        """Rank 0 of the current attempt, while it runs (it lingers a while after the last step)."""
        run = self._cache.run(key)
        if run is None or run.status.phase.terminal or run.status.attempt is None:
            return None
        for owned in self._cache.pods_of(key):
            pod = owned.pod
            current = owned.owner_uid == run.uid and pod.attempt == run.status.attempt.number
            if current and pod.rank == 0 and pod.ip and isinstance(pod.trainer, Running):
                return run, pod
        return None

    async def _ask(self, pod: Pod) -> TrainerStatus:
        assert self._session is not None
        assert pod.ip is not None
        host = f"[{pod.ip}]" if ":" in pod.ip else pod.ip
        async with self._session.get(f"http://{host}:{self._port}/status", allow_redirects=False) as answer:
            answer.raise_for_status()
            return read_status(await answer.content.read(_LARGEST_ANSWER_BYTES))

    def _later(self, share: float) -> datetime:
        spread = 0.9 + 0.2 * self._jitter()
        return self._clock.now() + timedelta(seconds=self._pace.interval_seconds * share * spread)

    def _forget_gone(self) -> None:
        if len(self._last) > 2 * len(self._watched) + 64:
            alive = {run.uid for run in self._cache.runs()}
            self._last = {uid: scrape for uid, scrape in self._last.items() if uid in alive}
            self._woken = {uid: at for uid, at in self._woken.items() if uid in alive}


def read_status(body: bytes) -> TrainerStatus:
    """Read a trainer's answer; ValueError if it is none. Fields that a newer trainer added are passed over."""
    data: Any = json.loads(body)
    if not isinstance(data, dict):
        raise ValueError("the answer is no JSON object")  # noqa: TRY004  # a bad answer, not a bad call
    metrics = data.get("metrics")
    if isinstance(metrics, dict):
        data["metrics"] = {k: v for k, v in metrics.items() if isinstance(v, int | float) and math.isfinite(v)}
    return TrainerStatus.model_validate(lenient(TrainerStatus, data))


def _telling(status: TrainerStatus) -> TrainerStatus:
    """What makes a run worth looking at; the counter moves all the time, and so do the counts of rewritten traces."""
    return status.model_copy(update={"progress": 0, "eta_seconds": None, "rewrite": None})
