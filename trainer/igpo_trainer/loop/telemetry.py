"""One place where a run says what it does: journal, metrics, terminal and trackers. Silent on all ranks but the first."""

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from igpo_trainer.loop.ranks import Ranks
from igpo_trainer.observe.exporter import Exporter
from igpo_trainer.observe.journal import Journal
from igpo_trainer.observe.readings import headline
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
            self._track(dict(headline(record)), record.step)

    def sample(self, record: SampleRecord) -> None:
        """Write one rollout for people to read."""
        if self.journal is not None:
            self.journal.write_sample(record)
