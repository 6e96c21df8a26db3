import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from igpo_trainer.loop.store import MARKER, CheckpointStore, require_known
from igpo_trainer.spec.errors import InterruptedRunError, InvalidRunError, RunError


class Killed(BaseException):
    """Stands where a SIGKILL would strike: no handler of Exception runs after it."""


def writer(text):
    def write(folder):
        (folder / "adapter").mkdir()
        (folder / "adapter" / "weights.safetensors").write_text(text)
        (folder / "state.json").write_text("{}")

    return write


def save(store, step, write, score=None):
    """A checkpoint as a session of one process makes it."""
    draft = store.begin(step)
    try:
        with store.full_disk_told(draft):
            write(draft)
        return store.publish(draft, step, score)
    except BaseException:
        store.discard(draft)
        raise


@pytest.fixture
def store(tmp_path):
    return CheckpointStore(tmp_path / "checkpoints", keep_last=2, keep_best=1, config_hash="abc")


def test_a_saved_checkpoint_is_found_and_verified(store):
    info = save(store, 42, writer("w"), score=0.5)
    assert info.path.name == "step-00000042"
    assert store.latest() == info == store.best() == store.verify(info.path)
    marker = json.loads((info.path / MARKER).read_text())
    assert set(marker) == {"step", "digest", "score", "savedAt", "version", "configHash", "files"}
    assert marker["configHash"] == "abc"
    assert set(marker["files"]) == {"adapter/weights.safetensors", "state.json"}


def test_the_digest_depends_on_names_and_contents_only(store, tmp_path):
    other = CheckpointStore(tmp_path / "elsewhere", keep_last=9, keep_best=0)
    first = save(store, 1, writer("w"), score=0.1)
    assert save(other, 7, writer("w")).digest == first.digest
    assert save(other, 8, writer("v")).digest != first.digest


def test_an_empty_folder_has_no_checkpoint(store):
    assert store.latest() is None
    assert store.best() is None
    assert store.all() == []


def test_a_checkpoint_without_marker_is_never_returned(store):
    kept = save(store, 1, writer("w"))
    newer = save(store, 2, writer("w"))
    (newer.path / MARKER).unlink()
    assert store.latest() == kept
    with pytest.raises(InvalidRunError, match=r"step-00000002/complete is missing or unreadable"):
        store.verify(newer.path)


@pytest.mark.parametrize("damage", ["", "{", '{"step": 3}'])
def test_a_checkpoint_with_a_torn_marker_is_never_returned(store, damage):
    info = save(store, 3, writer("w"))
    (info.path / MARKER).write_text(damage)
    assert store.latest() is None


def test_a_checkpoint_in_a_folder_of_another_step_is_never_returned(store):
    info = save(store, 3, writer("w"))
    info.path.rename(info.path.with_name("step-00000009"))
    assert store.latest() is None


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.unlink(), "weights.safetensors is missing"),
        (lambda path: path.write_text(""), "weights.safetensors has 0 bytes instead of 1"),
        (lambda path: path.write_text("x"), "weights.safetensors has other contents"),
    ],
)
def test_verify_names_the_damaged_file(store, damage, message):
    info = save(store, 3, writer("w"))
    damage(info.path / "adapter" / "weights.safetensors")
    with pytest.raises(InvalidRunError, match=message):
        store.verify(info.path)


def test_verify_notices_an_edited_marker(store):
    info = save(store, 3, writer("w"))
    marker = json.loads((info.path / MARKER).read_text())
    del marker["files"]["state.json"]
    (info.path / MARKER).write_text(json.dumps(marker))
    with pytest.raises(InvalidRunError, match="the marker was edited"):
        store.verify(info.path)


def test_saving_a_step_again_replaces_it(store):
    first = save(store, 5, writer("old"))
    second = save(store, 5, writer("new"))
    assert second.path == first.path
    assert (second.path / "adapter" / "weights.safetensors").read_text() == "new"
    assert [path.name for path in store.folder.iterdir()] == ["step-00000005"]


def test_the_newest_and_the_best_are_kept(store):
    for step, score in [(1, 0.2), (2, 0.9), (3, 0.4), (4, 0.3), (5, None)]:
        save(store, step, writer(str(step)), score)
    assert [info.step for info in store.all()] == [2, 4, 5]
    assert store.best().step == 2


def test_of_equal_scores_the_later_is_best(store):
    save(store, 1, writer("1"), 0.5)
    save(store, 2, writer("2"), 0.5)
    assert store.best().step == 2


@settings(deadline=None, max_examples=12)
@given(
    scores=st.lists(st.none() | st.floats(0, 1), min_size=1, max_size=8),
    keep_last=st.integers(0, 3),
    keep_best=st.integers(0, 3),
)
def test_pruning_keeps_the_newest_and_what_was_asked_for(tmp_path_factory, scores, keep_last, keep_best):
    store = CheckpointStore(tmp_path_factory.mktemp("run"), keep_last, keep_best)
    for step, score in enumerate(scores):
        save(store, step, writer("w"), score)
    steps = [info.step for info in store.all()]
    newest = len(scores) - 1
    assert steps[-max(1, keep_last) :] == list(range(max(0, newest + 1 - max(1, keep_last)), newest + 1))
    assert len(steps) <= max(1, keep_last) + keep_best
    scored = [score for score in scores if score is not None]
    if keep_best and scored:
        assert store.best().score == max(scored)


def test_a_writer_that_fails_leaves_nothing_and_keeps_the_earlier_checkpoint(store):
    kept = save(store, 1, writer("w"))

    def fail(folder):
        (folder / "half").write_text("half")
        raise ValueError("no such adapter")

    with pytest.raises(ValueError, match="no such adapter"):
        save(store, 2, fail)
    assert store.latest() == kept
    assert [path.name for path in store.folder.iterdir()] == ["step-00000001"]


def test_a_writer_that_writes_nothing_is_an_error(store):
    with pytest.raises(RunError, match="has no file"):
        save(store, 2, lambda folder: None)
    assert list(store.folder.iterdir()) == []


def test_a_full_disk_names_the_path_and_keeps_the_last_checkpoint(store):
    kept = save(store, 1, writer("w" * 4000))

    def fill(folder):
        (folder / "part").write_text("p" * 1000)
        with Path("/dev/full").open("w") as device:
            device.write("x")

    with pytest.raises(RunError, match=r"disk full while saving .*step-00000002: it needs about 4,\d+ bytes") as caught:
        save(store, 2, fill)
    assert "step-00000001 is kept" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 1
    assert store.latest() == kept
    assert [path.name for path in store.folder.iterdir()] == ["step-00000001"]


def test_a_full_disk_reported_by_a_native_writer_is_recognised(store):
    def fill(folder):
        (folder / "part").write_text("p" * 1000)
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")

    with pytest.raises(RunError, match=r"needs more than 1,000 bytes .* no earlier checkpoint"):
        save(store, 1, fill)


def test_a_fenced_attempt_publishes_nothing(tmp_path):
    def fence():
        raise InterruptedRunError("attempt 2 owns the folder")

    store = CheckpointStore(tmp_path / "checkpoints", 2, 1, fence=fence)
    with pytest.raises(InterruptedRunError):
        save(store, 1, writer("w"))
    assert list(store.folder.iterdir()) == []


def test_every_file_on_the_disk_is_reported(tmp_path):
    files = []
    store = CheckpointStore(tmp_path / "checkpoints", 2, 1, on_file=lambda: files.append(1))
    save(store, 1, writer("w"))
    assert len(files) == 2


class FilesystemKilledAt:
    """Lets the n-th rename or removal be the last thing that does not happen."""

    def __init__(self, monkeypatch, allowed):
        self._left = allowed
        for owner, name in ((Path, "rename"), (shutil, "rmtree"), (os, "fsync")):
            monkeypatch.setattr(owner, name, self._guarded(getattr(owner, name)))

    def _guarded(self, call):
        def guarded(*arguments, **options):
            if self._left == 0:
                raise Killed
            self._left -= 1
            return call(*arguments, **options)

        return guarded


def test_killed_at_any_point_the_old_or_the_new_state_is_whole(tmp_path, monkeypatch):
    seen = set()
    for allowed in range(40):
        store = CheckpointStore(tmp_path / str(allowed), keep_last=1, keep_best=0)
        save(store, 1, writer("old"))
        with monkeypatch.context() as patch:
            FilesystemKilledAt(patch, allowed)
            try:
                save(store, 1, writer("new"))
                finished = True
            except Killed:
                finished = False
        store.recover()
        info = store.verify(store.latest().path)
        text = (info.path / "adapter" / "weights.safetensors").read_text()
        seen.add((finished, text))
        assert [path.name for path in store.folder.iterdir()] == ["step-00000001"]
    assert seen == {(False, "old"), (False, "new"), (True, "new")}


def edited(info, **change):
    """Write other values into a checkpoint's marker."""
    marker = json.loads((info.path / MARKER).read_text())
    (info.path / MARKER).write_text(json.dumps(marker | change))


def test_a_checkpoint_of_another_run_is_refused(store, tmp_path):
    info = save(store, 3, writer("w"))
    other = CheckpointStore(store.folder, 2, 1, config_hash="def")
    with pytest.raises(InvalidRunError, match="another run, with spec hash abc and not def; nothing was changed"):
        other.verify(info.path)


@pytest.mark.parametrize("change", [{}, {"shards": ["of", "a", "later", "format"]}], ids=["as ours", "unknown fields"])
def test_a_checkpoint_of_a_newer_version_is_refused_and_not_passed_over(store, change):
    save(store, 1, writer("w"))
    info = save(store, 2, writer("w"))
    edited(info, version="99.1.0.dev3", **change)
    with pytest.raises(InvalidRunError, match=r"00002 was written by igpo 99\.1\.0\.dev3 and this is ") as caught:
        require_known(store.folder)
    assert "resume with igpo 99.1.0.dev3 or newer, or move the folder away" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("version", ["0.0.1", "unknown"])
def test_a_checkpoint_of_an_older_version_is_read(store, version):
    info = save(store, 2, writer("w"))
    edited(info, version=version)
    require_known(store.folder)
    assert store.verify(info.path).step == 2


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"step": 3}'])
def test_half_a_checkpoint_is_passed_over_in_one_line_that_says_what_is_kept(store, caplog, damage):
    save(store, 1, writer("w"))
    half = save(store, 2, writer("w"))
    (half.path / MARKER).write_text(damage)
    require_known(store.folder)
    store.recover()
    assert caplog.messages == [
        f"{half.path} was never finished and is passed over; step-00000001 is kept and resumed from; remove the folder"
    ]
    assert store.latest().step == 1


def test_what_a_killed_save_did_not_remove_any_more_is_removed_by_the_next_start(store):
    generous = CheckpointStore(store.folder, keep_last=9, keep_best=9)
    for step, score in ((1, 0.9), (2, 0.1), (3, 0.2), (4, 0.3)):
        save(generous, step, writer("w"), score)
    store.prune()
    assert [info.step for info in store.all()] == [1, 3, 4]
