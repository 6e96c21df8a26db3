"""One optimizer update over a cycle's groups: micro-batches, global normalisation, statistics."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields

import torch
from torch import Tensor

from igpo_trainer.igpo.objective import GroupBatch, Objective, normaliser, objective
from igpo_trainer.loop.cycle import CycleScorer, ScoredGroup, group_batch
from igpo_trainer.loop.policy import Policy
from igpo_trainer.loop.ranks import Ranks
from igpo_trainer.loop.room import Room
from igpo_trainer.observe.exporter import SkipReason
from igpo_trainer.spec.contract import Cause
from igpo_trainer.spec.errors import RunError
from igpo_trainer.spec.igpo import ObjectiveSpec


@dataclass(slots=True)
class UpdateSums:
    """Additive statistics of one or more updates; `hint` and `generated` split positions by origin."""

    loss: float = 0.0
    kl: float = 0.0
    kl_tokens: float = 0.0
    positions_hint: float = 0.0
    positions_generated: float = 0.0
    ratio_hint: float = 0.0
    ratio_generated: float = 0.0
    clipped_hint: float = 0.0
    clipped_generated: float = 0.0
    advantage_hint: float = 0.0
    advantage_generated: float = 0.0

    def add(self, result: Objective, batch: GroupBatch, loss: float) -> None:
        """Count one micro-batch."""
        kept_NL = batch.kept_NL & batch.judged_N[:, None]
        self.loss += loss
        self.kl += float(result.kl_sum)
        self.kl_tokens += float(result.kl_tokens)
        for origin, where_NL in (("hint", kept_NL & batch.hint_NL), ("generated", kept_NL & ~batch.hint_NL)):
            for name, value in (
                ("positions", torch.ones_like(batch.advantage_N)[:, None]),
                ("ratio", result.ratio_N[:, None]),
                ("clipped", result.clipped_NL),
                ("advantage", batch.advantage_N[:, None]),
            ):
                key = f"{name}_{origin}"
                setattr(self, key, getattr(self, key) + float((value * where_NL).sum()))

    def merged(self, ranks: Ranks) -> "UpdateSums":
        """The sums over all processes."""
        names = [f.name for f in fields(self)]
        total = ranks.sum_tensor(torch.tensor([getattr(self, name) for name in names], dtype=torch.float64))
        return UpdateSums(**dict(zip(names, total.tolist(), strict=True)))


@dataclass(slots=True)
class UpdateResult:
    """What one update did, over all processes."""

    gradient_norm: float
    learning_rate: float
    sums: UpdateSums = field(default_factory=UpdateSums)


@dataclass(frozen=True, slots=True)
class Updater:
    """Applies optimizer updates for the groups of a cycle."""

    spec: ObjectiveSpec
    policy: Policy
    ranks: Ranks
    temperature: float
    room: Room
    on_progress: Callable[[], None]
    """Called after every micro-batch; the same number of times on all ranks. May raise to leave the update."""
    on_skipped: Callable[[SkipReason], None] = lambda _: None
    """Told why an update changes no weight."""

    def update(self, scorer: CycleScorer, scored: Sequence[ScoredGroup], cycle: int) -> UpdateResult:
        """One update over `scored`, the groups of all ranks in the same order everywhere.

        Groups without signal carry KL only; with β = 0 they are left out of the work but stay in the normaliser.
        Raises RunError before the optimizer step when loss or gradient is not finite.
        """
        divisor = _divisor(scored, self.spec)
        active = [s for s in scored if s.group.has_signal or self.spec.kl_coefficient > 0]
        sums = self.room.fit(lambda: self._add_gradients(scorer, active, divisor), cycle)
        if not active:
            self.on_skipped("no_signal")
        norm = self.policy.gradient_norm() if active else 0.0
        self._refuse_non_finite(sums.loss, norm, cycle)
        return UpdateResult(norm, self.policy.step(), sums.merged(self.ranks))

    def _add_gradients(self, scorer: CycleScorer, active: Sequence[ScoredGroup], divisor: float) -> UpdateSums:
        """Forward and backward passes of this rank's part of `active`, and their statistics."""
        sums = UpdateSums()
        batches = self._micro_batches(active)
        for index, (part, share) in enumerate(batches):
            with self.policy.micro_batch(last=index == len(batches) - 1):
                plan = scorer.plan([s.group for s in part])
                batch = group_batch(part, plan.weight_RNL)
                logp_RNL = plan.place(self.policy.score(plan, self.temperature).logp_MK)
                result = objective(logp_RNL, batch, self.spec)
                loss = result.loss * (share / divisor)
                self.policy.backward(loss)
            if share:
                sums.add(result, batch, float(loss.detach()))
            self.on_progress()
        return sums

    def _micro_batches(self, active: Sequence[ScoredGroup]) -> list[tuple[list[ScoredGroup], float]]:
        """This rank's micro-batches, each with a factor. Every rank gets equally many: one without work runs × 0."""
        size = self.room.sizes.update_rows
        mine = self.ranks.share(list(active))
        most = math.ceil(len(active) / self.ranks.world)
        batches = [(mine[i : i + size], 1.0) for i in range(0, len(mine), size)]
        missing = math.ceil(most / size) - len(batches)
        return batches + [(list(active[:1]), 0.0)] * missing

    def _refuse_non_finite(self, loss: float, norm: float, cycle: int) -> None:
        if self.ranks.any_true(not (math.isfinite(loss) and math.isfinite(norm))):
            self.policy.discard_gradients()
            self.on_skipped("nonfinite")
            raise RunError(
                f"step {cycle}: loss {loss} or gradient norm {norm} is not finite; stopped before the optimizer "
                "update, the last checkpoint is kept. Lower optimizer.learningRate, or raise objective.klCoefficient",
                cause=Cause.NON_FINITE,
            )


def _divisor(scored: Sequence[ScoredGroup], spec: ObjectiveSpec) -> float:
    rollouts = [r for s in scored for r in s.group.rollouts]
    lengths: Tensor = torch.tensor([r.length for r in rollouts], dtype=torch.float64)
    judged = torch.tensor([r.judged for r in rollouts])
    return normaliser(lengths, judged, spec)
