import random
import re
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.data.encode import encode
from igpo_trainer.data.word_problems import generate
from igpo_trainer.igpo.hints import build_hint, cut_chunks
from igpo_trainer.models.scratch import word_tokenizer
from igpo_trainer.spec.dataset import Difficulty, PromptSpec, WordProblems
from igpo_trainer.spec.igpo import ChunkTokens, HintsSpec, InjectionRatio


@given(tokens=st.integers(0, 300), low=st.integers(1, 10), extra=st.integers(0, 10), seed=st.integers(0, 99))
def test_chunks_tile_the_trace_and_only_the_last_may_be_short(tokens, low, extra, seed):
    chunks = cut_chunks(tokens, ChunkTokens(min=low, max=low + extra), random.Random(seed))
    assert [i for chunk in chunks for i in chunk] == list(range(tokens))
    assert all(low <= len(chunk) <= low + extra for chunk in chunks[:-1])
    assert all(1 <= len(chunk) <= low + extra for chunk in chunks[-1:])


@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.29, 0.5, 1.0])
def test_exactly_the_floor_of_eta_n_chunks_are_shown_eq_4(encode_words, ratio):
    encoded = encode_words(" ".join("abcdefghij" * 10), "99")
    spec = HintsSpec(chunk_tokens=ChunkTokens(min=1, max=1), injection_ratio=InjectionRatio(min=ratio, max=ratio))
    hint = build_hint(encoded, 100, spec, random.Random(1))
    assert (hint.chunks, len(hint.tokens)) == (100, round(ratio * 100))


def test_hints_stand_at_their_reference_index_eq_4(encode_words):
    encoded = encode_words(" ".join(f"w{i}" for i in range(50)), "none of these")
    hint = build_hint(encoded, 30, HintsSpec(), random.Random(3))
    assert hint.tokens
    assert all(token == encoded.trace_ids[index] and index < 30 for index, token in hint.tokens.items())


def test_each_rollout_draws_its_own_eta(encode_words):
    encoded = encode_words("a b c", "9")
    ratios = {build_hint(encoded, 8, HintsSpec(), random.Random(seed)).ratio for seed in range(50)}
    assert len(ratios) == 50
    assert all(0.2 <= ratio <= 0.6 for ratio in ratios)


def test_a_trace_that_is_only_its_answer_gives_an_empty_hint(encode_words):
    encoded = encode_words(r"\boxed{ 7 }", "7")
    spec = HintsSpec(injection_ratio=InjectionRatio(min=1, max=1))
    assert build_hint(encoded, 24, spec, random.Random(0)).tokens == {}


def test_the_statement_rule_shows_the_answer_inside_the_reasoning(encode_words):
    encoded = encode_words(r"4 + 3 = 7 \boxed{ 7 }", "7")
    everything = InjectionRatio(min=1, max=1)
    narrow = build_hint(
        encoded, 24, HintsSpec(injection_ratio=everything, exclude_answer="Statement"), random.Random(0)
    )
    wide = build_hint(encoded, 24, HintsSpec(injection_ratio=everything), random.Random(0))
    assert set(narrow.tokens) == {0, 1, 2, 3, 4}
    assert set(wide.tokens) == {0, 1, 2, 3}


def test_the_answer_is_never_readable_in_the_hints_of_10000_generated_traces():
    tokenizer, spec = word_tokenizer(), HintsSpec(chunk_tokens=ChunkTokens(min=2, max=3))
    options = WordProblems(rows=10_000, difficulties=tuple(Difficulty(steps=k, share=1) for k in (2, 3, 4)))
    shown = 0
    for row, problem in enumerate(generate(options, split="train", rows=10_000, seed=5)):
        encoded = encode(problem, tokenizer, PromptSpec())
        hint = build_hint(encoded, 24, spec, random.Random(row))
        canvas = [hint.tokens.get(i) for i in range(24)]
        text = " ".join("|" if t is None else tokenizer.convert_ids_to_tokens(t) for t in canvas)
        assert Fraction(problem.answer) not in [Fraction(n) for n in re.findall(r"\d+", text)], (problem, text)
        assert tokenizer.eos_token_id not in hint.tokens.values()
        shown += len(hint.tokens)
    assert shown > 30_000
