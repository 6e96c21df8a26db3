import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.igpo.advantage import advantages
from igpo_trainer.igpo.rollout import Group, Rollout
from igpo_trainer.rewards.verdict import Outcome

rewards = st.lists(st.one_of(st.none(), st.floats(-5, 5)), min_size=2, max_size=12)


def group(values):
    return Group(0, 0, tuple(Rollout((0,), 1, Outcome.WRONG if v is not None else Outcome.UNJUDGED, v) for v in values))


@given(rewards)
def test_centred_advantages_are_reward_minus_the_mean_of_the_judged_eq_2(values):
    judged = [v for v in values if v is not None]
    for value, advantage in zip(values, advantages(group(values), "Centred"), strict=True):
        if value is None:
            assert advantage is None
        else:
            assert advantage == pytest.approx(value - math.fsum(judged) / len(judged), abs=1e-12)


@given(rewards)
def test_standardised_advantages_have_unit_deviation_or_are_0(values):
    gains = [a for a in advantages(group(values), "Standardised") if a is not None]
    if len(gains) > 1 and any(abs(a) > 1e-6 for a in gains):
        assert math.fsum(a * a for a in gains) / len(gains) == pytest.approx(1.0)


def test_equal_rewards_give_no_advantage_the_zero_gradient_dilemma():
    assert advantages(group([0.0] * 8), "Centred") == (0.0,) * 8
    assert not group([0.0] * 8).has_signal


def test_a_rescued_group_has_advantages_1_minus_rho_and_minus_rho_appendix_k():
    assert advantages(group([1.0] * 2 + [0.0] * 6), "Centred") == (0.75, 0.75, *[-0.25] * 6)
