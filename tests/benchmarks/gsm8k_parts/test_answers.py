import pytest
from gsm8k_parts.answers import by_reward, by_verifier, plus_one

from igpo_trainer.data.problem import Problem

PROBLEMS = [
    Problem("1", "q", r"so \boxed{1,250}", "1,250"),
    Problem("2", "q", r"so \boxed{-3}", "-3"),
    Problem("3", "q", r"so \boxed{7} or rather \boxed{8}", "7"),
]


@pytest.mark.parametrize(
    ("answer", "following"), [("7", "8"), ("-1", "0"), ("999", "1000"), ("1,250", "1,251"), ("0.5", "1.5")]
)
def test_the_next_number_is_spelled_alike(answer, following):
    assert plus_one(answer) == following


def test_the_reward_judges_traces_and_their_next_numbers():
    done = []
    assert by_reward(PROBLEMS, done.append) == {"answer_right": 2, "plus_one_wrong": 3}
    assert sum(done) == 3


def test_math_verify_judges_answers_and_their_next_numbers():
    assert by_verifier(PROBLEMS, lambda _: None) == {"answer_right": 3, "plus_one_wrong": 3}
