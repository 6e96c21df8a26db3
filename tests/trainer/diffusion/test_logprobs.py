import random

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from igpo_trainer.diffusion.logprobs import GroupTokens, plan_scoring
from igpo_trainer.diffusion.noise import NoiseKey
from igpo_trainer.models.denoiser import Denoiser
from igpo_trainer.models.scratch import build_scratch
from igpo_trainer.models.tokens import SpecialTokens
from igpo_trainer.spec.model import ScratchModel

L, G, T = 10, 4, 1.3


def tiny(dtype=torch.float64, seed=0):
    lm, tokenizer = build_scratch(ScratchModel(hidden_size=32, layers=2, heads=2, intermediate_size=48), seed)
    lm.config.mask_token_id = tokenizer.mask_token_id
    return Denoiser(lm.to(dtype), SpecialTokens.of(tokenizer, lm.config))


def groups(tokens, count=3, seed=0):
    rng = random.Random(seed)
    ordinary = [i for i in range(60) if i not in tokens.banned_ids and i != tokens.eos_id]
    made = []
    for p in range(count):
        lengths = [rng.randint(1, L) for _ in range(G)]
        completions = tuple(
            tuple(rng.choice(ordinary) for _ in range(n - 1)) + (tokens.eos_id,) * (L - n + 1) for n in lengths
        )
        prompt = tuple(rng.choice(ordinary) for _ in range(rng.randint(2, 7)))
        made.append(GroupTokens(prompt, completions, tuple(lengths), NoiseKey(1, "scoring", 0, p, 0)))
    return made


def scored(denoiser, plan, temperature=T):
    result = denoiser(plan.ids_BS, plan.attention_BS, plan.rows_M, plan.columns_M, plan.tokens_MK, temperature)
    return plan.place(result.logp_MK)


def one_completion_at_a_time(denoiser, made, temperature=T, padding=3):
    """Independent old log-probabilities: full logits of a fully masked canvas, one completion per forward, padded."""
    tokens, rows = denoiser.tokens, []
    for group in made:
        for ids, length in zip(group.completions, group.lengths, strict=True):
            row = [tokens.pad_id] * padding + list(group.prompt_ids) + [tokens.mask_id] * L
            attention = torch.tensor([[0] * padding + [1] * (len(row) - padding)])
            positions = (attention.cumsum(-1) - 1).clamp(min=0)
            logits = (
                denoiser.lm(
                    input_ids=torch.tensor([row]), attention_mask=attention, position_ids=positions, use_cache=False
                )
                .logits[0, -L:]
                .clone()
            )
            logits[:, list(tokens.banned_ids)] = -torch.inf
            logp = torch.log_softmax(logits / temperature, dim=-1)
            rows.append(torch.stack([logp[k, ids[k]] if k < length else logp.new_zeros(()) for k in range(L)]))
    return torch.stack(rows)[None]


def test_the_shared_forward_gives_the_log_probabilities_of_one_forward_per_completion():
    denoiser = tiny()
    made = groups(denoiser.tokens)
    plan = plan_scoring(made, "MeanField", 1, denoiser.tokens)
    assert plan.ids_BS.shape[0] == len(made)
    torch.testing.assert_close(scored(denoiser, plan), one_completion_at_a_time(denoiser, made), rtol=0, atol=1e-10)


def test_the_shared_forward_gives_the_gradient_of_one_forward_per_completion():
    gradients = []
    weights = torch.randn(1, 3 * G, L, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    for way in (lambda d, m: scored(d, plan_scoring(m, "MeanField", 1, d.tokens)), one_completion_at_a_time):
        denoiser = tiny()
        (way(denoiser, groups(denoiser.tokens)) * weights).sum().backward()
        gradients.append({name: p.grad for name, p in denoiser.named_parameters()})
    assert gradients[0]
    for name, gradient in gradients[0].items():
        # Relative to the largest entry: transformers computes norms and rotary angles in fp32 even in an fp64 model.
        scale = gradients[1][name].abs().max()
        torch.testing.assert_close(gradient / scale, gradients[1][name] / scale, rtol=0, atol=1e-6, msg=name)


def test_the_ratio_is_1_against_an_independent_old_policy_in_fp32():
    denoiser = tiny(torch.float32)
    made = groups(denoiser.tokens)
    with torch.no_grad():
        old = one_completion_at_a_time(denoiser, made)
    new = scored(denoiser, plan_scoring(made, "MeanField", 1, denoiser.tokens))
    assert (torch.exp(new - old) - 1).abs().max() < 1e-5


@pytest.mark.parametrize("mutant", ["dropout", "temperature", "mask"])
def test_the_ratio_test_catches(mutant):
    """Each of these bugs of released code moves the ratio by more than the tolerance of the test above."""
    denoiser = tiny(torch.float32)
    made = groups(denoiser.tokens)
    with torch.no_grad():
        old = one_completion_at_a_time(denoiser, made)
    plan = plan_scoring(made, "MeanField", 1, denoiser.tokens)
    if mutant == "dropout":
        torch.manual_seed(0)
        denoiser.causal_lm.get_decoder().layers[0].mlp.register_forward_hook(
            lambda _module, _input, output: torch.nn.functional.dropout(output, 0.05)
        )
    if mutant == "mask":
        plan.attention_BS.fill_(1)
    new = scored(denoiser, plan, 1.0 if mutant == "temperature" else T)
    assert (torch.exp(new - old) - 1).abs().max() > 1e-3


@pytest.mark.parametrize("estimator", ["MeanField", "RandomMask", "ELBO"])
def test_only_positions_up_to_the_end_token_are_scored(estimator):
    denoiser = tiny()
    made = groups(denoiser.tokens)
    plan = plan_scoring(made, estimator, 2, denoiser.tokens)
    lengths = [n for g in made for n in g.lengths]
    outside = torch.arange(L)[None] >= torch.tensor(lengths)[:, None]
    assert (plan.weight_RNL[:, outside] == 0).all()
    assert (scored(denoiser, plan)[:, outside] == 0).all()


@pytest.mark.parametrize("estimator", ["RandomMask", "ELBO"])
def test_random_masks_score_hidden_tokens_given_the_visible_ones(estimator):
    denoiser = tiny()
    made = groups(denoiser.tokens, count=2)
    plan = plan_scoring(made, estimator, 2, denoiser.tokens)
    logp = scored(denoiser, plan)
    row = 0
    for r in range(2):
        for p, group in enumerate(made):
            for g in range(G):
                canvas = plan.ids_BS[row, -L:].tolist()
                hidden = [k for k in range(group.lengths[g]) if canvas[k] == denoiser.tokens.mask_id]
                with torch.no_grad():
                    single = plan.ids_BS[row : row + 1], plan.attention_BS[row : row + 1]
                    columns = torch.tensor(hidden, dtype=torch.long) + plan.ids_BS.shape[1] - L
                    targets = torch.tensor([[group.completions[g][k]] for k in hidden], dtype=torch.long).view(-1, 1)
                    expected = denoiser(*single, torch.zeros_like(columns), columns, targets, T).logp_MK[:, 0]
                torch.testing.assert_close(logp[r, p * G + g, hidden].detach(), expected, rtol=0, atol=1e-10)
                visible = [k for k in range(L) if canvas[k] != denoiser.tokens.mask_id]
                assert all(canvas[k] == group.completions[g][k] for k in visible)
                row += 1


def test_random_mask_weights_average_the_hidden_tokens_over_the_whole_completion():
    denoiser = tiny()
    made = groups(denoiser.tokens)
    plan = plan_scoring(made, "RandomMask", 3, denoiser.tokens)
    sums = plan.weight_RNL.sum(dim=-1)
    lengths = torch.tensor([float(n) for g in made for n in g.lengths])
    assert ((sums - lengths).abs().lt(1e-4) | (sums == 0)).all()


def test_elbo_weights_are_unbiased_so_that_their_mean_over_masks_is_1_eq_1():
    denoiser = tiny()
    group = GroupTokens((5,), ((7,) * L,), (L,), NoiseKey(0, "scoring", 0, 0, 0))
    weights = torch.stack(
        [
            plan_scoring(
                [GroupTokens(group.prompt_ids, group.completions, group.lengths, NoiseKey(s, "scoring", 0, 0, 0))],
                "ELBO",
                8,
                denoiser.tokens,
            ).weight_RNL
            for s in range(400)
        ]
    )
    assert weights.mean() == pytest.approx(1.0, abs=0.1)


def test_the_same_keys_give_the_same_masks_whatever_the_batch():
    denoiser = tiny()
    made = groups(denoiser.tokens)
    together = plan_scoring(made, "ELBO", 2, denoiser.tokens).weight_RNL
    alone = [plan_scoring([g], "ELBO", 2, denoiser.tokens).weight_RNL for g in made]
    assert torch.equal(together, torch.cat(alone, dim=1))


class LargestTensor(TorchDispatchMode):
    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, torch.Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


def test_an_update_never_holds_logits_of_every_position():
    lm, tokenizer = build_scratch(ScratchModel(hidden_size=16, layers=1, heads=2, intermediate_size=16), 0)
    lm.config.mask_token_id = tokenizer.mask_token_id
    lm.resize_token_embeddings(4000, mean_resizing=False)
    denoiser = Denoiser(lm, SpecialTokens.of(tokenizer, lm.config))
    prompt = (5,) * 60
    made = [GroupTokens(prompt, ((7,) * L,) * G, (L,) * G, NoiseKey(0, "scoring", 0, p, 0)) for p in range(4)]
    plan = plan_scoring(made, "MeanField", 1, denoiser.tokens)
    with LargestTensor() as largest:
        scored(denoiser, plan).sum().backward()
    assert largest.elements <= max(4 * L * 4000, 4000 * 16)
    assert largest.elements < plan.ids_BS.numel() * 4000 / 5
