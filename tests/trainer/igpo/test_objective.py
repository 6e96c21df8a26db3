import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from igpo_trainer.igpo.objective import GroupBatch, normaliser, objective
from igpo_trainer.spec.igpo import ClipRange, ObjectiveSpec

L = 6
BOTH_RATIOS = pytest.mark.parametrize("ratio", ["Sequence", "Token"])


def spec(**values):
    return ObjectiveSpec(**{"kl_coefficient": 0.3, "clip": ClipRange(low=0.1, high=0.2)} | values)


def random_batch(seed, n=5, samples=1, unjudged=()):
    g = torch.Generator().manual_seed(seed)
    draw = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64)  # noqa: E731
    length_N = torch.randint(1, L + 1, (n,), generator=g).double()
    inside_NL = torch.arange(L)[None] < length_N[:, None]
    hint_NL = inside_NL & (torch.rand(n, L, generator=g) < 0.4)
    filtered_NL = hint_NL & (torch.rand(n, L, generator=g) < 0.5)
    weight_RNL = (
        torch.rand(samples, n, L, generator=g, dtype=torch.float64) if samples > 1 else torch.ones(1, n, L).double()
    )
    old = -draw(samples, n, L).abs()
    judged_N = torch.tensor([i not in unjudged for i in range(n)])
    batch = GroupBatch(
        old, old + 0.3 * draw(samples, n, L), weight_RNL, inside_NL & ~filtered_NL, hint_NL, length_N, draw(n), judged_N
    )
    return (old + 0.2 * draw(samples, n, L)).requires_grad_(), batch


def plain_loss(logp, batch, s):
    """Paper Eq. 3 and 5 with loops: -sum_i w_i [surrogate_i - beta sum_k kl_ik]."""
    total = 0.0
    samples, count, _ = logp.shape
    for i in range(count):
        if not batch.judged_N[i]:
            continue
        size, a = float(batch.length_N[i]), float(batch.advantage_N[i])
        kept = [k for k in range(int(size)) if batch.kept_NL[i, k]]
        delta = {
            k: sum(float(batch.weight_RNL[r, i, k] * (logp[r, i, k] - batch.old_RNL[r, i, k])) for r in range(samples))
            / samples
            for k in kept
        }
        kl = 0.0
        for k in kept:
            for r in range(samples):
                gap = float(batch.reference_RNL[r, i, k] - logp[r, i, k])
                kl += float(batch.weight_RNL[r, i, k]) * (math.exp(gap) - gap - 1) / samples
        clipped = lambda ratio, a=a: min(ratio * a, min(max(ratio, 1 - s.clip.low), 1 + s.clip.high) * a)  # noqa: E731
        if s.ratio == "Sequence":
            surrogate = size * clipped(math.exp(sum(delta.values()) / size))
        else:
            surrogate = sum(clipped(math.exp(d)) for d in delta.values())
        weight = 1 / size if s.normalization == "SequenceMean" else 1.0
        total -= weight * (surrogate - s.kl_coefficient * kl)
    return total


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    ratio=st.sampled_from(["Sequence", "Token"]),
    normalization=st.sampled_from(["SequenceMean", "TokenMean"]),
    samples=st.sampled_from([1, 3]),
    unjudged=st.sets(st.integers(0, 4), max_size=2),
)
def test_the_loss_equals_eq_3_and_5_written_as_loops_with_unequal_lengths(
    seed, ratio, normalization, samples, unjudged
):
    logp, batch = random_batch(seed, samples=samples, unjudged=unjudged)
    s = spec(ratio=ratio, normalization=normalization)
    assert float(objective(logp.detach(), batch, s).loss) == pytest.approx(
        plain_loss(logp.detach(), batch, s), abs=1e-12
    )


@BOTH_RATIOS
@pytest.mark.parametrize("normalization", ["SequenceMean", "TokenMean"])
def test_filtered_positions_get_a_gradient_of_exactly_0(ratio, normalization):
    logp, batch = random_batch(3, n=40)
    objective(logp, batch, spec(ratio=ratio, normalization=normalization)).loss.backward()
    assert (logp.grad[0][~batch.kept_NL] == 0.0).all()
    assert (logp.grad[0][batch.kept_NL] != 0.0).float().mean() > 0.5


@BOTH_RATIOS
def test_an_infinite_log_probability_at_a_filtered_position_stays_out(ratio):
    logp, batch = random_batch(4)
    infinite = torch.where(batch.kept_NL[None], logp.detach(), -math.inf).requires_grad_()
    result = objective(infinite, batch, spec(ratio=ratio))
    result.loss.backward()
    assert torch.isfinite(result.loss)
    assert torch.isfinite(infinite.grad).all()


@BOTH_RATIOS
def test_unjudged_rollouts_leave_loss_and_gradient(ratio):
    logp, batch = random_batch(5, unjudged={1, 3})
    objective(logp, batch, spec(ratio=ratio)).loss.backward()
    assert (logp.grad[0, [1, 3]] == 0.0).all()


def test_at_ratio_1_sequence_and_token_ratio_have_the_same_gradient():
    gradients = []
    for ratio in ("Sequence", "Token"):
        _, batch = random_batch(6)
        logp = batch.old_RNL.clone().requires_grad_()
        objective(logp, batch, spec(ratio=ratio)).loss.backward()
        gradients.append(logp.grad)
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-14)


@BOTH_RATIOS
def test_at_ratio_1_without_kl_a_kept_token_has_gradient_minus_a_over_length_eq_3(ratio):
    _, batch = random_batch(7)
    logp = batch.old_RNL.clone().requires_grad_()
    objective(logp, batch, spec(ratio=ratio, kl_coefficient=0.0)).loss.backward()
    expected = -torch.where(batch.kept_NL, (batch.advantage_N / batch.length_N)[:, None], 0.0)
    torch.testing.assert_close(logp.grad[0], expected, rtol=0, atol=1e-14)


def test_kl_is_0_with_zero_gradient_when_the_policy_is_the_reference():
    _, batch = random_batch(8)
    logp = batch.reference_RNL.clone().requires_grad_()
    result = objective(logp, batch, spec())
    assert float(result.kl_sum) == 0.0


@given(st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_the_k3_kl_is_never_negative(seed):
    logp, batch = random_batch(seed)
    assert float(objective(logp.detach(), batch, spec()).kl_sum) >= 0.0


@BOTH_RATIOS
def test_the_clip_stops_the_gradient_of_a_ratio_that_went_too_far(ratio):
    _, batch = random_batch(9)
    sign = torch.sign(batch.advantage_N)[None, :, None]
    logp = (batch.old_RNL + 3.0 * sign * L).requires_grad_()
    result = objective(logp, batch, spec(ratio=ratio, kl_coefficient=0.0))
    result.loss.backward()
    assert (logp.grad == 0.0).all()
    some_kept = batch.kept_NL.any(dim=1)
    assert result.clipped_NL[some_kept].any(dim=1).all()


def test_partial_sums_over_micro_batches_add_up_to_the_loss():
    logp, batch = random_batch(10, n=6)
    whole = objective(logp, batch, spec()).loss
    part = lambda rows: GroupBatch(  # noqa: E731
        batch.old_RNL[:, rows], batch.reference_RNL[:, rows], batch.weight_RNL[:, rows], batch.kept_NL[rows],
        batch.hint_NL[rows], batch.length_N[rows], batch.advantage_N[rows], batch.judged_N[rows],
    )  # fmt: skip
    split = sum(objective(logp[:, rows], part(rows), spec()).loss for rows in (slice(0, 2), slice(2, 3), slice(3, 6)))
    torch.testing.assert_close(whole, split, rtol=0, atol=1e-12)


def test_the_normaliser_counts_judged_completions_or_their_tokens():
    lengths, judged = torch.tensor([3.0, 5.0, 2.0]), torch.tensor([True, False, True])
    assert normaliser(lengths, judged, spec(normalization="SequenceMean")) == 2
    assert normaliser(lengths, judged, spec(normalization="TokenMean")) == 5
    assert normaliser(lengths, ~torch.ones(3, dtype=torch.bool), spec()) == 1
