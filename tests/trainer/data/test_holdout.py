import pytest
from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.data.holdout import Split, hold_out
from igpo_trainer.data.problem import Problem, problem_key
from igpo_trainer.spec.errors import InvalidDataError


def problem(prompt, answer="1", trace="because"):
    return Problem(problem_key(prompt, answer), prompt, trace, answer)


PROBLEMS = [problem(f"question {n}") for n in range(50)]


@given(st.lists(st.sampled_from("abcdefgh"), min_size=3, max_size=30), st.integers(0, 99), st.data())
def test_no_prompt_is_on_both_sides_and_nothing_is_lost(prompts, seed, data):
    problems = [problem(prompt, str(n)) for n, prompt in enumerate(prompts)]
    distinct = len(set(prompts))
    if distinct < 2:
        return
    rows = data.draw(st.integers(1, distinct - 1))
    split = hold_out(problems, rows, seed, "rows")
    assert not {p.prompt for p in split.train} & {p.prompt for p in split.holdout}
    assert len(split.holdout) == len({p.prompt for p in split.holdout}) == rows
    assert len(split.train) + rows + split.removed_duplicates == len(problems)
    assert split.train


def test_the_cut_depends_on_the_seed_and_not_on_the_order_of_rows():
    held_out = {p.key for p in hold_out(PROBLEMS, 10, 3, "rows").holdout}
    assert held_out == {p.key for p in hold_out(PROBLEMS[::-1], 10, 3, "rows").holdout}
    assert held_out != {p.key for p in hold_out(PROBLEMS, 10, 4, "rows").holdout}


def test_more_rows_hold_out_the_same_and_more():
    few = {p.key for p in hold_out(PROBLEMS, 5, 3, "rows").holdout}
    assert few < {p.key for p in hold_out(PROBLEMS, 20, 3, "rows").holdout}


def test_both_sides_keep_the_order_of_rows():
    split = hold_out(PROBLEMS, 10, 0, "rows")
    for side in (split.train, split.holdout):
        assert side == sorted(side, key=PROBLEMS.index)


def test_the_same_prompt_with_other_spacing_or_another_answer_is_a_duplicate():
    twins = [problem("How  many?", "1"), problem("how many? ", "2"), problem("And how many?", "3")]
    for seed in range(8):
        split = hold_out(twins, 1, seed, "rows")
        assert len({p.prompt.lower().strip() for p in split.train} & {p.prompt.lower() for p in split.holdout}) == 0
        assert split.removed_duplicates == (len(split.train) == 1 and split.train[0].answer == "3")


@pytest.mark.parametrize("rows", [50, 51, 1000])
def test_holding_out_everything_is_refused_with_the_numbers(rows):
    with pytest.raises(InvalidDataError, match=rf"holdout.rows {rows} of 50 distinct problems"):
        hold_out(PROBLEMS, rows, 0, "rows")


def test_a_split_that_overlaps_cannot_be_made():
    with pytest.raises(InvalidDataError, match="1 prompts are both trained on and held out"):
        Split(PROBLEMS[:5], PROBLEMS[4:9])
