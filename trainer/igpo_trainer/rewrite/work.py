"""One go at rewriting: ask for what is missing, look at answers as they come, and say how far it is."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from igpo_trainer.data.problem import Problem
from igpo_trainer.rewrite.answers import Answer, AnswerFile
from igpo_trainer.rewrite.assignment import Assignment, Request
from igpo_trainer.rewrite.crew import Crew, Tally
from igpo_trainer.rewrite.keep import Inspection, Inspector
from igpo_trainer.rewrite.teacher import Teacher
from igpo_trainer.spec.contract import RewriteStatus
from igpo_trainer.spec.errors import InterruptedRunError, InvalidDataError, RunError
from igpo_trainer.spec.sft import RewriteSpec

TICK_SECONDS: Final = 0.25
_CHUNK: Final = 64
_ENOUGH_TO_JUDGE: Final = 256
"""So many rewrites of which none can be kept end the work: the rest would cost and come to nothing."""


@dataclass(frozen=True, slots=True)
class Row:
    """A trace to rewrite."""

    problem: Problem
    original_tokens: int
    """Its length in our tokens, end token included."""
    request: Request


class Stop(Protocol):
    """The wish to stop, as loop.stop.StopSignal has it."""

    requested: bool

    @property
    def wakeup(self) -> int | None:
        """A descriptor that can be read once a signal has come."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the surroundings do while the work goes on."""

    before_write: Callable[[], None]
    """Raises when another attempt owns the folder."""
    on_tick: Callable[[RewriteStatus], None]
    """Shows the status, several times a second."""
    stop: Stop
    drain_seconds: float
    """How long answers in flight may still take after a request to stop."""


@dataclass(slots=True)
class Work:
    """Rewrites rows; `run` once. What it found is in `inspections` and `tally`, by the key of the request."""

    rows: Sequence[Row]
    answers: AnswerFile
    inspector: Inspector
    spec: RewriteSpec
    assignment: Assignment
    api_key: str | None
    hooks: Hooks
    inspections: dict[str, Inspection] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    _problems: Mapping[str, Problem] = field(init=False)
    _cached: int = field(init=False)
    _began: float = field(default_factory=time.monotonic)
    _kept: int = 0

    def __post_init__(self) -> None:
        """Rows with the same request share one answer."""
        self._problems = {row.request.key: row.problem for row in self.rows}
        self._cached = sum(self.answers.get(row.request) is not None for row in self._distinct())

    def _distinct(self) -> list[Row]:
        return list({row.request.key: row for row in self.rows}.values())

    def run(self) -> None:
        """Get an answer to every request and look at it.

        Raises:
            InterruptedRunError: told to stop. InvalidRunError, RunError: the teacher, the key or the budget.
            InvalidDataError: nothing of many rewrites can be kept.
            OSError: the disk. In every case the answers so far are on file.

        """
        asyncio.run(self._run())

    async def _run(self) -> None:
        pending = [row.request for row in self._distinct() if self.answers.get(row.request) is None]
        arrived: asyncio.Queue[Answer | None] = asyncio.Queue()
        for row in self._distinct():
            if (answer := self.answers.get(row.request)) is not None:
                arrived.put_nowait(answer)
        async with Teacher(self.assignment, self.api_key, self.spec.timeout_seconds) as teacher:
            crew = Crew(
                teacher,
                self.assignment,
                self.answers,
                self.spec,
                on_answer=arrived.put_nowait,
                before_write=self.hooks.before_write,
                drain_seconds=self.hooks.drain_seconds,
            )
            self.tally = crew.tally
            ticking = asyncio.create_task(self._tick())
            inspecting = asyncio.create_task(self._inspect(arrived, crew))
            self._listen(crew)
            try:
                await crew.ask(pending)
                arrived.put_nowait(None)
                await inspecting
            finally:
                for task in (ticking, inspecting):
                    task.cancel()
                await asyncio.gather(ticking, inspecting, return_exceptions=True)
                self.hooks.on_tick(self.status())
        crew.require_not_halted()

    def _listen(self, crew: Crew) -> None:
        """Halt the crew when a signal asks for it."""
        stop, loop = self.hooks.stop, asyncio.get_running_loop()

        def halt() -> None:
            if stop.requested:
                crew.halt(self._told_to_stop)
                if stop.wakeup is not None:
                    loop.remove_reader(stop.wakeup)

        if stop.wakeup is not None:
            loop.add_reader(stop.wakeup, halt)
        halt()

    async def _tick(self) -> None:
        while True:
            self.hooks.on_tick(self.status())
            await asyncio.sleep(TICK_SECONDS)

    async def _inspect(self, arrived: "asyncio.Queue[Answer | None]", crew: Crew) -> None:
        """Look at answers in another thread, some together, until None comes; an error halts the crew."""
        more = True
        while more:
            batch = [await arrived.get()]
            while len(batch) < _CHUNK and not arrived.empty():
                batch.append(arrived.get_nowait())
            more = batch[-1] is not None
            answers = [answer for answer in batch if answer is not None]
            pairs = [(self._problems[answer.key], answer) for answer in answers]
            try:
                found = await asyncio.to_thread(self.inspector.inspect, pairs)
            except RunError as error:
                crew.halt(error)
                return
            for answer, inspection in zip(answers, found, strict=True):
                self.inspections[answer.key] = inspection
                self._kept += inspection.reason is None
            if self._kept == 0 and len(self.inspections) >= _ENOUGH_TO_JUDGE:
                crew.halt(self._nothing_kept())

    def _told_to_stop(self) -> RunError:
        return InterruptedRunError(
            f"told to stop with {len(self.answers)} traces rewritten; they are kept, start again to go on"
        )

    def _nothing_kept(self) -> RunError:
        example = next(iter(self.inspections.values()))
        return InvalidDataError(
            f"none of the first {len(self.inspections)} rewrites by {self.assignment.model} can be kept "
            f"({example.reason}: {example.text[:80]!r}); change rewrite.prompt, rewrite.teacher or length.target; the "
            f"answers are in {self.answers.path}"
        )

    def status(self) -> RewriteStatus:
        """How far the work is."""
        tally, seconds = self.tally, time.monotonic() - self._began
        here = tally.answered + len(tally.refused)
        done = self._cached + here
        rate = here / seconds if here and seconds > 0 else None
        return RewriteStatus(
            rows=len(self._problems),
            done=done,
            cached=self._cached,
            kept=self._kept,
            dropped=len(self.inspections) - self._kept + len(tally.refused),
            requests=tally.requests,
            retries=tally.retries,
            tokens=self.answers.spent,
            token_budget=self.spec.token_budget,
            rows_per_second=rate,
            eta_seconds=(len(self._problems) - done) / rate if rate else None,
        )
