import dataclasses

import pytest

from igpo_trainer.data.problem import Problem, problem_key


def test_a_key_is_sixteen_hex_digits_that_depend_on_prompt_and_answer_only():
    key = problem_key("a question", "7")
    assert len(key) == 16
    assert int(key, 16) >= 0
    assert key == problem_key("a question", "7")
    assert len({key, problem_key("a question", "8"), problem_key("another question", "7")}) == 3


def test_text_cannot_move_between_prompt_and_answer_without_changing_the_key():
    assert problem_key("1 2", "3") != problem_key("1 ", "23")


def test_a_problem_cannot_be_changed():
    problem = Problem(key="0" * 16, prompt="q", trace="t", answer="a")
    with pytest.raises(dataclasses.FrozenInstanceError):
        problem.answer = "b"
