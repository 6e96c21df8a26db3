"""The reward of a completion: the weighted sum of its parts."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from igpo_trainer.rewards.verdict import Outcome, Verdict
from igpo_trainer.spec.igpo import RewardsSpec


@dataclass(frozen=True, slots=True)
class Score:
    """Parts of a completion's reward and their weighted sum.

    `custom` lacks the rewards that failed. `total` is None if a part with a weight could not be judged, and `reason`
    says why; such a completion leaves the group's mean and the loss.
    """

    correctness: Outcome
    format: float
    custom: Mapping[str, float] = field(default_factory=dict)
    total: float | None = None
    reason: str = ""


def combine(verdict: Verdict, format_value: float, custom: Mapping[str, float | str], weights: RewardsSpec) -> Score:
    """Score of one completion. A custom value that is a string is the reason why that reward is missing."""
    values = {name: value for name, value in custom.items() if not isinstance(value, str)}
    reasons = [f"correctness: {verdict.reason}"] if verdict.outcome is Outcome.UNJUDGED and weights.correctness else []
    reasons += [f"{name}: {why}" for name, why in custom.items() if isinstance(why, str) and weights.custom[name]]
    total = None
    if not reasons:
        total = weights.correctness * (verdict.outcome is Outcome.RIGHT) + weights.format * format_value
        total += sum(weights.custom[name] * value for name, value in values.items())
    return Score(verdict.outcome, format_value, values, total, "; ".join(reasons))
