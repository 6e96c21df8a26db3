"""A cycle's rollouts: sample → judge → rescue (paper Algorithm 1, up to the advantages)."""

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from igpo_trainer.data.cycles import prompts_of_cycle
from igpo_trainer.data.problem import EncodedProblem
from igpo_trainer.diffusion.noise import NoiseKey
from igpo_trainer.igpo.hints import build_hint
from igpo_trainer.igpo.rescue import replace_wrong
from igpo_trainer.igpo.rollout import Group, Rollout
from igpo_trainer.loop.rollouts import JudgedRollout, RolloutRequest, RolloutWorker
from igpo_trainer.observe.records import GroupCounts, RescueCounts, TokenCounts, VerdictCounts
from igpo_trainer.rewards.verdict import Outcome
from igpo_trainer.spec.errors import RunError
from igpo_trainer.spec.igpo import IGPOTrainingSpec

MOST_UNJUDGED = 0.2
"""A cycle with a larger share of unjudged rollouts stops the run: the verifier is broken, not the policy."""


@dataclass(slots=True)
class RescueFacts:
    """What the rescue of a cycle did."""

    counts: RescueCounts = field(default_factory=RescueCounts)
    replaced: int = 0
    hint_ratios: list[float] = field(default_factory=list)
    empty_hints: int = 0
    hint_tokens: int = 0
    generated_tokens: int = 0
    unjudged: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Collector:
    """Collects the groups of a cycle."""

    spec: IGPOTrainingSpec
    worker: RolloutWorker
    problems: Sequence[EncodedProblem]

    def sample(self, cycle: int) -> tuple[list[Group], Counter[str]]:
        """o_1:G ~ π_old(·|q) for this cycle's prompts, judged; and why verdicts are missing.

        Raises RunError (exit 1, retried) when more than 20 % of the rollouts have no verdict.
        """
        rows = prompts_of_cycle(self.spec.seed, cycle - 1, len(self.problems), self.spec.prompts_per_step)
        size = self.spec.group_size
        judged = self.worker.run(
            [
                RolloutRequest(self.problems[row], NoiseKey(self.spec.seed, "rollout", cycle, prompt, i))
                for prompt, row in enumerate(rows)
                for i in range(size)
            ],
            self.spec.sampling,
        )
        reasons = _reasons(judged)
        if sum(reasons.values()) > MOST_UNJUDGED * len(judged):
            common = ", ".join(f"{reason} × {count}" for reason, count in reasons.most_common(3))
            raise RunError(
                f"step {cycle}: {sum(reasons.values())} of {len(judged)} rollouts have no verdict ({common}), more "
                f"than {MOST_UNJUDGED:.0%}; raise judge.deadlineSeconds or mend the reward"
            )
        return [
            Group(row, prompt, tuple(j.rollout for j in judged[prompt * size : (prompt + 1) * size]))
            for prompt, row in enumerate(rows)
        ], reasons

    def rescue(self, groups: Sequence[Group], cycle: int) -> tuple[list[Group], RescueFacts]:
        """Give every all-wrong group G hinted rollouts; verified ones replace up to ⌊λG⌋ wrong ones.

        Resample does the same with empty hints, so that it draws as many samples; GRPO does nothing. The work of all
        groups is pooled over processes.
        """
        facts = RescueFacts()
        lost = [g for g in groups if g.all_wrong] if self.spec.algorithm != "GRPO" else []
        requests = [self._request(group, i, cycle, facts) for group in lost for i in range(self.spec.group_size)]
        judged = self.worker.run(requests, self.spec.sampling)
        facts.unjudged = _reasons(judged)
        facts.generated_tokens = sum(j.rollout.length - len(j.rollout.hint_positions) for j in judged)
        saved: dict[int, Group] = {}
        for n, group in enumerate(lost):
            part = judged[n * self.spec.group_size : (n + 1) * self.spec.group_size]
            saved[group.prompt] = replace_wrong(group, [j.rollout for j in part], self.spec.max_replaced)
        replaced = {prompt: sum(r.replaced for r in group.rollouts) for prompt, group in saved.items()}
        rescued = sum(count > 0 for count in replaced.values())
        facts.replaced = sum(replaced.values())
        facts.counts = RescueCounts(attempted=len(lost), rescued=rescued, still_wrong=len(lost) - rescued)
        return [saved.get(group.prompt, group) for group in groups], facts

    def _request(self, group: Group, sample: int, cycle: int, facts: RescueFacts) -> RolloutRequest:
        encoded = self.problems[group.row]
        key = NoiseKey(self.spec.seed, "rescue", cycle, group.prompt, sample)
        if self.spec.algorithm == "Resample":
            return RolloutRequest(encoded, key)
        hint = build_hint(encoded, self.spec.completion_length, self.spec.hints, key.random(0))
        facts.hint_ratios.append(hint.ratio)
        facts.empty_hints += not hint.tokens
        facts.hint_tokens += len(hint.tokens)
        return RolloutRequest(encoded, key, hint.tokens)


def group_counts(groups: Sequence[Group]) -> GroupCounts:
    """Groups by composition."""
    counts = Counter(str(g.composition) for g in groups)
    return GroupCounts(**counts)


def verdict_counts(groups: Sequence[Group]) -> VerdictCounts:
    """Completions by verdict."""
    counts = Counter(r.outcome for r in rollouts_of(groups))
    return VerdictCounts(**{str(outcome): counts[outcome] for outcome in Outcome})


def mean_rewards(groups: Sequence[Group]) -> dict[str, float | None]:
    """Mean of the weighted total and of every part over judged rollouts; None when none is judged."""
    judged = [r for r in rollouts_of(groups) if r.judged]
    if not judged:
        return {"total": None}
    means: dict[str, float | None] = {"total": math.fsum(r.reward or 0.0 for r in judged) / len(judged)}
    for name, _ in judged[0].parts:
        values = [dict(r.parts)[name] for r in judged if name in dict(r.parts)]
        means[name] = math.fsum(values) / len(values)
    return means


def mean_group_deviation(groups: Sequence[Group]) -> float | None:
    """Mean population deviation of the rewards within a group; None when no group has a judged rollout."""
    deviations = [statistics.pstdev([r.reward or 0.0 for r in g.judged]) for g in groups if g.judged]
    return math.fsum(deviations) / len(deviations) if deviations else None


def token_counts(groups: Sequence[Group], problems: Sequence[EncodedProblem], facts: RescueFacts) -> TokenCounts:
    """Tokens of a cycle, rescue included."""
    rescues = facts.counts.attempted and sum(
        len(problems[g.row].prompt_ids) * len(g.rollouts) for g in groups if g.all_wrong
    )
    return TokenCounts(
        prompt=sum(len(problems[g.row].prompt_ids) * len(g.rollouts) for g in groups) + rescues,
        generated=sum(r.length for r in rollouts_of(groups)) + facts.generated_tokens,
        hint=facts.hint_tokens,
    )


def rollouts_of(groups: Sequence[Group]) -> list[Rollout]:
    """All rollouts, group by group."""
    return [r for g in groups for r in g.rollouts]


def _reasons(judged: Sequence[JudgedRollout]) -> Counter[str]:
    return Counter(j.unjudged_reason for j in judged if not j.rollout.judged)
