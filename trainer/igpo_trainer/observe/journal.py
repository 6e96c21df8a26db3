"""metrics.jsonl and samples.jsonl: one JSON object a line, append only, cut back to a checkpoint on resume."""

from pathlib import Path
from types import TracebackType
from typing import Protocol, Self, TypeVar

from igpo_trainer.folder import write_atomically
from igpo_trainer.observe.line_file import LineFile, read_lines
from igpo_trainer.observe.records import JOURNAL, EndRecord, JournalRecord
from igpo_trainer.observe.samples import SAMPLES, SampleRecord
from igpo_trainer.spec.contract import METRICS_FILE, SAMPLES_FILE


class _Record(Protocol):
    @property
    def step(self) -> int: ...

    def model_dump_json(self) -> str: ...


R = TypeVar("R", bound=_Record)


def read_metrics(run_dir: Path) -> list[JournalRecord]:
    """All records of metrics.jsonl, oldest first; empty when there is no file yet.

    Raises InvalidDataError for a line that is not a record; a torn last line is passed over.
    """
    return [record for _, record in read_lines(run_dir / METRICS_FILE, JOURNAL)]


def read_samples(run_dir: Path) -> list[SampleRecord]:
    """All records of samples.jsonl, oldest first; empty when there is no file."""
    return [record for _, record in read_lines(run_dir / SAMPLES_FILE, SAMPLES)]


class RecordFile(LineFile[R]):
    """Records of one type, each of a step, so that the file can be cut back to one."""

    def truncate_after(self, step: int) -> None:
        """Keep lines up to and including `step`, atomically; an end line always goes. A fresh start passes -1."""
        kept = [
            line
            for line, record in read_lines(self.path, self._adapter)
            if record.step <= step and not isinstance(record, EndRecord)
        ]
        write_atomically(self.path, b"".join(kept))
        self._file.close()
        self._file = self.path.open("ab", buffering=0)


class Journal:
    """The two files of a run folder, written and cut together. Only global rank 0 has one."""

    def __init__(self, run_dir: Path) -> None:
        """Open both files for appending."""
        self.run_dir = run_dir
        self._metrics: RecordFile[JournalRecord] = RecordFile(run_dir / METRICS_FILE, JOURNAL)
        self._samples: RecordFile[SampleRecord] = RecordFile(run_dir / SAMPLES_FILE, SAMPLES)

    def write(self, record: JournalRecord) -> None:
        """Append to metrics.jsonl."""
        self._metrics.write(record)

    def write_sample(self, record: SampleRecord) -> None:
        """Append to samples.jsonl."""
        self._samples.write(record)

    def records(self) -> list[JournalRecord]:
        """Everything in metrics.jsonl so far."""
        return read_metrics(self.run_dir)

    def sync(self) -> None:
        """Both files are on the disk when this returns; called before a checkpoint is published."""
        self._metrics.sync()
        self._samples.sync()

    def truncate_after(self, step: int) -> None:
        """Cut both files back to the checkpoint of `step` that a run resumes from; -1 empties them."""
        self._metrics.truncate_after(step)
        self._samples.truncate_after(step)

    def close(self) -> None:
        """Sync and close both files."""
        self._metrics.close()
        self._samples.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
