import random
import re
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igpo_trainer.igpo.answer_guard import guarded_tokens, hide_readable_answer, numeric_value, visible_runs


def numbers_a_reader_sees(encoded, visible):
    """Independent reading: the canvas as text with a bar at every mask, numbers picked out by a plain scan."""
    text = "".join(
        encoded.problem.trace[begin:end] if index in visible else "|"
        for index, (begin, end) in enumerate(encoded.trace_spans)
    )
    return [Fraction(match.replace(",", "")) for match in re.findall(r"\d[\d,]*(?:\.\d+)?", text)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1,000", 1000),
        ("1000.0", 1000),
        ("-7", 7),
        ("$3.50", Fraction(7, 2)),
        ("7/8", Fraction(7, 8)),
        (r"\frac{7}{8}", Fraction(7, 8)),
    ],
)
def test_numbers_are_read_by_value(text, value):
    assert numeric_value(text) == value


@pytest.mark.parametrize("text", ["blue", "2\\sqrt{3}", "", "1/0", "x=2"])
def test_what_is_no_plain_number_has_no_value(text):
    assert numeric_value(text) is None


def test_every_occurrence_of_the_answer_is_guarded_anywhere(encode_words):
    encoded = encode_words(r"2 + 3 = 5 then 5 - 0 = 5 \boxed{ 5 }", "5")
    words = encoded.problem.trace.split()
    assert guarded_tokens(encoded, "Anywhere") == {i for i, w in enumerate(words) if w in {"5", r"\boxed{", "}"}}


def test_only_the_last_box_is_guarded_as_the_statement(encode_words):
    encoded = encode_words(r"2 + 3 = 5 \boxed{ 5 }", "5")
    assert guarded_tokens(encoded, "Statement") == {5, 6, 7}


def test_without_a_box_the_last_occurrence_is_the_statement(encode_words):
    encoded = encode_words("5 and 3 make 8 so 8", "8")
    assert guarded_tokens(encoded, "Statement") == {6}


def test_equal_numbers_are_guarded_in_every_spelling(encode_words):
    encoded = encode_words("1,000 or 1000.0 or 1000 or 100", "1000")
    assert guarded_tokens(encoded, "Anywhere") == {0, 2, 4}


def test_an_answer_in_words_is_guarded_verbatim_whatever_its_case(encode_words):
    encoded = encode_words("the sky is Blue so blue", "blue")
    assert guarded_tokens(encoded, "Anywhere") == {3, 5}


def test_a_number_cut_at_a_chunk_edge_leaves_the_hint_whole(encode_pieces):
    encoded = encode_pieces("12345 apples", "99", widest=1)
    assert hide_readable_answer(encoded, range(3, 9), "Anywhere") == frozenset(range(5, 9))


def test_digits_behind_a_full_stop_are_read_as_a_number_of_their_own_too(encode_pieces):
    encoded = encode_pieces("12.50.10", "10", widest=1)
    assert hide_readable_answer(encoded, range(8), "Anywhere") == frozenset(range(5))


def test_hiding_is_the_identity_when_nothing_gives_the_answer_away(encode_words):
    encoded = encode_words("3 + 4 = 7 - 2 = 5", "9")
    assert hide_readable_answer(encoded, range(9), "Anywhere") == frozenset(range(9))


def test_visible_runs_are_the_maximal_ranges():
    assert list(visible_runs([4, 0, 1, 2, 6, 5])) == [range(3), range(4, 7)]
    assert list(visible_runs([])) == []


@settings(max_examples=300, deadline=None)
@given(
    words=st.lists(
        st.one_of(
            st.integers(0, 120).map(str),
            st.sampled_from(["1,000", "12.50", "$7", "50%", "=", "+", "apples", ".", "-5", "3/4", ",", "x2y"]),
        ),
        min_size=1,
        max_size=25,
    ),
    answer=st.one_of(st.integers(0, 120).map(str), st.sampled_from(["1000", "12.5", "7", "2"])),
    shown=st.randoms(use_true_random=False),
    glue=st.sampled_from([" ", ""]),
    widest=st.integers(1, 4),
)
def test_no_reader_of_the_canvas_finds_the_answers_value(words, answer, shown, glue, widest):
    trace = glue.join(words)
    spans, start, rng = [], 0, random.Random(shown.random())
    while start < len(trace):
        spans.append((start, min(len(trace), start + rng.randint(1, widest))))
        start = spans[-1][1]
    from igpo_trainer.data.problem import EncodedProblem, Problem

    encoded = EncodedProblem(Problem("k", "q", trace, answer), (1,), tuple(range(len(spans))), tuple(spans))
    visible = hide_readable_answer(encoded, [i for i in range(len(spans)) if rng.random() < 0.7], "Anywhere")
    assert Fraction(answer) not in numbers_a_reader_sees(encoded, visible)
