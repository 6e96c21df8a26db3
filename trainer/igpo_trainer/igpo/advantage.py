"""Group-relative advantages (paper Eq. 2)."""

import math
from typing import Literal

from igpo_trainer.igpo.rollout import Group


def advantages(group: Group, kind: Literal["Centred", "Standardised"]) -> tuple[float | None, ...]:
    """A_i = r_i − mean of the group's judged rewards; None for an unjudged rollout.

    Standardised also divides by the population deviation of the judged rewards (0 stays 0: no signal).
    """
    rewards = [r.reward for r in group.judged if r.reward is not None]
    if not rewards:
        return tuple(None for _ in group.rollouts)
    mean = math.fsum(rewards) / len(rewards)
    scale = 1.0
    if kind == "Standardised":
        scale = math.sqrt(math.fsum((r - mean) ** 2 for r in rewards) / len(rewards)) or 1.0
    return tuple(None if r.reward is None else (r.reward - mean) / scale for r in group.rollouts)
