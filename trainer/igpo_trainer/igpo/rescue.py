"""Rescue of all-wrong groups (paper Algorithm 1): verified inpainted completions replace wrong rollouts."""

from collections.abc import Sequence
from dataclasses import replace

from igpo_trainer.igpo.rollout import Group, Rollout
from igpo_trainer.rewards.verdict import Outcome


def replace_wrong(group: Group, candidates: Sequence[Rollout], max_replaced: int) -> Group:
    """Put up to `max_replaced` = ⌊λG⌋ verified candidates in the place of wrong rollouts (K in paper Eq. 5).

    Candidate i was drawn for slot i and takes that slot; slots that are not wrong are never touched. With more
    verified candidates than may be used, those of the lowest slots are: all are draws from the same distribution.
    """
    rollouts = list(group.rollouts)
    free = max_replaced
    for slot, candidate in enumerate(candidates):
        if free == 0:
            break
        if candidate.judged and candidate.outcome is Outcome.RIGHT and rollouts[slot].outcome is Outcome.WRONG:
            rollouts[slot] = replace(candidate, replaced=True)
            free -= 1
    return replace(group, rollouts=tuple(rollouts))
