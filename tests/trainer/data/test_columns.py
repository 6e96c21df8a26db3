import pytest

from igpo_trainer.data.columns import MissingColumnError, UnusableRowError, is_filled, one_of, text_of


@pytest.mark.parametrize(("value", "text"), [(" seven\n", "seven"), (7, "7"), (27.0, "27.0"), (0, "0")])
def test_text_and_numbers_are_text(value, text):
    assert text_of({"answer": value}, "answer") == text


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, "'answer' is empty"),
        (" \n", "'answer' is empty"),
        (["7"], "'answer' is a list, not text"),
        ({"value": 7}, "'answer' is a dict, not text"),
        (True, "'answer' is a bool, not text"),
    ],
)
def test_anything_else_makes_the_row_unusable_and_says_why(value, reason):
    with pytest.raises(UnusableRowError) as caught:
        text_of({"answer": value}, "answer")
    assert caught.value.reason == reason


def test_a_column_that_does_not_exist_is_named_with_those_that_do():
    with pytest.raises(MissingColumnError, match=r"no column 'answer'; it has level, problem$"):
        text_of({"problem": "q", "level": 3}, "answer")


def test_the_first_of_several_columns_that_a_row_has_is_read():
    assert one_of({"problem": "q"}, "question", "problem") == "problem"
    assert one_of({}, "question", "problem") == "question"


@pytest.mark.parametrize(("row", "filled"), [({"a": 0}, True), ({"a": ""}, False), ({"a": None}, False), ({}, False)])
def test_an_empty_column_is_not_filled(row, filled):
    assert is_filled(row, "a") is filled
