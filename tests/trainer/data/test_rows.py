from functools import partial

import pytest

from igpo_trainer.data.columns import MissingColumnError, UnusableRowError
from igpo_trainer.data.problem import problem_key
from igpo_trainer.data.rows import RowRule, parts_by_fields, problem_of, write_trace
from igpo_trainer.spec.dataset import AnswerRule, FieldNames

MARKED = AnswerRule(after="####")
BOXED_FORMAT = r"{body} \boxed{{{answer}}}"


def rule(fields=None, answer=None, trace_format=None, traces=True):
    read = partial(parts_by_fields, fields=fields or FieldNames(), rule=answer or AnswerRule(), traces=traces)
    return RowRule("rows.jsonl", read, trace_format, traces)


def test_the_answer_stands_after_the_mark_and_the_mark_leaves_the_trace():
    row = {"question": "Tom has 3 apples and buys 4. How many?", "answer": "He has 3+4 = <<3+4=7>>7 apples.\n#### 7"}
    problem = problem_of(row, 1, rule(answer=MARKED, trace_format=BOXED_FORMAT))
    assert problem.prompt == row["question"]
    assert problem.trace == r"He has 3+4 = <<3+4=7>>7 apples. \boxed{7}"
    assert problem.answer == "7"
    assert problem.key == problem_key(row["question"], "7")
    assert len(problem.key) == 16
    assert problem.origin == "rows.jsonl row 1"


def test_the_last_mark_counts():
    row = {"question": "q", "answer": "one #### 1, no:\n#### 2"}
    problem = problem_of(row, 1, rule(answer=MARKED, trace_format="{body}"))
    assert (problem.trace, problem.answer) == ("one #### 1, no:", "2")


def test_without_a_mark_the_last_box_is_the_answer_and_stays():
    problem = problem_of({"question": "q", "answer": r"first \boxed{1} then \boxed{\frac{1}{2}}"}, 1, rule())
    assert problem.answer == r"\frac{1}{2}"
    assert problem.trace.endswith(r"\boxed{\frac{1}{2}}")


def test_a_column_may_hold_the_answer_and_one_the_difficulty():
    fields = FieldNames(prompt="problem", trace="solution", answer="result", difficulty="level")
    row = {"problem": "q", "solution": "because #### 8", "result": 7, "level": 3}
    problem = problem_of(row, 1, rule(fields, MARKED))
    assert (problem.trace, problem.answer, problem.difficulty) == (r"because \boxed{7}", "7", "3")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"question": None, "answer": "x #### 1"}, "'question' is empty"),
        ({"question": "  ", "answer": "x #### 1"}, "'question' is empty"),
        ({"question": ["q"], "answer": "x #### 1"}, "'question' is a list, not text"),
        ({"question": "q", "answer": None}, "'answer' is empty"),
        ({"question": "q", "answer": "no mark"}, "no text after '####' in 'answer', so no answer"),
        ({"question": "q", "answer": "x ####  "}, "no text after '####' in 'answer', so no answer"),
        ({"question": "q", "answer": "#### 5"}, "nothing but the answer in 'answer', so no trace"),
    ],
)
def test_a_row_that_lacks_something_says_what(row, reason):
    with pytest.raises(UnusableRowError) as error:
        problem_of(row, 7, rule(answer=MARKED))
    assert error.value.reason == reason


@pytest.mark.parametrize("row", [{"answer": "x #### 1"}, {"question": "q"}])
def test_a_column_that_no_row_has_is_another_matter(row):
    with pytest.raises(MissingColumnError, match="no column"):
        problem_of(row, 7, rule(answer=MARKED))


def test_a_trace_without_a_filled_box_has_no_answer():
    with pytest.raises(UnusableRowError, match=r"no filled \\boxed\{\}"):
        problem_of({"question": "q", "answer": r"so \boxed{}"}, 1, rule())


def test_a_set_that_is_only_measured_needs_no_trace_beside_its_answer():
    fields = FieldNames(prompt="problem", trace="solution", answer="answer")
    problem = problem_of({"problem": "q", "answer": 27.0}, 1, rule(fields, traces=False))
    assert (problem.trace, problem.answer) == ("", "27.0")
    with pytest.raises(MissingColumnError, match="'solution'"):
        problem_of({"problem": "q", "answer": 27.0}, 1, rule(fields))


def test_a_row_of_nothing_but_its_answer_can_be_measured():
    problem = problem_of({"question": "q", "answer": "#### 5"}, 1, rule(answer=MARKED, traces=False))
    assert (problem.trace, problem.answer) == ("", "5")


@pytest.mark.parametrize(
    ("body", "written"),
    [
        ("3 + 4 is 7.", r"3 + 4 is 7. \boxed{7}"),
        (r"so \boxed{7}.", r"so \boxed{7}."),
        (r"so \boxed{}", r"so \boxed{} \boxed{7}"),
        (r"cut \boxed{7", r"cut \boxed{7 \boxed{7}"),
    ],
)
def test_without_a_format_every_trace_states_its_answer_in_a_box(body, written):
    assert write_trace(body, "7", None) == written


def test_a_format_is_filled_as_it_stands():
    assert write_trace("body", "7", "{{{body}}} is {answer} ") == "{body} is 7"
