"""Problems kept out of training, and the proof that they are."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from igpo_trainer.data.problem import Problem, same_problem_key
from igpo_trainer.spec.errors import InvalidDataError


@dataclass(frozen=True, slots=True)
class Split:
    """Problems to train on and problems held out; no prompt is in both."""

    train: list[Problem]
    holdout: list[Problem]
    removed_duplicates: int = 0
    """Rows left out of training because their prompt is held out in another row."""
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Rows of the source that are no problem, by reason."""

    def __post_init__(self) -> None:
        """Raise InvalidDataError if a prompt is on both sides."""
        common = {same_problem_key(p) for p in self.train} & {same_problem_key(p) for p in self.holdout}
        if common:
            raise InvalidDataError(
                f"{len(common)} prompts are both trained on and held out, for example {min(common)[:60]!r}; "
                "hold out prompts that do not occur in training"
            )


def hold_out(problems: Sequence[Problem], rows: int, seed: int, source: str) -> Split:
    """Cut `rows` problems with distinct prompts from the data, chosen by seed and prompt, whatever the rows' order.

    All other rows with a held-out prompt leave the training set as well.

    Raises:
        InvalidDataError: nothing would be left to train on.

    """
    first_of: dict[str, int] = {}
    for index, problem in enumerate(problems):
        first_of.setdefault(same_problem_key(problem), index)
    if rows >= len(first_of):
        raise InvalidDataError(
            f"{source}: dataset.holdout.rows {rows} of {len(first_of)} distinct problems ({len(problems)} rows) "
            "leaves none to train on; lower dataset.holdout.rows"
        )

    def rank(prompt: str) -> bytes:
        return hashlib.sha256(f"holdout/{seed}/{prompt}".encode()).digest()

    held_out = set(sorted(first_of, key=rank)[:rows])
    holdout = [problems[index] for prompt, index in first_of.items() if prompt in held_out]
    train = [problem for problem in problems if same_problem_key(problem) not in held_out]
    return Split(train, holdout, len(problems) - len(train) - len(holdout))
