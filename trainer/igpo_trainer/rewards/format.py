r"""The format reward: exactly one \boxed answer, and the text ends with it."""

from igpo_trainer.boxed import boxes

_MAY_FOLLOW = frozenset(" \t\r\n.$)]}\\")
"""What may stand after the answer: space, a full stop and the end of a formula."""


def format_reward(completion: str) -> float:
    r"""Format of a completion, 0 to 1, whatever the answer is worth.

    0.5 for exactly one complete, non-empty \boxed{...}; 0.5 more when nothing but space, a full stop or the end of a
    formula follows it. Several boxes, an empty one or none: 0, so that boxing every candidate never pays.
    """
    found = boxes(completion)
    if len(found) != 1 or not found[0].content or completion.count("\\boxed") != 1:
        return 0.0
    return 1.0 if set(completion[found[0].end :]) <= _MAY_FOLLOW else 0.5
