import pytest
from gsm8k_parts.hints import audit_hints, cut_numbers
from gsm8k_parts.tokenizer import trained

from igpo_trainer.data.problem import EncodedProblem, Problem, problem_key

TRACES = [
    (f"Tom has {n} + 9 = {n + 9} pens.\nHe sells 3 of them: {n + 9} - 3 = {n + 6}, so {n + 6} are left.", n + 6)
    for n in range(190, 230)
]


@pytest.fixture(scope="module")
def tokenizer():
    return trained(trace for trace, _ in TRACES)


@pytest.fixture(scope="module")
def encoded(tokenizer):
    found = []
    for trace, answer in TRACES:
        written = rf"{trace} \boxed{{{answer}}}"
        tokens = tokenizer(written, add_special_tokens=False, return_offsets_mapping=True)
        problem = Problem(problem_key(trace, str(answer)), "q", written, str(answer))
        found.append(EncodedProblem(problem, (0,), tuple(tokens["input_ids"]), tuple(tokens["offset_mapping"])))
    return found


def figures(encoded, tokenizer, rule):
    ticks = []
    found = audit_hints(encoded, tokenizer, rule, canvas=64, draws=3, advance=ticks.append)
    assert sum(ticks) == len(encoded)
    return found


def test_nothing_leaks_when_the_answer_is_excluded_anywhere(encoded, tokenizer):
    found = figures(encoded, tokenizer, "Anywhere")
    assert (found.canvases, found.leaks, found.cut_numbers) == (160, 0, 0)
    assert 0 < found.hintable_tokens < found.trace_tokens


def test_the_search_finds_what_the_narrower_rule_shows(encoded, tokenizer):
    found = figures(encoded, tokenizer, "Statement")
    assert found.leaks > 40
    assert found.examples
    assert found.as_json()["hintable_share"] > figures(encoded, tokenizer, "Anywhere").as_json()["hintable_share"]


def test_the_search_finds_what_no_guard_hides(encoded, tokenizer, monkeypatch):
    monkeypatch.setattr("igpo_trainer.igpo.hints.hide_readable_answer", lambda _, shown, __: frozenset(shown))
    found = figures(encoded, tokenizer, "Anywhere")
    assert found.leaks > 40
    assert found.cut_numbers > 0
    assert found.hintable_tokens == found.trace_tokens


def test_a_number_shown_in_part_is_counted_once():
    problem = Problem("k", "q", "12,345 and 67", "0")
    encoded = EncodedProblem(problem, (0,), (1, 2, 3, 4, 5), ((0, 2), (2, 3), (3, 6), (6, 11), (11, 13)))
    assert cut_numbers(encoded, [0, 1, 2, 4]) == 0
    assert cut_numbers(encoded, [0, 3]) == 1
    assert cut_numbers(encoded, [1]) == 1
    assert cut_numbers(encoded, []) == 0
