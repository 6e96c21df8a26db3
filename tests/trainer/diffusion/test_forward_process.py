import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.diffusion.forward_process import SMALLEST_LEVEL, draw_masks, mask_levels
from igpo_trainer.diffusion.noise import NoiseKey


def key(seed, step=1):
    return NoiseKey(seed, "sft", step, 0, 0)


@given(st.integers(0, 10_000), st.integers(1, 64))
def test_every_stratum_has_exactly_one_level(seed, batch_size):
    level_B = mask_levels(key(seed), batch_size)
    assert level_B.dtype == torch.float64
    uniform_B = (level_B - SMALLEST_LEVEL) / (1 - SMALLEST_LEVEL)
    # The end of a stratum may round onto the next one's start: compare in its middle.
    strata = ((uniform_B * batch_size) - 1e-9).clamp(min=0).floor().long()
    assert sorted(strata.tolist()) == list(range(batch_size))
    assert ((level_B >= SMALLEST_LEVEL) & (level_B <= 1.0)).all()


def test_rows_do_not_keep_their_stratum_from_step_to_step():
    orders = {tuple(mask_levels(key(0, step), 8).argsort().tolist()) for step in range(20)}
    assert len(orders) == 20


@given(st.integers(0, 10_000))
def test_levels_and_masks_are_a_function_of_the_key(seed):
    level_B = mask_levels(key(seed), 6)
    assert torch.equal(level_B, mask_levels(key(seed), 6))
    assert torch.equal(draw_masks(key(seed), level_B, 9), draw_masks(key(seed), level_B, 9))
    assert not torch.equal(level_B, mask_levels(key(seed, 2), 6))


def test_positions_are_masked_independently_with_probability_t():
    level_B = torch.tensor([0.001, 0.1, 0.5, 0.9, 1.0], dtype=torch.float64)
    masks = torch.stack([draw_masks(key(seed), level_B, 500) for seed in range(40)]).double()
    assert masks.mean(dim=(0, 2)).tolist() == pytest.approx(level_B.tolist(), abs=0.01)
    assert masks[:, 4].all()
    neighbours = torch.corrcoef(torch.stack([masks[:, 2, :-1].flatten(), masks[:, 2, 1:].flatten()]))[0, 1]
    assert abs(float(neighbours)) < 0.03


def test_stratified_levels_have_the_mean_of_the_uniform_and_far_less_variance():
    means = torch.stack([mask_levels(key(seed), 16).mean() for seed in range(300)])
    assert float(means.mean()) == pytest.approx(0.5005, abs=0.003)
    assert float(means.var()) < (1 / 12 / 16) / 50
