"""Whether this process still does its work: an operator that is merely alive is the worst kind."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from igpo_operator.apply.cache import Cache
from igpo_operator.apply.clock import Clock
from igpo_operator.apply.queue import WorkQueue
from igpo_operator.apply.resync import Resync
from igpo_operator.apply.view import RunKey

LOOP_SECONDS: Final = 30.0
"""The event loop may be late by this much."""
QUEUE_SECONDS: Final = 300.0
"""A key may wait, or be worked on, this long."""
RESYNC_PERIODS: Final = 3.0


@dataclass(frozen=True, slots=True)
class Health:
    """What is looked at. Called from the server's thread; reads single values only."""

    clock: Clock
    cache: Cache
    queue: WorkQueue[RunKey]
    resync: Resync
    beat: Callable[[], float]
    """Seconds since the event loop last turned."""
    stale_seconds: float
    resync_seconds: float

    def problems(self) -> Iterator[str]:
        """One line for each thing that is wrong."""
        late = self.beat()
        if late > LOOP_SECONDS:
            yield f"the event loop has not turned for {late:.0f} s, limit {LOOP_SECONDS:.0f}"
        stale = self.cache.oldest_unconfirmed_seconds()
        if stale > self.stale_seconds:
            yield f"a watch has missed a known change for {stale:.0f} s, limit {self.stale_seconds:.0f}"
        waited, worked = self.queue.oldest_seconds(), self.queue.busiest_seconds()
        if max(waited, worked) > QUEUE_SECONDS:
            yield f"a run has waited {waited:.0f} s, been worked on {worked:.0f} s, limit {QUEUE_SECONDS:.0f}"
        age, limit = self.clock.now() - self.resync.finished_at, RESYNC_PERIODS * self.resync_seconds
        if age > timedelta(seconds=limit):
            yield f"the last full listing ended {age.total_seconds():.0f} s ago, limit {limit:.0f}"
