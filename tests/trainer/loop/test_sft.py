import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from igpo_trainer.data.cycles import prompts_of_cycle
from igpo_trainer.diffusion.noise import NoiseKey
from igpo_trainer.loop.sft import planned_updates
from igpo_trainer.sft.examples import canvas_of, noise_of_step
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


def plain_loss(session, document, number):
    """Full logits of one row at a time, cross-entropy by loops: the loss of update `number` before it is made."""
    tokens, denoiser, canvas = session.policy.denoiser.tokens, session.policy.denoiser, 16
    size, seed = document.spec.training.batch_size, document.spec.seed
    rows = prompts_of_cycle(seed, number - 1, len(session.data.train), size)
    level_B, mask_BL = noise_of_step(NoiseKey(seed, "sft", number, 0, 0), size, canvas)
    total = 0.0
    for b, row in enumerate(rows):
        encoded = session.data.train[row]
        target = canvas_of(encoded, canvas, tokens.eos_id)
        shown = [tokens.mask_id if hidden else token for token, hidden in zip(target, mask_BL[b].tolist(), strict=True)]
        with torch.no_grad():
            logits = denoiser.lm(torch.tensor([[*encoded.prompt_ids, *shown]]), use_cache=False).logits[0, -canvas:]
        logits[:, list(tokens.banned_ids)] = -torch.inf
        logp_LV = torch.log_softmax(logits.double(), dim=-1)
        for k in range(canvas):
            if mask_BL[b, k]:
                total -= float(logp_LV[k, target[k]]) / float(level_B[b])
    return total / (size * canvas)


def test_the_journalled_loss_is_that_of_full_logits_one_row_at_a_time(desk):
    document = desk.sft(training={"steps": 1}, batching={"updateGroups": 3})
    (loaded,) = desk.load(desk.root, document)
    with desk.session(document) as session:
        expected = plain_loss(session, loaded, 1)
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
