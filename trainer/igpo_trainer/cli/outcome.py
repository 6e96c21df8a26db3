"""How one rank ended: what it tells the launcher, and the code it leaves."""

import hashlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from igpo_trainer.folder import write_atomically
from igpo_trainer.loop.peer_lost import is_peer_lost
from igpo_trainer.loop.position import Position
from igpo_trainer.spec.contract import EXIT_FILE_VARIABLE, Cause, CheckpointStatus, ExitCode
from igpo_trainer.spec.errors import RunError

ABORTED = 128 + signal.SIGINT
_TRACEBACK_LINES = 20


class RankOutcome(BaseModel):
    """The file one rank leaves in the exit folder as the last thing it does."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    code: int
    reason: str
    step: int | None = None
    checkpoint: str | None = None
    latest: CheckpointStatus | None = None
    best: CheckpointStatus | None = None
    cause: str | None = None
    traceback: list[str] = []
    at: float
    """Seconds since the epoch: the earliest failure is the cause of the others."""


def run_and_report(body: Callable[[], object], position: Position | None = None) -> int:
    """Run a rank's work, say in one line on stderr how it failed, leave the outcome file, and return what to exit with.

    Only an error that is not ours prints a traceback; what several ranks of a pod have to say is said once. Under the
    launcher a rank that saved on SIGTERM returns 0 and leaves 75 in its file: torchrun ends the siblings of a rank with
    another code after a fixed 30 s, so the first to have saved would cost the others their checkpoint.
    """
    code, reason, trace, text = int(ExitCode.DONE), "done", [], ""
    cause: str | None = None
    try:
        body()
    except RunError as error:
        code, reason, cause = int(error.exit_code), _one_line(error) or type(error).__name__, error.cause
    except KeyboardInterrupt:
        code, reason = ABORTED, "aborted by Ctrl-C; the last checkpoint is kept"
    except Exception as error:
        code, reason = int(ExitCode.FAILED), f"{type(error).__name__}: {_one_line(error)}"
        cause = Cause.PEER_LOST if is_peer_lost(error) else None
        text = traceback.format_exc()
        trace = text.splitlines()[-_TRACEBACK_LINES:]
    if code != ExitCode.DONE and _is_first_to_say(reason):
        sys.stderr.write(f"{text}igpo{_rank_name()}: {reason}\n")
    sys.stdout.flush()
    sys.stderr.flush()
    position = position or Position()
    left = _leave(
        RankOutcome(
            code=code,
            reason=reason,
            cause=cause,
            step=position.step,
            checkpoint=position.checkpoint,
            latest=position.latest,
            best=position.best,
            traceback=trace,
            at=time.time(),
        )
    )
    return int(ExitCode.DONE) if left and code == ExitCode.SAVED_ON_SIGTERM else code


def read_outcomes(folder: Path, processes: int) -> dict[int, RankOutcome]:
    """Read the outcomes that local ranks 0..processes-1 left; a missing or torn file is as if never written."""
    outcomes = {}
    for local_rank in range(processes):
        try:
            outcomes[local_rank] = RankOutcome.model_validate_json(_file(folder, local_rank).read_bytes())
        except (OSError, ValidationError):
            continue
    return outcomes


def _is_first_to_say(reason: str) -> bool:
    """Whether no other rank of this pod has said the same."""
    folder = os.environ.get(EXIT_FILE_VARIABLE)
    if not folder:
        return True
    mark = Path(folder) / f"said-{hashlib.sha256(reason.encode()).hexdigest()[:16]}"
    try:
        mark.touch(exist_ok=False)
    except FileExistsError:
        return False
    except OSError:  # better twice than never
        return True
    return True


def _leave(outcome: RankOutcome) -> bool:
    folder = os.environ.get(EXIT_FILE_VARIABLE)
    if not folder:
        return False
    try:
        write_atomically(
            _file(Path(folder), int(os.environ.get("LOCAL_RANK", "0"))), outcome.model_dump_json().encode()
        )
    except OSError as error:
        sys.stderr.write(f"igpo{_rank_name()}: cannot leave the exit code in {folder}: {error.strerror}\n")
        return False
    return True


def _file(folder: Path, local_rank: int) -> Path:
    return folder / f"rank-{local_rank}.json"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())


def _rank_name() -> str:
    return f": rank {os.environ.get('RANK', '0')}" if int(os.environ.get("WORLD_SIZE", "1")) > 1 else ""
