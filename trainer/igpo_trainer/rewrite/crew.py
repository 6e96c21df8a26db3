"""Many requests in flight, never more than allowed; every answer is on file before the next request is sent."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from igpo_trainer.rewrite.answers import Answer, AnswerFile
from igpo_trainer.rewrite.assignment import Assignment, Request
from igpo_trainer.rewrite.budget import Budget, BudgetSpentError
from igpo_trainer.rewrite.patience import Patience, TransientError
from igpo_trainer.rewrite.teacher import RefusedError, Teacher
from igpo_trainer.spec.errors import InvalidRunError, RunError
from igpo_trainer.spec.sft import RewriteSpec

_REFUSALS_TO_BELIEVE: Final = 4
_FORGIVEN: Final = 100
"""One row in so many may stay without an answer; it is left out and counted."""


class HaltedError(Exception):
    """The crew was told to stop while a request waited to be sent again."""


@dataclass(slots=True)
class Tally:
    """What a crew has done so far, in this process."""

    requests: int = 0
    retries: int = 0
    answered: int = 0
    refused: dict[str, str] = field(default_factory=dict)
    """Key of a request -> why the teacher will not answer it."""
    unanswered: dict[str, str] = field(default_factory=dict)
    """Key of a request -> its last failure, after all attempts."""
    last_failure: str = ""


class Crew:
    """`concurrency` workers that take one request each until all are done, or something ends the work.

    After `halt` no request is sent any more, and those in flight have `drain_seconds` to arrive.
    """

    def __init__(
        self,
        teacher: Teacher,
        assignment: Assignment,
        answers: AnswerFile,
        spec: RewriteSpec,
        *,
        on_answer: Callable[[Answer], None],
        before_write: Callable[[], None],
        drain_seconds: float,
    ) -> None:
        """`before_write` is called before every line of the file and raises when another attempt owns the folder."""
        self.tally = Tally()
        self._teacher = teacher
        self._assignment = assignment
        self._answers = answers
        self._concurrency = spec.concurrency
        self._budget = Budget(spec.token_budget, answers.spent)
        self._patience = Patience(spec.attempts, self._pause)
        self._attempts = spec.attempts
        self._on_answer = on_answer
        self._before_write = before_write
        self._drain_seconds = drain_seconds
        self._halted = asyncio.Event()
        self._silent_in_a_row = 0
        self._total = 0
        self._why: RunError | Callable[[], RunError] | None = None

    def halt(self, why: RunError | Callable[[], RunError]) -> None:
        """Send nothing more; the first reason counts. A function is asked when what was in flight has arrived."""
        self._why = self._why or why
        self._halted.set()

    def require_not_halted(self) -> None:
        """Raise the reason of `halt`, if there was one."""
        if self._why is not None:
            raise self._why if isinstance(self._why, RunError) else self._why()

    async def ask(self, requests: Sequence[Request]) -> None:
        """Ask for an answer to each request, in order. Raises the error that halted the work, and OSError.

        Returns when every request is answered, refused or, in few cases, without answer after all attempts: see tally.
        """
        self._total = len(requests)
        waiting = deque(requests)
        workers = [asyncio.create_task(self._work(waiting)) for _ in range(min(self._concurrency, len(requests)))]
        halted = asyncio.create_task(self._halted.wait())
        try:
            running = set(workers)
            while running and not self._halted.is_set():
                done, _ = await asyncio.wait({*running, halted}, return_when=asyncio.FIRST_COMPLETED)
                running -= done
                for worker in done - {halted}:
                    worker.result()
            if running:
                await asyncio.wait(running, timeout=self._drain_seconds)
        finally:
            for task in (*workers, halted):
                task.cancel()
            await asyncio.gather(*workers, halted, return_exceptions=True)
        self.require_not_halted()

    async def _work(self, waiting: deque[Request]) -> None:
        while waiting and not self._halted.is_set():
            request = waiting.popleft()
            try:
                answer = await self._answer(request)
            except HaltedError:
                return
            except BudgetSpentError:
                self.halt(self._budget_spent)
            except RefusedError as error:
                self.tally.refused[request.key] = str(error)
                self._judge_refusals()
            except TransientError as error:
                self.tally.unanswered[request.key] = str(error)
                self._silent_in_a_row += 1
                self._judge_silence()
            except RunError as error:
                self.halt(error)
            else:
                self.tally.answered += 1
                self._silent_in_a_row = 0
                self._on_answer(answer)

    async def _answer(self, request: Request) -> Answer:
        async for attempt in self._patience.retrying():
            with attempt:
                return await self._attempt(request, again=attempt.retry_state.attempt_number > 1)
        raise AssertionError("tenacity returns or raises")

    async def _attempt(self, request: Request, *, again: bool) -> Answer:
        most = request.most_tokens + self._assignment.max_tokens
        await self._budget.reserve(most)
        try:
            self.tally.requests += 1
            self.tally.retries += again
            answer = await self._teacher.ask(request)
            self._record(answer)
        except TransientError as error:
            self.tally.last_failure = str(error)
            if error.may_have_cost:
                self._record(
                    Answer(
                        key=request.key,
                        text=None,
                        prompt_tokens=request.most_tokens,
                        completion_tokens=self._assignment.max_tokens,
                    )
                )
            raise
        finally:
            await self._budget.settle(most)
        return answer

    def _record(self, answer: Answer) -> None:
        self._before_write()
        self._answers.add(answer)
        self._budget.charge(answer.tokens)

    async def _pause(self, seconds: float) -> None:
        """Wait before a request is sent again, unless the work is halted meanwhile."""
        try:
            async with asyncio.timeout(seconds):
                await self._halted.wait()
        except TimeoutError:
            return
        raise HaltedError

    def _budget_spent(self) -> RunError:
        left = self._total - self.tally.answered - len(self.tally.refused)
        return InvalidRunError(
            f"rewrite.tokenBudget {self._budget.limit} is spent: {self._budget.spent} tokens for "
            f"{len(self._answers)} answers, {left} traces are left and the next may cost more than remains; the "
            "answers are kept: raise rewrite.tokenBudget and start again"
        )

    def _judge_refusals(self) -> None:
        """Halt when the teacher refuses whatever it is asked: then it is the model or a setting, not the rows."""
        refused = self.tally.refused
        if len(self._answers) == 0 and len(refused) >= min(_REFUSALS_TO_BELIEVE, self._total):
            self.halt(
                InvalidRunError(
                    f"the teacher at {self._assignment.base_url} refused all of {len(refused)} requests to model "
                    f"{self._assignment.model!r} ({next(reversed(refused.values()))}); correct rewrite.teacher, "
                    "rewrite.maxTokens or rewrite.temperature"
                )
            )

    def _judge_silence(self) -> None:
        """Halt when the teacher seems to be down, or more rows stay without an answer than can be done without."""
        silent = len(self.tally.unanswered)
        down = self._silent_in_a_row >= min(self._concurrency, self._total)
        if down or silent > self._total // _FORGIVEN:
            self.halt(
                RunError(
                    f"the teacher at {self._assignment.base_url} left {silent} of {self._total} traces without an "
                    f"answer after {self._attempts} attempts each ({self.tally.last_failure}); {len(self._answers)} "
                    "answers are kept: see to the teacher and start again"
                )
            )
