import pytest
from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.igpo.entropy_filter import kept_hints


@given(st.lists(st.floats(0, 5), min_size=1, max_size=60), st.floats(0, 1), st.data())
def test_the_top_tau_share_by_entropy_is_kept_and_at_least_one(entropy, ratio, data):
    hints = data.draw(st.lists(st.integers(0, len(entropy) - 1), unique=True))
    kept = kept_hints(entropy, hints, ratio)
    assert kept <= set(hints)
    if hints:
        assert len(kept) == max(1, int(ratio * len(hints) + 1e-9))
        dropped = set(hints) - kept
        assert not dropped or min(entropy[i] for i in kept) >= max(entropy[i] for i in dropped)
    else:
        assert kept == frozenset()


@pytest.mark.parametrize(("ratio", "count"), [(0.2, 2), (0.0, 1), (1.0, 10), (0.29, 2)])
def test_the_count_is_the_floor_of_tau_n(ratio, count):
    assert len(kept_hints([1.0] * 10, range(10), ratio)) == count


def test_ties_go_to_the_lower_index():
    assert kept_hints([1.0, 1.0, 1.0, 1.0, 1.0], [4, 2, 0], 0.4) == {0}
