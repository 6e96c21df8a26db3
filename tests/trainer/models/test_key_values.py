"""Windows of a canvas that read the rest from a store, against forwards over whole canvases."""

import pytest
import torch

from igpo_trainer.models.denoiser import Denoiser
from igpo_trainer.models.lora import add_lora
from igpo_trainer.spec.model import LoraSpec

CANVAS, PADS = 8, (0, 3, 1)
"""Columns that every row may have a window in; pads before each row's prompt."""


def padded_rows(width=14):
    """Three left-padded rows that end in the last column."""
    ids = torch.randint(4, 38, (3, width), generator=torch.Generator().manual_seed(1))
    attention = torch.arange(width) >= torch.tensor(PADS)[:, None]
    return ids.masked_fill(~attention, 2), attention


def everywhere(starts, length):
    """(rows_M, columns_M) of every column of every window."""
    columns = torch.tensor(starts)[:, None] + torch.arange(length)
    return torch.arange(len(starts)).repeat_interleave(length), columns.flatten()


@pytest.mark.parametrize("slots", [(0, 1, 2), (2, 0, 3)], ids=["all slots in order", "some slots"])
@pytest.mark.parametrize("logit_shift", [False, True])
@pytest.mark.parametrize("attention_kernel", ["eager", "sdpa"])
def test_a_window_of_unchanged_canvases_gives_what_the_whole_canvases_give(tiny, slots, logit_shift, attention_kernel):
    lm = tiny.lm(attn_implementation=attention_kernel).double()
    denoiser = Denoiser(lm, tiny.tokens, logit_shift=logit_shift)
    ids, attention = padded_rows()
    stored = denoiser.key_values(max(slots) + 1, ids.shape[1] + 2)
    places = everywhere((6, 6, 6), CANVAS)
    whole = denoiser.logits_keeping(stored, slots, (0, 1, 2), ids, attention, *places)
    assert torch.equal(whole, denoiser.logits_at(ids, attention, *places))
    for starts, length in (((6, 6, 6), CANVAS), ((6, 9, 11), 3), ((13, 10, 12), 1)):
        places = everywhere(starts, length)
        window = denoiser.logits_reading(stored, slots, torch.tensor(starts), length, ids, attention, *places)
        torch.testing.assert_close(window, denoiser.logits_at(ids, attention, *places), rtol=0, atol=1e-10)


def test_a_window_sees_its_own_new_tokens_and_the_old_ones_elsewhere(tiny):
    denoiser = Denoiser(tiny.lm().double(), tiny.tokens)
    ids, attention = padded_rows()
    stored = denoiser.key_values(3, ids.shape[1])
    places = everywhere((9, 9, 9), 2)
    denoiser.logits_keeping(stored, (0, 1, 2), (0, 1, 2), ids, attention, *places)

    def window(changed):
        return denoiser.logits_reading(stored, (0, 1, 2), torch.tensor([9, 9, 9]), 2, changed, attention, *places)

    before = window(ids)
    outside = ids.clone()
    outside[:, [7, 12]] = 5
    assert torch.equal(window(outside), before)
    inside = ids.clone()
    inside[:, 10] = torch.where(ids[:, 10] == 5, 6, 5)
    difference = (window(inside) - before)[:, :3].abs().amax(dim=1)
    assert bool((difference > 1e-4).all())
    assert torch.equal(window(ids), before), "what a window writes is gone with the next one"


def test_slots_may_share_a_lane_and_batches_may_differ_in_width(tiny):
    denoiser = Denoiser(tiny.lm().double(), tiny.tokens)
    ids, attention = padded_rows()
    stored = denoiser.key_values(4, ids.shape[1])
    places = everywhere((6, 6, 6), CANVAS)
    denoiser.logits_keeping(stored, (3, 1), (0, 0), ids[:1], attention[:1], *everywhere((6,), 1))
    denoiser.logits_keeping(stored, (2,), (0,), ids[1:2, 3:], attention[1:2, 3:], *everywhere((3,), 1))
    batch = torch.tensor([0, 1, 0])
    got = denoiser.logits_reading(
        stored, (3, 2, 1), torch.tensor([6, 6, 6]), CANVAS, ids[batch], attention[batch], *places
    )
    expected = denoiser.logits_at(ids[batch], attention[batch], *places)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)


def test_a_model_under_adapters_in_bf16_reads_its_own_states(tiny):
    lm = add_lora(tiny.lm(), LoraSpec(rank=4, alpha=8.0), seed=0)
    with torch.no_grad():
        for name, weight in lm.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.3, generator=torch.Generator().manual_seed(len(name)))
    denoiser = Denoiser(lm.eval(), tiny.tokens, precision="BF16")
    ids, attention = padded_rows()
    stored = denoiser.key_values(3, ids.shape[1])
    places = everywhere((8, 8, 8), 4)
    whole = denoiser.logits_keeping(stored, (0, 1, 2), (0, 1, 2), ids, attention, *places)
    window = denoiser.logits_reading(stored, (0, 1, 2), torch.tensor([8, 8, 8]), 4, ids, attention, *places)
    usable = whole.isfinite()
    torch.testing.assert_close(window[usable], whole[usable], rtol=0, atol=0.15)
