"""What an attempt's end costs, and what follows from it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from igpo_operator.api.reasons import EndClass, Reason
from igpo_operator.api.status import Budget, Ending
from igpo_operator.plan.backoff import delay
from igpo_operator.plan.observed import Facts
from igpo_trainer.spec.contract import MAX_ATTEMPT, ExitCode

_CAUSES: Final = {Reason.VOLUME_HOLDS_ANOTHER_RUN.value: Reason.VOLUME_HOLDS_ANOTHER_RUN}
"""Causes that the trainer names and that are reasons of their own."""
WAITED: Final = (EndClass.GANG_INCOMPLETE, EndClass.REFUSED)
"""Ends after which the next attempt waits for somebody else to make room."""


@dataclass(frozen=True, slots=True)
class Failure:
    """The run is over."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The new budget, and either the end of the run or when the next attempt may start."""

    budget: Budget
    failure: Failure | None = None
    not_before: datetime | None = None
    """None: at once."""


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that is over."""

    number: int
    ending: Ending
    checkpoint_step: int | None
    """Newest complete checkpoint of the run."""
    ran: bool
    """Whether the whole gang ran."""
    rewritten_rows: int | None = None
    """Traces that are rewritten, when that is the attempt's stage."""

    @property
    def progress(self) -> str:
        """What would have made earlier failures forgotten."""
        return "a newer checkpoint" if self.rewritten_rows is None else "a further rewritten trace"

    @property
    def advice(self) -> str:
        """What helps against disruptions."""
        often = "save more often (checkpoints.everySteps) or " if self.rewritten_rows is None else ""
        return f"{often}find quieter nodes"


def judge(ended: Ended, budget: Budget, *, backoff_limit: int, facts: Facts, uid: str, now: datetime) -> Verdict:
    """Charge an attempt that is over. Completed and Suspended cost nothing and decide nothing here."""
    budget = _renewed(budget, ended)
    end_class = ended.ending.reason_class
    if end_class is EndClass.INVALID:
        return Verdict(budget, _invalid(ended.ending))
    if end_class is EndClass.DEADLINE:
        return Verdict(budget, Failure(Reason.DEADLINE_EXCEEDED, ended.ending.message))
    if end_class in (EndClass.COMPLETED, EndClass.SUSPENDED):
        return Verdict(budget)
    if end_class in WAITED:
        verdict = _waiting(budget, ended, facts, uid, now)
    elif end_class.charged:
        verdict = _charged(budget, ended, backoff_limit, facts, uid, now)
    else:
        verdict = _disrupted(budget, ended, facts, uid, now)
    if verdict.failure is None and ended.number >= MAX_ATTEMPT:
        text = f"attempt {ended.number} was the last: {ended.ending.message}; remove the cause, then start a new run"
        return Verdict(verdict.budget, Failure(Reason.TOO_MANY_DISRUPTIONS, text))
    return verdict


def _renewed(budget: Budget, ended: Ended) -> Budget:
    """Progress beyond that of the last charge makes earlier failures forgotten."""
    changes: dict[str, int | None] = {"waits": 0} if ended.ran else {}
    newest, rows = ended.checkpoint_step, ended.rewritten_rows
    if newest is not None and (budget.checkpoint_step is None or newest > budget.checkpoint_step):
        changes |= {"charged": 0, "disruptions": 0, "failed_step": None, "checkpoint_step": newest}
    if rows is not None and rows > (budget.rewritten_rows or 0):
        changes |= {"charged": 0, "disruptions": 0, "rewritten_rows": rows}
    return budget.model_copy(update=changes)


def _charged(budget: Budget, ended: Ended, backoff_limit: int, facts: Facts, uid: str, now: datetime) -> Verdict:
    ending = ended.ending
    step = ending.step if ending.reason_class is EndClass.APPLICATION else None
    after = budget.model_copy(update={"charged": budget.charged + 1, "failed_step": step})
    if step is not None and step == budget.failed_step:
        return Verdict(
            after,
            Failure(
                Reason.SAME_STEP_CRASH,
                f"two attempts in a row crashed after step {step} without a newer checkpoint: {ending.message}; "
                "the crash repeats itself, so fix its cause and start a new run",
            ),
        )
    if after.charged > backoff_limit:
        return Verdict(
            after,
            Failure(
                Reason.BACKOFF_LIMIT_EXCEEDED,
                f"{after.charged} failures without {ended.progress} exceed backoffLimit {backoff_limit}; "
                f"the last: {ending.message}",
            ),
        )
    wait = delay(
        base=facts.restart_base_seconds,
        longest=facts.restart_max_seconds,
        failures=after.charged,
        uid=uid,
        attempt=ended.number + 1,
    )
    return Verdict(after, not_before=now + wait)


def _disrupted(budget: Budget, ended: Ended, facts: Facts, uid: str, now: datetime) -> Verdict:
    """Free, and at once the first time; a run that is thrown out again and again waits longer and longer."""
    count = budget.disruptions + 1
    after = budget.model_copy(update={"disruptions": count})
    if count > facts.disruption_limit:
        return Verdict(
            after,
            Failure(
                Reason.TOO_MANY_DISRUPTIONS,
                f"{count} disruptions without {ended.progress} exceed the limit {facts.disruption_limit}; "
                f"the last: {ended.ending.message}; {ended.advice}",
            ),
        )
    if count == 1:
        return Verdict(after)
    wait = delay(
        base=facts.restart_base_seconds,
        longest=facts.restart_max_seconds,
        failures=count - 1,
        uid=uid,
        attempt=ended.number + 1,
    )
    return Verdict(after, not_before=now + wait)


def _waiting(budget: Budget, ended: Ended, facts: Facts, uid: str, now: datetime) -> Verdict:
    waits = budget.waits + 1
    wait: timedelta = delay(
        base=facts.wait_base_seconds,
        longest=facts.wait_max_seconds,
        failures=waits,
        uid=uid,
        attempt=ended.number + 1,
    )
    return Verdict(budget.model_copy(update={"waits": waits}), not_before=now + wait)


def _invalid(ending: Ending) -> Failure:
    other = Reason.INVALID_DATA if ending.exit_code == ExitCode.INVALID_DATA else Reason.INVALID_RUN
    return Failure(_CAUSES.get(ending.cause or "", other), ending.message)
