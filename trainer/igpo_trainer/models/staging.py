"""Folders that appear whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from igpo_trainer.spec.errors import RunError


@contextmanager
def staged_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder to write into; on success it replaces `target`, on any error nothing is left of it.

    Files are flushed to disk before the rename, so that a power cut cannot leave a complete name on incomplete files.
    One process at a time writes a target; what a killed one left is removed by the next.

    Raises:
        RunError: the disk is full or cannot be written; `target` is as it was.

    """
    staging = target.with_name(f".{target.name}.writing")
    retired = target.with_name(f".{target.name}.replaced")
    try:
        if retired.exists():  # a process was killed between the two renames below, or behind them
            _put_back(retired, target)
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
        yield staging
        for path in (*staging.rglob("*"), staging):
            _flush(path)
        if target.exists():
            target.rename(retired)
        staging.rename(target)
        _flush(target.parent)
    except (OSError, SafetensorError) as error:
        raise RunError(
            f"{target}: cannot be written ({getattr(error, 'strerror', None) or error}); free space or "
            "correct the permissions, then resume"
        ) from error
    finally:
        if retired.exists() and not target.exists():
            retired.rename(target)
        shutil.rmtree(staging, ignore_errors=True)
        shutil.rmtree(retired, ignore_errors=True)


def _put_back(retired: Path, target: Path) -> None:
    if target.exists():
        shutil.rmtree(retired)
    else:
        retired.rename(target)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
