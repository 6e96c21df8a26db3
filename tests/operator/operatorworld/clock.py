"""A clock that a test moves."""

import asyncio
from datetime import UTC, datetime, timedelta

START = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)


class ManualClock:
    """Stands still until `advance`; everybody who waits for a moment that is then over wakes up."""

    def __init__(self) -> None:
        self._now = START
        self._moved = asyncio.Condition()

    def now(self) -> datetime:
        return self._now

    async def wait(self, event: asyncio.Event, until: datetime | None) -> bool:
        async with asyncio.TaskGroup() as group:
            came = group.create_task(event.wait())
            over = group.create_task(self._reach(until))
            await asyncio.wait({came, over}, return_when=asyncio.FIRST_COMPLETED)
            came.cancel()
            over.cancel()
        return event.is_set()

    async def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
        async with self._moved:
            self._moved.notify_all()

    async def _reach(self, until: datetime | None) -> None:
        async with self._moved:
            await self._moved.wait_for(lambda: until is not None and self._now >= until)
