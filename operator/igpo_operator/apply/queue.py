"""A keyed work queue: each key once at a time, failures later, deadlines on time.

A key added while it waits is not added again; a key added while it is worked on is worked on once more afterwards. The
handler is told the key only: what to do is found in the cache, so it does not matter how many events became one.
"""

import asyncio
import heapq
import logging
import random
from collections.abc import Awaitable, Callable, Hashable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from igpo_operator.apply.clock import Clock

logger = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)


class WorkQueue(Generic[K]):
    """Hands keys to `handle`, which returns when to look at the key again (None: when it is added again)."""

    def __init__(
        self,
        handle: Callable[[K], Awaitable[datetime | None]],
        *,
        clock: Clock,
        workers: int,
        name: str = "queue",
        retry_base_seconds: float = 0.5,
        retry_max_seconds: float = 120.0,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`jitter` gives numbers in [0, 1): a failed key waits 50 to 100 % of its exponential back-off."""
        self._handle = handle
        self._clock = clock
        self._count = workers
        self._name = name
        self._retry_base = retry_base_seconds
        self._retry_max = retry_max_seconds
        self._jitter = jitter
        self._ready: asyncio.Queue[K | None] = asyncio.Queue()
        self._queued: dict[K, datetime] = {}
        self._active: dict[K, datetime] = {}
        self._again: set[K] = set()
        self._failures: dict[K, int] = {}
        self._due: dict[K, datetime] = {}
        self._heap: list[tuple[datetime, int, K]] = []
        self._sequence = 0
        self._timer_wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False

    def start(self) -> None:
        """Start the workers and the timer; they run until `stop`."""
        self._tasks = [asyncio.create_task(self._run_timer(), name=f"{self._name}-timer")]
        self._tasks += [asyncio.create_task(self._work(), name=f"{self._name}-{i}") for i in range(self._count)]

    def add(self, key: K) -> None:
        """Look at a key as soon as a worker is free."""
        if key in self._active:
            self._again.add(key)
        elif key not in self._queued:
            self._queued[key] = self._clock.now()
            self._ready.put_nowait(key)

    def add_at(self, key: K, when: datetime) -> None:
        """Look at a key at a moment; an earlier one that is already set stays."""
        if when <= self._clock.now():
            self.add(key)
            return
        known = self._due.get(key)
        if known is not None and known <= when:
            return
        self._due[key] = when
        self._sequence += 1
        if len(self._heap) > 2 * len(self._due) + 64:  # mostly moments that were replaced since
            self._heap = [item for item in self._heap if self._due.get(item[2]) == item[0]]
            heapq.heapify(self._heap)
        heapq.heappush(self._heap, (when, self._sequence, key))
        if self._heap[0][0] == when:
            self._timer_wake.set()

    @property
    def depth(self) -> int:
        """Keys that wait for a worker."""
        return len(self._queued)

    def oldest_seconds(self) -> float:
        """How long the longest waiting key has waited."""
        return self._age(self._queued)

    def busiest_seconds(self) -> float:
        """How long the slowest worker has been at its key."""
        return self._age(self._active)

    async def stop(self, patience_seconds: float) -> bool:
        """Let every worker finish its key, take no other; whether all did within the patience, else cancel them."""
        self._stopping = True
        self._timer_wake.set()
        for _ in range(self._count):
            self._ready.put_nowait(None)
        if not self._tasks:
            return True
        _, late = await asyncio.wait(self._tasks, timeout=patience_seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        return not late

    def _age(self, since: dict[K, datetime]) -> float:
        oldest = min(list(since.values()), default=None)
        return 0.0 if oldest is None else max(0.0, (self._clock.now() - oldest).total_seconds())

    async def _work(self) -> None:
        while True:
            key = await self._ready.get()
            if key is None or self._stopping:
                return
            self._queued.pop(key, None)
            self._active[key] = self._clock.now()
            self._due.pop(key, None)
            try:
                when = await self._handle(key)
            except Exception:  # whatever it was, the other keys must go on
                when = self._later(key)
            else:
                self._failures.pop(key, None)
            finally:
                self._active.pop(key, None)
            if when is not None:
                self.add_at(key, when)
            if key in self._again:
                self._again.discard(key)
                self.add(key)

    def _later(self, key: K) -> datetime:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = min(self._retry_max, self._retry_base * 2.0 ** min(failures - 1, 30)) * (1 + self._jitter()) / 2
        logger.exception("%s: %s failed %d times; again in %.1f s", self._name, key, failures, delay)
        return self._clock.now() + timedelta(seconds=delay)

    async def _run_timer(self) -> None:
        while not self._stopping:
            self._timer_wake.clear()
            now = self._clock.now()
            while self._heap and self._heap[0][0] <= now:
                when, _, key = heapq.heappop(self._heap)
                if self._due.get(key) == when:
                    del self._due[key]
                    self.add(key)
            await self._clock.wait(self._timer_wake, self._heap[0][0] if self._heap else None)
