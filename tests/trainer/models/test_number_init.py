import cmath
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from igpo_trainer.models.number_init import PERIODS, SCALE, add_number_features, fourier_features


def plain_features(number):
    waves = [cmath.exp(2j * math.pi * number / period) for period in PERIODS]
    return [w.real for w in waves] + [w.imag for w in waves] + [number / 25 - 0.5]


@given(number=st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_features_equal_an_independent_complex_computation(number):
    features_F = fourier_features(torch.tensor([number]))[0]
    assert features_F.tolist() == pytest.approx(plain_features(number), abs=1e-6)


def test_all_numbers_below_one_hundred_have_different_features():
    features_NF = fourier_features(torch.arange(100))
    distances_NN = torch.cdist(features_NF, features_NF) + 10 * torch.eye(100)
    assert distances_NN.min() > 0.05


def test_adding_a_period_leaves_its_waves_as_they_were():
    for index, period in enumerate(PERIODS):
        before, after = fourier_features(torch.tensor([7, 7 + period]))
        for wave in (index, index + len(PERIODS)):
            assert float(before[wave]) == pytest.approx(float(after[wave]), abs=1e-6)


def test_both_tables_get_the_same_projected_features_on_number_rows_alone():
    embed_VD, head_VD = torch.zeros(6, 8), torch.ones(6, 8)
    add_number_features((embed_VD, head_VD), {2: 13, 4: 7}, torch.Generator().manual_seed(0))
    projection_FD = torch.randn(15, 8, generator=torch.Generator().manual_seed(0)).double()
    expected_D = SCALE * torch.tensor(plain_features(13), dtype=torch.float64) @ projection_FD
    torch.testing.assert_close(embed_VD[2].double(), expected_D, atol=1e-5, rtol=0)
    torch.testing.assert_close(embed_VD[[2, 4]], head_VD[[2, 4]] - 1, atol=1e-6, rtol=0)
    assert torch.equal(embed_VD[[0, 1, 3, 5]], torch.zeros(4, 8))
    assert torch.equal(head_VD[[0, 1, 3, 5]], torch.ones(4, 8))
