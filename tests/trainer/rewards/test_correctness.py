import resource

import pytest

from igpo_trainer.rewards.correctness import correctness, equal, memory_limit


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (r"2\sqrt3", r"\sqrt{12}"),
        ("2+3", "5"),
        (r"\frac{1}{2}", "0.5"),
        ("1/2", r"\frac12"),
        (r"70\%", "0.7"),
        ("x=3", "3"),
        ("(1,2)", "(1, 2)"),
        ("5 cm", "5"),
        (r"90^\circ", "90"),
        (r"\text{A}", "(A)"),
    ],
)
def test_equal_expressions_are_right(content, answer):
    assert equal(content, answer)
    assert correctness("", rf"so \boxed{{{content}}}", answer) == 1.0


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (r"2\sqrt3", r"\sqrt{11}"),
        ("2+2", "5"),
        ("0.33", r"\frac13"),
        (r"5 \text{ or } 6", "5"),
        ("5, 6", "5"),
        ("x", "5"),
        ("{{{", "5"),
    ],
)
def test_other_expressions_are_wrong(content, answer):
    assert correctness("", rf"so \boxed{{{content}}}", answer) == 0.0


def test_the_answer_outside_a_box_is_wrong():
    assert correctness("", "the answer is 5", "5") == 0.0


def test_only_the_last_box_counts():
    assert correctness("", r"\boxed{5} \boxed{6}", "5") == 0.0
    assert correctness("", r"\boxed{6} \boxed{5}", "5") == 1.0


def test_degenerate_text_in_the_box_is_wrong_without_algebra():
    assert correctness("", "\\boxed{" + "9^{" * 400 + "9" + "}" * 400 + "}", "5") == 0.0


def test_a_reference_that_is_undefined_raises():
    with pytest.raises(ValueError, match="nan or zoo"):
        equal("5", r"\frac{1}{0}")


def test_growth_beyond_the_limit_is_a_memory_error_and_not_a_kill():
    with memory_limit(1 << 28):
        bytearray(1 << 20)
        with pytest.raises(MemoryError):
            bytearray(1 << 30)
    bytearray(1 << 30)


def test_the_memory_limit_is_lifted_afterwards():
    before = resource.getrlimit(resource.RLIMIT_AS)
    correctness("", r"\boxed{\frac{2}{4}}", "0.5")
    assert resource.getrlimit(resource.RLIMIT_AS) == before
