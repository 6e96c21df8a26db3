import pytest
from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.data.problem import Problem
from igpo_trainer.models.scratch import word_tokenizer
from igpo_trainer.rewards.judge import Judge
from igpo_trainer.rewards.verdict import Outcome
from igpo_trainer.rewrite.answers import Answer
from igpo_trainer.rewrite.keep import Inspection, Inspector, Reason, without_duplicates, written

PROBLEM = Problem("k", "tom has 4 apples . how many ?", "", "8")


@pytest.fixture(scope="module")
def inspector():
    with Judge() as judge:
        yield Inspector(word_tokenizer(), judge, 12)


def answer(text, finish="stop"):
    return Answer(key="k", text=text, finish=finish, prompt_tokens=1, completion_tokens=1)


def inspected(inspector, *answers):
    return inspector.inspect([(PROBLEM, each) for each in answers])


GOOD = r"4 * 2 = 8 \boxed{ 8 }"


@pytest.mark.parametrize(
    ("text", "finish", "verdict", "reason"),
    [
        (GOOD, "stop", Outcome.RIGHT, None),
        (f"\n{GOOD}\n", "", Outcome.RIGHT, None),
        (r"4 * 2 = 8 \boxed{ 9 }", "stop", Outcome.WRONG, Reason.WRONG),
        (r"4 * 2 = 8 \boxed{ 8 } no \boxed{ 7 }", "stop", Outcome.WRONG, Reason.WRONG),
        ("4 * 2 = 8", "stop", None, Reason.NO_BOX),
        ("", "stop", None, Reason.EMPTY),
        ("  ", "content_filter", None, Reason.EMPTY),
        ("", "length", None, Reason.CUT_OFF),
        (GOOD, "length", None, Reason.CUT_OFF),
        (f"{GOOD} {word_tokenizer().eos_token}", "stop", None, Reason.SPECIAL_TOKEN),
        (rf"hence {GOOD}", "stop", Outcome.RIGHT, Reason.UNKNOWN_WORD),
    ],
)
def test_the_first_reason_that_applies_counts(inspector, text, finish, verdict, reason):
    (found,) = inspected(inspector, answer(text, finish))
    assert (found.verdict, found.reason) == (verdict, reason)


def test_a_trace_and_its_end_token_must_fit_the_canvas(inspector):
    tokens = len(word_tokenizer()(GOOD)["input_ids"])
    filler = " + 2" * ((12 - 1 - tokens) // 2)
    exact = GOOD.replace(" = 8", f"{filler} = 8")
    while len(word_tokenizer()(exact)["input_ids"]) < 11:
        exact = f"4 {exact}"
    fitting, beyond = inspected(inspector, answer(exact), answer(f"4 {exact}"))
    assert (fitting.tokens, fitting.reason) == (12, None)
    assert (beyond.tokens, beyond.verdict, beyond.reason) == (13, Outcome.RIGHT, Reason.TOO_LONG)


def test_many_are_looked_at_together_and_stay_in_order(inspector):
    answers = [answer(rf"4 * 2 = 8 \boxed{{ {value} }}") for value in (8, 7, 8, 1)] + [answer("")]
    reasons = [found.reason for found in inspected(inspector, *answers)]
    assert reasons == [None, Reason.WRONG, None, Reason.WRONG, Reason.EMPTY]
    assert inspector.inspect([]) == []


def test_thoughts_of_a_reasoning_model_are_no_part_of_the_rewrite(inspector):
    (found,) = inspected(inspector, answer(f"<think>hm, \\boxed{{ 1 }}</think>\n\n{GOOD}"))
    assert (found.text, found.reason) == (GOOD, None)
    assert written(" a </think> b ") == "b"
    assert written(" a ") == "a"


def test_the_first_of_equal_rewrites_of_one_problem_is_kept():
    def row(prompt, text, reason=None):
        return Problem("k", prompt, "", "8"), Inspection(text, 5, Outcome.RIGHT, reason)

    rows = [
        row("How many ?", "a b", Reason.WRONG),
        row("How many ?", "a b"),
        row("how  many ?", "a  b"),
        row("How many ?", "a c"),
        row("How few ?", "a b"),
        row("How many ?", "a b", Reason.TOO_LONG),
    ]
    reasons = [found.reason for found in without_duplicates(rows)]
    assert reasons == [Reason.WRONG, None, Reason.DUPLICATE, None, None, Reason.TOO_LONG]


@given(st.lists(st.tuples(st.sampled_from("pq"), st.sampled_from("abc"), st.booleans())))
def test_duplicates_leave_one_of_each_and_touch_nothing_else(drawn):
    rows = [
        (Problem("k", prompt, "", ""), Inspection(text, 1, None, Reason.WRONG if wrong else None))
        for prompt, text, wrong in drawn
    ]
    found = without_duplicates(rows)
    kept = [(p.prompt, f.text) for (p, _), f in zip(rows, found, strict=True) if f.reason is None]
    assert len(set(kept)) == len(kept)
    assert set(kept) == {(p.prompt, f.text) for p, f in rows if f.reason is None}
    assert [f.text for f in found] == [f.text for _, f in rows]
