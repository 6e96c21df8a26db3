"""What can have happened to a run folder between two starts: refused in one line, and nothing on the volume is lost."""

import json
import logging
import shutil

import pytest

from igpo_trainer.loop.stop import StopSignal
from igpo_trainer.spec.errors import InterruptedRunError, InvalidDataError, InvalidRunError


class AfterCheckpoint(StopSignal):
    """Told to stop once the checkpoint of a step is visible."""

    def __init__(self, folder, step):
        super().__init__()
        self._marker = folder / "checkpoints" / f"step-{step:08d}" / "complete"

    def requested_anywhere(self, ranks):
        self.requested |= self._marker.exists()
        return super().requested_anywhere(ranks)


@pytest.fixture
def source(tmp_path):
    """A data set of its own, so that it can be changed."""
    rows = [
        {
            "question": f"{name} has {a} coins . how many coins has {name} ?",
            "answer": f"{a} + 0 = {a} \\boxed{{ {a} }}",
        }
        for name in ("tom", "leo", "max", "eva", "mia")
        for a in range(2, 8)
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def half_done(desk, source):
    """An SFT run that was stopped after its second checkpoint: the document and its folder."""
    data = {"source": str(source), "wordProblems": None}
    document = desk.sft("half", dataset=data, checkpoints={"keepLast": 2})
    folder = desk.root / "LengthAlignedSFT" / "half"
    with pytest.raises(InterruptedRunError):
        desk.train(document, AfterCheckpoint(folder, 2))
    return document, folder


def contents(folder):
    """Checkpoints and journal byte for byte."""
    files = [folder / "metrics.jsonl", folder / "samples.jsonl", *(folder / "checkpoints").rglob("*")]
    return {path: path.read_bytes() for path in files if path.is_file()}


def refused(desk, document, folder, kind):
    """The one line with which a start is refused; the volume is as it was."""
    before = contents(folder)
    with pytest.raises(kind) as caught:
        desk.train(document)
    assert contents(folder) == before
    line = str(caught.value)
    assert "\n" not in line
    return line


def newest(folder):
    return folder / "checkpoints" / "step-00000002"


def test_a_changed_data_set(desk, half_done, source):
    document, folder = half_done
    rows = source.read_text()
    source.write_text(rows.replace("tom", "ben"))
    line = refused(desk, document, folder, InvalidDataError)
    assert line.startswith("the data have changed since step-00000002 was saved: 22 training and 8 held-out problems")
    assert line.endswith("put the data back to resume it, or give a run on the new data another name or folder")
    source.write_text(rows)
    desk.train(document)
    assert [record["step"] for record in desk.events(folder, "sft_step")] == [1, 2, 3]


def test_rows_taken_away(desk, half_done, source):
    document, folder = half_done
    source.write_text("".join(source.read_text().splitlines(keepends=True)[:-1]))
    line = refused(desk, document, folder, InvalidDataError)
    assert "21 training and 8 held-out problems" in line
    assert "then 22 and 8 with" in line


def test_a_checkpoint_of_a_newer_version(desk, half_done):
    document, folder = half_done
    marker = newest(folder) / "complete"
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"version": "99.0", "layout": 2}))
    line = refused(desk, document, folder, InvalidRunError)
    assert line.startswith(f"{newest(folder)} was written by igpo 99.0 and this is ")


def test_a_checkpoint_of_another_config(desk, half_done):
    document, folder = half_done
    data = document["spec"]["dataset"] | {"wordProblems": None}
    other = desk.sft("other", dataset=data, seed=9)
    shutil.rmtree(newest(folder))
    shutil.copytree(newest(desk.train(other)), newest(folder))
    assert "is a checkpoint of another run, with spec hash " in refused(desk, document, folder, InvalidRunError)


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors", "batching.json", "data.json"])
def test_a_corrupted_file(desk, half_done, name):
    document, folder = half_done
    path = newest(folder) / name
    damaged = bytearray(path.read_bytes())
    damaged[-3] ^= 0xFF
    path.write_bytes(damaged)
    line = refused(desk, document, folder, InvalidRunError)
    assert line.startswith(f"{path} ")
    assert "remove its folder to resume from an earlier one" in line or "remove the folder to resume from an" in line
    shutil.rmtree(newest(folder))
    desk.train(document)
    assert [record["step"] for record in desk.events(folder, "sft_step")] == [1, 2, 3]


def test_half_a_checkpoint_is_passed_over_and_said(desk, half_done, caplog):
    document, folder = half_done
    (newest(folder) / "complete").unlink()
    with caplog.at_level(logging.WARNING, "igpo_trainer"):
        desk.train(document)
    assert caplog.messages == [
        f"{newest(folder)} was never finished and is passed over; step-00000001 is kept and resumed from; "
        "remove the folder"
    ]
    assert [record["step"] for record in desk.events(folder, "sft_step")] == [1, 2, 3]
