from hypothesis import given
from hypothesis import strategies as st

from igpo_operator.plan.backoff import delay

UIDS = st.uuids().map(str)


def seconds(failures, uid="u", attempt=2, base=10, longest=300):
    wait = delay(base=base, longest=longest, failures=failures, uid=uid, attempt=attempt)
    return wait.total_seconds()


@given(st.integers(1, 10**6), UIDS, st.integers(1, 999))
def test_a_wait_lies_between_its_base_and_its_longest(failures, uid, attempt):
    assert 10 <= seconds(failures, uid, attempt) <= 300


@given(UIDS, st.integers(1, 999))
def test_a_wait_doubles_until_it_is_as_long_as_it_gets(uid, attempt):
    waits = [seconds(failures, uid, attempt) for failures in range(1, 8)]
    assert waits == sorted(waits)
    assert waits[-1] == waits[-2]
    assert 1.9 * waits[0] <= waits[1] <= 2.1 * waits[0]


@given(UIDS, st.integers(1, 999))
def test_the_same_run_and_attempt_always_wait_the_same(uid, attempt):
    assert seconds(3, uid, attempt) == seconds(3, uid, attempt)


def test_runs_that_failed_together_do_not_come_back_together():
    assert len({seconds(4, f"uid-{number}") for number in range(100)}) > 10
