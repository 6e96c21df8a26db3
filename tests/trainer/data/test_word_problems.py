import re
from collections import Counter
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igpo_trainer.data import word_problems
from igpo_trainer.data.problem import problem_key
from igpo_trainer.data.word_problems import generate, structure, structures
from igpo_trainer.models.scratch import word_tokenizer
from igpo_trainer.spec.dataset import Difficulty, WordProblems
from igpo_trainer.spec.errors import InvalidDataError

CANVAS = 24
RL_MIX = tuple(Difficulty(steps=k, share=share) for k, share in ((2, 0.10), (3, 0.35), (4, 0.55)))
STEP = re.compile(r"(\d+) ([-+*]) (\d+) = (\d+)")


@pytest.fixture(scope="module")
def tokenizer():
    return word_tokenizer()


def problems(rows, *, split="train", seed=0, **options):
    return list(generate(WordProblems(**options), split=split, rows=rows, seed=seed))


def evaluate_question(prompt):
    """The answer, read from the question's sentences alone."""
    _name, has, total, *_ = prompt.split()
    assert has == "has"
    total = int(total)
    for sentence in prompt.split(" . ")[1:-1]:
        _, verb, what = sentence.split()
        if verb in {"doubles", "triples"}:
            total *= 2 if verb == "doubles" else 3
        elif verb in {"buys", "finds", "gets", "wins"}:
            total += int(what)
        elif verb in {"loses", "eats", "sells", "drops"}:
            total -= int(what)
    return str(total)


@given(
    seed=st.integers(0, 2**31 - 1),
    split=st.sampled_from(["train", "heldout"]),
    style=st.sampled_from(["Concise", "Verbose"]),
)
@settings(max_examples=40, deadline=None)
def test_the_answer_follows_from_the_question_and_ends_the_trace(seed, split, style):
    for problem in problems(20, split=split, seed=seed, style=style):
        assert problem.answer == evaluate_question(problem.prompt)
        assert problem.trace.endswith(f"\\boxed{{ {problem.answer} }}")
        assert problem.key == problem_key(problem.prompt, problem.answer)


@given(seed=st.integers(0, 2**31 - 1))
@settings(max_examples=40, deadline=None)
def test_every_step_of_a_worked_out_trace_is_true_and_goes_on_from_the_last(seed):
    for problem in problems(20, seed=seed):
        body = problem.trace.split(" \\boxed")[0]
        total = body.split()[0]
        rest = body.removeprefix(total)
        for sign, operand, result in re.findall(r" ([-+*]) (\d+) = (\d+)", rest):
            expected = {"+": int(total) + int(operand), "-": int(total) - int(operand), "*": int(total) * int(operand)}
            assert int(result) == expected[sign]
            assert 1 <= int(result) <= 24
            total = result
        assert total == problem.answer
        assert "".join(re.findall(r"[-+*]", body)) == structure(problem)


def test_no_structure_of_the_held_out_split_is_ever_trained_on():
    trained = {structure(p) for seed in range(3) for p in problems(8000, seed=seed)}
    held_out = {structure(p) for seed in range(3) for p in problems(2000, split="heldout", seed=seed)}
    assert trained.isdisjoint(held_out)
    assert trained == {s for k in (1, 2, 3, 4) for s in structures(k, "train")}
    assert held_out == {s for k in (2, 3, 4) for s in structures(k, "heldout")}


@pytest.mark.parametrize("steps", [2, 3, 4])
def test_a_fifth_of_the_structures_of_several_steps_is_held_out(steps):
    trained, held_out = structures(steps, "train"), structures(steps, "heldout")
    assert len(held_out) == round(0.2 * (len(trained) + len(held_out)))


def test_no_structure_of_one_step_is_held_out():
    assert structures(1, "train") == ("*", "+", "-")
    assert structures(1, "heldout") == ()


def test_the_split_of_structures_is_fixed_for_ever():
    assert structures(2, "heldout") == ("*+", "-*")
    assert structures(3, "heldout") == ("***", "*+-", "+++", "-+*", "-+-")
    assert len(structures(4, "heldout")) == 15


def test_the_same_seed_gives_the_same_problems_and_another_seed_others():
    assert problems(50, seed=7) == problems(50, seed=7)
    assert problems(50, seed=7) != problems(50, seed=8)


def test_fewer_rows_are_the_beginning_of_more_rows():
    options = WordProblems()
    many = list(generate(options, split="train", rows=500, seed=1))
    assert many[:60] == list(generate(options, split="train", rows=60, seed=1))
    assert many[:10] == list(islice(generate(options, split="train", rows=500, seed=1), 10))


def test_no_problem_comes_twice():
    keys = [p.key for p in problems(20_000)]
    assert len(set(keys)) == len(keys)


def test_more_rows_than_distinct_problems_are_refused(monkeypatch):
    for words in ("NAMES", "ITEMS", "FILLERS"):
        everyone = getattr(word_problems, words)
        monkeypatch.setattr(word_problems, words, dict([*everyone.items()][:1]) if words == "NAMES" else everyone[:1])
    options = WordProblems(difficulties=(Difficulty(steps=2, share=1.0),))
    with pytest.raises(InvalidDataError, match=r"50000 rows were asked for.*lower wordProblems\.rows"):
        list(generate(options, split="heldout", rows=50_000, seed=0))


def test_a_held_out_set_of_one_step_problems_alone_is_refused():
    options = WordProblems(difficulties=(Difficulty(steps=1, share=1.0),))
    with pytest.raises(InvalidDataError, match=r"only 1-step problems.*add a difficulty of 2, 3 or 4 steps"):
        next(generate(options, split="heldout", rows=1, seed=0))


def test_difficulties_come_in_their_shares():
    rows = 6000
    counts = Counter(p.difficulty for p in problems(rows, difficulties=RL_MIX))
    for difficulty in RL_MIX:
        spread = 4 * (difficulty.share * (1 - difficulty.share) / rows) ** 0.5
        assert abs(counts[f"{difficulty.steps} steps"] / rows - difficulty.share) < spread


def test_one_step_is_written_in_the_singular():
    assert {p.difficulty for p in problems(5, difficulties=(Difficulty(steps=1, share=1.0),))} == {"1 step"}


def test_traces_that_are_not_worked_out_state_the_answer_only():
    rows = 4000
    made = problems(rows, difficulties=(Difficulty(steps=3, share=1.0, worked_out=0.2),))
    shortcuts = sum(p.trace == f"\\boxed{{ {p.answer} }}" for p in made)
    assert abs(shortcuts / rows - 0.8) < 4 * (0.8 * 0.2 / rows) ** 0.5


def test_a_difficulty_that_is_never_worked_out_has_shortcuts_only():
    made = problems(200, difficulties=(Difficulty(steps=2, share=1.0, worked_out=0.0),))
    assert all(p.trace == f"\\boxed{{ {p.answer} }}" for p in made)


def test_every_question_has_the_same_number_of_tokens(tokenizer):
    assert {len(tokenizer(p.prompt)["input_ids"]) for p in problems(400)} == {24}


def test_numbers_keep_one_distance_from_question_to_trace(tokenizer):
    for problem in problems(300):
        question, trace = tokenizer.tokenize(problem.prompt), tokenizer.tokenize(problem.trace)
        assert trace[0] == question[2]
        for step, sign in enumerate(structure(problem)):
            said, shown = question[7 + 4 * step], trace[2 + 4 * step]
            assert shown == (str({"doubles": 2, "triples": 3}[question[6 + 4 * step]]) if sign == "*" else said)


def test_concise_traces_and_their_end_token_fit_the_canvas(tokenizer):
    assert max(len(tokenizer(p.trace)["input_ids"]) + 1 for p in problems(400)) <= CANVAS


def test_traces_of_the_rl_mix_make_at_least_four_chunks_of_at_most_three_tokens(tokenizer):
    shortest = min(len(tokenizer(p.trace)["input_ids"]) for p in problems(400, difficulties=RL_MIX))
    assert -(-shortest // 3) >= 4


def test_verbose_traces_average_about_one_and_a_half_canvases(tokenizer):
    lengths = [len(tokenizer(p.trace)["input_ids"]) for p in problems(1000, difficulties=RL_MIX, style="Verbose")]
    assert 1.3 <= sum(lengths) / len(lengths) / CANVAS <= 1.6


def test_verbose_traces_of_one_and_two_steps_still_fit_the_canvas(tokenizer):
    easy = tuple(Difficulty(steps=k, share=1.0) for k in (1, 2))
    made = problems(300, difficulties=easy, style="Verbose")
    assert max(len(tokenizer(p.trace)["input_ids"]) + 1 for p in made) <= CANVAS


def test_both_styles_ask_the_same_questions():
    concise, verbose = problems(100), problems(100, style="Verbose")
    assert [p.prompt for p in concise] == [p.prompt for p in verbose]
    assert all(STEP.search(p.trace) for p in concise)
