"""One cycle's rollouts with everything an update needs, as plain per-group data that survives a checkpoint."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Tensor

from igpo_trainer.data.problem import EncodedProblem
from igpo_trainer.diffusion.logprobs import Estimator, GroupTokens, ScoringPlan, plan_scoring
from igpo_trainer.diffusion.noise import NoiseKey
from igpo_trainer.igpo.advantage import advantages
from igpo_trainer.igpo.entropy_filter import kept_hints
from igpo_trainer.igpo.objective import GroupBatch
from igpo_trainer.igpo.rollout import Group
from igpo_trainer.loop.policy import Policy
from igpo_trainer.loop.room import Room
from igpo_trainer.spec.igpo import IGPOTrainingSpec

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class ScoredGroup:
    """A group with the old policy's view of it, on the CPU."""

    group: Group
    advantages: tuple[float | None, ...]
    old_RGL: Tensor
    reference_RGL: Tensor | None
    kept_GL: Tensor
    """True where a token carries gradient: below |o| and not a filtered hint."""
    entropy_hint: tuple[float, ...]
    """Entropy in nats of every hint token, kept or not."""
    entropy_generated: tuple[float, ...]
    """Entropy in nats of every generated token below |o|."""


class CycleScorer:
    """Plans and scores the groups of one cycle under the old, reference and current policy."""

    def __init__(self, spec: IGPOTrainingSpec, policy: Policy, problems: Sequence[EncodedProblem], cycle: int) -> None:
        self._spec = spec
        self._policy = policy
        self._problems = problems
        self._cycle = cycle

    def plan(self, groups: Sequence[Group], estimator: Estimator | None = None) -> ScoringPlan:
        """What to score for `groups`; the same masks for every policy of the cycle."""
        objective = self._spec.objective
        tokens = [
            GroupTokens(
                self._problems[g.row].prompt_ids,
                tuple(r.ids for r in g.rollouts),
                tuple(r.length for r in g.rollouts),
                NoiseKey(self._spec.seed, "scoring", self._cycle, g.prompt, 0),
            )
            for g in groups
        ]
        plan = plan_scoring(
            tokens, estimator or objective.log_probs, objective.mask_samples, self._policy.denoiser.tokens
        )
        return plan.to(self._policy.accelerator.device)

    def score(self, groups: Sequence[Group], room: Room | None = None) -> list[ScoredGroup]:
        """Old and reference log-probabilities, entropies and the entropy filter, on every rank.

        A collective: the work is pooled over the ranks of `room`, as many groups at once as it has room for. Without
        one this process scores all groups at once.
        """

        def pooled(work: Callable[[list[Group]], list[R]]) -> list[R]:
            return work(list(groups)) if room is None else room.pooled(groups, work, self._cycle)

        self._policy.gather()
        scored = pooled(self._under_old_policy)
        if not self._spec.objective.kl_coefficient > 0:
            return scored
        self._policy.gather_reference()
        references = pooled(self._under_reference)
        return [replace(s, reference_RGL=reference) for s, reference in zip(scored, references, strict=True)]

    def _under_old_policy(self, groups: Sequence[Group]) -> list[ScoredGroup]:
        temperature = self._spec.sampling.temperature
        plan = self.plan(groups)
        scores = self._policy.score_frozen(plan, temperature)
        old_RNL = plan.place(scores.logp_MK).cpu()
        if self._spec.objective.log_probs != "MeanField":
            plan = self.plan(groups, "MeanField")
            scores = self._policy.score_frozen(plan, temperature)
        entropy_NL = plan.place(scores.entropy_M[:, None].expand_as(plan.tokens_MK)).cpu()[0]
        return [
            self._filtered(group, old_RNL[:, part].clone(), entropy_NL[part])
            for group, part in zip(groups, self._parts(groups), strict=True)
        ]

    def _under_reference(self, groups: Sequence[Group]) -> list[Tensor]:
        plan = self.plan(groups)
        scores = self._policy.score_frozen(plan, self._spec.sampling.temperature, reference=True)
        logp_RNL = plan.place(scores.logp_MK).cpu()
        return [logp_RNL[:, part].clone() for part in self._parts(groups)]

    def _parts(self, groups: Sequence[Group]) -> list[slice]:
        """Which of the N completions are those of each group."""
        size = self._spec.group_size
        return [slice(p * size, (p + 1) * size) for p in range(len(groups))]

    def _filtered(self, group: Group, old_RGL: Tensor, entropy_GL: Tensor) -> ScoredGroup:
        kept_GL = torch.zeros(entropy_GL.shape, dtype=torch.bool)
        hint_entropies: list[float] = []
        generated_entropies: list[float] = []
        for g, rollout in enumerate(group.rollouts):
            entropy_L = entropy_GL[g].tolist()
            hints = set(rollout.hint_positions)
            kept = kept_hints(entropy_L, rollout.hint_positions, self._spec.hints.entropy_keep_ratio)
            for k in range(rollout.length):
                kept_GL[g, k] = k not in hints or k in kept
                (hint_entropies if k in hints else generated_entropies).append(entropy_L[k])
        gains = advantages(group, self._spec.objective.advantage)
        return ScoredGroup(group, gains, old_RGL, None, kept_GL, tuple(hint_entropies), tuple(generated_entropies))


def group_batch(scored: Sequence[ScoredGroup], weight_RNL: Tensor) -> GroupBatch:
    """Stack groups for the objective, on the device of `weight_RNL`."""
    device = weight_RNL.device
    rollouts = [r for s in scored for r in s.group.rollouts]
    canvas_length = weight_RNL.shape[-1]
    hint_NL = torch.zeros(len(rollouts), canvas_length, dtype=torch.bool)
    for n, rollout in enumerate(rollouts):
        hint_NL[n, list(rollout.hint_positions)] = True
    gains = [a for s in scored for a in s.advantages]
    references = [s.reference_RGL for s in scored if s.reference_RGL is not None]
    dtype = scored[0].old_RGL.dtype
    return GroupBatch(
        old_RNL=torch.cat([s.old_RGL for s in scored], dim=1).to(device),
        reference_RNL=torch.cat(references, dim=1).to(device) if references else None,
        weight_RNL=weight_RNL.to(dtype),
        kept_NL=torch.cat([s.kept_GL for s in scored]).to(device),
        hint_NL=hint_NL.to(device),
        length_N=torch.tensor([r.length for r in rollouts], dtype=dtype, device=device),
        advantage_N=torch.tensor([a or 0.0 for a in gains], dtype=dtype, device=device),
        judged_N=torch.tensor([r.judged for r in rollouts], device=device),
    )
