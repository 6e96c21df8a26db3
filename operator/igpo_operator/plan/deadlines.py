"""Every deadline of an attempt that runs or wants to: from times in status and on pods, never from a timer."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from igpo_operator.api.reasons import EndClass, Stage
from igpo_operator.api.status import AttemptStatus, Ending, RunStatus
from igpo_operator.plan.gang import Gang
from igpo_operator.plan.observed import Observed, Pod, Waiting
from igpo_operator.plan.terms import Terms
from igpo_trainer.spec.contract import METRICS_PORT


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment, and how the attempt ends at it."""

    at: datetime
    end_class: EndClass
    message: str


def passed(deadlines: list[Deadline], now: datetime) -> Ending | None:
    """The ending of the first deadline that is over, if any is."""
    over = min((deadline for deadline in deadlines if deadline.at <= now), key=lambda it: it.at, default=None)
    return None if over is None else Ending(reason_class=over.end_class, message=over.message, at=now)


def upcoming(deadlines: list[Deadline]) -> datetime | None:
    """When to look again."""
    return min((deadline.at for deadline in deadlines), default=None)


def deadlines(
    observed: Observed, terms: Terms, status: RunStatus, attempt: AttemptStatus, gang: Gang
) -> list[Deadline]:
    """All that apply to the attempt now; `attempt` has running_at once every rank has run."""
    if attempt.running_at is None:
        return list(_pre_running(terms, attempt, gang))
    return [*_active(terms, status, attempt, attempt.running_at), *_stall(observed, terms, attempt, attempt.running_at)]


def running_seconds(attempt: AttemptStatus, until: datetime) -> int:
    """Running time of one attempt."""
    return 0 if attempt.running_at is None else max(0, int((until - attempt.running_at).total_seconds()))


def _pre_running(terms: Terms, attempt: AttemptStatus, gang: Gang) -> Iterator[Deadline]:
    """Counted from the first pod that got a node, so that time in a queue is free."""
    first = gang.first_scheduled
    if attempt.created_at is None or first is None or gang.gated:
        return
    late = [pod.name for pod in gang.pods if pod.trainer is None or isinstance(pod.trainer, Waiting)]
    yield Deadline(
        first + timedelta(seconds=terms.pre_running_deadline),
        EndClass.GANG_INCOMPLETE,
        f"only {gang.size - len(late)} of {gang.size} pods ran within preRunningDeadlineSeconds "
        f"{terms.pre_running_deadline}{_named(late, gang.pods)}; all are released and tried again later",
    )


def _named(late: list[str], pods: tuple[Pod, ...]) -> str:
    if not late:
        return ""
    first = next(pod for pod in pods if pod.name == late[0])
    why = first.unschedulable or (first.trainer.reason if isinstance(first.trainer, Waiting) else "")
    return f", e.g. {first.name} did not" + (f" ({why})" if why else "")


def _active(terms: Terms, status: RunStatus, attempt: AttemptStatus, running_at: datetime) -> Iterator[Deadline]:
    if terms.active_deadline is None:
        return
    remedy = "start a new run with model.from to go on from this one's volume"
    if attempt.stage is Stage.REWRITING:
        remedy = "allow more"
    left = max(0, terms.active_deadline - status.running_seconds)
    yield Deadline(
        running_at + timedelta(seconds=left),
        EndClass.DEADLINE,
        f"activeDeadlineSeconds {terms.active_deadline} of running time are used up; {remedy}",
    )


def _stall(observed: Observed, terms: Terms, attempt: AttemptStatus, running_at: datetime) -> Iterator[Deadline]:
    """On the operator's own clock: a restart of the operator, not a failed scrape, starts it anew."""
    scrape, who = observed.scrape, "gang" if attempt.stage is Stage.TRAINING else "pod that rewrites"
    moved = [running_at, observed.facts.started_at]
    doing = f" (rank 0 has never answered on port {METRICS_PORT}: is a NetworkPolicy in the way?)"
    if scrape is not None and scrape.attempt == attempt.number:
        moved.append(scrape.moved_at)
        doing = f" (stage {scrape.status.stage}, step {scrape.status.step})"
    yield Deadline(
        _ceil(max(moved)) + timedelta(seconds=terms.stall_timeout),
        EndClass.HANG,
        f"no progress for stallTimeoutSeconds {terms.stall_timeout}{doing}; the {who} hangs and is restarted",
    )


def _ceil(moment: datetime) -> datetime:
    whole = moment.replace(microsecond=0)
    return whole if whole == moment else whole + timedelta(seconds=1)
