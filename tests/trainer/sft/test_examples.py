import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from igpo_trainer.data.problem import EncodedProblem, Problem
from igpo_trainer.diffusion.noise import NoiseKey
from igpo_trainer.models.tokens import SpecialTokens
from igpo_trainer.sft.examples import canvas_of, corrupt, noise_of_long_rows, noise_of_step

L = 12
TOKENS = SpecialTokens(mask_id=99, eos_id=1, pad_id=0, banned_ids=(99,))


def example(prompt, trace):
    spans = tuple((i, i + 1) for i in range(trace))
    return EncodedProblem(
        Problem("k", "q", "t", "a"), tuple(range(10, 10 + prompt)), tuple(range(40, 40 + trace)), spans
    )


def batch_of(seed, count=5):
    rng = random.Random(seed)
    return [example(rng.randint(1, 7), rng.randint(1, L - 1)) for _ in range(count)]


def test_the_canvas_is_the_trace_an_end_token_and_a_tail_of_end_tokens():
    assert canvas_of(example(2, 3), 6, 1) == [40, 41, 42, 1, 1, 1]
    assert canvas_of(example(2, 5), 6, 1) == [40, 41, 42, 43, 44, 1]


@pytest.mark.parametrize("trace", [6, 9])
def test_a_trace_without_room_for_its_end_token_is_refused(trace):
    with pytest.raises(ValueError, match=f"a trace of {trace} tokens leaves no end token on a canvas of 6"):
        canvas_of(example(2, trace), 6, 1)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_prompts_stay_clean_and_exactly_the_drawn_positions_are_masked(seed):
    examples = batch_of(seed)
    level_B, mask_BL = noise_of_step(NoiseKey(seed, "sft", 1, 0, 0), len(examples), L)
    batch = corrupt(examples, (level_B, mask_BL), L, TOKENS)
    width = max(len(e.prompt_ids) for e in examples)
    scored = set()
    for row, column, token, level in zip(
        batch.rows_M.tolist(),
        batch.columns_M.tolist(),
        batch.tokens_M1[:, 0].tolist(),
        batch.level_M.tolist(),
        strict=True,
    ):
        assert token == canvas_of(examples[row], L, TOKENS.eos_id)[column - width]
        assert level == level_B[row]
        scored.add((row, column - width))
    for b, one in enumerate(examples):
        pad = width - len(one.prompt_ids)
        assert batch.ids_BS[b].tolist()[:width] == [TOKENS.pad_id] * pad + list(one.prompt_ids)
        assert batch.attention_BS[b].tolist() == [0] * pad + [1] * (width - pad + L)
        for k, clean in enumerate(canvas_of(one, L, TOKENS.eos_id)):
            assert ((b, k) in scored) == bool(mask_BL[b, k])
            assert batch.ids_BS[b, width + k] == (TOKENS.mask_id if mask_BL[b, k] else clean)


def test_a_rows_corruption_does_not_depend_on_who_shares_its_micro_batch():
    examples = batch_of(3)
    level_B, mask_BL = noise_of_step(NoiseKey(3, "sft", 1, 0, 0), 5, L)
    whole = corrupt(examples, (level_B, mask_BL), L, TOKENS)
    part = corrupt([examples[2]], (level_B[[2]], mask_BL[[2]]), L, TOKENS)
    assert torch.equal(part.tokens_M1, whole.tokens_M1[whole.rows_M == 2])
    assert torch.equal(part.ids_BS[0, -L:], whole.ids_BS[2, -L:])


def test_the_end_tail_is_learnt_too():
    level_B, mask_BL = torch.ones(1, dtype=torch.float64), torch.ones(1, L, dtype=torch.bool)
    batch = corrupt([example(2, 3)], (level_B, mask_BL), L, TOKENS)
    assert batch.tokens_M1[:, 0].tolist() == [40, 41, 42] + [TOKENS.eos_id] * (L - 3)
    assert batch.to(torch.device("cpu")).ids_BS.tolist() == batch.ids_BS.tolist()


def test_every_update_draws_noise_of_its_own_and_the_same_again_on_resume():
    first, again, second = (noise_of_step(NoiseKey(0, "sft", step, 0, 0), 8, L) for step in (1, 1, 2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[1], second[1])


def test_a_long_rows_noise_depends_on_its_place_and_step_and_on_nothing_else():
    key, other = (NoiseKey(0, "sft", step, 0, 0) for step in (1, 2))
    level_B, mask_BL = noise_of_step(key, 8, L)
    level_R, mask_RL = noise_of_long_rows(key, level_B, [2, 5, 6], 400)
    assert level_R.tolist() == level_B[[2, 5, 6]].tolist()
    for place, row in enumerate((2, 5, 6)):
        (level,), (mask_L,) = noise_of_long_rows(key, level_B, [row], 400)
        assert (level, mask_L.tolist()) == (level_B[row], mask_RL[place].tolist())
        assert not torch.equal(mask_L[:L], mask_BL[row])
        assert float(mask_L.double().mean()) == pytest.approx(float(level), abs=0.1)
        assert not torch.equal(mask_L, noise_of_long_rows(other, level_B, [row], 400)[1][0])
    assert not torch.equal(noise_of_long_rows(key, level_B[[2, 2]], [0, 1], 400)[1][0], mask_RL[0])
