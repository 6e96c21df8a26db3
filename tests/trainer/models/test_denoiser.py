import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from igpo_trainer.models.denoiser import Denoiser
from igpo_trainer.models.load import recompute_activations
from igpo_trainer.models.lora import add_lora
from igpo_trainer.models.tokens import SpecialTokens
from igpo_trainer.spec.model import LoraSpec

USABLE = range(4, 38)
"""Ids of ordinary words."""


def rows_of_ids(rows=2, length=9, seed=1):
    stream = torch.Generator().manual_seed(seed)
    ids = torch.randint(USABLE.start, USABLE.stop, (rows, length), generator=stream)
    return ids, torch.ones_like(ids)


def at(*places):
    rows, columns = zip(*places, strict=True)
    return torch.tensor(rows), torch.tensor(columns)


def with_adapters(lm):
    model = add_lora(lm, LoraSpec(rank=4, alpha=8.0), seed=0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.normal_(std=0.3, generator=torch.Generator().manual_seed(len(name)))
    return model


@pytest.fixture(params=["plain", "adapters"])
def lm(request, tiny):
    lm = tiny.lm().double()
    return lm if request.param == "plain" else with_adapters(lm)


@pytest.mark.parametrize("attention", ["eager", "sdpa", "flex_attention"])
@pytest.mark.filterwarnings("ignore")  # torch.compile warns about itself when flex attention is first compiled
def test_the_first_token_sees_the_last_under_every_attention_kernel(tiny, attention):
    lm = tiny.lm()
    lm.set_attn_implementation(attention)
    denoiser = Denoiser(lm, tiny.tokens)
    ids, attention_mask = rows_of_ids()
    attention_mask[1, :3] = 0
    changed = ids.clone()
    changed[:, -1] = (changed[:, -1] - 3) % len(USABLE) + USABLE.start
    places = at((0, 0), (1, 3))
    before, after = (denoiser.logits_at(row, attention_mask, *places) for row in (ids, changed))
    difference = (before - after)[:, :3].abs().amax(dim=-1)
    assert bool((difference > 1e-3).all())
    reference = Denoiser(tiny.lm(attn_implementation="eager"), tiny.tokens).logits_at(ids, attention_mask, *places)
    torch.testing.assert_close(before, reference, rtol=0, atol=1e-4)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_left_padding_changes_nothing(tiny, lm, attention):
    denoiser = Denoiser(lm, tiny.tokens)
    denoiser.causal_lm.set_attn_implementation(attention)
    ids, attention_mask = rows_of_ids()
    tokens = torch.tensor([[5], [6], [7]])
    alone = denoiser(ids, attention_mask, *at((0, 0), (0, 8), (1, 4)), tokens, 1.2)
    padding = torch.full((2, 5), tiny.tokens.pad_id)
    padded_ids = torch.cat((padding, ids), dim=1)
    padded_mask = torch.cat((torch.zeros_like(padding), attention_mask), dim=1)
    padded = denoiser(padded_ids, padded_mask, *at((0, 5), (0, 13), (1, 9)), tokens, 1.2)
    torch.testing.assert_close(padded.logp_MK, alone.logp_MK, rtol=0, atol=1e-12)
    torch.testing.assert_close(padded.entropy_M, alone.entropy_M, rtol=0, atol=1e-12)


def test_scores_equal_a_log_softmax_of_the_models_own_logits(tiny, lm):
    denoiser = Denoiser(lm, tiny.tokens)
    ids, attention_mask = rows_of_ids()
    rows, columns = at((0, 2), (1, 7))
    tokens = torch.tensor([[4, 5], [6, 6]])
    scores = denoiser(ids, attention_mask, rows, columns, tokens, 0.7)
    full = lm(input_ids=ids, attention_mask=attention_mask, use_cache=False).logits[rows, columns].detach()
    full[:, list(tiny.tokens.banned_ids)] = -torch.inf
    torch.testing.assert_close(denoiser.logits_at(ids, attention_mask, rows, columns), full, rtol=0, atol=1e-12)
    logp = torch.log_softmax(full / 0.7, dim=-1)
    torch.testing.assert_close(scores.logp_MK.detach(), logp.gather(1, tokens), rtol=0, atol=1e-10)


def test_shifted_logits_come_from_the_position_before(tiny):
    lm = tiny.lm().double()
    plain, shifted = Denoiser(lm, tiny.tokens), Denoiser(lm, tiny.tokens, logit_shift=True)
    ids, attention_mask = rows_of_ids()
    attention_mask[1, :2] = 0
    got = shifted.logits_at(ids, attention_mask, *at((0, 0), (0, 5), (1, 2), (1, 3)))
    expected = plain.logits_at(ids, attention_mask, *at((0, 0), (0, 4), (1, 2), (1, 2)))
    assert torch.equal(got, expected)


@pytest.mark.parametrize("rows", [0, 2])
def test_without_positions_every_trained_parameter_still_gets_a_zero_gradient(tiny, lm, rows):
    denoiser = Denoiser(lm, tiny.tokens)
    ids, attention_mask = rows_of_ids(rows=rows)
    nowhere = torch.empty(0, dtype=torch.long)
    scores = denoiser(ids, attention_mask, nowhere, nowhere, torch.empty(0, 3, dtype=torch.long))
    scores.logp_MK.sum().backward()
    trained = [weight for weight in denoiser.parameters() if weight.requires_grad]
    assert trained
    assert all(weight.grad is not None and not bool(weight.grad.any()) for weight in trained)


class LargestTensor(TorchDispatchMode):
    """Remembers the largest tensor any operation made, forward or backward."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in torch.utils._pytree.tree_leaves(result):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


def test_no_tensor_of_rows_by_positions_by_vocabulary_is_ever_made(tiny):
    lm = tiny.lm(vocab_size=5000)
    denoiser = Denoiser(lm, SpecialTokens(3, 1, 2, (3,)))
    ids, attention_mask = rows_of_ids(rows=4, length=60)
    with LargestTensor() as full:
        lm(input_ids=ids, attention_mask=attention_mask, use_cache=False)
    assert full.elements == 4 * 60 * 5000
    places = at((0, 50), (1, 51), (3, 59))
    with LargestTensor() as largest:
        denoiser(ids, attention_mask, *places, torch.full((3, 8), 7)).logp_MK.sum().backward()
        denoiser.logits_at(ids, attention_mask, *places)
    assert largest.elements == 5000 * 32  # the head's own weight (its gradient)


def test_bf16_computes_near_fp32_and_scores_in_fp32(tiny):
    ids, attention_mask = rows_of_ids()
    tokens = torch.tensor([[4], [5]])
    places = at((0, 2), (1, 7))
    exact = Denoiser(tiny.lm(), tiny.tokens)(ids, attention_mask, *places, tokens)
    rounded = Denoiser(tiny.lm(), tiny.tokens, precision="BF16")(ids, attention_mask, *places, tokens)
    assert rounded.logp_MK.dtype == torch.float32
    assert not torch.equal(rounded.logp_MK, exact.logp_MK)
    torch.testing.assert_close(rounded.logp_MK, exact.logp_MK, rtol=0, atol=0.1)


def test_recomputed_activations_give_the_same_gradients(tiny):
    ids, attention_mask = rows_of_ids()
    gradients = []
    for recompute in (False, True):
        lm = tiny.lm().double().train()
        if recompute:
            recompute_activations(lm)
        Denoiser(lm, tiny.tokens)(
            ids, attention_mask, *at((0, 2), (1, 7)), torch.tensor([[4], [5]])
        ).logp_MK.sum().backward()
        gradients.append({name: weight.grad for name, weight in lm.named_parameters()})
    for name, gradient in gradients[0].items():
        assert torch.equal(gradient, gradients[1][name])


def test_a_causal_model_is_refused(tiny):
    with pytest.raises(ValueError, match="is_causal=False"):
        Denoiser(tiny.lm(is_causal=True), tiny.tokens)
