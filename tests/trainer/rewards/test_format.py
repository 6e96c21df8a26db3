import pytest

from igpo_trainer.rewards.format import format_reward


@pytest.mark.parametrize(
    ("completion", "reward"),
    [
        (r"2 + 3 = 5 \boxed{5}", 1.0),
        (r"so $\boxed{\frac{1}{2}}$." + "\n", 1.0),
        (r"\[ x = \boxed{5} \]", 1.0),
        (r"\boxed{5} because 2 + 3 = 5", 0.5),
        (r"\boxed{5} or \boxed{6}", 0.0),
        (r"\boxed{ }", 0.0),
        (r"\boxed{5", 0.0),
        (r"\boxed{5} \boxed{6", 0.0),
        ("the answer is 5", 0.0),
        ("", 0.0),
    ],
)
def test_one_box_at_the_end_is_the_whole_reward(completion, reward):
    assert format_reward(completion) == reward
