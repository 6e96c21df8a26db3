from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.rewards.plain import number_of, plain_outcome
from igpo_trainer.rewards.verdict import Outcome


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        ("42", "42"),
        ("42.0", "42"),
        ("42.", "42"),
        ("1,000", "1000"),
        ("1{,}000", "1000.0"),
        ("1,234,567", "1234567"),
        ("-3", "-3.00"),
        ("+5", "5"),
        (".5", "0.5"),
        ("007", "7"),
        (r"\$18", "18"),
        ("$18$", "18"),
        ("-$5", "-5"),
        (r"\text{\$}18", "18"),
        ("18 €", "18"),
        (r"70\%", "70"),
        ("70 %", "70"),
        ("70 percent", "70"),
        ("18,000 dollars", "18000"),
        (r"\$18,000\text{ dollars}", "18000"),
        (r"5\text{ cm}", "5"),
        ("5 apples per day", "5"),
        ("2 million", "2000000"),
        ("even", "Even"),
        (r"\text{even}", "even"),
        (r"\text{ no }", "NO"),
        (r"\frac{1}{2}", r"\frac{1}{2}"),
    ],
)
def test_plainly_equal_answers_are_right(content, answer):
    assert plain_outcome(content, answer) is Outcome.RIGHT
    assert plain_outcome(answer, content) is Outcome.RIGHT


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        ("41", "42"),
        ("42.5", "42"),
        ("-42", "42"),
        ("1,000", "1"),
        ("", "42"),
        (" ", "42"),
        ("even", "neve"),
        ("yes!", "yes!!"),
    ],
)
def test_plainly_different_answers_are_wrong_or_left_to_the_verifier_but_never_right(content, answer):
    assert plain_outcome(content, answer) is not Outcome.RIGHT


@pytest.mark.parametrize("content", ["41", "42.0001", "-42", "1e2", ""])
def test_another_whole_number_is_wrong_without_a_worker(content):
    expected = None if content == "1e2" else Outcome.WRONG
    assert plain_outcome(content, "42") is expected


@pytest.mark.parametrize(
    ("content", "answer"),
    [
        (r"70\%", "0.7"),
        (r"\frac12", "0.5"),
        (r"2\sqrt3", r"\sqrt{12}"),
        ("x=3", "3"),
        ("1,23", "123"),
        ("(1,2)", "(1, 2)"),
        ("2 million", "2"),
        ("2 and three", "2"),
        ("5 plus two", "5"),
        ("5x", "5"),
        ("ab", "ba"),
        ("9" * 300 + ".", "9" * 300),
    ],
)
def test_what_is_not_plain_is_left_to_the_verifier(content, answer):
    assert plain_outcome(content, answer) is None


@pytest.mark.parametrize("text", ["", ".", "+", "-", "$", "1,00", "1 000", "--5", "+-5", "1.2.3", "0x10", "nan", "inf"])
def test_what_is_no_number_has_no_value(text):
    assert number_of(text) is None


@given(st.integers(-(10**30), 10**30))
def test_thousands_marks_and_a_decimal_point_change_no_value(value):
    assert number_of(f"{value:,}") == number_of(f"{value}.0") == number_of(str(value)) == Decimal(value)


@given(st.integers(-(10**12), 10**12), st.integers(-(10**12), 10**12))
def test_whole_numbers_are_right_exactly_if_equal(left, right):
    assert plain_outcome(f"{left:,}", str(right)) is (Outcome.RIGHT if left == right else Outcome.WRONG)


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_text_makes_it_fail(content, answer):
    assert plain_outcome(content, answer) in {Outcome.RIGHT, Outcome.WRONG, None}
