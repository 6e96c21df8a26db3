import statistics

from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.observe.lengths import length_quantile, mean_length

LENGTHS = st.lists(st.integers(min_value=0, max_value=50), min_size=1, max_size=40)


def counts(lengths):
    return {length: lengths.count(length) for length in set(lengths)}


@given(LENGTHS)
def test_the_mean_is_that_of_the_sequences(lengths):
    assert mean_length(counts(lengths)) == statistics.fmean(lengths)


@given(LENGTHS, st.floats(min_value=0.01, max_value=1.0))
def test_a_quantile_is_the_smallest_length_that_covers_the_share(lengths, share):
    covering = [value for value in lengths if sum(each <= value for each in lengths) >= share * len(lengths)]
    assert length_quantile(counts(lengths), share) == min(covering)


def test_no_sequences_have_no_mean_and_no_quantile():
    assert mean_length({}) is None
    assert length_quantile({}, 0.5) is None
