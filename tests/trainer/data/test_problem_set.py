import pytest

from igpo_trainer.data.formats import FORMATS
from igpo_trainer.data.problem_set import collect
from igpo_trainer.data.rows import RowRule, parts_by_fields
from igpo_trainer.spec.dataset import AnswerRule, FieldNames
from igpo_trainer.spec.errors import InvalidDataError


def by_format(rows, name):
    return collect(rows, RowRule("set", FORMATS[name].read, None), FORMATS[name])


def by_fields(rows, after="####"):
    def read(row):
        return parts_by_fields(row, FieldNames(), AnswerRule(after=after), traces=True)

    return collect(rows, RowRule("set", read, None), None)


def gsm(number, answer="one step\n#### 7"):
    return {"question": f"question {number}", "answer": answer}


def meta(query, response="Because.\nThe answer is: 7", kind="GSM_AnsAug"):
    return {"type": kind, "query": query, "original_question": query, "response": response}


def refused(read, *arguments):
    with pytest.raises(InvalidDataError) as caught:
        read(*arguments)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 65
    return str(caught.value)


def test_rows_that_cannot_be_used_are_counted_by_reason():
    rows = [gsm(1), gsm(2, "no mark"), gsm(3), gsm(4, None), gsm(5, "#### 7"), gsm(6), gsm(7, "x ####"), gsm(8)]
    found = by_format(rows, "GSM8K")
    assert [p.origin for p in found.problems] == [f"set row {n}" for n in (1, 3, 6, 8)]
    assert found.left_out == {
        "'answer' is empty, first in row 4": 1,
        "no answer, first in row 2": 2,
        "no trace, first in row 5": 1,
    }


def test_rows_of_mixed_types_cost_themselves_only():
    found = by_format([gsm(1), gsm(2) | {"question": ["x"]}, gsm(3) | {"question": 17}], "GSM8K")
    assert [p.prompt for p in found.problems] == ["question 1", "17"]
    assert found.left_out == {"'question' is a list, not text, first in row 2": 1}


def test_a_question_of_metamathqa_counts_once_with_its_first_usable_response():
    rows = [
        meta("How many?", "No answer here."),
        meta("How many?", "First.\nThe answer is: 7"),
        meta("how  many? ", "Second.\nThe answer is: 7"),
        meta("Other?"),
        meta("Rephrased?", kind="GSM_Rephrased"),
    ]
    found = by_format(rows, "MetaMathQA")
    assert [p.trace for p in found.problems] == [r"First. \boxed{7}", r"Because. \boxed{7}"]
    assert found.left_out == {"no answer, first in row 1": 1, "not an AnsAug row": 1, "repeated question": 1}


def test_rows_of_other_sets_may_repeat_a_question():
    assert len(by_format([gsm(1), gsm(1, "another way\n#### 7")], "GSM8K").problems) == 2


def test_a_set_without_answers_is_one_line_with_counts_and_the_next_action():
    message = refused(by_format, [gsm(n, "no mark") for n in range(4)] + [gsm(9, None)], "GSM8K")
    assert message == (
        "set: 5 of 5 rows cannot be used (4: no answer, first in row 1; 1: 'answer' is empty, first in row 5); "
        "correct or remove them, or leave out format and name the columns in fields and answer"
    )


def test_more_unusable_than_usable_rows_are_refused():
    assert refused(by_fields, [gsm(1), gsm(2, "no mark"), gsm(3, "no mark")]).startswith(
        "set: 2 of 3 rows cannot be used (2: no text after '####' in 'answer', so no answer, first in row 2); correct"
    )


def test_as_many_are_not():
    assert len(by_fields([gsm(1), gsm(2, "no mark")]).problems) == 1


def test_repeated_questions_count_as_usable():
    rows = [meta("a"), meta("a"), meta("b", "none"), meta("c", "none")]
    assert len(by_format(rows, "MetaMathQA").problems) == 1


def test_the_advice_names_a_format_that_the_rows_look_like():
    assert refused(by_fields, [gsm(1)], None).endswith(
        "or set fields and answer to the columns and the mark of this data set; its rows look like format: GSM8K"
    )


def test_a_column_that_no_row_has_is_told_at_the_first_row_with_those_there_are():
    message = refused(by_fields, [{"problem": "q", "solution": r"\boxed{1}"}])
    assert message == (
        "set row 1: no column 'question'; it has problem, solution; set fields and answer to the columns and the mark "
        "of this data set; its rows look like format: MATH"
    )


def test_a_set_of_unwanted_rows_only_says_what_can_be_done():
    message = refused(by_format, [meta("a", kind="GSM_SV"), meta("b", kind="MATH_SV")], "MetaMathQA")
    assert message.startswith("set: none of 2 rows is used (2: not an AnsAug row); give the whole set, or read")
