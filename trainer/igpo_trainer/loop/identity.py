"""Whose run folder this is: run.json, adoption, and fencing of older attempts."""

import os
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

from igpo_trainer.folder import write_atomically
from igpo_trainer.spec.contract import REWRITTEN_DIR, RUN_FILE, Cause
from igpo_trainer.spec.errors import InterruptedRunError, InvalidRunError


class RunIdentity(BaseModel):
    """JSON of run.json."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )

    run_id: str
    spec_hash: str
    attempt: int
    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Claim:
    """The right of one attempt to write into a run folder, until a newer attempt claims it."""

    path: Path
    identity: RunIdentity
    resumed: bool
    """Whether the folder already held this run."""
    adopted: bool = False
    """Whether it did under another run id: the custom resource was deleted and applied again."""

    def still_owner(self) -> bool:
        """Whether run.json still names this attempt; read again at every call."""
        return _read(self.path) == self.identity

    def require_owner(self) -> None:
        """Check ownership; call it right before anything is published.

        Raises InterruptedRunError when a newer attempt owns the folder: this one writes nothing more and exits 75.
        """
        owner = _read(self.path)
        if owner != self.identity:
            raise _fenced(self.path, self.identity, owner)


def claim(
    run_dir: Path, spec_hash: str, *, kind: str, name: str, run_id: str | None = None, attempt: int | None = None
) -> Claim:
    """Make run_dir ours, or take it over from an earlier attempt of the same spec, or from one that only rewrote.

    For global rank 0 only.

    run_id and attempt come from the operator; without them (at a desk) the id is kept and the attempt counted up.

    Raises InvalidRunError when the folder holds a run of another spec or cannot be written, and InterruptedRunError
    when a newer attempt of the same run owns it.
    """
    path = run_dir / RUN_FILE
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        earlier = require_same_run(run_dir, spec_hash, kind, name)
        identity = RunIdentity(
            run_id=run_id or (earlier.run_id if earlier else os.urandom(8).hex()),
            spec_hash=spec_hash,
            attempt=attempt or (earlier.attempt + 1 if earlier else 1),
            kind=kind,
            name=name,
        )
        if earlier is not None and earlier.run_id == identity.run_id and earlier.attempt > identity.attempt:
            raise _fenced(path, identity, earlier)
        write_atomically(path, (identity.model_dump_json(by_alias=True, indent=1) + "\n").encode())
    except OSError as error:
        raise _unwritable(run_dir, error.strerror) from error
    adopted = earlier is not None and earlier.run_id != identity.run_id
    return Claim(path, identity, resumed=earlier is not None, adopted=adopted)


def require_claimable(run_dir: Path, spec_hash: str, kind: str, name: str) -> None:
    """Raise what `claim` would for another spec or a folder without write permission; writes nothing."""
    existing = next(path for path in (run_dir, *run_dir.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise InvalidRunError(
            f"{existing} is a file, so {run_dir} cannot be made; move it away or choose another folder"
        )
    if not os.access(existing, os.W_OK | os.X_OK):
        raise _unwritable(existing, "no permission")
    try:
        require_same_run(run_dir, spec_hash, kind, name)
    except OSError as error:
        raise _unwritable(run_dir, error.strerror) from error


def require_same_run(run_dir: Path, spec_hash: str, kind: str, name: str) -> RunIdentity | None:
    """The identity of the run in a folder; None when there is none. Raises InvalidRunError for another spec.

    Answers of a teacher belong to nobody: what another spec rewrote but never trained on is taken over, so that a
    refused model name or a bad instruction can be corrected, and an answer to the same request serves again.
    """
    earlier = _read(run_dir / RUN_FILE)
    if earlier is not None and earlier.spec_hash != spec_hash:
        if _only_rewrote(run_dir):
            return None
        raise InvalidRunError(
            f"{run_dir}: the volume holds another run, {earlier.kind}/{earlier.name} with spec hash "
            f"{earlier.spec_hash[:12]}, not {kind}/{name} with {spec_hash[:12]}; "
            "give this run another name, storage.subPath or folder, or move the old one away",
            cause=Cause.VOLUME_HOLDS_ANOTHER_RUN,
        )
    return earlier


def _only_rewrote(run_dir: Path) -> bool:
    names = {path.name for path in run_dir.iterdir() if not path.name.startswith(".")}
    return names == {RUN_FILE, REWRITTEN_DIR}


def _read(path: Path) -> RunIdentity | None:
    try:
        return RunIdentity.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise InvalidRunError(
            f"{path} is not a run record ({error.errors()[0]['msg']}): move the folder away or choose another one"
        ) from error


def _unwritable(folder: Path, why: str | None) -> InvalidRunError:
    return InvalidRunError(
        f"{folder} cannot be written by uid {os.getuid()}, gid {os.getgid()} ({why}): "
        "make it writable for them, e.g. with workers.podSecurityContext.fsGroup",
        cause=Cause.VOLUME_NOT_WRITABLE,
    )


def _fenced(path: Path, ours: RunIdentity, owner: RunIdentity | None) -> InterruptedRunError:
    held = "no attempt" if owner is None else f"run {owner.run_id}, attempt {owner.attempt}"
    return InterruptedRunError(
        f"{path} belongs to {held}; attempt {ours.attempt} of run {ours.run_id} is fenced off and wrote nothing more",
        cause=Cause.FENCED_OFF,
    )
