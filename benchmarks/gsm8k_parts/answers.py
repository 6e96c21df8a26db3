"""Reference answers under the reward: each must be right, and each plus one wrong."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal

from igpo_trainer.data.problem import Problem
from igpo_trainer.rewards.correctness import equal
from igpo_trainer.rewards.judge import Judge
from igpo_trainer.rewards.verdict import JudgeTask, Outcome

_BATCH = 256


def plus_one(answer: str) -> str:
    """The next number, spelled as the answer is: with commas, or without."""
    return f"{Decimal(answer.replace(',', '')) + 1:{',' if ',' in answer else ''}}"


def by_reward(problems: Sequence[Problem], advance: Callable[[int], None]) -> dict[str, int]:
    """Verdicts of the run's judge on whole reference traces, and on traces that end in the answer plus one."""
    counts: Counter[str] = Counter()
    with Judge() as judge:
        for first in range(0, len(problems), _BATCH):
            part = problems[first : first + _BATCH]
            right = judge.judge([JudgeTask(p.prompt, p.trace, p.answer) for p in part])
            wrong = judge.judge(
                [JudgeTask(p.prompt, f"{p.trace} No: \\boxed{{{plus_one(p.answer)}}}", p.answer) for p in part]
            )
            counts["answer_right"] += sum(verdict.outcome is Outcome.RIGHT for verdict in right)
            counts["plus_one_wrong"] += sum(verdict.outcome is Outcome.WRONG for verdict in wrong)
            advance(len(part))
    return dict(counts)


def by_verifier(problems: Sequence[Problem], advance: Callable[[int], None]) -> dict[str, int]:
    """The same by math-verify alone, which the judge asks only about what it cannot decide by itself."""
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns once that its own time-outs are off
    counts = {"answer_right": 0, "plus_one_wrong": 0}
    for problem in problems:
        counts["answer_right"] += equal(problem.answer, problem.answer)
        counts["plus_one_wrong"] += not equal(plus_one(problem.answer), problem.answer)
        advance(1)
    return counts
