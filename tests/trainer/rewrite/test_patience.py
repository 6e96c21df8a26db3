import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.rewrite.patience import (
    FIRST_WAIT_SECONDS,
    LONGEST_ASKED_SECONDS,
    LONGEST_WAIT_SECONDS,
    Patience,
    TransientError,
    retry_after,
)

NOW = 1_790_000_000.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
        ({"retry-after": "Mon, 21 Sep 2026 14:13:30 GMT"}, 10.0),
        ({"retry-after": "Mon, 21 Sep 2026 14:13:10 GMT"}, 0.0),
        ({}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
    ],
)
def test_what_a_response_asks_for(headers, seconds):
    assert retry_after(headers, NOW) == seconds


@given(st.text(max_size=40))
def test_any_header_is_a_number_or_nothing(text):
    seconds = retry_after({"retry-after": text}, NOW)
    assert seconds is None or 0.0 <= seconds < float("inf")


def tries(attempts, failures):
    """Waits and outcome of a request that fails as given, then is answered."""
    waits, left = [], list(failures)

    async def pause(seconds):
        waits.append(seconds)

    async def work():
        async for attempt in Patience(attempts, pause).retrying():
            with attempt:
                if left:
                    raise left.pop(0)
                return "answered"
        raise AssertionError

    try:
        return asyncio.run(work()), waits
    except TransientError as error:
        return str(error), waits


def test_waits_double_up_to_a_limit():
    outcome, waits = tries(12, [TransientError("down")] * 11)
    assert outcome == "answered"
    for index, wait in enumerate(waits):
        least = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2**index)
        assert least <= wait <= least + FIRST_WAIT_SECONDS


def test_after_the_last_attempt_the_last_failure_is_raised():
    outcome, waits = tries(3, [TransientError(str(number)) for number in range(9)])
    assert outcome == "2"
    assert len(waits) == 2


def test_never_again_before_the_teacher_wants():
    outcome, (wait,) = tries(3, [TransientError("busy", wait_seconds=7.0)])
    assert outcome == "answered"
    assert 7.0 <= wait <= 7.0 + FIRST_WAIT_SECONDS


def test_ten_pauses_that_the_teacher_asks_for_count_as_one_attempt():
    busy = [TransientError("busy", wait_seconds=1.0)] * 19
    assert tries(2, busy)[0] == "answered"
    assert tries(2, [*busy, busy[0]])[0] == "busy"


def test_nobody_waits_for_tomorrow():
    outcome, waits = tries(9, [TransientError("quota", wait_seconds=LONGEST_ASKED_SECONDS + 1)])
    assert (outcome, waits) == ("quota", [])


def test_other_errors_are_not_repeated():
    async def work():
        async for attempt in Patience(5, asyncio.sleep).retrying():
            with attempt:
                raise LookupError

    with pytest.raises(LookupError):
        asyncio.run(work())
