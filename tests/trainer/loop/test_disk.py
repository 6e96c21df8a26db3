"""A disk without room: the run ends with exit 1 and one line, and the last checkpoint is kept."""

import json
import resource
from contextlib import contextmanager

import pytest

from igpo_trainer.loop.stop import StopSignal
from igpo_trainer.spec.errors import InterruptedRunError, RunError


@contextmanager
def files_of_at_most(limit):
    """The kernel refuses every write beyond `limit` bytes of a file, as a full volume does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class AfterStep(StopSignal):
    """Told to stop once a number of steps are journalled."""

    def __init__(self, journal, step):
        super().__init__()
        self._journal, self._step = journal, step

    def requested_anywhere(self, ranks):
        if self._journal.exists():
            steps = [json.loads(line)["step"] for line in self._journal.read_text().splitlines()]
            self.requested |= max(steps, default=0) >= self._step
        return super().requested_anywhere(ranks)


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (60_000, r"disk full while saving .*step-00000002: it needs .* step-00000001 is kept"),
        (2_000, r"the last checkpoint is kept; make room"),
    ],
    ids=["a checkpoint does not fit", "not even a line of the journal fits"],
)
def test_without_room_the_run_ends_with_1_and_goes_on_later(desk, limit, message):
    document = desk.sft()
    folder = desk.root / "LengthAlignedSFT" / "base"
    with pytest.raises(InterruptedRunError):
        desk.train(document, AfterStep(folder / "metrics.jsonl", 1))
    before = [path.name for path in (folder / "checkpoints").iterdir()]
    assert before == ["step-00000001"]
    with files_of_at_most(limit), pytest.raises(RunError, match=message) as caught:
        desk.train(document)
    assert caught.value.exit_code == 1
    assert "\n" not in str(caught.value)
    assert [path.name for path in (folder / "checkpoints").iterdir()] == before
    assert not (folder / "final").exists()
    desk.train(document)
    assert [r["step"] for r in desk.events(folder, "sft_step")] == [1, 2, 3]
    assert (folder / "final").is_dir()
