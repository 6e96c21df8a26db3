import resource

import pytest
import torch

from igpo_trainer.models.save import save_model
from igpo_trainer.models.staging import staged_folder
from igpo_trainer.models.weights import read_weights, write_weights
from igpo_trainer.spec.errors import ExitCode, RunError


def test_a_folder_appears_whole(tmp_path):
    with staged_folder(tmp_path / "runs" / "final") as staging:
        (staging / "inner").mkdir()
        (staging / "inner" / "file").write_text("new")
        assert not (tmp_path / "runs" / "final").exists()
    assert (tmp_path / "runs" / "final" / "inner" / "file").read_text() == "new"
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["final"]


def test_an_older_folder_is_replaced_whole(tmp_path):
    for content in ("old", "new"):
        with staged_folder(tmp_path / "final") as staging:
            (staging / content).touch()
    assert [path.name for path in (tmp_path / "final").iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["final"]


def test_an_error_inside_leaves_the_older_folder_and_nothing_else(tmp_path):
    (tmp_path / "final").mkdir()
    (tmp_path / "final" / "old").touch()

    def write_half():
        with staged_folder(tmp_path / "final") as staging:
            (staging / "half").touch()
            raise KeyError("half")

    with pytest.raises(KeyError):
        write_half()
    assert [path.name for path in tmp_path.rglob("*")] == ["final", "old"]


def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    (tmp_path / ".final.writing").mkdir()
    (tmp_path / ".final.writing" / "half").touch()
    with staged_folder(tmp_path / "final") as staging:
        (staging / "file").touch()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "final"]


@pytest.mark.parametrize("arrived", [True, False], ids=["behind both renames", "between them"])
def test_a_replacement_that_was_killed_half_way_is_finished_or_undone(tmp_path, arrived):
    (tmp_path / ".final.replaced").mkdir()
    (tmp_path / ".final.replaced" / "old").touch()
    if arrived:
        (tmp_path / "final").mkdir()
        (tmp_path / "final" / "new").touch()
    with staged_folder(tmp_path / "final") as staging:
        assert [path.name for path in (tmp_path / "final").iterdir()] == ["new" if arrived else "old"]
        (staging / "newer").touch()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["final", "newer"]


def test_a_disk_without_room_is_exit_1_and_keeps_what_was_there(tiny, tmp_path):
    save_model(tiny.lm(), tiny.tokenizer(), tmp_path / "final")
    before = (tmp_path / "final" / "model.safetensors").read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(RunError, match=r"final: cannot be written .* free space") as caught:
            save_model(tiny.lm(seed=1), tiny.tokenizer(), tmp_path / "final")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert caught.value.exit_code == ExitCode.FAILED
    assert (tmp_path / "final" / "model.safetensors").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["final"]


def test_a_folder_that_cannot_be_made_is_exit_1(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="cannot be written"), staged_folder(tmp_path / "file" / "final"):
        raise AssertionError("never reached")


def test_weights_that_share_storage_are_written_alone(tmp_path):
    whole = torch.arange(1000.0)
    write_weights(tmp_path, [("part", whole[10:20])])
    [(name, tensor, path)] = read_weights([tmp_path / "model.safetensors"])
    assert (name, tensor.tolist()) == ("part", list(map(float, range(10, 20))))
    assert path.stat().st_size < 500
