"""What the trainer says about itself, as status shows it: progress, metrics, checkpoints."""

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from math import isfinite
from typing import Final

from igpo_operator.api.status import CheckpointView, ProgressStatus, Resolved, RunStatus
from igpo_operator.plan.gang import Gang
from igpo_operator.plan.observed import Scrape, Terminated
from igpo_operator.plan.rewriting import told
from igpo_trainer.spec.contract import CheckpointStatus, TerminationMessage

LOADING: Final = frozenset({"starting", "data"})
"""Stages in which a resumed trainer may not yet know its step."""
_MOST_METRICS = 32
_SMALLEST_EXPONENT, _LARGEST_EXPONENT = -9, 15


def scraped(status: RunStatus, scrape: Scrape | None) -> RunStatus:
    """Take over what rank 0 of the current attempt said; another attempt's words change nothing."""
    if scrape is None or status.attempt is None or scrape.attempt != status.attempt.number:
        return status
    said = scrape.status
    checkpoint = _newer(status.checkpoint, said.checkpoint, scrape.at)
    saved_step = checkpoint.step if checkpoint is not None else 0
    step = max(said.step, saved_step) if said.stage in LOADING else said.step
    planned = said.planned_steps or (status.progress.planned_steps if status.progress else None)
    progress = ProgressStatus(
        step=step,
        planned_steps=planned,
        percentage=_percentage(step, planned),
        eta_seconds=_whole(said.eta_seconds),
        stage=said.stage[:32],
        counter=said.progress,
        moved_at=scrape.moved_at.replace(microsecond=0),
    )
    return told(status, said.rewrite).model_copy(
        update={
            "progress": progress,
            "metrics": {**status.metrics, **decimals(said.metrics)} if said.metrics else status.metrics,
            "checkpoint": checkpoint,
            "best_checkpoint": _replaced(status.best_checkpoint, said.best, scrape.at),
            "resolved": _provenance(status.resolved, scrape),
        }
    )


def ended(status: RunStatus, gang: Gang, now: datetime) -> RunStatus:
    """Take over what the ranks left in their termination messages: checkpoints and counts that no scrape has shown."""
    for pod in gang.pods:
        if isinstance(pod.trainer, Terminated) and pod.trainer.message is not None:
            message = pod.trainer.message
            at = pod.trainer.finished_at or now
            status = told(status, message.rewrite).model_copy(
                update={
                    "checkpoint": _newer(status.checkpoint, _latest(message), at),
                    "best_checkpoint": _replaced(status.best_checkpoint, message.best, at),
                }
            )
    return status


def completed(status: RunStatus, step: int | None) -> RunStatus:
    """Progress of a finished run: 100 percent, also when nobody ever scraped it."""
    known = status.progress or ProgressStatus()
    last = step if step is not None else known.planned_steps or known.step
    progress = known.model_copy(
        update={
            "step": last,
            "planned_steps": known.planned_steps or last,
            "percentage": 100,
            "eta_seconds": 0,
            "stage": "finished",
        }
    )
    checkpoint = status.checkpoint
    return status.model_copy(update={"progress": progress, "best_checkpoint": status.best_checkpoint or checkpoint})


def decimals(metrics: Mapping[str, float]) -> dict[str, str]:
    """Metrics by camelCase name as decimal strings of 4 significant digits; values that are not finite are left out."""
    kept = sorted((name, value) for name, value in metrics.items() if isfinite(value))
    return {_camel(name)[:63]: decimal(value) for name, value in kept[:_MOST_METRICS]}


def decimal(value: float) -> str:
    """A finite number with 4 significant digits: plain, or with an exponent when it is very small or large."""
    number = Decimal(f"{value:.3e}")
    if number == 0:
        return "0"
    plain = _SMALLEST_EXPONENT <= number.adjusted() < _LARGEST_EXPONENT
    number = number.normalize()
    return format(number, "f") if plain else format(number, "e")


def _camel(name: str) -> str:
    head, *rest = re.split(r"[^0-9A-Za-z]+", name)
    return head + "".join(part[:1].upper() + part[1:] for part in rest)


def _percentage(step: int, planned: int | None) -> int | None:
    """Whole percent, rounded down; 100 only at the end."""
    return min(100, 100 * step // planned) if planned else None


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None or not isfinite(seconds) else int(seconds)


def _newer(known: CheckpointView | None, said: CheckpointStatus | None, at: datetime) -> CheckpointView | None:
    """Keep the known checkpoint unless the other is of a later step, or gives the digest that the known one lacks."""
    if said is None or not said.complete:
        return known
    if known is not None and (said.step < known.step or (said.step == known.step and known.digest)):
        return known
    return _view(known, said, at)


def _replaced(known: CheckpointView | None, said: CheckpointStatus | None, at: datetime) -> CheckpointView | None:
    """Take the best checkpoint as the trainer says it: it need not be the newest."""
    if said is None or not said.complete:
        return known
    if known is not None and known.step == said.step and (not said.digest or known.digest == said.digest):
        return known
    return _view(known, said, at)


def _view(known: CheckpointView | None, said: CheckpointStatus, at: datetime) -> CheckpointView:
    same = known is not None and known.step == said.step
    return CheckpointView(
        step=said.step,
        path=said.path[-512:] or (known.path if known is not None and same else None),
        digest=said.digest[:128] or None,
        saved_at=known.saved_at if known is not None and same else at.replace(microsecond=0),
    )


def _latest(message: TerminationMessage) -> CheckpointStatus | None:
    """The last checkpoint with its digest (main rank), or only its step, which its folder's name ends with."""
    if message.latest is not None:
        return message.latest
    digits = re.search(r"(\d+)$", message.checkpoint or "")
    return CheckpointStatus(step=int(digits[1]), path="", digest="") if digits else None


def _cut(revision: str | None) -> str | None:
    """What the trainer says must fit the schema, or the whole status would be refused."""
    return None if revision is None else revision[:128]


def _provenance(resolved: Resolved | None, scrape: Scrape) -> Resolved | None:
    said = scrape.status
    found = {
        "spec_hash": said.spec_hash[:64] or None,
        "model_revision": _cut(said.model_revision),
        "dataset_revision": _cut(said.dataset_revision),
        "adopted": True if said.adopted else None,
    }
    if resolved is None:
        return None
    return resolved.model_copy(update={name: value for name, value in found.items() if value is not None})
