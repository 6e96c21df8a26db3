import pytest

from igpo_trainer.folder import publish_dir, recover, scratch_dir, whole_folder


def test_a_published_folder_replaces_the_earlier_one(tmp_path):
    target = tmp_path / "final"
    for text in ("first", "second"):
        temporary = scratch_dir(tmp_path, "final")
        (temporary / "model").write_text(text)
        publish_dir(temporary, target)
    assert (target / "model").read_text() == "second"
    assert [path.name for path in tmp_path.iterdir()] == ["final"]


def test_recovery_drops_unfinished_folders_and_leaves_others_alone(tmp_path):
    scratch_dir(tmp_path, "final")
    (tmp_path / "metrics.jsonl").write_text("")
    recover(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_a_folder_appears_whole(tmp_path):
    with whole_folder(tmp_path / "runs" / "final") as draft:
        (draft / "inner").mkdir()
        (draft / "inner" / "file").write_text("new")
        assert not (tmp_path / "runs" / "final").exists()
    assert (tmp_path / "runs" / "final" / "inner" / "file").read_text() == "new"
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["final"]


def test_an_older_folder_is_replaced_whole(tmp_path):
    for content in ("old", "new"):
        with whole_folder(tmp_path / "final") as draft:
            (draft / content).touch()
    assert [path.name for path in (tmp_path / "final").iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["final"]


def test_an_error_inside_leaves_the_older_folder_and_nothing_else(tmp_path):
    (tmp_path / "final").mkdir()
    (tmp_path / "final" / "old").touch()

    def write_half():
        with whole_folder(tmp_path / "final") as draft:
            (draft / "half").touch()
            raise KeyError("half")

    with pytest.raises(KeyError):
        write_half()
    assert [path.name for path in tmp_path.rglob("*")] == ["final", "old"]


def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    (tmp_path / ".tmp-final").mkdir()
    (tmp_path / ".tmp-final" / "half").touch()
    with whole_folder(tmp_path / "final") as draft:
        (draft / "file").touch()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "final"]


@pytest.mark.parametrize("arrived", [True, False], ids=["behind both renames", "between them"])
def test_a_replacement_that_was_killed_half_way_is_finished_or_undone(tmp_path, arrived):
    (tmp_path / ".old-final").mkdir()
    (tmp_path / ".old-final" / "old").touch()
    if arrived:
        (tmp_path / "final").mkdir()
        (tmp_path / "final" / "new").touch()
    with whole_folder(tmp_path / "final") as draft:
        assert [path.name for path in (tmp_path / "final").iterdir()] == ["new" if arrived else "old"]
        (draft / "newer").touch()
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["final", "newer"]


def test_what_others_are_writing_beside_it_is_left_alone(tmp_path):
    other = scratch_dir(tmp_path, "other")
    with whole_folder(tmp_path / "[final]") as draft:
        (draft / "file").touch()
    assert sorted(path.name for path in tmp_path.iterdir()) == [other.name, "[final]"]
