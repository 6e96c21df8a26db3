import pytest
import torch

from igpo_trainer.diffusion.noise import NoiseKey
from igpo_trainer.loop.heldout_loss import heldout_loss
from igpo_trainer.sft.examples import canvas_of, noise_of_long_rows, noise_of_step
from igpo_trainer.spec.sft import LengthSpec


def plain_loss(denoiser, problems, length, seed):
    """Full logits of one trace at a time, cross-entropy by loops, in fp64."""
    tokens = denoiser.tokens
    fitting = [p for p in problems if len(p.trace_ids) < length.longest]
    key = NoiseKey(seed, "held-out loss", 0, 0, 0)
    level_B, mask_BL = noise_of_step(key, len(fitting), length.target)
    total = 0.0
    for b, problem in enumerate(fitting):
        canvas, mask_L = length.target, mask_BL[b]
        if len(problem.trace_ids) + 1 > canvas:
            canvas = length.context_tokens
            mask_L = noise_of_long_rows(key, level_B, [b], canvas)[1][0]
        target = canvas_of(problem, canvas, tokens.eos_id)
        shown = [tokens.mask_id if hidden else token for token, hidden in zip(target, mask_L.tolist(), strict=True)]
        with torch.no_grad():
            logits_LV = denoiser.lm(torch.tensor([[*problem.prompt_ids, *shown]]), use_cache=False).logits[0, -canvas:]
        logits_LV[:, list(tokens.banned_ids)] = -torch.inf
        logp_LV = torch.log_softmax(logits_LV.double(), dim=-1)
        lost = sum(float(logp_LV[k, target[k]]) for k in range(canvas) if mask_L[k])
        total -= lost / float(level_B[b]) / canvas / len(fitting)
    return total


def test_the_loss_is_that_of_plain_loops_in_fp64_however_many_rows_are_computed_at_once(desk):
    document = desk.context(dataset={"holdout": {"rows": 12}})
    (loaded,) = desk.load(desk.root, document)
    with desk.session(document) as session:
        policy, problems, length = session.policy, session.data.heldout, loaded.spec.length
        policy.denoiser.double()
        canvases = {length.canvas(len(p.trace_ids)) for p in problems}
        assert canvases == {16, 20, None}, "some fit the target, some the context, some neither"
        found = [heldout_loss(policy, session.ranks, problems, length, seed=3, rows=rows) for rows in (1, 3, 12)]
        expected = plain_loss(policy.denoiser, problems, length, 3)
    assert found == pytest.approx([expected] * 3, rel=1e-12)


def test_where_no_held_out_trace_fits_a_canvas_there_is_no_loss(desk):
    with desk.session(desk.sft()) as session:
        nothing = heldout_loss(
            session.policy, session.ranks, session.data.heldout, LengthSpec(target=1), seed=0, rows=4
        )
    assert nothing is None


def test_each_evaluation_of_held_out_problems_has_a_loss_that_training_lowers(bases, desk):
    losses = [r["sft_loss"] for r in desk.events(bases / "LengthAlignedSFT" / "base", "evaluation")]
    assert all(loss is not None for loss in losses)
    folder = desk.train(desk.sft("falling", training={"steps": 60}, evaluation={"everySteps": 30}))
    early, late = [r["sft_loss"] for r in desk.events(folder, "evaluation")]
    assert late < early


def test_no_dropout_is_in_it_and_the_gradient_is_left_alone(desk):
    lora = {"model": {"lora": {"rank": 2, "dropout": 0.5}}}
    with desk.session(desk.sft("lora", **lora)) as session:
        policy, problems = session.policy, session.data.heldout
        for name, weight in policy.denoiser.named_parameters():
            if "lora_B" in name:
                torch.nn.init.constant_(weight, 0.1)
        first, second = [
            heldout_loss(policy, session.ranks, problems, LengthSpec(target=16), seed=0, rows=8) for _ in range(2)
        ]
    assert first == second
    assert all(p.grad is None for p in policy.denoiser.parameters())
