import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.observe.estimates import (
    Difference,
    Estimate,
    avg_at_k,
    bootstrap_interval,
    by_group,
    pass_at_k,
    powers_up_to,
)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40), st.integers(0, 99))
def test_the_bootstrap_interval_lies_within_the_scores_and_is_keyed_by_the_seed(scores, seed):
    values = np.array(scores)
    low, high = bootstrap_interval(values, seed)
    assert values.min() - 1e-12 <= low <= high <= values.max() + 1e-12
    assert bootstrap_interval(values, seed) == (low, high)


def test_the_bootstrap_interval_covers_the_mean_about_95_times_in_100():
    generator, hits = np.random.default_rng(0), 0
    for trial in range(200):
        low, high = bootstrap_interval((generator.random(60) < 0.3).astype(float), trial)
        hits += low <= 0.3 <= high
    assert 180 <= hits <= 199


@given(st.integers(1, 9), st.data())
def test_pass_at_k_is_the_share_of_all_ways_to_draw_k_samples_that_hold_a_right_one(samples, data):
    right, k = data.draw(st.integers(0, samples)), data.draw(st.integers(1, samples))
    draws = list(itertools.combinations([index < right for index in range(samples)], k))
    expected = sum(any(draw) for draw in draws) / len(draws)
    assert pass_at_k(np.array([float(right)]), samples, k)[0] == pytest.approx(expected, abs=1e-12)


def test_pass_at_k_is_unbiased_where_one_minus_all_wrong_to_the_k_is_not():
    generator = np.random.default_rng(0)
    right_P = generator.binomial(8, 0.15, size=200_000).astype(float)
    truth = 1 - 0.85**4
    assert pass_at_k(right_P, 8, 4).mean() == pytest.approx(truth, abs=2e-3)
    assert (1 - (1 - right_P / 8) ** 4).mean() < truth - 0.02


def test_pass_at_1_is_the_average_and_pass_at_n_asks_for_one_right_sample():
    right_P = np.array([0.0, 1.0, 5.0, 16.0])
    np.testing.assert_allclose(pass_at_k(right_P, 16, 1), avg_at_k(right_P, 16), atol=1e-15)
    assert pass_at_k(right_P, 16, 16).tolist() == [0.0, 1.0, 1.0, 1.0]


def test_pass_at_1024_of_1024_samples_does_not_overflow():
    assert pass_at_k(np.array([1.0]), 1024, 512)[0] == pytest.approx(0.5)


@pytest.mark.parametrize("k", [0, 5])
def test_pass_at_more_than_was_sampled_is_refused(k):
    with pytest.raises(ValueError, match=rf"pass@{k} cannot be estimated from 4 samples"):
        pass_at_k(np.array([1.0]), 4, k)


@pytest.mark.parametrize(("samples", "powers"), [(1, (1,)), (2, (1, 2)), (6, (1, 2, 4, 6)), (16, (1, 2, 4, 8, 16))])
def test_the_curve_has_the_powers_of_two_and_all_samples(samples, powers):
    assert powers_up_to(samples) == powers


def test_a_difference_is_paired_by_problem():
    generator = np.random.default_rng(1)
    hard_P = generator.random(300)
    one_P, other_P = hard_P + 0.02, hard_P
    found = Difference.between(one_P, other_P, seed=0)
    assert (found.better, found.worse, found.equal) == (300, 0, 0)
    assert found.estimate.low == pytest.approx(0.02) == found.estimate.high
    apart = Estimate.of(one_P, 0).high - Estimate.of(one_P, 0).low
    assert apart > 0.05, "unpaired, so small a difference could not be seen"


def test_groups_are_estimated_by_themselves():
    found = by_group(("b", "a", "b"), np.array([1.0, 0.0, 0.0]), lambda value_P: Estimate.of(value_P, 0))
    assert list(found) == ["a", "b"]
    assert (found["a"].mean, found["b"].mean) == (0.0, 0.5)
