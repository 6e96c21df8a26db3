"""One place where a run says what it does: journal, metrics, terminal, trackers. Silent on ranks but the first."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from igpo_trainer.loop.ranks import Ranks
from igpo_trainer.observe.exporter import Exporter, SkipReason
from igpo_trainer.observe.journal import Journal
from igpo_trainer.observe.readings import Headline
from igpo_trainer.observe.records import (
    EvaluationRecord,
    JournalRecord,
    Phase,
    SftStepRecord,
    State,
    StepRecord,
    StepTime,
)
from igpo_trainer.observe.samples import SampleRecord


class Watcher(Protocol):
    """A live view of the run, such as the terminal."""

    def publish(self, record: JournalRecord) -> None:
        """Show a record."""

    def state(self, state: State) -> None:
        """Show what is being done."""

    def resumed(self, records: list[JournalRecord]) -> None:
        """Take over the journal of a continued run."""


class Telemetry:
    """Times phases on every rank and publishes records on the main one."""

    def __init__(
        self,
        ranks: Ranks,
        *,
        journal: Journal | None = None,
        exporter: Exporter | None = None,
        watcher: Watcher | None = None,
        track: Callable[[dict[str, float], int], None] | None = None,
    ) -> None:
        self.journal = journal
        self.exporter = exporter
        self._ranks = ranks
        self._watcher = watcher
        self._track = track
        self._headline = Headline()
        self._phases: dict[Phase, float] = defaultdict(float)
        self._current = Phase.ROLLOUT
        self._began = time.monotonic()

    @contextmanager
    def phase(self, phase: Phase) -> Iterator[None]:
        """Time a phase and say that it runs."""
        self.state(State(phase))
        self._current = phase
        began = time.monotonic()
        try:
            yield
        finally:
            self._phases[phase] += time.monotonic() - began

    def state(self, state: State) -> None:
        """Say what the run is doing now."""
        for view in (self.exporter, self._watcher):
            if view is not None:
                view.state(state)

    def progress(self, units: int = 1) -> None:
        """Say that work was done: a denoised block, a micro-batch, a checkpoint file."""
        if self.exporter is not None:
            self.exporter.progress(units)

    def start_step(self) -> None:
        """Begin timing a step; phases before it are forgotten."""
        self._phases.clear()
        self._began = time.monotonic()

    def step_time(self) -> StepTime:
        """Wall-clock data of the step that ends now; the slowest rank's phases. A collective."""
        seconds = time.monotonic() - self._began
        everywhere = self._ranks.gather_objects((seconds, dict(self._phases)))
        phases: dict[Phase, float] = {}
        for _, theirs in everywhere:
            for phase, spent in theirs.items():
                phases[phase] = max(spent, phases.get(phase, 0.0))
        return StepTime(
            at=time.time(), seconds=seconds, phases=phases, rank_seconds=tuple(spent for spent, _ in everywhere)
        )

    def publish(self, record: JournalRecord) -> None:
        """Write, export and show one record."""
        if self.journal is not None:
            self.journal.write(record)
        self.show(record)

    def show(self, record: JournalRecord) -> None:
        """Export and show one record that the journal already holds, or never will."""
        for view in (self.exporter, self._watcher):
            if view is not None:
                view.publish(record)
        if self._track is not None and isinstance(record, StepRecord | SftStepRecord | EvaluationRecord):
            self._track(self._headline.of(record), record.step)

    def resumed(self) -> None:
        """Show what the journal of a continued run already holds."""
        for view in (self.exporter, self._watcher):
            if view is not None and self.journal is not None:
                view.resumed(self.journal.records())

    def skipped_update(self, reason: SkipReason) -> None:
        """Count an optimizer update that was not made."""
        if self.exporter is not None:
            self.exporter.skipped_update(reason)

    def out_of_memory(self, times: int = 1) -> None:
        """Count allocations that failed in the phase that runs, and that a smaller batch made good."""
        if self.exporter is not None:
            for _ in range(times):
                self.exporter.out_of_memory(self._current)

    def sample(self, record: SampleRecord) -> None:
        """Write one rollout for people to read."""
        if self.journal is not None:
            self.journal.write_sample(record)
