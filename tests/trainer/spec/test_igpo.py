from fractions import Fraction
from math import floor

from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.spec.igpo import IGPOTrainingSpec


@given(st.integers(2, 64), st.integers(0, 100))
def test_at_most_the_floor_of_lambda_g_rollouts_are_replaced(group_size, percent):
    spec = IGPOTrainingSpec.model_validate(
        {
            "model": {"source": "x"},
            "dataset": {"source": "data"},
            "groupSize": group_size,
            "hints": {"maxReplacedRatio": percent / 100},
        }
    )
    assert spec.max_replaced == floor(Fraction(percent, 100) * group_size)
