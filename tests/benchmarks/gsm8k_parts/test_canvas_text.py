from decimal import Decimal

import pytest
from gsm8k_parts.canvas_text import WALL, canvas_text, states, states_in_words, values_in, whole_numbers
from gsm8k_parts.tokenizer import trained
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("she has 1,250 pears.", {"1250"}),
        ("1000.0 of 3.50", {"1000", "3.5"}),
        ("5, 6 and 7.", {"5", "6", "7"}),
        ("$237 or 20%", {"237", "20"}),
        ("x2y", {"2"}),
        (".5 of it", {"0.5", "5"}),
        ("12,5", {"12", "5"}),
        ("1.5.20", {"1.5", "5.20", "1", "5", "20"}),
        (f"12{WALL}34", {"12", "34"}),
        ("48/2=24", {"48", "2", "24"}),
        ("none , . here", set()),
    ],
)
def test_numbers_are_read_in_every_way(text, values):
    assert values_in(text) == {Decimal(value) for value in values}


def test_equality_is_by_value_and_without_sign():
    assert states("owes -1,000.0", "1000")
    assert states("has 47", "-47")
    assert not states("10000", "1,000")
    assert not states(f"1{WALL}000", "1,000")


@settings(max_examples=200, deadline=None)
@given(number=st.integers(0, 10**7), before=st.text("ab $(=<", max_size=4), after=st.text("ab %)=>", max_size=4))
def test_every_number_is_found_whatever_stands_around_it(number, before, after):
    assert states(f"{before}{number}{after}", str(number))
    assert states(f"{before}{number:,}{after}", str(number))
    assert states(f"{before}{number}.0{after}", f"{number:,}")


def test_small_answers_are_found_as_words():
    assert states_in_words("He has Two apples", "2")
    assert not states_in_words("often", "10")
    assert not states_in_words("twenty-one", "21")


def test_only_stretches_that_are_one_number_count_as_whole():
    text = "1,250 or 12,5 or 3.50. 1.5.20"
    assert [text[begin:end] for begin, end in whole_numbers(text)] == ["1,250", "3.50"]


def test_a_mask_is_a_wall_between_runs():
    tokenizer = trained(["one hundred apples cost twelve"] * 3)
    ids = tokenizer("one hundred apples", add_special_tokens=False)["input_ids"]
    shown = dict(enumerate(ids))
    assert canvas_text(shown, tokenizer) == "one hundred apples"
    del shown[1]
    assert WALL in canvas_text(shown, tokenizer)
    assert canvas_text({}, tokenizer) == ""
