import pytest
from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.data.problem import Problem
from igpo_trainer.rewrite.assignment import Assignment

PROBLEM = Problem("k", "tom has 2 . how many ?", r"2 so he now has 2 \boxed{ 2 }", "2")


def request(desk, problem=PROBLEM, **rewrite):
    return Assignment.of(desk.spec_of("http://teacher/v1", **rewrite)).request(problem)


def test_the_message_holds_the_instruction_the_problem_its_trace_and_its_answer(desk):
    text = request(desk).text
    assert text.startswith("Rewrite a worked solution so that it is short")
    assert text.endswith(
        "\n\nProblem:\ntom has 2 . how many ?\n\nSolution:\n2 so he now has 2 \\boxed{ 2 }\n\nFinal answer: 2"
    )


def test_the_shipped_instruction_names_the_canvas_and_the_box(desk):
    text = request(desk).text
    assert "write 24 tokens at most" in text
    assert r"the final answer in \boxed{}" in text
    assert "{target}" not in text


def test_an_instruction_of_ones_own_keeps_its_braces(desk):
    text = request(desk, prompt=r"At most {target} words, then \boxed{x} and {this}.").text
    assert text.startswith("At most 24 words, then \\boxed{x} and {this}.\n\nProblem:\n")


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "Shorter."},
        {"maxTokens": 77},
        {"temperature": 0.0},
        {"teacher": {"baseUrl": "http://teacher/v1", "model": "other"}},
        {"teacher": {"baseUrl": "http://other/v1", "model": "short"}},
    ],
)
def test_whatever_may_change_an_answer_changes_the_key(desk, change):
    assert request(desk, **change).key != request(desk).key


@pytest.mark.parametrize("change", [{"concurrency": 3}, {"attempts": 1}, {"timeoutSeconds": 5}, {"tokenBudget": 9}])
def test_what_changes_only_the_pace_leaves_the_key_alone(desk, change):
    assert request(desk, **change).key == request(desk).key


@given(st.lists(st.text(max_size=5), min_size=3, max_size=3), st.lists(st.text(max_size=5), min_size=3, max_size=3))
def test_different_problems_have_different_keys(desk, one, other):
    keys = [request(desk, Problem("k", *texts)).key for texts in (one, other)]
    assert (keys[0] == keys[1]) == (request(desk, Problem("k", *one)).text == request(desk, Problem("k", *other)).text)


def test_a_slash_at_the_end_of_the_address_makes_no_difference(desk):
    spec = desk.spec_of("http://teacher/v1/")
    assert Assignment.of(spec).request(PROBLEM).key == request(desk).key


def test_a_run_without_rewrite_has_no_assignment(desk):
    with pytest.raises(ValueError, match=r"spec\.rewrite is absent"):
        Assignment.of(desk.spec_of("http://teacher/v1").model_copy(update={"rewrite": None}))
