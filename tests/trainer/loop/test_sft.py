import math

import pytest
import torch
from accelerate.accelerator import Accelerator
from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.data.cycles import prompts_of_cycle
from igpo_trainer.diffusion.noise import NoiseKey
from igpo_trainer.loop.batching import BatchSizes
from igpo_trainer.loop.policy import Policy
from igpo_trainer.loop.sft import SftLoop, planned_updates
from igpo_trainer.models.load import load_model
from igpo_trainer.observe.records import SftStepRecord
from igpo_trainer.sft.examples import canvas_of, noise_of_long_rows, noise_of_step
from igpo_trainer.spec.sft import TrainingSpec


class Planned:
    def __init__(self, **training):
        self.training = TrainingSpec(**training)


@given(st.floats(0.01, 20), st.integers(1, 500), st.integers(1, 64))
def test_epochs_become_whole_updates_and_at_least_one(epochs, rows, batch_size):
    updates = planned_updates(Planned(epochs=epochs, batch_size=batch_size), rows)
    assert updates >= 1
    assert (updates - 1) * batch_size < epochs * rows or updates == 1
    assert updates * batch_size >= epochs * rows


def test_steps_are_taken_as_they_are():
    assert planned_updates(Planned(steps=7), 1000) == 7


class KeepsGradients(Policy):
    """Remembers the gradients of its last update."""

    def step(self):
        self.gradients = {name: parameter.grad.clone() for name, parameter in self.trainable.items()}
        return super().step()


def plain_loss(denoiser, train, spec, number):
    """Full logits of one row at a time, cross-entropy by loops: the loss of update `number` before it is made."""
    tokens, size, seed = denoiser.tokens, spec.training.batch_size, spec.seed
    key = NoiseKey(seed, "sft", number, 0, 0)
    level_B, mask_BL = noise_of_step(key, size, spec.length.target)
    total = torch.zeros((), dtype=torch.float64)
    for b, row in enumerate(prompts_of_cycle(seed, number - 1, len(train), size)):
        canvas, mask_L = spec.length.target, mask_BL[b]
        if len(train[row].trace_ids) + 1 > canvas:
            canvas = spec.length.context_tokens
            mask_L = noise_of_long_rows(key, level_B, [b], canvas)[1][0]
        target = canvas_of(train[row], canvas, tokens.eos_id)
        shown = [tokens.mask_id if hidden else token for token, hidden in zip(target, mask_L.tolist(), strict=True)]
        ids_1S = torch.tensor([[*train[row].prompt_ids, *shown]])
        logits_LV = denoiser.lm(ids_1S, use_cache=False).logits[0, -canvas:].clone()
        logits_LV[:, list(tokens.banned_ids)] = -torch.inf
        logp_LV = torch.log_softmax(logits_LV.double(), dim=-1)
        for k in range(canvas):
            if mask_L[k]:
                total = total - logp_LV[k, target[k]] / float(level_B[b]) / canvas / size
    return total


def one_update(session, spec, *, rows, context_rows):
    """Loss as journalled and gradients of the first update, in fp64."""
    loaded = load_model(spec.model, seed=0)
    optimizer = spec.optimizer.model_copy(update={"max_grad_norm": 1e9})
    policy = KeepsGradients(loaded.denoiser().double(), optimizer, planned_updates=9, accelerator=Accelerator(cpu=True))
    session.policy = policy
    session.batch_sizes = BatchSizes(4, rows, context_rows)
    SftLoop(session, spec).step(1)
    step = [r for r in session.telemetry.journal.records() if isinstance(r, SftStepRecord)][-1]
    return step, policy.gradients


def gradients_of(loss, denoiser):
    named = dict(denoiser.named_parameters())
    return dict(zip(named, torch.autograd.grad(loss, named.values()), strict=True))


@pytest.mark.parametrize(("rows", "context_rows"), [(8, 8), (3, 1), (1, 2)])
def test_loss_and_gradient_of_mixed_canvases_are_those_of_plain_loops_in_fp64(desk, rows, context_rows):
    document = desk.context(training={"steps": 1}, checkpoints={"everySteps": 9})
    (loaded,) = desk.load(desk.root, document)
    spec = loaded.spec
    with desk.session(document) as session:
        step, found = one_update(session, spec, rows=rows, context_rows=context_rows)
        denoiser = load_model(spec.model, seed=0).denoiser().double()
        expected = plain_loss(denoiser, session.data.train, spec, 1)
    assert step.loss == pytest.approx(float(expected.detach()), rel=1e-12)
    plain = gradients_of(expected, denoiser)
    assert found.keys() == plain.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-12)
    lengths = step.example_lengths
    assert {length > 16 for length in lengths} == {True, False}
    assert step.tokens.target == sum(count * (20 if length > 16 else 16) for length, count in lengths.items())


def test_where_all_traces_fit_the_target_a_context_changes_nothing(desk):
    folders = [
        desk.train(desk.sft(name, training={"steps": 4}, length=length, batching={"updateGroups": 3}))
        for name, length in (("plain", {}), ("fits", {"originals": "Context", "contextTokens": 24}))
    ]
    plain, fits = [desk.lines(folder) for folder in folders]
    assert fits[1].pop("context_length") == 24
    assert plain[1].pop("context_length") is None
    assert fits[1:] == plain[1:]
    weights = [(folder / "final" / "model.safetensors").read_bytes() for folder in folders]
    assert weights[0] == weights[1]


def test_the_journalled_loss_is_that_of_full_logits_one_row_at_a_time(desk):
    document = desk.sft(training={"steps": 1}, batching={"updateGroups": 3})
    (loaded,) = desk.load(desk.root, document)
    with desk.session(document) as session:
        expected = float(plain_loss(session.policy.denoiser, session.data.train, loaded.spec, 1).detach())
    (step,) = desk.events(desk.train(document), "sft_step")
    assert step["loss"] == pytest.approx(expected, rel=1e-5)
    assert step["examples"] == 8
    assert sum(step["example_lengths"].values()) == 8
    assert step["tokens"]["target"] == 8 * 16
    assert step["epoch"] == pytest.approx(8 / 60)


def test_training_lowers_the_loss(bases, desk):
    losses = [r["loss"] for r in desk.events(bases / "LengthAlignedSFT" / "base", "sft_step")]
    assert math.fsum(losses[-20:]) < 0.5 * math.fsum(losses[:20])


def test_evaluation_and_checkpoints_come_at_their_intervals_and_at_the_end(desk):
    folder = desk.train(desk.sft(training={"steps": 5}, evaluation={"everySteps": 2}, checkpoints={"everySteps": 3}))
    assert [r["step"] for r in desk.events(folder, "evaluation")] == [2, 4, 5]
    assert [r["step"] for r in desk.events(folder, "checkpoint")] == [3, 5]
