import asyncio

import pytest

from igpo_trainer.rewrite.budget import Budget, BudgetSpentError


def test_without_a_limit_nothing_waits():
    async def work():
        budget = Budget(None, 5)
        for _ in range(100):
            await budget.reserve(10**9)
        return budget.spent

    assert asyncio.run(work()) == 5


def test_a_request_that_might_exceed_the_limit_is_never_sent():
    async def work():
        await Budget(100, 90).reserve(11)

    with pytest.raises(BudgetSpentError):
        asyncio.run(work())


def test_a_request_waits_for_those_in_flight_to_turn_out_cheaper():
    async def work():
        budget = Budget(100, 0)
        await budget.reserve(60)
        second = asyncio.create_task(budget.reserve(60))
        await asyncio.sleep(0)
        assert not second.done()
        budget.charge(10)
        await budget.settle(60)
        await second
        return budget.spent

    assert asyncio.run(work()) == 10


def test_a_waiting_request_is_refused_once_nothing_in_flight_is_left():
    async def work():
        budget = Budget(100, 0)
        await budget.reserve(60)
        second = asyncio.create_task(budget.reserve(60))
        await asyncio.sleep(0)
        budget.charge(60)
        await budget.settle(60)
        await second

    with pytest.raises(BudgetSpentError):
        asyncio.run(work())
