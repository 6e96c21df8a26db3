"""The time, and waiting for it: passed in, so that tests decide what time it is."""

import asyncio
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time in UTC and wakes a waiter."""

    def now(self) -> datetime:
        """The time in UTC."""
        ...

    async def wait(self, event: asyncio.Event, until: datetime | None) -> bool:
        """Wait for the event, or until a moment (None: for ever); whether the event came first."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The time in UTC."""
        return datetime.now(UTC)

    async def wait(self, event: asyncio.Event, until: datetime | None) -> bool:
        """Wait for the event, or until a moment (None: for ever); whether the event came first."""
        timeout = None if until is None else max(0.0, (until - self.now()).total_seconds())
        try:
            async with asyncio.timeout(timeout):
                await event.wait()
        except TimeoutError:
            return False
        return True
