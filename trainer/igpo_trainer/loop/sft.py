"""The SFT loop: masked cross-entropy on traces at the canvas RL will use, or longer ones at their own."""

import math
from collections import Counter
from collections.abc import Sequence

import torch

from igpo_trainer.data.cycles import prompts_of_cycle
from igpo_trainer.data.problem import EncodedProblem
from igpo_trainer.diffusion.noise import NoiseKey
from igpo_trainer.loop.interruption import StopRequestedError
from igpo_trainer.loop.micro_batches import micro_batches
from igpo_trainer.loop.session import Session
from igpo_trainer.models.keyed_dropout import keyed_dropout
from igpo_trainer.observe.records import Phase, SftStepRecord, TokenCounts
from igpo_trainer.sft.examples import corrupt, noise_of_rows, noise_of_step
from igpo_trainer.sft.loss import masked_cross_entropy
from igpo_trainer.spec.contract import Cause
from igpo_trainer.spec.errors import RunError
from igpo_trainer.spec.sft import LengthAlignedSFTSpec


def planned_updates(spec: LengthAlignedSFTSpec, rows: int) -> int:
    """Optimizer updates of the run: training.steps, or training.epochs over `rows` kept traces."""
    if spec.training.steps is not None:
        return spec.training.steps
    return max(1, math.ceil((spec.training.epochs or 0.0) * rows / spec.training.batch_size))


class SftLoop:
    """Fine-tunes a policy on reference traces."""

    def __init__(self, session: Session, spec: LengthAlignedSFTSpec) -> None:
        self.session = session
        self.spec = spec
        self.steps = planned_updates(spec, len(session.data.train))
        self.finished = 0

    def run(self) -> None:
        """Train from where the newest checkpoint stands to the last update, then publish the result.

        Raises StopRequestedError on every rank after a requested stop was saved.
        """
        checkpoint = self.session.resume()
        self.finished = 0 if checkpoint is None else checkpoint.step
        try:
            if self.finished:
                self._evaluate_and_save()
            while self.finished < self.steps:
                self.step(self.finished + 1)
        except StopRequestedError:
            self.session.save(self.finished, scheduled=False)
            raise
        self.session.publish_result(self.finished)

    def step(self, number: int) -> None:
        """One optimizer update, then evaluation and checkpoint where due."""
        session, spec = self.session, self.spec
        session.telemetry.start_step()
        batch_size = spec.training.batch_size
        rows = prompts_of_cycle(spec.seed, number - 1, len(session.data.train), batch_size)
        # No leaving between the optimizer step and the record: the step would be taken twice.
        with session.telemetry.phase(Phase.UPDATE):
            examples = [session.data.train[row] for row in rows]
            loss, norm, rate = self._update(examples, number)
        session.require_owner()
        session.telemetry.publish(
            SftStepRecord(
                step=number,
                epoch=number * batch_size / len(session.data.train),
                loss=loss,
                grad_norm=norm,
                learning_rate=rate,
                examples=len(examples),
                target_length=spec.length.target,
                example_lengths=dict(Counter(len(e.trace_ids) + 1 for e in examples)),
                tokens=TokenCounts(
                    prompt=sum(len(e.prompt_ids) for e in examples), target=sum(map(self._canvas, examples))
                ),
                time=session.telemetry.step_time(),
            )
        )
        self.finished = session.position.step = number
        self._evaluate_and_save()

    def _evaluate_and_save(self) -> None:
        """Evaluation and checkpoint where due, as far as the journal does not have them."""
        step, spec = self.finished, self.spec
        last, every = step == self.steps, spec.evaluation.every_steps
        if last or (every and step % every == 0):
            self.session.evaluate(spec.evaluation.datasets, step=step)
        if last or step % spec.checkpoints.every_steps == 0:
            self.session.save_scheduled(step)

    def _canvas(self, example: EncodedProblem) -> int:
        """Canvas length of a training example, in tokens."""
        length = self.spec.length.canvas(len(example.trace_ids))
        if length is None:
            raise ValueError(f"a trace of {len(example.trace_ids)} tokens fits no canvas; such rows are dropped before")
        return length

    def _rows_at_once(self, canvas_length: int) -> int:
        sizes = self.session.batch_sizes
        return sizes.update_rows if canvas_length == self.spec.length.target else sizes.context_rows

    def _update(self, examples: Sequence[EncodedProblem], number: int) -> tuple[float, float, float]:
        """Loss over the whole batch, gradient norm and learning rate of one update."""
        session, policy, ranks = self.session, self.session.policy, self.session.ranks
        total = session.room.fit(lambda: self._add_gradients(examples, number), number)
        loss_sum = float(ranks.sum_tensor(torch.tensor(total, dtype=torch.float64)))
        norm = policy.gradient_norm()
        if ranks.any_true(not (math.isfinite(loss_sum) and math.isfinite(norm))):
            policy.discard_gradients()
            session.telemetry.skipped_update("nonfinite")
            raise RunError(
                f"step {number}: loss {loss_sum} or gradient norm {norm} is not finite; stopped before the optimizer "
                "update, the last checkpoint is kept. Lower optimizer.learningRate",
                cause=Cause.NON_FINITE,
            )
        return loss_sum, norm, policy.step()

    def _add_gradients(self, examples: Sequence[EncodedProblem], number: int) -> float:
        """Forward and backward passes of this rank's part of the batch; its part of the loss."""
        session, policy, ranks = self.session, self.session.policy, self.session.ranks
        work = micro_batches([self._canvas(e) for e in examples], ranks, self._rows_at_once)
        key = NoiseKey(self.spec.seed, "sft", number, 0, 0)
        noise_of_batch = noise_of_step(key, len(examples), self.spec.length.target)
        total = 0.0
        for index, part in enumerate(work):
            rows, canvas = part.rows, part.canvas_length
            noise = noise_of_rows(key, noise_of_batch, rows, canvas)
            batch = corrupt([examples[b] for b in rows], noise, canvas, policy.denoiser.tokens)
            batch = batch.to(policy.accelerator.device)
            streams = [NoiseKey(self.spec.seed, "dropout", number, b, 0) for b in rows]
            lengths = [len(examples[b].prompt_ids) + canvas for b in rows]
            with policy.micro_batch(last=index == len(work) - 1), keyed_dropout(policy.module, streams, lengths):
                scores = policy.module(batch.ids_BS, batch.attention_BS, batch.rows_M, batch.columns_M, batch.tokens_M1)
                loss = masked_cross_entropy(scores.logp_MK[:, 0], batch.level_M, canvas, len(examples)) * part.weight
                policy.backward(loss)
            total += float(loss.detach())
            session.on_update_progress()
        return total
