"""Folders and files that appear whole: written beside their place, synced, renamed into it.

Beside the layers because several of them need it: `models`, `observe`, `loop` and `cli` write with it.
"""

import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_WRITING = ".tmp-"
_REPLACED = ".old-"
_REMOVED = ".trash-"


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder to fill; on success it replaces `target`, on any error nothing is left of it.

    One process at a time writes a target; what a killed one left is put right by the next.
    """
    recover(target.parent, target.name)
    draft = scratch_dir(target.parent, target.name)
    try:
        yield draft
        publish_dir(draft, target)
    except BaseException:
        recover(target.parent, target.name)
        raise


def scratch_dir(parent: Path, name: str) -> Path:
    """Make an empty folder to fill before publish_dir gives it the name; a leftover of that name is removed."""
    path = parent / f"{_WRITING}{name}"
    if path.exists():
        shutil.rmtree(path)
    path.mkdir(parents=True)
    return path


def final_name(temporary: Path) -> str:
    """The name that a folder of scratch_dir is to get."""
    return temporary.name.removeprefix(_WRITING)


def publish_dir(temporary: Path, target: Path) -> None:
    """Rename temporary to target on the same file system, replacing a folder that is there.

    Killed at any point, either the earlier or the new folder is whole; `recover` of the parent puts it in place.
    """
    sync_tree(temporary)
    replaced = target.with_name(f"{_REPLACED}{target.name}")
    if target.exists():
        if replaced.exists():
            shutil.rmtree(replaced)
        target.rename(replaced)
    temporary.rename(target)
    fsync(target.parent)
    if replaced.exists():
        remove_dir(replaced)


def remove_dir(path: Path) -> None:
    """Remove a folder so that a kill half-way never leaves part of it under its name."""
    trash = path.with_name(f"{_REMOVED}{path.name}")
    if trash.exists():
        shutil.rmtree(trash)
    path.rename(trash)
    shutil.rmtree(trash)


def recover(parent: Path, name: str | None = None) -> None:
    """After a kill: put folders back whose replacement never arrived, drop what is unfinished; of one name or all."""
    folders = "*" if name is None else glob.escape(name)
    for path in sorted(parent.glob(f"{_REPLACED}{folders}")):
        target = path.with_name(path.name.removeprefix(_REPLACED))
        if target.exists():
            remove_dir(path)
        else:
            path.rename(target)
    for prefix in (_WRITING, _REMOVED):
        for path in parent.glob(f"{prefix}{folders}"):
            if path.is_dir():
                shutil.rmtree(path)


def sync_tree(folder: Path) -> None:
    """Bring every file and folder below folder, and itself, to the disk."""
    for path in [*folder.rglob("*"), folder]:
        fsync(path)


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file by data: after a kill it holds the old contents or the new, never part of either."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(data)
        fsync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    fsync(path.parent)


def remove_drafts(folder: Path) -> None:
    """Remove what killed calls of write_atomically left anywhere below a folder; only its owner may."""
    for path in folder.rglob(".*.tmp"):
        if path.is_file():
            path.unlink()


def fsync(path: Path) -> None:
    """Bring one file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
