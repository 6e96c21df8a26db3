import subprocess
from pathlib import Path

import pytest

from igpo_cluster.errors import ClusterError
from igpo_cluster.history import extract


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Two commits: a file a with 1, then with 2."""
    folder = tmp_path / "repository"
    folder.mkdir()
    _git(folder, "init", "--quiet")
    for text in ("1", "2"):
        (folder / "a").write_text(text)
        (folder / f"only-{text}").touch()
        _git(folder, "add", ".")
        author = ("-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false")
        _git(folder, *author, "commit", "--quiet", "--message", text)
    return folder


def _git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", "-C", folder, *words], check=True, capture_output=True, text=True).stdout.strip()


def test_files_of_another_commit_are_written_and_no_others(repository: Path, tmp_path: Path) -> None:
    extract(repository, _git(repository, "rev-parse", "HEAD^"), ("a",), tmp_path / "tree")
    assert {path.name: path.read_text() for path in (tmp_path / "tree").iterdir()} == {"a": "1"}


def test_a_shallow_clone_is_told_how_to_get_the_commit(repository: Path, tmp_path: Path) -> None:
    _git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{repository}", "shallow")
    first = _git(repository, "rev-parse", "HEAD^")
    with pytest.raises(ClusterError, match=rf"has no commit {first[:12]}; this clone is shallow: `git fetch --unsh"):
        extract(tmp_path / "shallow", first, ("a",), tmp_path / "tree")


def test_a_commit_that_nobody_has_is_named(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="has no commit 0123456789ab; fetch the branch that it is on"):
        extract(repository, "0123456789abcdef" * 2 + "01234567", ("a",), tmp_path / "tree")


def test_a_path_that_the_commit_lacks_is_named(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="lacks one of only-2; ask for others"):
        extract(repository, _git(repository, "rev-parse", "HEAD^"), ("only-2",), tmp_path / "tree")


def test_a_folder_without_a_history_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="is no git repository, so it has no commit"):
        extract(tmp_path, "0" * 40, ("a",), tmp_path / "tree")
