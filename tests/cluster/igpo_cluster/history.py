"""The files of another commit of this repository: what an upgrade comes from."""

import io
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from igpo_cluster.cache import cache_folder, locked
from igpo_cluster.errors import ClusterError
from igpo_cluster.images import INPUTS, ROOT

PREVIOUS = "079be2009a2ba693c3b1dfed27ccb8d1a52ac19b"
"""N-1: the first operator that was whole, and its chart; no release has been tagged since."""


def previous_tree() -> Path:
    """A folder with what charts and images are made of, as of `PREVIOUS`; it stays in the user's cache."""
    folder = cache_folder("history") / PREVIOUS
    with locked(folder.with_suffix(".lock")):
        if not folder.exists():
            with tempfile.TemporaryDirectory(dir=folder.parent) as draft:
                tree = Path(draft, "tree")
                extract(ROOT, PREVIOUS, ("charts", "crds", *INPUTS), tree)
                tree.rename(folder)
    return folder


def extract(repository: Path, commit: str, paths: tuple[str, ...], folder: Path) -> None:
    """Write `paths` of `commit` into the new `folder`.

    Raises:
        ClusterError: git is missing, this is no repository, or it lacks the commit, e.g. because the clone is shallow.
    """
    if not shutil.which("git"):
        raise ClusterError(f"the command `git` is not on PATH, and commit {commit[:12]} is asked for; install git")
    if _git(repository, "rev-parse", "--git-dir") is None:
        raise ClusterError(f"{repository} is no git repository, so it has no commit {commit[:12]}; clone it with git")
    if _git(repository, "cat-file", "-e", f"{commit}^{{commit}}") is None:
        if _git(repository, "rev-parse", "--is-shallow-repository") == b"true\n":
            remedy = "this clone is shallow: `git fetch --unshallow` (in CI: fetch-depth: 0)"
        else:
            remedy = "fetch the branch that it is on, or name another in igpo_cluster/history.py"
        raise ClusterError(f"{repository} has no commit {commit[:12]}; {remedy}")
    archive = _git(repository, "archive", "--format=tar", commit, *paths)
    if archive is None:
        raise ClusterError(f"commit {commit[:12]} of {repository} lacks one of {', '.join(paths)}; ask for others")
    folder.mkdir()
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")


def _git(repository: Path, *words: str) -> bytes | None:
    """What git says, or nothing if it fails. An owner of the repository other than us is no reason to fail."""
    command = ["git", "-c", f"safe.directory={repository}", "-C", str(repository), *words]
    done = subprocess.run(command, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None
