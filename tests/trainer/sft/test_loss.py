import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.sft.loss import masked_cross_entropy


@given(st.integers(1, 5), st.integers(1, 9), st.integers(0, 1000))
def test_the_loss_is_cross_entropy_over_p_t_by_plain_loops_in_fp64_eq_1(rows, canvas, seed):
    g = torch.Generator().manual_seed(seed)
    probability_BL = torch.rand(rows, canvas, generator=g, dtype=torch.float64) * 0.98 + 0.01
    level_B = torch.rand(rows, generator=g, dtype=torch.float64) * 0.9 + 0.1
    mask_BL = torch.rand(rows, canvas, generator=g, dtype=torch.float64) < level_B[:, None]
    expected = 0.0
    for b in range(rows):
        for k in range(canvas):
            if mask_BL[b, k]:
                expected -= math.log(float(probability_BL[b, k])) / float(level_B[b])
    expected /= rows * canvas
    where_M, _ = mask_BL.nonzero(as_tuple=True)
    found = masked_cross_entropy(probability_BL[mask_BL].log(), level_B[where_M], canvas, rows)
    assert float(found) == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_partial_sums_of_a_batch_add_up_to_its_loss():
    logp_M, level_M = -torch.rand(10, dtype=torch.float64), torch.rand(10, dtype=torch.float64) + 0.1
    whole = masked_cross_entropy(logp_M, level_M, 7, 4)
    parts = [masked_cross_entropy(logp_M[a:b], level_M[a:b], 7, 4) for a, b in ((0, 3), (3, 3), (3, 10))]
    assert float(sum(parts)) == pytest.approx(float(whole), rel=1e-12)


def test_the_loss_is_unbiased_a_uniform_guess_costs_log_v_a_token():
    canvas, rows = 400, 50
    g = torch.Generator().manual_seed(0)
    level_B = (torch.arange(rows) + torch.rand(rows, generator=g, dtype=torch.float64)) / rows
    mask_BL = torch.rand(rows, canvas, generator=g, dtype=torch.float64) < level_B[:, None]
    where_M, _ = mask_BL.nonzero(as_tuple=True)
    logp_M = torch.full((len(where_M),), -math.log(50.0), dtype=torch.float64)
    assert float(masked_cross_entropy(logp_M, level_B[where_M], canvas, rows)) == pytest.approx(math.log(50), rel=0.03)


def test_without_a_masked_position_the_loss_is_0_and_keeps_the_precision():
    empty = torch.zeros(0, dtype=torch.float32)
    loss = masked_cross_entropy(empty, torch.zeros(0, dtype=torch.float64), 5, 2)
    assert (float(loss), loss.dtype) == (0.0, torch.float32)
