"""Checkpoints on disk: written whole or not at all, verified, pruned."""

import errno
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from packaging.version import InvalidVersion, Version
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

import igpo_trainer
from igpo_trainer.folder import final_name, fsync, publish_dir, recover, remove_dir, scratch_dir
from igpo_trainer.spec.contract import Cause
from igpo_trainer.spec.errors import InvalidRunError, RunError

logger = logging.getLogger(__name__)
MARKER = "complete"
_PREFIX = "step-"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class FileRecord(BaseModel):
    """What a checkpoint's file must still be when it is read again."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bytes: int
    sha256: str


class Marker(BaseModel):
    """JSON of the file `complete`, written last."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )

    step: int
    digest: str
    score: float | None
    saved_at: datetime
    version: str
    config_hash: str
    files: dict[str, FileRecord]


def checkpoint_name(step: int) -> str:
    """Folder name of the checkpoint of a step."""
    return f"{_PREFIX}{step:08d}"


@dataclass(frozen=True, slots=True)
class CheckpointInfo:
    """A complete checkpoint."""

    step: int
    path: Path
    digest: str
    """sha256, hex, over the sorted `name NUL sha256-of-contents LF` lines of its files."""
    score: float | None
    saved_at: datetime
    config_hash: str


class CheckpointStore:
    """The checkpoints folder of a run. One process begins and publishes (global rank 0); any may fill and read.

    keep_last newest and keep_best highest-scored checkpoints are kept. fence is called right before a checkpoint
    becomes visible and raises when the run has a new owner; on_file after each file that reached the disk.
    """

    def __init__(
        self,
        folder: Path,
        keep_last: int,
        keep_best: int,
        *,
        config_hash: str = "",
        fence: Callable[[], None] = lambda: None,
        on_file: Callable[[], None] = lambda: None,
    ) -> None:
        self.folder = folder
        self._keep_last = keep_last
        self._keep_best = keep_best
        self._config_hash = config_hash
        self._fence = fence
        self._on_file = on_file

    def recover(self) -> None:
        """Undo what a killed writer left behind. The writer calls it once, before its first save."""
        self.folder.mkdir(parents=True, exist_ok=True)
        recover(self.folder)
        for path in sorted(self.folder.glob(f"{_PREFIX}*")):
            if _read_marker(path) is None:
                latest = self.latest()
                kept = f"{latest.path.name} is kept and resumed from" if latest else "the run begins anew"
                logger.warning("%s was never finished and is passed over; %s; remove the folder", path, kept)

    def begin(self, step: int) -> Path:
        """Make an empty folder for the checkpoint of a step, to fill and then `publish` or `discard`."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return scratch_dir(self.folder, checkpoint_name(step))

    def publish(self, draft: Path, step: int, score: float | None = None) -> CheckpointInfo:
        """Make the filled folder that `begin` gave the checkpoint of step, replacing an earlier one.

        Nothing is visible until every byte is on the disk, and earlier checkpoints stay until then. A full disk becomes
        a RunError, other errors pass through.
        """
        with self.full_disk_told(draft):
            marker = self._mark(draft, step, score)
            self._fence()
            publish_dir(draft, self.folder / checkpoint_name(step))
        self.prune()
        return _info(self.folder / checkpoint_name(step), marker)

    def discard(self, draft: Path) -> None:
        """Remove what became of a folder that `begin` gave and that is not to be published."""
        shutil.rmtree(draft, ignore_errors=True)

    @contextmanager
    def full_disk_told(self, draft: Path) -> Iterator[None]:
        """While files are written into a folder that `begin` gave: turn the error of a full disk into a RunError."""
        try:
            yield
        except Exception as error:
            if _disk_is_full(error):
                raise self._full(draft) from error
            raise

    def all(self) -> list[CheckpointInfo]:
        """Complete checkpoints, oldest step first; folders without a valid marker are as if absent."""
        if not self.folder.is_dir():
            return []
        found = []
        for path in self.folder.glob(f"{_PREFIX}*"):
            marker = _read_marker(path)
            if marker is not None and path.name == checkpoint_name(marker.step):
                found.append(_info(path, marker))
        return sorted(found, key=lambda info: info.step)

    def latest(self) -> CheckpointInfo | None:
        """Find the complete checkpoint of the highest step."""
        return max(self.all(), key=lambda info: info.step, default=None)

    def best(self) -> CheckpointInfo | None:
        """Find the complete checkpoint of the highest score, the later of equals; None when none has a score."""
        return next(iter(_by_score(self.all())), None)

    def verify(self, path: Path) -> CheckpointInfo:
        """Read every byte of a checkpoint again.

        Raises InvalidRunError naming the first file that is missing, of another size or of other contents, or when
        the checkpoint belongs to a run of another spec than this store's.
        """
        marker = _read_marker(path)
        if marker is None:
            raise InvalidRunError(
                f"{path / MARKER} is missing or unreadable: this checkpoint was never finished; remove the folder"
            )
        if self._config_hash and marker.config_hash != self._config_hash:
            raise InvalidRunError(
                f"{path} is a checkpoint of another run, with spec hash {marker.config_hash[:12] or 'unknown'} and not "
                f"{self._config_hash[:12]}; nothing was changed: move the folder away, or resume with its manifest"
            )
        for name, record in sorted(marker.files.items()):
            problem = _problem(path / name, record)
            if problem:
                raise InvalidRunError(
                    f"{path / name} {problem}: checkpoint of step {marker.step} is damaged; "
                    "remove its folder to resume from an earlier one, or restore the file"
                )
        if _digest(marker.files) != marker.digest:
            raise InvalidRunError(
                f"{path / MARKER} lists files whose digest is not its own {marker.digest}: the marker was edited; "
                "remove the folder to resume from an earlier checkpoint"
            )
        return _info(path, marker)

    def _mark(self, folder: Path, step: int, score: float | None) -> Marker:
        files = {}
        for path in _files(folder):
            files[path.relative_to(folder).as_posix()] = FileRecord(bytes=path.stat().st_size, sha256=_sha256(path))
            fsync(path)
            self._on_file()
        if not files:
            raise RunError(f"checkpoint of step {step} has no file: its writer wrote nothing to {folder}")
        marker = Marker(
            step=step,
            digest=_digest(files),
            score=score,
            saved_at=datetime.now(UTC),
            version=igpo_trainer.__version__,
            config_hash=self._config_hash,
            files=files,
        )
        (folder / MARKER).write_text(marker.model_dump_json(by_alias=True, indent=1) + "\n")
        return marker

    def prune(self) -> None:
        """Remove what is to be kept no longer; `publish` does so, and a resume whose last save was killed before it."""
        complete = self.all()
        kept = {info.path for info in complete[-max(1, self._keep_last) :]}
        kept |= {info.path for info in _by_score(complete)[: self._keep_best]}
        for info in complete:
            if info.path not in kept:
                remove_dir(info.path)

    def _full(self, draft: Path) -> RunError:
        latest = self.latest()
        earlier, written = 0 if latest is None else _size(latest.path), _size(draft)
        needed = f"about {max(earlier, written):,} bytes" if earlier else f"more than {written:,} bytes"
        kept = f"{latest.path.name} is kept" if latest else "there is no earlier checkpoint"
        free = shutil.disk_usage(self.folder).free + written  # the draft is about to be removed
        return RunError(
            f"disk full while saving {self.folder / final_name(draft)}: it needs {needed} and {free:,} are free; "
            f"{kept}; enlarge the volume or lower checkpoints.keepLast, then start the run again",
            cause=Cause.DISK_FULL,
        )


def require_known(folder: Path) -> None:
    """Raise InvalidRunError when a newer version of igpo wrote one of the checkpoints in a folder.

    Call it before anything is cut back or written: to pass one over would throw its steps away.
    """
    ours = igpo_trainer.__version__
    for path in sorted(folder.glob(f"{_PREFIX}*")):
        theirs = _version_of(path)
        if theirs is not None and _release(theirs) > _release(ours):
            raise InvalidRunError(
                f"{path} was written by igpo {theirs} and this is {ours}: nothing was changed; resume with "
                f"igpo {theirs} or newer, or move the folder away to go on from an earlier checkpoint"
            )


def _info(path: Path, marker: Marker) -> CheckpointInfo:
    return CheckpointInfo(marker.step, path, marker.digest, marker.score, marker.saved_at, marker.config_hash)


def _by_score(infos: list[CheckpointInfo]) -> list[CheckpointInfo]:
    scored = [(info.score, info.step, info) for info in infos if info.score is not None]
    return [info for _, _, info in sorted(scored, key=lambda entry: entry[:2], reverse=True)]


def _read_marker(path: Path) -> Marker | None:
    try:
        return Marker.model_validate_json((path / MARKER).read_bytes())
    except (OSError, ValidationError):
        return None


def _version_of(path: Path) -> str | None:
    """The version in a marker, also in one that this version cannot read otherwise; None when there is none."""
    try:
        content = json.loads((path / MARKER).read_bytes())
    except (OSError, ValueError):
        return None
    version = content.get("version") if isinstance(content, dict) else None
    return version if isinstance(version, str) else None


def _release(version: str) -> tuple[int, ...]:
    """The numbers before any suffix: 1.2.0.dev3 is (1, 2, 0); () is older than all."""
    try:
        return Version(version).release
    except InvalidVersion:
        return ()


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in _files(folder))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(files: dict[str, FileRecord]) -> str:
    lines = "".join(f"{name}\0{record.sha256}\n" for name, record in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _problem(path: Path, record: FileRecord) -> str:
    try:
        size = path.stat().st_size
    except OSError:
        return "is missing"
    if size != record.bytes:
        return f"has {size:,} bytes instead of {record.bytes:,}"
    return "" if _sha256(path) == record.sha256 else "has other contents than were saved (sha256 differs)"


def _disk_is_full(error: BaseException | None) -> bool:
    """Whether error, or what caused it, is a full disk, a quota or a limit on file sizes.

    safetensors and torch wrap the OSError in their own.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return True
        if any(os.strerror(number) in str(error) for number in _NO_ROOM):
            return True
        error = error.__cause__ or error.__context__
    return False
