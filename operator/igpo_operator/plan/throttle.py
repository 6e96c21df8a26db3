"""When a status is worth a write: at once for what matters, now and then for what moves all the time."""

from datetime import datetime, timedelta
from typing import Any, Final

from igpo_operator.api.reasons import Phase
from igpo_operator.api.status import RunStatus

_MOVING: Final = frozenset({"progress", "metrics", "replicas", "last_update_time", "rewriting"})
_STEADY: Final = {"hash", "attempt", "finished_at"}
"""What of status.rewriting does not move all the time."""


def due(old: RunStatus, new: RunStatus, interval: float, now: datetime) -> tuple[RunStatus | None, datetime | None]:
    """The status to write, if any, and when to look again if it must wait for its turn.

    Fields that move all the time are written alone only while Running or Rewriting, at most every `interval` seconds.
    """
    if _still(old) != _still(new):
        return new.model_copy(update={"last_update_time": now}), None
    stamped = new.model_copy(update={"last_update_time": old.last_update_time})
    if stamped == old or new.phase not in (Phase.RUNNING, Phase.REWRITING) or not _visible(old, new):
        return None, None
    turn = now if old.last_update_time is None else old.last_update_time + timedelta(seconds=interval)
    if now < turn:
        return None, turn
    return new.model_copy(update={"last_update_time": now}), None


def _still(status: RunStatus) -> dict[str, Any]:
    """Everything that is worth a write by itself."""
    still = {name: value for name, value in status if name not in _MOVING}
    return still | {"rewriting": status.rewriting and status.rewriting.model_dump(include=_STEADY)}


def _visible(old: RunStatus, new: RunStatus) -> bool:
    """Whether a person would see a difference: nothing is written before the first step, nor for a counter alone."""
    if new.phase is Phase.REWRITING:
        return _counts(old) != _counts(new)
    if new.progress is None or new.progress.step < 1:
        return False
    return _shown(old) != _shown(new)


def _counts(status: RunStatus) -> dict[str, Any]:
    return {} if status.rewriting is None else status.rewriting.model_dump(exclude={"eta_seconds"})


def _shown(status: RunStatus) -> tuple[object, ...]:
    progress = status.progress
    return (
        None if progress is None else (progress.step, progress.planned_steps, progress.stage),
        status.metrics,
        status.replicas,
    )
