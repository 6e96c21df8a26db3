"""The judge of a run: verdicts and scores of completions, in order, never a silent 0."""

import os
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from igpo_trainer.boxed import last_boxed
from igpo_trainer.rewards.format import format_reward
from igpo_trainer.rewards.plain import plain_outcome
from igpo_trainer.rewards.pool import WorkerPool, count_results
from igpo_trainer.rewards.process import Evaluation, Result
from igpo_trainer.rewards.registry import CORRECTNESS
from igpo_trainer.rewards.score import Score, combine
from igpo_trainer.rewards.verdict import JudgeTask, Outcome, Verdict
from igpo_trainer.spec.igpo import JudgeSpec, RewardsSpec


def processes_of(spec: JudgeSpec, cores: int | None = None) -> int:
    """Return the number of verifier processes: as given, or half of this process's cores, 1 to 8."""
    if spec.processes != "Auto":
        return spec.processes
    return max(1, min(8, (cores or len(os.sched_getaffinity(0))) // 2))


class Judge:
    """Judges completions by the run's rewards; a context manager that owns killable worker processes.

    Numbers and words are decided in this process at once (`plain`); algebra and custom rewards go to workers, each
    evaluation with its own deadline. A worker that hangs or dies is replaced, and only the completion it was at is
    unjudged. `counts` adds up over the judge's life: `right`, `wrong`, `unjudged`, and the failed evaluations
    by cause (`deadline`, `crash`, `error`). Not for use by two threads at once.
    """

    def __init__(self, spec: JudgeSpec | None = None, rewards: RewardsSpec | None = None) -> None:
        spec = spec or JudgeSpec()
        self.rewards = rewards or RewardsSpec()
        self.counts: Counter[str] = Counter()
        self._pool = WorkerPool(processes_of(spec), spec.deadline_seconds, tuple(self.rewards.custom))

    def __enter__(self) -> Self:
        """Enter; raise InvalidRunError at once if a custom reward cannot be loaded."""
        if self.rewards.custom:
            try:
                self._pool.check_rewards()
            except BaseException:
                self._pool.close()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End all worker processes."""
        self._pool.close()

    @property
    def pids(self) -> list[int]:
        """Process ids of the running workers."""
        return self._pool.pids

    @property
    def restarts(self) -> int:
        """Workers that were killed or died and were replaced."""
        return self._pool.restarts

    def judge(self, tasks: Sequence[JudgeTask]) -> list[Verdict]:
        """Correctness of each completion, in the order of `tasks`."""
        return self._judge(tasks, ())[0]

    def score(self, tasks: Sequence[JudgeTask]) -> list[Score]:
        """All rewards of each completion and their weighted sum, in the order of `tasks`."""
        names = tuple(self.rewards.custom)
        verdicts, custom = self._judge(tasks, names)
        return [
            combine(verdict, format_reward(task.completion), dict(zip(names, values, strict=True)), self.rewards)
            for task, verdict, values in zip(tasks, verdicts, custom, strict=True)
        ]

    def _judge(self, tasks: Sequence[JudgeTask], names: Sequence[str]) -> tuple[list[Verdict], list[list[Result]]]:
        outcomes = [_plain_outcome(task) for task in tasks]
        width = 1 + len(names)
        evaluations = [
            Evaluation(index * width + column, name, task)
            for index, task in enumerate(tasks)
            for column, name in enumerate((CORRECTNESS, *names))
            if column or outcomes[index] is None
        ]
        results = self._pool.run(evaluations)
        verdicts = [
            Verdict(outcome) if outcome is not None else _verdict(results[index * width])
            for index, outcome in enumerate(outcomes)
        ]
        self.counts.update(verdict.outcome.value for verdict in verdicts)
        self.counts.update(count_results(results))
        return verdicts, [[results[i * width + c] for c in range(1, width)] for i in range(len(tasks))]


def _plain_outcome(task: JudgeTask) -> Outcome | None:
    content = last_boxed(task.completion)
    return Outcome.WRONG if content is None else plain_outcome(content, task.answer)


def _verdict(result: Result) -> Verdict:
    if isinstance(result, str):
        return Verdict(Outcome.UNJUDGED, result)
    return Verdict(Outcome.RIGHT if result else Outcome.WRONG)
