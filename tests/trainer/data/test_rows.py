import pytest

from igpo_trainer.data.problem import problem_key
from igpo_trainer.data.rows import RowRule, problem_of
from igpo_trainer.spec.dataset import AnswerRule, FieldNames
from igpo_trainer.spec.errors import InvalidDataError

MARKED = AnswerRule(after="####")
BOXED_FORMAT = r"{body} \boxed{{{answer}}}"


def rule(fields=None, answer=None, trace_format="{body}", traces=True):
    return RowRule("rows.jsonl", fields or FieldNames(), answer or AnswerRule(), trace_format, traces)


def test_the_answer_stands_after_the_mark_and_the_mark_leaves_the_trace():
    row = {"question": "Tom has 3 apples and buys 4. How many?", "answer": "He has 3+4 = <<3+4=7>>7 apples.\n#### 7"}
    problem = problem_of(row, 1, rule(answer=MARKED, trace_format=BOXED_FORMAT))
    assert problem.prompt == row["question"]
    assert problem.trace == r"He has 3+4 = <<3+4=7>>7 apples. \boxed{7}"
    assert problem.answer == "7"
    assert problem.key == problem_key(row["question"], "7")
    assert len(problem.key) == 16


def test_the_last_mark_counts():
    row = {"question": "q", "answer": "one #### 1, no:\n#### 2"}
    problem = problem_of(row, 1, rule(answer=MARKED))
    assert (problem.trace, problem.answer) == ("one #### 1, no:", "2")


def test_without_a_mark_the_last_box_is_the_answer_and_stays():
    problem = problem_of({"question": "q", "answer": r"first \boxed{1} then \boxed{\frac{1}{2}}"}, 1, rule())
    assert problem.answer == r"\frac{1}{2}"
    assert problem.trace.endswith(r"\boxed{\frac{1}{2}}")


def test_a_column_may_hold_the_answer():
    fields = FieldNames(prompt="problem", trace="solution", answer="result")
    row = {"problem": "q", "solution": "because #### 8", "result": 7}
    problem = problem_of(row, 1, rule(fields, MARKED, BOXED_FORMAT))
    assert (problem.trace, problem.answer) == (r"because \boxed{7}", "7")


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ({"answer": "x #### 1"}, ["row 7", "'question'", "fields.prompt"]),
        ({"question": None, "answer": "x #### 1"}, ["row 7", "'question'", "is empty"]),
        ({"question": "  ", "answer": "x #### 1"}, ["row 7", "'question'", "is empty"]),
        ({"question": ["q"], "answer": "x #### 1"}, ["row 7", "'question'", "is a list"]),
        ({"question": "q"}, ["row 7", "'answer'", "fields.trace"]),
        ({"question": "q", "answer": None}, ["row 7", "'answer'", "is empty"]),
        ({"question": "q", "answer": "no mark"}, ["row 7", "'answer'", "'####'", "answer.after"]),
        ({"question": "q", "answer": "x ####  "}, ["row 7", "'answer'", "'####'"]),
        ({"question": "q", "answer": "#### 5"}, ["row 7", "'answer'", "no trace"]),
    ],
)
def test_a_row_that_lacks_something_is_named_with_its_field(row, named):
    with pytest.raises(InvalidDataError) as error:
        problem_of(row, 7, rule(answer=MARKED))
    message = str(error.value)
    assert message.startswith("rows.jsonl row 7")
    assert "\n" not in message
    for part in named:
        assert part in message


def test_a_trace_without_a_filled_box_has_no_answer():
    with pytest.raises(InvalidDataError, match=r"no filled \\boxed\{\}"):
        problem_of({"question": "q", "answer": r"so \boxed{}"}, 1, rule())


def test_a_set_that_is_only_measured_needs_no_trace_beside_its_answer():
    fields = FieldNames(prompt="problem", trace="solution", answer="answer")
    problem = problem_of({"problem": "q", "answer": 27.0}, 1, rule(fields, traces=False))
    assert (problem.trace, problem.answer) == ("", "27.0")
    with pytest.raises(InvalidDataError, match="'solution'"):
        problem_of({"problem": "q", "answer": 27.0}, 1, rule(fields))
