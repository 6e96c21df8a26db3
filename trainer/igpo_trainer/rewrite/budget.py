"""The token budget: a request is sent only when it cannot take the sum beyond the limit."""

import asyncio


class BudgetSpentError(Exception):
    """The next request might cost more than is left, with none in flight that could turn out cheaper."""


class Budget:
    """Tokens spent and tokens that requests in flight may still cost. For one event loop.

    The limit is hard as long as the teacher keeps to max_tokens and bills what it reports: what is in flight is
    counted at its upper bound, and a request waits while that leaves no room.
    """

    def __init__(self, limit: int | None, spent: int) -> None:
        """`limit` None: no budget. `spent`: by earlier attempts."""
        self.limit = limit
        self.spent = spent
        self._reserved = 0
        self._changed = asyncio.Condition()

    async def reserve(self, most: int) -> None:
        """Set `most` tokens aside for a request, its upper bound. Raises BudgetSpentError when they will not be there.

        Every reservation ends in `settle`.
        """
        async with self._changed:
            while self.limit is not None and self.spent + self._reserved + most > self.limit:
                if self._reserved == 0:
                    raise BudgetSpentError
                await self._changed.wait()
            self._reserved += most

    def charge(self, tokens: int) -> None:
        """Count tokens that were spent."""
        self.spent += tokens

    async def settle(self, most: int) -> None:
        """Give a reservation back; what the request did cost has been charged."""
        async with self._changed:
            self._reserved -= most
            self._changed.notify_all()
