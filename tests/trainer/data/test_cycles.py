from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.data.cycles import prompts_of_cycle

SEEDS = st.integers(0, 2**31 - 1)


def visits(seed, cycles, rows, count):
    return [row for cycle in range(cycles) for row in prompts_of_cycle(seed, cycle, rows, count)]


@given(SEEDS, st.integers(1, 60), st.integers(1, 25))
def test_every_epoch_visits_every_row_once(seed, rows, count):
    visited = visits(seed, -(-3 * rows // count), rows, count)
    for epoch in range(3):
        assert sorted(visited[epoch * rows : (epoch + 1) * rows]) == list(range(rows))


@given(SEEDS, st.integers(0, 10**6), st.integers(1, 10**9), st.integers(0, 40))
def test_a_cycle_is_a_pure_function_of_seed_and_cycle(seed, cycle, rows, count):
    drawn = prompts_of_cycle(seed, cycle, rows, count)
    assert drawn == prompts_of_cycle(seed, cycle, rows, count)
    assert len(drawn) == count
    assert all(0 <= row < rows for row in drawn)


@given(SEEDS, st.integers(2, 200), st.data())
def test_cycles_within_an_epoch_share_no_row(seed, rows, data):
    count = data.draw(st.integers(1, rows))
    visited = visits(seed, rows // count, rows, count)
    assert len(visited) == len(set(visited))


@given(SEEDS, st.integers(1, 50), st.integers(1, 6), st.integers(2, 5))
def test_larger_cycles_visit_the_same_rows_in_the_same_order(seed, rows, count, factor):
    assert visits(seed, factor, rows, count) == prompts_of_cycle(seed, 0, rows, factor * count)


def test_seeds_and_epochs_have_orders_of_their_own():
    orders = {tuple(prompts_of_cycle(seed, cycle, 40, 40)) for seed in range(5) for cycle in range(5)}
    assert len(orders) == 25


def test_every_row_comes_at_every_place_equally_often():
    places = Counter((place, row) for seed in range(2000) for place, row in enumerate(prompts_of_cycle(seed, 0, 5, 5)))
    chi_squared = sum((places[place, row] - 400) ** 2 / 400 for place in range(5) for row in range(5))
    assert chi_squared < 16 + 6 * 32**0.5  # 16 degrees of freedom, six deviations


def test_a_billion_rows_cost_no_more_than_a_few():
    drawn = prompts_of_cycle(1, 123_456, 10**9, 1000)
    assert len(set(drawn)) == 1000
    assert max(drawn) > 9 * 10**8


@pytest.mark.parametrize("bad", [(-1, 0, 1, 1), (0, -1, 1, 1), (0, 0, 0, 1), (0, 0, 1, -1)])
def test_impossible_numbers_are_refused(bad):
    with pytest.raises(ValueError, match="needs rows >= 1"):
        prompts_of_cycle(*bad)
