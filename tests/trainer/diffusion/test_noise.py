"""Keyed randomness."""

import math
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from igpo_trainer.diffusion.noise import NoiseKey

KEY = NoiseKey(7, "rollout", 3, 11, 2)


def test_equal_keys_and_salts_draw_equal_numbers() -> None:
    again = NoiseKey(7, "rollout", 3, 11, 2)
    assert torch.equal(torch.rand(50, generator=KEY.generator(4)), torch.rand(50, generator=again.generator(4)))
    assert KEY.random(4).random() == again.random(4).random()


@pytest.mark.parametrize(
    "other", [{"seed": 8}, {"purpose": "hints"}, {"cycle": 4}, {"prompt": 12}, {"sample": 3}, {"seed": -7}]
)
def test_every_part_of_the_key_counts(other) -> None:
    key = replace(KEY, **other)
    assert not torch.equal(torch.rand(50, generator=KEY.generator(4)), torch.rand(50, generator=key.generator(4)))
    assert KEY.random().random() != key.random().random()


def test_salts_are_streams_of_their_own() -> None:
    salts = [(), (0,), (1,), (0, 0), (0, 1), (1, 0)]
    assert len({KEY.random(*salt).random() for salt in salts}) == len(salts)
    assert len({KEY.generator(*salt).initial_seed() for salt in salts}) == len(salts)


def test_no_two_keys_of_a_run_share_a_seed() -> None:
    keys = [
        NoiseKey(0, "rollout", cycle, prompt, index) for cycle in range(9) for prompt in range(9) for index in range(9)
    ]
    assert len({key.generator(step).initial_seed() for key in keys for step in range(9)}) == 9**4


def test_the_global_stream_is_neither_read_nor_moved() -> None:
    torch.manual_seed(1)
    first = torch.rand(5, generator=KEY.generator())
    expected = torch.rand(5)
    torch.manual_seed(2)
    assert torch.equal(torch.rand(5, generator=KEY.generator()), first)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(5), expected)


def test_streams_are_the_same_in_another_process() -> None:
    code = (
        "from igpo_trainer.diffusion.noise import NoiseKey\n"
        "key = NoiseKey(7, 'rollout', 3, 11, 2)\n"
        "print(key.generator(4).initial_seed(), key.random(4).getrandbits(64))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.split() == [str(KEY.generator(4).initial_seed()), str(KEY.random(4).getrandbits(64))]


def test_uniforms_of_many_keys_are_uniform() -> None:
    draws = torch.cat([torch.rand(8, generator=replace(KEY, sample=index).generator()) for index in range(4000)])
    counts = torch.histc(draws, bins=16, min=0, max=1)
    expected = len(draws) / 16
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert chi_square < 15 + 5 * math.sqrt(2 * 15)
