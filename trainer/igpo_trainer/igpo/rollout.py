"""A group of rollouts of one prompt, and what is known about each."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from igpo_trainer.rewards.verdict import Outcome

Composition: TypeAlias = Literal["all_wrong", "all_correct", "mixed", "undecided"]
"""undecided: the verdicts there are agree, but some rollouts are unjudged."""


@dataclass(frozen=True, slots=True)
class Rollout:
    """One completion o_i with its verdict. Plain data: it is gathered over ranks and stored in checkpoints."""

    ids: tuple[int, ...]
    """L token ids, end-filled after the first end token."""
    length: int
    """|o|: tokens up to and including the first end token."""
    outcome: Outcome
    reward: float | None
    """Weighted reward; None when unjudged."""
    parts: tuple[tuple[str, float], ...] = ()
    """Unweighted reward by name."""
    hint_positions: tuple[int, ...] = ()
    """Canvas indices below |o| that were given, not generated."""
    replaced: bool = False
    """True when this verified inpainted completion took the place of a wrong one."""

    @property
    def judged(self) -> bool:
        """Whether there is a reward; without one a rollout leaves mean and loss."""
        return self.reward is not None


@dataclass(frozen=True, slots=True)
class Group:
    """The G rollouts of one prompt."""

    row: int
    """Index of the problem in the training set."""
    prompt: int
    """Index of the prompt in its cycle; keys its noise."""
    rollouts: tuple[Rollout, ...]

    @property
    def judged(self) -> tuple[Rollout, ...]:
        """Rollouts with a reward."""
        return tuple(r for r in self.rollouts if r.judged)

    @property
    def all_wrong(self) -> bool:
        """Every rollout judged and none right: the trigger of a rescue."""
        return all(r.judged and r.outcome is Outcome.WRONG for r in self.rollouts)

    @property
    def all_correct(self) -> bool:
        """Every rollout judged right."""
        return all(r.judged and r.outcome is Outcome.RIGHT for r in self.rollouts)

    @property
    def composition(self) -> Composition:
        """What the verdicts say of the group as a whole."""
        if self.all_wrong:
            return "all_wrong"
        if self.all_correct:
            return "all_correct"
        outcomes = {r.outcome for r in self.judged}
        return "mixed" if {Outcome.RIGHT, Outcome.WRONG} <= outcomes else "undecided"

    @property
    def has_signal(self) -> bool:
        """Whether the judged rewards differ, so that some advantage is not 0."""
        return len({r.reward for r in self.judged}) > 1
