"""Gumbel-max draws, confidences and what is kept."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.diffusion.noise import NoiseKey
from igpo_trainer.diffusion.selection import Draw, choose_tokens, keep_best


def draws_of(count: int, masked: int) -> list[Draw]:
    return [Draw(NoiseKey(0, "rollout", 0, 0, index), 0, masked) for index in range(count)]


@pytest.mark.parametrize("noise_dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_tokens_follow_the_softmax_at_the_temperature(noise_dtype, temperature) -> None:
    logits_V = torch.tensor([2.0, 1.0, 0.0, -1.0, -3.0, float("-inf")])
    expected_V = (logits_V.double() / temperature).softmax(-1) * 20000
    tokens, _ = choose_tokens(logits_V.repeat(20000, 1), draws_of(500, 40), temperature, "LowConfidence", noise_dtype)
    counts_V = torch.bincount(tokens, minlength=6).double()
    assert counts_V[5] == 0
    chi_square = float(((counts_V - expected_V)[:5] ** 2 / expected_V[:5]).sum())
    assert chi_square < 4 + 5 * (2 * 4) ** 0.5


def test_confidence_is_the_chosen_tokens_log_probability_without_noise_and_temperature() -> None:
    logits_MV = torch.randn(12, 9, generator=NoiseKey(0, "logits", 0, 0, 0).generator(), dtype=torch.float64)
    tokens, confidence = choose_tokens(logits_MV, draws_of(3, 4), 1.5, "LowConfidence", torch.float64)
    expected = logits_MV.softmax(-1)[range(12), tokens].log()
    torch.testing.assert_close(confidence, expected, rtol=0, atol=1e-12)
    assert not torch.equal(tokens, logits_MV.argmax(-1))


def test_half_precision_logits_are_scored_in_the_noise_precision() -> None:
    logits_MV = torch.zeros(4, 9, dtype=torch.bfloat16)
    _, confidence = choose_tokens(logits_MV, draws_of(1, 4), 1.0, "LowConfidence", torch.float32)
    assert confidence.dtype == torch.float32
    torch.testing.assert_close(confidence, torch.full((4,), 1 / 9).log())


def test_ties_go_to_the_lowest_index_in_wide_blocks_too() -> None:
    kept = keep_best(torch.zeros(3, 4096), torch.tensor([1, 700, 4096]))
    for chosen, quota in zip(kept, (1, 700, 4096), strict=True):
        assert chosen.nonzero().squeeze(1).tolist() == list(range(quota))


@given(st.data())
def test_the_most_confident_are_kept_and_ties_go_to_the_lowest_index(data: st.DataObject) -> None:
    length = data.draw(st.integers(1, 12))
    score = st.sampled_from([-float("inf"), -2.0, -1.0, -0.5, 0.0])
    rows = data.draw(st.lists(st.lists(score, min_size=length, max_size=length), min_size=1, max_size=4))
    quotas = [data.draw(st.integers(0, length)) for _ in rows]
    kept = keep_best(torch.tensor(rows), torch.tensor(quotas))
    for scores, quota, chosen in zip(rows, quotas, kept.tolist(), strict=True):
        ranked = sorted(range(length), key=lambda index: (-scores[index], index))
        assert [index for index, keep in enumerate(chosen) if keep] == sorted(ranked[:quota])
