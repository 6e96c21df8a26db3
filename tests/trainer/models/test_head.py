import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from igpo_trainer.models import head
from igpo_trainer.models.head import logits_of, score_tokens

BANNED = torch.tensor([2, 9, 10])
ALLOWED = [0, 1, 3, 4, 5, 6, 7, 8]


def plain_scores(hidden, weight, bias, tokens, temperature):
    """log_softmax over the whole vocabulary in fp64, entropy by its definition."""
    logits = hidden.double() @ weight.double().T / temperature
    if bias is not None:
        logits = (hidden.double() @ weight.double().T + bias.double()) / temperature
    keep = torch.ones(weight.shape[0], dtype=torch.bool).index_fill(0, BANNED, value=False)
    logp = torch.log_softmax(logits.masked_fill(~keep, -torch.inf), dim=-1)
    entropy = -(logp[:, keep].exp() * logp[:, keep]).sum(-1)
    return logp.gather(1, tokens), entropy


def problem(*, rows=7, width=5, candidates=3, seed=0, dtype=torch.float64):
    stream = torch.Generator().manual_seed(seed)
    hidden = torch.randn(rows, width, generator=stream, dtype=torch.float64).to(dtype).requires_grad_()
    weight = torch.randn(11, width, generator=stream, dtype=torch.float64).to(dtype).requires_grad_()
    bias = torch.randn(11, generator=stream, dtype=torch.float64).to(dtype).requires_grad_()
    chosen = torch.randint(len(ALLOWED), (rows, candidates), generator=stream)
    upstream = torch.randn(rows, candidates, generator=stream, dtype=torch.float64)
    return hidden, weight, bias, torch.tensor(ALLOWED)[chosen], upstream


@pytest.fixture
def two_rows_a_chunk(monkeypatch):
    monkeypatch.setattr(head, "CHUNK_BYTES", 2 * 11 * 8)


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 9),
    candidates=st.integers(1, 4),
    temperature=st.floats(0.3, 3.0),
    with_bias=st.booleans(),
    chunk_rows=st.integers(1, 10),
    seed=st.integers(0, 1000),
)
def test_scores_and_gradients_equal_a_plain_fp64_log_softmax(
    rows, candidates, temperature, with_bias, chunk_rows, seed
):
    hidden, weight, bias, tokens, upstream = problem(rows=rows, candidates=candidates, seed=seed)
    used_bias = bias if with_bias else None
    inputs = [hidden, weight] + ([bias] if with_bias else [])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(head, "CHUNK_BYTES", chunk_rows * 11 * 8)
        scores = score_tokens(hidden, weight, tokens, banned_N=BANNED, temperature=temperature, bias_V=used_bias)
        grads = torch.autograd.grad((scores.logp_MK * upstream).sum(), inputs)
    logp, entropy = plain_scores(hidden, weight, used_bias, tokens, temperature)
    expected = torch.autograd.grad((logp * upstream).sum(), inputs)
    torch.testing.assert_close(scores.logp_MK, logp, rtol=0, atol=1e-10)
    torch.testing.assert_close(scores.entropy_M, entropy, rtol=0, atol=1e-10)
    for grad, reference in zip(grads, expected, strict=True):
        torch.testing.assert_close(grad, reference, rtol=0, atol=1e-10)


def test_gradcheck_passes_over_chunk_edges(two_rows_a_chunk):
    hidden, weight, bias, tokens, _ = problem(rows=5)

    def logp(h, w, b):
        return score_tokens(h, w, tokens, banned_N=BANNED, temperature=1.3, bias_V=b).logp_MK

    assert torch.autograd.gradcheck(logp, (hidden, weight, bias))


def test_a_token_scored_twice_gets_both_gradients(two_rows_a_chunk):
    hidden, weight, _, _, _ = problem(rows=3)
    twice = torch.full((3, 2), 4)
    (double,) = torch.autograd.grad(score_tokens(hidden, weight, twice, banned_N=BANNED).logp_MK.sum(), hidden)
    (single,) = torch.autograd.grad(score_tokens(hidden, weight, twice[:, :1], banned_N=BANNED).logp_MK.sum(), hidden)
    torch.testing.assert_close(double, 2 * single, rtol=0, atol=1e-12)


def test_banned_tokens_have_no_probability_and_no_gradient():
    hidden, weight, _, tokens, _ = problem()
    banned = score_tokens(hidden, weight, BANNED.expand(7, 3), banned_N=BANNED).logp_MK
    assert bool(torch.isneginf(banned).all())
    (grad,) = torch.autograd.grad(score_tokens(hidden, weight, tokens, banned_N=BANNED).logp_MK.sum(), weight)
    assert bool((grad[BANNED] == 0.0).all())
    allowed = score_tokens(hidden, weight, torch.tensor(ALLOWED).expand(7, 8), banned_N=BANNED).logp_MK
    torch.testing.assert_close(allowed.exp().sum(-1), torch.ones(7, dtype=torch.float64))


def test_the_entropy_is_not_differentiable():
    hidden, weight, _, tokens, _ = problem()
    assert not score_tokens(hidden, weight, tokens, banned_N=BANNED).entropy_M.requires_grad


def test_a_frozen_head_gets_no_gradient():
    hidden, weight, _, tokens, _ = problem()
    frozen = weight.detach()
    score_tokens(hidden, frozen, tokens, banned_N=BANNED).logp_MK.sum().backward()
    assert frozen.grad is None
    assert hidden.grad is not None


def test_bf16_operands_are_summed_in_fp32():
    hidden, weight, _, tokens, upstream = problem(rows=6, width=512, dtype=torch.bfloat16)
    scores = score_tokens(hidden, weight, tokens, banned_N=BANNED, temperature=8.0)
    logp, entropy = plain_scores(hidden, weight, None, tokens, 8.0)
    assert scores.logp_MK.dtype == scores.entropy_M.dtype == torch.float32
    torch.testing.assert_close(scores.logp_MK, logp.float(), rtol=0, atol=2e-5)
    torch.testing.assert_close(scores.entropy_M, entropy.float(), rtol=0, atol=2e-5)
    grads = torch.autograd.grad((scores.logp_MK * upstream.float()).sum(), (hidden, weight))
    expected = torch.autograd.grad((logp * upstream).sum(), (hidden, weight))
    for grad, reference in zip(grads, expected, strict=True):
        assert grad.dtype == torch.bfloat16
        torch.testing.assert_close(grad, reference, rtol=2e-2, atol=2e-2 * float(reference.abs().max()))


def test_fp32_weights_can_be_scored_in_bf16():
    hidden, weight, _, tokens, _ = problem(dtype=torch.float32)
    rounded = score_tokens(hidden, weight, tokens, banned_N=BANNED, compute_dtype=torch.bfloat16)
    expected, _ = plain_scores(hidden.bfloat16(), weight.bfloat16(), None, tokens, 1.0)
    torch.testing.assert_close(rounded.logp_MK, expected.float(), rtol=0, atol=1e-5)


def test_no_positions_give_zero_gradients_rather_than_none():
    hidden, weight, _, _, _ = problem(rows=0)
    scores = score_tokens(hidden, weight, torch.empty(0, 3, dtype=torch.long), banned_N=BANNED)
    assert scores.logp_MK.shape == (0, 3)
    grads = torch.autograd.grad(scores.logp_MK.sum(), (hidden, weight))
    assert grads[1].shape == weight.shape
    assert not bool(grads[1].any())


def test_temperature_zero_is_refused():
    hidden, weight, _, tokens, _ = problem()
    with pytest.raises(ValueError, match="temperature 0"):
        score_tokens(hidden, weight, tokens, banned_N=BANNED, temperature=0.0)


def test_logits_are_the_plain_product_with_banned_ids_excluded():
    hidden, weight, bias, _, _ = problem()
    logits = logits_of(hidden, weight, banned_N=BANNED, bias_V=bias)
    expected = (hidden @ weight.T + bias).detach()
    assert not logits.requires_grad
    torch.testing.assert_close(logits[:, ALLOWED], expected[:, ALLOWED], rtol=0, atol=1e-12)
    assert bool(torch.isneginf(logits[:, BANNED]).all())
