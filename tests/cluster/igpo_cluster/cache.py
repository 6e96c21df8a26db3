"""The user's cache: programs, images and the container store outlive a cluster, nothing else does."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from igpo_cluster.progress import say


def cache_folder(*parts: str) -> Path:
    """A folder below `$XDG_CACHE_HOME/igpo` (or `~/.cache/igpo`), made if missing."""
    root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(root, "igpo", *parts)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def locked(path: Path, waiting_for: str = "") -> Iterator[None]:
    """Hold the lock file at `path`; say `waiting_for` once if another process holds it."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if waiting_for:
                say(f"waiting for another process: {waiting_for}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
